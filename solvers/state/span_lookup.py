"""Which run of a segment's accesses is where: looked up, not searched, where there are many."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.segments import Segment

UseSpan = tuple[int, int]  # first and last access of an uninterrupted stay
FEW = 8  # runs of a segment that are sorted anew at each look


class SpanLookup:
    """A sorted view of an occupancy's runs, told of every change.

    Attributes:
        residencies: for each segment its residencies by first access, as the occupancy keeps them.
        segments: the segments.
    """

    def __init__(
        self,
        residencies: Sequence[dict[int, tuple[int, SegmentResidency]]],
        segments: Sequence[Segment],
    ) -> None:
        self.residencies = residencies
        self.segments = segments
        self._firsts: dict[int, list[int]] = {}  # of segments with many runs
        self._writes: dict[int, list[int]] = {}

    def added(self, index: int, first: int) -> None:
        """A run that begins at access `first` was added."""
        if index in self._firsts:
            insort(self._firsts[index], first)

    def removed(self, index: int, first: int) -> None:
        """A run that begins at access `first` was removed."""
        if index in self._firsts:
            firsts = self._firsts[index]
            del firsts[bisect_left(firsts, first)]

    def firsts(self, index: int) -> list[int]:
        """First accesses of a segment's runs, ascending."""
        runs = self.residencies[index]
        if len(runs) <= FEW:
            self._firsts.pop(index, None)
            return sorted(runs)
        firsts = self._firsts.get(index)
        if firsts is None or len(firsts) != len(runs):
            firsts = self._firsts[index] = sorted(runs)
        return firsts

    def of(self, index: int, access: int) -> UseSpan | None:
        """The run that covers an access, None without one."""
        found = self.between(index, access, access)
        return found[0] if found else None

    def between(self, index: int, low: int, high: int) -> list[UseSpan]:
        """Runs that cover any of the accesses low..high, ascending."""
        runs = self.residencies[index]
        if not runs:
            return []
        firsts = self.firsts(index)
        begin, end = max(bisect_right(firsts, low) - 1, 0), bisect_right(firsts, high)
        return [(f, runs[f][0]) for f in firsts[begin:end] if runs[f][0] >= low]

    def before(self, index: int, access: int) -> SegmentResidency | None:
        """The residency of the last run that begins before an access."""
        firsts = self.firsts(index)
        at = bisect_left(firsts, access) - 1
        return self.residencies[index][firsts[at]][1] if at >= 0 else None

    def behind(self, index: int, access: int) -> SegmentResidency | None:
        """The residency of the first run that begins after an access."""
        firsts = self.firsts(index)
        at = bisect_right(firsts, access)
        return self.residencies[index][firsts[at]][1] if at < len(firsts) else None

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
            run = self.of(index, writer)
            if run is None:
                return True
            since = run[0]
        # What a run has written is at home when it, or one behind it, was spilled.
        firsts = self.firsts(index)
        between = firsts[bisect_left(firsts, since) : bisect_left(firsts, before_access)]
        return any(self.residencies[index][first][1].spill for first in between)


def uncounted(first: int, last: int, counted: Sequence[UseSpan]) -> list[tuple[int, int]]:
    """The accesses first..last without the counted runs (ascending), as half-open ranges."""
    found: list[tuple[int, int]] = []
    for low, high in counted:
        if first < low:
            found.append((first, low))
        first = high + 1
    return [*found, (first, last + 1)] if first <= last else found
