"""Solver for instances of the MLSys 2026 scheduling contest."""
