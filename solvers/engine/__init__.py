"""Residency mechanics, compiled once, for the game (`rl_agent`) and the annealer.

`tables` names the rows, `jit` says how kernels are compiled, `costs` charges residencies,
`transfers` chooses the steps in which data moves, `addresses` gives residencies their addresses.
The rules are in docs/engine.md; `solvers.state.engine_tables` fills tables from a problem. The
plain references are `solvers.state` (busy time, address map) and `tests/support/game_twin.py`.
"""
