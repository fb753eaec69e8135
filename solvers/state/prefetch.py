"""Transfers of operands that must be in the fastest tier, beside computing instead of before it.

Solvers that decide what stays where leave each such operand with the shortest residency that is
legal: fetched in the DMA-only step before its use, stored in the one behind. Here each transfer in
turn, in the order of uses, is spread over idle steps around it, as far as there is room.
"""

from collections.abc import Sequence

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.state.build_plan import SegmentResidency, with_accesses
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
    state.replace_all(with_accesses(segments, residencies))
    better = prefetched(state, budget)
    if better is state:
        return list(residencies)
    return [residency for _, _, residency in better.all_residencies()]


def _copy(state: ResidencyState) -> ResidencyState:
    """The same decisions in a state of their own."""
    other = ResidencyState(state.problem, state.segments)
    other.untouched = set(state.untouched)
    other.replace_all(state.all_residencies())
    return other
