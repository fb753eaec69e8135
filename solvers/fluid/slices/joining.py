"""Slices of a tensor joined where one transfer for both is faster than two.

Each slice has transfers of its own, each with a set-up of the link. Two neighbours that are
resident for the same accesses can come in one transfer that moves the bytes of both when they did
before; it takes the space of both from its first move on, and both are ready after its last:

    steps         3    4    5    6    7           3    4    5    6    7
    slice 0       [fill|==========|use            [fill .... fill|====|use
    slice 1                 [fill|==|             one slice, one set-up

Or all bytes move when those of one of them did: a few bytes that have a step to themselves cost a
set-up there, even where the others' would be hidden.
"""

from dataclasses import replace
from itertools import pairwise

from ullage.solvers.budget import Budget
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves

# When what is joined moves: when both slices did, or the lower, or the higher one.
BOTH, LOW, HIGH = range(3)


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
    pairs = {
        first: (last, residency, others[first][1]) for first, (last, residency) in spans.items()
    }
    for way in (BOTH, LOW, HIGH):
        merged = {
            first: (last, _merged(low, residency, other, way))
            for first, (last, residency, other) in pairs.items()
        }
        if _replaced(state, low, high, merged):
            return True
    return False


def _replaced(
    state: SlicedResidencyState,
    low: int,
    high: int,
    merged: dict[int, tuple[int, SegmentResidency]],
) -> bool:
    """Make one slice of two neighbours, with these residencies, if that is faster."""
    one, two = state.slices[low], state.slices[high]
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


def _merged(index: int, one: SegmentResidency, two: SegmentResidency, way: int) -> SegmentResidency:
    """One residency for two, with the moves of both, or those of one for the bytes of both."""
    base, other = (two, one) if way == HIGH else (one, two)
    alike = bool(one.fill) == bool(two.fill) and bool(one.spill) == bool(two.spill)
    if way != BOTH and alike:
        fill, spill = _with_bytes(base.fill, other.fill), _with_bytes(base.spill, other.spill)
        return replace(base, segment=index, fill=fill, spill=spill)
    return SegmentResidency(
        index,
        min(one.start, two.start),
        max(one.ready, two.ready),
        max(one.end, two.end),
        _both(one.fill, two.fill),
        _both(one.spill, two.spill),
    )


def _with_bytes(moves: Moves, others: Moves) -> Moves:
    """The moves of a transfer, the largest of which moves the bytes of another one, too."""
    if not moves:
        return moves
    largest = max(range(len(moves)), key=lambda i: moves[i][1])
    more = sum(size for _, size in others)
    return tuple(
        (step, size + more if i == largest else size) for i, (step, size) in enumerate(moves)
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
