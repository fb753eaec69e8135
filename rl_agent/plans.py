"""From a state to a plan."""

from collections.abc import Mapping
from typing import Any

from ullage.compiler.plan import Plan
from ullage.compiler.problem import Problem
from ullage.hwmodels.target import Target
from ullage.rl_agent.board import Table
from ullage.rl_agent.state import State
from ullage.solvers.assemble import Stay, assemble


def stays_of(table: Table, state: State) -> list[tuple[int, int, Stay]]:
    """(first event, last event, stay) of every stay, with atoms and events as `atoms_of` has them.

    Residents, whose home is the fastest tier, are included.
    """
    board = table.board
    found: list[tuple[int, int, Stay]] = []
    playable = set(table.playable.tolist())
    for slot in range(len(board.ev_atom)):
        last = int(state.last[slot])
        if last < 0:
            continue
        atom = int(board.ev_atom[slot])
        begin = int(board.atom_first[atom])
        fills, spills = int(state.fill_count[slot]), int(state.spill_count[slot])
        stay = Stay(
            atom=int(table.playable[atom]),
            start=int(state.start[slot]),
            ready=int(state.ready[slot]),
            end=int(state.end[slot]),
            fill=tuple(
                zip(
                    state.fill_step[slot, :fills].tolist(),
                    state.fill_bytes[slot, :fills].tolist(),
                    strict=True,
                )
            ),
            spill=tuple(
                zip(
                    state.spill_step[slot, :spills].tolist(),
                    state.spill_bytes[slot, :spills].tolist(),
                    strict=True,
                )
            ),
            offset=int(state.offset[slot]),
        )
        found.append((slot - begin, last - begin, stay))
    for index, stays in enumerate(table.occupancy.stays):
        if index not in playable:
            found += [(first, last, stay) for first, (last, stay) in stays.items()]
    return found


def plan_of(
    problem: Problem,
    target: Target,
    table: Table,
    state: State,
    *,
    solver: str,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan of a finished game.

    Raises:
        InfeasibleError: a home tier is too small for what must be there.
    """
    stays = [stay for _, _, stay in stays_of(table, state)]
    return assemble(
        problem,
        target,
        table.atoms,
        stays,
        solver=solver,
        objective="latency",
        seed=seed,
        options=options,
    )
