"""From a state to a plan."""

import logging
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.rl_agent.env.game_instance import Table
from ullage.rl_agent.env.state import State
from ullage.solvers.budget import Budget
from ullage.solvers.packing.pack import pack
from ullage.solvers.state.build_plan import Stay, assemble
from ullage.solvers.state.place import place_runs
from ullage.solvers.state.residency_state import Occupancy

logger = logging.getLogger(__name__)

PACKING_SHARE = 0.5  # of the time that is left
MAX_PACKING_S = 10.0

Run = tuple[int, int, Stay]  # first event, last event, stay


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


def assignment_of_game(problem: Problem, table: Table, state: State) -> Assignment:
    """The assignment of a finished game.

    Raises:
        InfeasibleError: a home tier is too small for what must be there.
    """
    return assemble(problem, table.atoms, [stay for _, _, stay in stays_of(table, state)])


def packed(
    problem: Problem, table: Table, runs: Iterable[Run], budget: Budget
) -> list[Stay] | None:
    """The stays of a game by live bytes, with addresses; None where the packer has none in time."""
    target = problem.target
    workspace = max((step.workspace_bytes for step in problem.steps), default=0)
    capacity = target.fastest.capacity_bytes - workspace
    listed = [stay for _, _, stay in runs]
    packing = pack(
        np.array([stay.start for stay in listed], dtype=np.int64),
        np.array([stay.end for stay in listed], dtype=np.int64),
        np.array([table.atoms[stay.atom].size_bytes for stay in listed], dtype=np.int64),
        alignment_bytes=target.fastest.alignment_bytes,
        capacity_bytes=capacity,
        time_limit_s=min(max(budget.share(PACKING_SHARE).remaining_s(), 0.01), MAX_PACKING_S),
    )
    if packing.peak_bytes > capacity:
        return None
    offsets = packing.offsets.tolist()
    return [replace(stay, offset=at) for stay, at in zip(listed, offsets, strict=True)]


def repair(problem: Problem, table: Table, runs: Iterable[Run]) -> tuple[float, list[Stay]] | None:
    """Busy seconds and stays with addresses of a game by live bytes.

    What finds no hole is dropped, and so is what then no longer pays; None where what operators
    cannot do without finds none.
    """
    occupancy = Occupancy(problem, table.atoms)
    try:
        place_runs(occupancy, runs)
    except InfeasibleError as error:
        logger.info("a game could not be repaired: %s", error.message)
        return None
    return occupancy.timeline.total_s, [stay for _, _, stay in occupancy.all_stays()]
