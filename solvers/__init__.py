"""Solvers, the registry that finds them, and offset packing."""
