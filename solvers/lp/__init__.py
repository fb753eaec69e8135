"""Linear programs as arrays, their solvers, safe bounds; running CP-SAT."""
