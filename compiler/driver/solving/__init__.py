"""Solving a prepared model: one order or schedule at a time, and the best of several."""
