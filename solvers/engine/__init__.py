"""Residency mechanics, once, for the heuristics, the annealer and the game (`rl_agent`).

`tables` names the rows, `jit` says how kernels are compiled, `costs` charges residencies,
`transfers` chooses the steps in which data moves, `proposals` makes residencies of both, `joining`
lets residencies grow, `addresses` gives them their addresses. The rules are in docs/engine.md;
`solvers.state` fills tables from a problem (`engine_tables`) and from decisions (`decisions`).
"""
