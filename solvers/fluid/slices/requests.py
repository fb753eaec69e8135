"""Accepting what the LP asks for: a residency where it fits, with its fill and its spill."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.fluid.two_tier.program import SliceRequest
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Segment

# Steps that a slice may be kept after its last access only to be spilled.
SPILL_STEPS = 64


def accept_linked(state: SlicedResidencyState, requests: Sequence[SliceRequest]) -> bool:
    """Add the loop-carried residencies of a slice if all fit; returns whether they do."""
    number = requests[0].slice
    segment = state.segments[number]
    spans = [span for request in requests for span in spans_of(state, request)]
    if any(excess_bytes(state, number, span) > 0 for span in spans):
        return False
    for request in requests:
        begin, end = spans_of(state, request)[0]
        moves = request.fill_of(segment.size_bytes)
        fill = moves if request.fill >= 0 else ()
        ready = fill[-1][0] + 1 if fill else begin
        residency = SegmentResidency(number, begin, ready, end, fill)
        state.add(number, request.first, request.last, residency)
        if request.tail >= 0:  # a residency without accesses, for the next inference
            after, ready = len(segment.accesses), moves[-1][0] + 1
            tail = SegmentResidency(number, request.tail, ready, state.steps, moves)
            state.add(number, after, after - 1, tail)
    return True


def spans_of(state: ResidencyState, request: SliceRequest) -> list[tuple[int, int]]:
    """Steps [begin, end) during which a request takes space, that of its accesses first."""
    accesses = state.segments[request.slice].accesses
    begin = accesses[request.first].step
    if request.is_loop_carried:
        begin = 0
    elif request.fill >= 0:
        begin = request.fill
    end = state.steps if request.is_left else accesses[request.last].step + 1
    return [(begin, end), *([(request.tail, state.steps)] if request.tail >= 0 else [])]


def excess_bytes(state: ResidencyState, index: int, span: tuple[int, int]) -> int:
    """Bytes by which a slice exceeds the memory during some steps; negative when it fits."""
    load = int(state.load_bytes[slice(*span)].max())
    capacity = state.target.fastest.capacity_bytes
    return load + state.aligned_bytes(state.segments[index]) - capacity


def accept_one(state: ResidencyState, request: SliceRequest) -> bool:
    """Add one requested residency, with a spill where it needs one, if it fits; whether it does."""
    segment = state.segments[request.slice]
    start, end = spans_of(state, request)[0]
    fill = request.fill_of(segment.size_bytes)
    if fill and request.fill < state.free_from(request.slice, request.first):
        return False
    if excess_bytes(state, request.slice, (start, end)) > 0:
        return False
    ready = fill[-1][0] + 1 if fill else start
    residency = SegmentResidency(request.slice, start, ready, end, fill)
    if state.needs_spill(request.slice, request.first, request.last):
        spilled = _spilled_as_requested(state, request, residency) or _spilled(
            state, request, residency
        )
        if spilled is None:
            return False
        residency = spilled
    state.add(request.slice, request.first, request.last, residency)
    return True


def _spilled_as_requested(
    state: ResidencyState, request: SliceRequest, residency: SegmentResidency
) -> SegmentResidency | None:
    """The residency with the LP's own spill, kept until it is done; None where illegal."""
    segment = state.segments[request.slice]
    if request.spill < _spill_from(segment, request, residency) or request.spill >= _spill_limit(
        state, request
    ):
        return None
    end = max(residency.end, request.spill + 1)
    if not state.fits(state.aligned_bytes(segment), residency.end, end):
        return None
    return replace(residency, end=end, spill=((request.spill, segment.size_bytes),))


def _spill_from(segment: Segment, request: SliceRequest, residency: SegmentResidency) -> int:
    """First step in which a spill may move: after the last write, when the slice is ready."""
    writes = [e.step for e in segment.accesses[request.first : request.last + 1] if e.writes]
    return max([*writes, residency.ready - 1]) + 1


def _spill_limit(state: ResidencyState, request: SliceRequest) -> int:
    """First step that is too late for a spill: the next use."""
    segment = state.segments[request.slice]
    followed = request.last + 1 < len(segment.accesses)
    return segment.accesses[request.last + 1].step if followed else state.steps


def _spilled(
    state: ResidencyState, request: SliceRequest, residency: SegmentResidency
) -> SegmentResidency | None:
    """The residency with a spill in idle steps after its last write, kept longer where it must."""
    segment = state.segments[request.slice]
    fastest = state.target.fastest.name
    if state.target.link(fastest, segment.home) is None:
        return None
    after, limit = _spill_from(segment, request, residency), _spill_limit(state, request)
    reach = residency.end
    size = state.aligned_bytes(segment)
    while (
        reach < limit and reach < residency.end + SPILL_STEPS and state.fits(size, reach, reach + 1)
    ):
        reach += 1
    if after >= reach:
        return None
    spill = ((after, segment.size_bytes),)
    return replace(residency, end=max(residency.end, after + 1), spill=spill)


def earliest_fit(state: SlicedResidencyState, number: int, low: int, high: int) -> int:
    """Smallest step s in [low, high] such that a slice fits during [s, high)."""
    size = state.aligned_bytes(state.segments[number])
    too_full = np.flatnonzero(
        state.load_bytes[low:high] > state.target.fastest.capacity_bytes - size
    )
    return low + int(too_full[-1]) + 1 if len(too_full) else low
