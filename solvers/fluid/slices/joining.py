"""Slices of a tensor joined where one transfer for both is faster than two.

Each slice has transfers of its own, each with a set-up of the link. Two neighbours that are
resident for the same accesses can come in one transfer that moves the bytes of both when they did
before; it takes the space of both from its first move on, and both are ready after its last:

    steps         3    4    5    6    7           3    4    5    6    7
    slice 0       [fill|==========|use            [fill .... fill|====|use
    slice 1                 [fill|==|             one slice, one set-up
"""

from itertools import pairwise

from ullage.solvers.budget import Budget
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves


def join_slices(state: SlicedResidencyState, budget: Budget) -> int:
    """Join neighbouring slices where that makes the plan faster; returns how many are gone.

    Args:
        state: the decisions; is changed.
        budget: the time; when it is over, what is joined stays.
    """
    if not any(link.setup_s for link in state.target.links):
        return 0
    by_buffer: dict[int, list[int]] = {}
    for index, item in enumerate(state.slices):
        if item.size_bytes and index not in state.untouched:
            by_buffer.setdefault(item.buffer, []).append(index)
    joined = 0
    for indices in by_buffer.values():
        if budget.is_over():
            break
        indices.sort(key=lambda index: state.slices[index].start_byte)
        kept = indices[0]
        for _, index in pairwise(indices):
            if _join(state, kept, index):
                joined += 1
            else:
                kept = index
    return joined


def _join(state: SlicedResidencyState, low: int, high: int) -> bool:
    """Make one slice of two neighbours if that is faster, and whether it is."""
    one, two = state.slices[low], state.slices[high]
    same_uses = [(e.step, e.reads, e.writes) for e in one.accesses] == [
        (e.step, e.reads, e.writes) for e in two.accesses
    ]
    if one.end_byte != two.start_byte or not same_uses:
        return False
    spans, others = state.residencies[low], state.residencies[high]
    if {k: v[0] for k, v in spans.items()} != {k: v[0] for k, v in others.items()}:
        return False
    merged = {
        first: (last, _merged(low, residency, others[first][1]))
        for first, (last, residency) in spans.items()
    }
    if all(bool(residency.fill or residency.spill) is False for _, residency in merged.values()):
        return False
    listed = [residency for _, residency in (merged[first] for first in sorted(merged))]
    if any(before.end > after.start for before, after in pairwise(listed)):
        return False
    before = state.mark()
    parts = [(index, state.lift(index)) for index in (low, high)]
    state.join(low, high)
    for first, (last, residency) in merged.items():
        state.add(low, first, last, residency)
    fits = all(state.fits(0, r.start, r.end) for r in listed)
    if (
        fits
        and all(_is_legal(state, low, first) for first in merged)
        and state.improved_since(before)
    ):
        return True
    state.lift(low)
    state.slices[low], state.slices[high] = one, two
    for index, spans_of_part in parts:
        for first, last, residency in spans_of_part:
            state.add(index, first, last, residency)
    return False


def _merged(index: int, one: SegmentResidency, two: SegmentResidency) -> SegmentResidency:
    """One residency for two, with the moves of both."""
    return SegmentResidency(
        index,
        min(one.start, two.start),
        max(one.ready, two.ready),
        max(one.end, two.end),
        _both(one.fill, two.fill),
        _both(one.spill, two.spill),
    )


def _both(one: Moves, two: Moves) -> Moves:
    """The moves of two transfers as one's."""
    sizes: dict[int, int] = {}
    for step, size in (*one, *two):
        sizes[step] = sizes.get(step, 0) + size
    return tuple(sorted(sizes.items()))


def _is_legal(state: SlicedResidencyState, index: int, first: int) -> bool:
    """Whether a joined residency is ready in time, and its spill begins when it is."""
    last, residency = state.residencies[index][first]
    accesses = state.slices[index].accesses
    if residency.ready > accesses[first].step:
        return False
    if not residency.spill:
        return True
    begin = residency.spill[0][0]
    writes = [e.step for e in accesses[first : last + 1] if e.writes]
    return begin >= residency.ready and begin > max(writes, default=-1)
