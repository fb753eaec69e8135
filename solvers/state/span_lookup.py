"""Finding the use spans of a segment around an access, by bisection.

A weight that every step reads may have thousands of spans, so the sorted list is kept, not made
anew at each look.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.segments import Segment

# First and last access of a segment that operators find in the fastest tier without a break.
UseSpan = tuple[int, int]
# Number of use spans of a segment up to which they are sorted at each look.
FEW = 8


class SpanLookup:
    """A sorted view of the use spans of a residency state, which reports every change to it.

    Attributes:
        residencies: for each segment its residencies by first access, as the state keeps them.
        segments: the segments.
    """

    def __init__(
        self,
        residencies: Sequence[dict[int, tuple[int, SegmentResidency]]],
        segments: Sequence[Segment],
    ) -> None:
        self.residencies = residencies
        self.segments = segments
        self._firsts: dict[int, list[int]] = {}  # of segments with many use spans
        self._writes: dict[int, list[int]] = {}

    def added(self, index: int, first: int) -> None:
        """A use span that begins at access `first` was added."""
        if index in self._firsts:
            insort(self._firsts[index], first)

    def removed(self, index: int, first: int) -> None:
        """A use span that begins at access `first` was removed."""
        if index in self._firsts:
            firsts = self._firsts[index]
            del firsts[bisect_left(firsts, first)]

    def firsts(self, index: int) -> list[int]:
        """First accesses of a segment's use spans, ascending."""
        spans = self.residencies[index]
        if len(spans) <= FEW:
            self._firsts.pop(index, None)
            return sorted(spans)
        firsts = self._firsts.get(index)
        if firsts is None or len(firsts) != len(spans):
            firsts = self._firsts[index] = sorted(spans)
        return firsts

    def of(self, index: int, access: int) -> UseSpan | None:
        """The use span that covers an access, None without one."""
        covering = self.between(index, access, access)
        return covering[0] if covering else None

    def between(self, index: int, low: int, high: int) -> list[UseSpan]:
        """Use spans that cover any of the accesses low..high, ascending."""
        spans = self.residencies[index]
        if not spans:
            return []
        firsts = self.firsts(index)
        begin, end = max(bisect_right(firsts, low) - 1, 0), bisect_right(firsts, high)
        return [(f, spans[f][0]) for f in firsts[begin:end] if spans[f][0] >= low]

    def before(self, index: int, access: int) -> SegmentResidency | None:
        """The residency of the last use span that begins before an access."""
        firsts = self.firsts(index)
        at = bisect_left(firsts, access) - 1
        return self.residencies[index][firsts[at]][1] if at >= 0 else None

    def last_write(self, index: int, first: int, last: int) -> int | None:
        """The last access that writes among first..last, None without one."""
        writes = self._writes.get(index)
        if writes is None:
            writes = [j for j, access in enumerate(self.segments[index].accesses) if access.writes]
            self._writes[index] = writes
        at = bisect_right(writes, last) - 1
        return writes[at] if at >= 0 and writes[at] >= first else None

    def at_home_after(self, index: int, before_access: int) -> bool:
        """Whether the home tier holds current data just before an access."""
        writer = self.last_write(index, 0, before_access - 1)
        if writer is None and self.segments[index].is_given:
            return True
        since = 0
        if writer is not None:
            span = self.of(index, writer)
            if span is None:
                return True
            since = span[0]
        # What a use span has written is at home when it, or one behind it, was spilled.
        firsts = self.firsts(index)
        between = firsts[bisect_left(firsts, since) : bisect_left(firsts, before_access)]
        return any(self.residencies[index][first][1].spill for first in between)
