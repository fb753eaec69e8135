"""cosma."""
