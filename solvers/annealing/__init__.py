"""Whole tensors improved by simulated annealing, compiled."""
