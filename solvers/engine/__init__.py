"""Residency mechanics, compiled once: what the game and the annealer stand on.

`tables` names the rows, `jit` says how kernels are compiled, `costs` charges residencies,
`transfers` says when data moves, `addresses` where it lies. The rules are in docs/engine.md;
`solvers.state.engine_tables` fills tables from a problem. The plain references are
`solvers.state` (busy time, address map) and `tests/support/game_twin.py`.
"""
