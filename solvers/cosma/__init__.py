"""COSMA's problem (arXiv 2311.18246): its published ILP, and the same in CP-SAT."""
