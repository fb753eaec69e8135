"""The schedule game: which operators run stripe by stripe together, and the agent that plays it."""
