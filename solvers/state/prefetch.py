"""Transfers of operands that must be in the fastest tier, beside computing instead of before it.

Solvers that decide what stays where leave each such operand with the shortest residency that is
legal: fetched in the DMA-only step before its use, stored in the one behind. Here each transfer in
turn, in the order of uses, is spread over idle steps around it, as far as there is room.
"""

from bisect import bisect_left
from collections.abc import Sequence

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.greedy_moves import retime
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Segment

# Steps before a use in which it may be fetched, and behind it in which it may be stored.
WINDOW_STEPS = 192
# How often all transfers are tried: the room that one leaves may be what another waits for.
PASSES = 3


def prefetched(state: ResidencyState, budget: Budget) -> ResidencyState:
    """The decisions with better times of mandatory transfers, placed; as given where none is.

    Args:
        state: decisions with addresses; unchanged.
        budget: the time.
    """
    fastest = state.target.fastest.name
    must = {
        index
        for index, segment in enumerate(state.segments)
        if segment.must_be_fastest and segment.home != fastest
    }
    if not must or state.objective != "latency":
        return state
    best = state
    for _ in range(PASSES):
        if budget.is_over():
            break
        other = _copy(best)
        retime(other, WINDOW_STEPS, budget, must)
        try:
            place_residencies(other, budget.is_over)
        except InfeasibleError:  # longer residencies lie where others must: these stand
            break
        if not other.improved_since(best.mark()):
            break
        best = other
    return best


def prefetched_residencies(
    problem: Problem,
    segments: Sequence[Segment],
    residencies: Sequence[SegmentResidency],
    budget: Budget,
) -> list[SegmentResidency]:
    """`prefetched` for residencies with addresses, of all segments."""
    state = ResidencyState(problem, segments)
    fastest = state.target.fastest.name
    for index, segment in enumerate(segments):
        for first in list(state.residencies[index]) if segment.home != fastest else ():
            state.remove(index, first)
    for residency in residencies:
        segment = segments[residency.segment]
        if segment.home == fastest:
            last, _ = state.residencies[residency.segment][0]
            state.residencies[residency.segment][0] = (last, residency)
            continue
        inside = range(*_covered(segment, residency))
        state.add(residency.segment, inside.start, inside.stop - 1, residency)
    better = prefetched(state, budget)
    if better is state:
        return list(residencies)
    return [residency for _, _, residency in better.all_residencies()]


def _covered(segment: Segment, residency: SegmentResidency) -> tuple[int, int]:
    """Accesses [first, end) that a residency serves."""
    steps = [access.step for access in segment.accesses]
    return bisect_left(steps, residency.ready), bisect_left(steps, residency.end)


def _copy(state: ResidencyState) -> ResidencyState:
    """The same decisions in a state of their own."""
    other = ResidencyState(state.problem, state.segments)
    other.untouched = set(state.untouched)
    fastest = state.target.fastest.name
    for index, segment in enumerate(other.segments):
        for first in list(other.residencies[index]) if segment.home != fastest else ():
            other.remove(index, first)
    for first, last, residency in state.all_residencies():
        if other.segments[residency.segment].home == fastest:
            other.residencies[residency.segment][first] = (last, residency)
        else:
            other.add(residency.segment, first, last, residency)
    return other
