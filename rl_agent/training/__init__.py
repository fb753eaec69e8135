"""Training: synthetic workloads, generations of evolution strategies, checkpoints."""
