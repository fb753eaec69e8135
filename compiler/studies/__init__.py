"""Studies made of many plans: analysis of a model, comparison of solvers, sweeps, and pictures."""
