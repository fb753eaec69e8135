"""Solvers, the registry that finds them, and the wrapper that runs them all alike."""
