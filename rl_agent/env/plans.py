"""From a finished game to a plan: reading its residencies, and giving them addresses.

A game that went by live bytes has residencies without addresses. `packed` gives all of them one, or
none; `repair` drops the residencies that find none.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.rl_agent.env.game_instance import GameInstance
from ullage.rl_agent.env.state import State
from ullage.solvers import reductions
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.packing.pack import pack
from ullage.solvers.state.build_plan import SegmentResidency, assemble
from ullage.solvers.state.engine_tables import read_residency
from ullage.solvers.state.place import place_spans
from ullage.solvers.state.residency_state import ResidencyState

logger = logging.getLogger(__name__)

# Share of the remaining time that the packer of one game may take.
PACKING_SHARE = 0.5
# Seconds that it takes at most.
MAX_PACKING_S = 10.0

# First access, last access (as numbered in the segment), residency.
SpanResidency = tuple[int, int, SegmentResidency]


def residencies_of(instance: GameInstance, state: State) -> list[tuple[int, int, SegmentResidency]]:
    """(first access, last access, residency) of every residency, as `segments_of` counts.

    Residents, whose home is the fastest tier, are included.
    """
    arrays = instance.arrays
    by_span: list[tuple[int, int, SegmentResidency]] = []
    playable = set(instance.playable.tolist())
    for slot in range(len(arrays.access_segment)):
        last = int(state.last[slot])
        if last < 0:
            continue
        segment = int(arrays.access_segment[slot])
        begin = int(arrays.segment_first[segment])
        residency = read_residency(state.tables, slot, int(instance.playable[segment]))
        by_span.append((slot - begin, last - begin, residency))
    for index, residencies in enumerate(instance.residency_state.residencies):
        if index not in playable:
            by_span += [
                (first, last, residency) for first, (last, residency) in residencies.items()
            ]
    return by_span


def assignment_of_game(problem: Problem, instance: GameInstance, state: State) -> Assignment:
    """The assignment of a finished game.

    Raises:
        InfeasibleError: a home tier is too small for what must be there.
    """
    decided = assemble(
        instance.residency_state.problem,
        instance.segments,
        [residency for _, _, residency in residencies_of(instance, state)],
    )
    return reductions.recover(problem, Solution(decided)).assignment


def packed(
    problem: Problem, instance: GameInstance, residencies: Iterable[SpanResidency], budget: Budget
) -> list[SegmentResidency] | None:
    """The residencies of a game by live bytes, all with addresses.

    Args:
        problem: the problem.
        instance: its game.
        residencies: of the finished game.
        budget: the time; the packer takes PACKING_SHARE of it, MAX_PACKING_S at most.

    Returns:
        None where the packer finds no addresses for all of them.
    """
    target = problem.target
    workspace = max((step.workspace_bytes for step in problem.steps), default=0)
    capacity = target.fastest.capacity_bytes - workspace
    listed = [residency for _, _, residency in residencies]
    packing = pack(
        np.array([residency.start for residency in listed], dtype=np.int64),
        np.array([residency.end for residency in listed], dtype=np.int64),
        np.array(
            [instance.segments[residency.segment].size_bytes for residency in listed],
            dtype=np.int64,
        ),
        alignment_bytes=target.fastest.alignment_bytes,
        capacity_bytes=capacity,
        time_limit_s=min(max(budget.share(PACKING_SHARE).remaining_s(), 0.01), MAX_PACKING_S),
    )
    if packing.peak_bytes > capacity:
        return None
    offsets = packing.offsets.tolist()
    return [replace(residency, offset=at) for residency, at in zip(listed, offsets, strict=True)]


def repair(
    problem: Problem, instance: GameInstance, residencies: Iterable[SpanResidency], budget: Budget
) -> tuple[float, list[SegmentResidency]] | None:
    """A plan of a game by live bytes, without the residencies that find no address.

    Residencies that do not pay without the dropped ones are dropped, too.

    Args:
        problem: the problem.
        instance: its game.
        residencies: of the finished game.
        budget: the time; packing takes PACKING_SHARE of it.

    Returns:
        Busy seconds, and residencies with addresses; None where an operand that must be in the
        fastest tier finds no address.
    """
    residency_state = ResidencyState(problem, instance.segments)
    try:
        place_spans(residency_state, residencies, budget.share(PACKING_SHARE).is_over)
    except InfeasibleError as error:
        logger.info("a game could not be repaired: %s", error.message)
        return None
    return residency_state.busy_time.total_s, [
        residency for _, _, residency in residency_state.all_residencies()
    ]
