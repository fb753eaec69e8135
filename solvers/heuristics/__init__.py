"""Quick solvers without search: all-slow, greedy, msa, no-spill."""
