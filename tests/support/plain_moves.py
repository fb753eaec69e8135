"""The engine's rules for transfers and for `greedy`, in plain Python on a residency state.

The limit of moves of a transfer is left out: windows of these tests are shorter.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import BusyTime, Moves
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Segment
from ullage.solvers.state.span_lookup import UseSpan

SPARE_BYTES = 1e-6
MAX_PASSES = 4


def room_bytes(
    busy_time: BusyTime, source: str, destination: str, low: int, high: int
) -> NDArray[np.float64]:
    """Bytes that a transfer could move in each of the steps [low, high) at no cost."""
    link = busy_time.target.link(source, destination)
    assert link is not None
    window = slice(low, high)
    busy = busy_time.busy_s[window]
    room = np.minimum(
        (busy - busy_time.tier_s[source][window]) * busy_time.target.tier(source).read_bytes_per_s,
        (busy - busy_time.tier_s[destination][window])
        * busy_time.target.tier(destination).write_bytes_per_s,
    )
    free = (busy - busy_time.link_s[source, destination][window] - link.setup_s).clip(0.0)
    least = np.minimum(room, free * link.bandwidth_bytes_per_s).clip(0.0)
    return np.asarray(least, dtype=np.float64)


def growth_s(busy_time: BusyTime, source: str, destination: str, step: int, size: int) -> float:
    """Seconds by which a step takes longer if it moves all bytes of a transfer."""
    target = busy_time.target
    link = target.link(source, destination)
    assert link is not None
    seconds = (
        busy_time.tier_s[source][step] + size / target.tier(source).read_bytes_per_s,
        busy_time.tier_s[destination][step] + size / target.tier(destination).write_bytes_per_s,
        busy_time.link_s[source, destination][step]
        + size / link.bandwidth_bytes_per_s
        + link.setup_s,
    )
    return float(max(seconds) - busy_time.busy_s[step])


def spread(
    busy_time: BusyTime, ends: tuple[str, str], size: int, low: int, high: int, *, late: bool
) -> Moves:
    """Spread bytes over idle steps of [low, high); the rest goes to the step that takes most.

    Without any idle step all bytes go where the step grows least.

    Args:
        busy_time: of all steps.
        ends: source and destination.
        size: bytes of the transfer.
        low: first step allowed.
        high: one past the last.
        late: idle steps are filled from the last backwards (prefetch), else from the first (spill).
    """
    room = room_bytes(busy_time, *ends, low, high) + SPARE_BYTES
    order: Sequence[int] = range(high - 1, low - 1, -1) if late else range(low, high)
    taken: dict[int, int] = {}
    left = size
    for step in order:
        part = min(left, int(room[step - low]))
        if part > 0:
            taken[step] = part
            left -= part
    if taken:
        taken[max(taken, key=lambda step: (taken[step], step))] += left
    else:
        link = busy_time.target.link(*ends)
        assert link is not None
        growth = {step: growth_s(busy_time, *ends, step, size) for step in order}
        least_s = min(growth.values()) + SPARE_BYTES / link.bandwidth_bytes_per_s
        taken[next(step for step in order if growth[step] <= least_s)] = size
    return tuple(sorted(taken.items()))


def propose(
    state: ResidencyState, index: int, first: int, last: int, window: int = 64
) -> SegmentResidency | None:
    """The residency of a use span, its moves where they cost least; None where there is none."""
    segment, lookup = state.segments[index], state.lookup
    size = state.aligned_bytes(segment)
    begin, end = segment.accesses[first].step, segment.accesses[last].step + 1
    following = [s.start for f, (_, s) in state.residencies[index].items() if f > last]
    next_start = min(following, default=state.steps)
    if end > next_start:
        return None
    fill: Moves = ()
    start = begin
    fastest = state.target.fastest.name
    if segment.accesses[first].reads:
        if state.target.link(segment.home, fastest) is None:
            return None
        low = max(state.free_from(index, first), begin - window)
        while low < begin and not state.fits(size, low, begin):
            low += 1
        if low >= begin:
            return None
        ends = (segment.home, fastest)
        fill = spread(state.busy_time, ends, segment.size_bytes, low, begin, late=True)
        used = segment.accesses[first - 1].step if first else -1
        if fill[-1][0] < used:
            fill = spread(state.busy_time, ends, segment.size_bytes, used, begin, late=True)
        start = fill[0][0]
    spill: Moves = ()
    if state.needs_spill(index, first, last):
        if state.target.link(fastest, segment.home) is None:
            return None
        writer = lookup.last_write(index, first, last)
        after = 1 + max(
            -1 if writer is None else segment.accesses[writer].step,
            fill[-1][0] if fill else begin - 1,
        )
        limit = next_start
        if last + 1 < len(segment.accesses):
            limit = min(limit, segment.accesses[last + 1].step)
        reach = max(end, after)
        while reach < min(limit, end + window) and state.fits(size, reach, reach + 1):
            reach += 1
        if after >= reach:
            return None
        back = (fastest, segment.home)
        spill = spread(state.busy_time, back, segment.size_bytes, after, reach, late=False)
        end = max(end, spill[-1][0] + 1)
    return SegmentResidency(index, start, fill[-1][0] + 1 if fill else start, end, fill, spill)


def _charge(state: ResidencyState, index: int, span: UseSpan, sign: int) -> None:
    """Charge accesses to the fastest tier (sign 1) or to the home tier (-1)."""
    segment = state.segments[index]
    for access in segment.accesses[span[0] : span[1] + 1]:
        read, written = sign * access.read_bytes, sign * access.written_bytes
        state.busy_time.add_operand(segment.home, access.step, -read, -written)
        state.busy_time.add_operand(state.target.fastest.name, access.step, read, written)


def join(state: ResidencyState, index: int, first: int, last: int, window: int) -> bool:
    """Keep a segment from access `first` to `last`, joined with the residencies it has there.

    What is covered already stays charged to the fastest tier while the change is tried.
    """
    old = sorted({s for e in (first, last) if (s := state.span_of(index, e)) is not None})
    if len(old) == 1 and old[0][0] <= first and last <= old[0][1]:
        return True
    low = min([first, *(span[0] for span in old)])
    high = max([last, *(span[1] for span in old)])
    before = state.mark()
    removed = []
    for span in old:
        removed.append((span[0], *state.remove(index, span[0])))
        _charge(state, index, span, 1)
    residency = propose(state, index, low, high, window)
    for span in old:
        _charge(state, index, span, -1)
    size = state.aligned_bytes(state.segments[index])
    if residency is not None and state.fits(size, residency.start, residency.end):
        state.add(index, low, high, residency)
        if state.improved_since(before):
            return True
        state.remove(index, low)
    for begin, end, kept in removed:
        state.add(index, begin, end, kept)
    return False


def keep_what_pays(state: ResidencyState, window: int, *, hides: bool = True) -> None:
    """Close gaps, shortest first, then serve single accesses in the fastest tier."""
    fastest = state.target.fastest.name
    movable = [
        (index, segment)
        for index, segment in enumerate(state.segments)
        if segment.size_bytes and segment.home != fastest
    ]
    waiting = sorted(
        (segment.accesses[j].step - segment.accesses[j - 1].step, -segment.size_bytes, index, j)
        for index, segment in movable
        for j in range(1, len(segment.accesses))
    )
    for _ in range(MAX_PASSES):
        left = [gap for gap in waiting if not join(state, gap[2], gap[3] - 1, gap[3], window)]
        if len(left) == len(waiting):
            break
        waiting = left
    for _, _, index, first, last in _stretches(state, movable):
        join(state, index, first, last, window)
    single = sorted(
        (access.step, -segment.size_bytes, index, j)
        for index, segment in movable
        for j, access in enumerate(segment.accesses)
        if state.span_of(index, j) is None
    )
    for _, _, index, j in single if hides else ():
        if state.span_of(index, j) is None:
            join(state, index, j, j, window)


def _stretches(
    state: ResidencyState, movable: Sequence[tuple[int, Segment]]
) -> list[tuple[int, int, int, int, int]]:
    """(steps, -size, segment, first access, last one) of 3 accesses or more in a row at home."""
    found = []
    for index, segment in movable:
        first = 0
        for j in range(len(segment.accesses) + 1):
            if j < len(segment.accesses) and state.span_of(index, j) is None:
                continue
            if j - first > 2:
                steps = segment.accesses[j - 1].step - segment.accesses[first].step
                found.append((steps, -segment.size_bytes, index, first, j - 1))
            first = j + 1
    return sorted(found)


def retime(state: ResidencyState, window: int) -> None:
    """Plan transfers anew where that is better, what operators use staying charged."""
    for index, spans in enumerate(state.residencies):
        for first, (last, residency) in sorted(spans.items()):
            if not (residency.fill or residency.spill):
                continue
            before = state.mark()
            state.remove(index, first)
            _charge(state, index, (first, last), 1)
            other = propose(state, index, first, last, window)
            _charge(state, index, (first, last), -1)
            size = state.aligned_bytes(state.segments[index])
            if other is not None and state.fits(size, other.start, other.end):
                state.add(index, first, last, other)
                if state.improved_since(before):
                    continue
                state.remove(index, first)
            state.add(index, first, last, residency)
