"""Rounding: the LP's slice requests are accepted one after the other, as long as they fit.

The requests of a slice come together, most valuable slices (slow-tier bytes saved per byte and step
taken) first. One that does not fit any more is refused, or cut so that a part of it fits:

    bytes
      |              +--------------+
      |              | excess       |    cut off: tried again as a slice of its own
    capacity - - - - +--------------+ - - - - -
      |              | rest         |    accepted
      |    +----+    +----+    +----+
      |    |load|         |load|              accepted before
      +------------------------------------ steps

What is refused is accessed at home; fills and spills move into idle steps afterwards (`retime`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.two_tier.slicing import SliceRequest, slice_of
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.greedy_moves import join_pairs
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Segment

# Steps around a use span within which repaired residencies are filled and spilled.
REPAIR_WINDOW_STEPS = 64
# Steps that a slice may be kept after its last access only to be spilled.
SPILL_STEPS = 64


class SlicedResidencyState(ResidencyState):
    """Residency state of slices that can still be cut, counted in whole pages where there are any.

    Attributes:
        page_bytes: size of a page, 0 where memory is not divided into pages.
        slices: the segments, cut further while requests are accepted.
        untouched: slices with residencies that continue in the next inference.
    """

    def __init__(
        self,
        problem: Problem,
        segments: Sequence[Segment],
        page_bytes: int,
    ) -> None:
        self.page_bytes = page_bytes
        self.slices = list(segments)
        super().__init__(problem, self.slices)
        if page_bytes:  # pages have one size and place for all steps: so has the workspace above
            workspace = np.array([step.workspace_bytes for step in problem.steps], dtype=np.int64)
            self.load_bytes += workspace.max(initial=0) - workspace

    def split(self, index: int, excess_bytes: int) -> int | None:
        """Cut at least `excess_bytes` off the end of a slice without residencies.

        Returns:
            The new slice, None when nothing would be left (or the memory has no pages).
        """
        segment = self.slices[index]
        if not self.page_bytes:
            return None
        cut = (segment.end_byte - excess_bytes) // self.page_bytes * self.page_bytes
        if cut <= segment.start_byte:
            return None
        self.slices[index] = slice_of(segment, segment.start_byte, cut)
        self.slices.append(slice_of(segment, cut, segment.end_byte))
        self.residencies.append({})
        return len(self.slices) - 1

    def drop(self, index: int, first: int) -> None:
        """Take a residency back: its operators go to the home tier.

        Raises:
            LookupError: they cannot, and no loop-carried slice could make room instead.
        """
        if not self.slices[index].must_be_fastest or index in self.untouched:
            for begin in list(self.residencies[index]) if index in self.untouched else [first]:
                if begin in self.residencies[index]:
                    self.remove(index, begin)
            self.untouched.discard(index)
        elif self.untouched:
            self.drop(min(self.untouched), 0)
        else:
            raise LookupError(index)

    def aligned_bytes(self, segment: Segment) -> int:
        """Bytes of the pages that a segment touches; pages begin at multiples inside the buffer."""
        if not self.page_bytes:
            return super().aligned_bytes(segment)
        first, last = segment.start_byte // self.page_bytes, -(-segment.end_byte // self.page_bytes)
        return (last - first) * self.page_bytes


def round_requests(
    state: SlicedResidencyState, requests: Sequence[SliceRequest], budget: Budget
) -> int:
    """Add the requested residencies that fit, most valuable slices first.

    Slices that operators reach in the fastest tier only are there in any case: they come first, and
    are joined over the gaps that the requests close. Another one that sticks out is cut, so that
    the part that fits is accepted.

    Returns:
        How many requests were refused.
    """
    by_slice: dict[int, list[SliceRequest]] = {}
    for request in requests:
        by_slice.setdefault(request.slice, []).append(request)
    refused = 0
    order = sorted(by_slice, key=lambda n: (-_worth(state, by_slice[n]), n))
    mandatory = [
        (number, access)
        for number in order
        if state.segments[number].must_be_fastest
        for request in by_slice[number]
        for access in range(request.first + 1, request.last + 1)
    ]
    join_pairs(state, mandatory, REPAIR_WINDOW_STEPS, budget)
    for number in order:
        of_slice = by_slice[number]
        if state.segments[number].must_be_fastest:
            continue
        excess = max(_excess(state, number, span) for r in of_slice for span in _spans(state, r))
        rest = state.split(number, excess) if excess > 0 else None
        refused += _accept_all(state, of_slice)
        if rest is not None:
            refused += _accept_all(state, [replace(r, slice=rest) for r in of_slice])
    return refused


def _accept_all(state: SlicedResidencyState, requests: Sequence[SliceRequest]) -> int:
    """Accept the requests of a slice, loop-carried ones all or none; returns how many fail."""
    number = requests[0].slice
    linked = [r for r in requests if r.is_loop_carried or r.is_left]
    refused = 0
    if linked and not _accept_linked(state, linked):
        refused += len(linked)
    else:
        state.untouched.update({number} if linked else ())
    return refused + sum(not _accept_one(state, r) for r in requests if r not in linked)


def _accept_linked(state: SlicedResidencyState, requests: Sequence[SliceRequest]) -> bool:
    """Add the loop-carried residencies of a slice if all fit; returns whether they do."""
    number = requests[0].slice
    segment = state.segments[number]
    spans = [span for request in requests for span in _spans(state, request)]
    if any(_excess(state, number, span) > 0 for span in spans):
        return False
    for request in requests:
        begin, end = _spans(state, request)[0]
        fill = ((request.fill, segment.size_bytes),) if request.fill >= 0 else ()
        residency = SegmentResidency(number, begin, begin + 1 if fill else begin, end, fill)
        state.add(number, request.first, request.last, residency)
        if request.tail >= 0:  # a residency without accesses, for the next inference
            after, moves = len(segment.accesses), ((request.tail, segment.size_bytes),)
            tail = SegmentResidency(number, request.tail, request.tail + 1, state.steps, moves)
            state.add(number, after, after - 1, tail)
    return True


def _worth(state: ResidencyState, requests: Sequence[SliceRequest]) -> float:
    """Slow-tier bytes that requested residencies save, per byte and step that they take."""
    saved = taken = 0.0
    segment = state.segments[requests[0].slice]
    for request in requests:
        accesses = segment.accesses[request.first : request.last + 1]
        saved += sum(e.read_bytes + e.written_bytes for e in accesses)
        saved -= segment.size_bytes if max(request.fill, request.tail) >= 0 else 0
        taken += segment.size_bytes * sum(end - begin for begin, end in _spans(state, request))
    return saved / taken


def _spans(state: ResidencyState, request: SliceRequest) -> list[tuple[int, int]]:
    """Steps [begin, end) during which a request takes space, that of its accesses first."""
    accesses = state.segments[request.slice].accesses
    begin = accesses[request.first].step
    if request.is_loop_carried:
        begin = 0
    elif request.fill >= 0:
        begin = request.fill
    end = state.steps if request.is_left else accesses[request.last].step + 1
    return [(begin, end), *([(request.tail, state.steps)] if request.tail >= 0 else [])]


def _excess(state: ResidencyState, index: int, span: tuple[int, int]) -> int:
    """Bytes by which a slice exceeds the memory during some steps; negative when it fits."""
    load = int(state.load_bytes[slice(*span)].max())
    capacity = state.target.fastest.capacity_bytes
    return load + state.aligned_bytes(state.segments[index]) - capacity


def _accept_one(state: ResidencyState, request: SliceRequest) -> bool:
    """Add one requested residency, with a spill where it needs one, if it fits; whether it does."""
    segment = state.segments[request.slice]
    start, end = _spans(state, request)[0]
    fill = ((request.fill, segment.size_bytes),) if request.fill >= 0 else ()
    if fill and request.fill < state.free_from(request.slice, request.first):
        return False
    if _excess(state, request.slice, (start, end)) > 0:
        return False
    residency = SegmentResidency(request.slice, start, start + 1 if fill else start, end, fill)
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
