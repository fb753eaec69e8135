"""Features, the network that scores moves, and players that decode and search."""
