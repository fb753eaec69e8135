"""Placement one by one: rectangles of time x address are added to a memory and taken away again.

Unlike `solvers.packing`, which sees all rectangles at once, an address map is filled in the order
in which a heuristic decides, and answers "where is a hole of this size during these steps?".
"""

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.common.errors import UsageError

# Start time of a slot that holds no rectangle: it overlaps no interval.
_NEVER = np.iinfo(np.int64).max
# Units of time (steps, for most callers) that share one list of the rectangles that touch them. It
# is also the number of rectangles up to which all are looked at instead.
_BUCKET = 64


def best_fit(  # noqa: PLR0913, PLR0917 - the arrays of a map, then the request
    occupied_starts: Ints,
    occupied_ends: Ints,
    occupied_offsets: Ints,
    occupied_sizes: Ints,
    start: int,
    end: int,
    size: int,
    alignment: int,
    capacity: int,
) -> int | None:
    """Offset of the tightest gap that is free during the whole of [start, end).

    The room above everything in the way counts as the last resort, however small, so that the
    packing stays low; among equally tight gaps the lowest is taken.

    Args:
        occupied_starts: shape (N,), when each rectangle begins.
        occupied_ends: shape (N,), one past when it ends.
        occupied_offsets: shape (N,), in bytes.
        occupied_sizes: shape (N,), in bytes.
        start: first time at which the space is needed.
        end: one past the last.
        size: in bytes.
        alignment: in bytes; the offset is a multiple of it.
        capacity: in bytes; the space ends at or below it.

    Returns:
        The offset, None when there is no room.
    """
    if size == 0 or end <= start:
        return 0 if size <= capacity else None
    inside = np.flatnonzero((occupied_starts < end) & (occupied_ends > start))
    lows = occupied_offsets[inside]
    highs = lows + occupied_sizes[inside]
    ascending = np.argsort(lows)
    lows = lows[ascending]
    # Rectangles in the way may share addresses at different times.
    reach = np.maximum.accumulate(highs[ascending])
    floors = np.concatenate([np.zeros(1, dtype=np.int64), reach])
    floors = -(-floors // alignment) * alignment
    rooms = np.minimum(lows, capacity) - floors[:-1]
    fitting = np.flatnonzero(rooms >= size)
    if len(fitting):
        return int(floors[fitting[np.argmin(rooms[fitting])]])
    top = int(floors[-1])
    return top if top + size <= capacity else None


class AddressMap:
    """One memory over time, filled one rectangle after another.

    Times are any integers, half-open.

    Attributes:
        capacity_bytes: size of the memory.
        alignment_bytes: offsets that `find` gives are multiples of it.
    """

    def __init__(self, capacity_bytes: int, alignment_bytes: int = 1) -> None:
        if alignment_bytes < 1 or capacity_bytes < 0:
            raise UsageError(
                f"an address map needs an alignment of 1 or more and a capacity of 0 or more, "
                f"found {alignment_bytes} and {capacity_bytes}"
            )
        self.capacity_bytes = capacity_bytes
        self.alignment_bytes = alignment_bytes
        self._used = 0
        self._free: list[int] = []
        self._starts = np.full(64, _NEVER, dtype=np.int64)
        self._ends = np.zeros(64, dtype=np.int64)
        self._offsets = np.zeros(64, dtype=np.int64)
        self._sizes = np.zeros(64, dtype=np.int64)
        self._buckets: dict[int, list[int]] = {}

    def __len__(self) -> int:
        """Number of rectangles in the map."""
        return self._used - len(self._free)

    def find(self, start: int, end: int, size: int) -> int | None:
        """Offset where `size` bytes are free during [start, end) by best fit, or None."""
        near = self._near(start, end)
        return best_fit(
            self._starts[near],
            self._ends[near],
            self._offsets[near],
            self._sizes[near],
            start,
            end,
            size,
            self.alignment_bytes,
            self.capacity_bytes,
        )

    def is_free(self, start: int, end: int, offset: int, size: int) -> bool:
        """Whether [offset, offset + size) is inside the memory and free during [start, end)."""
        if offset < 0 or offset + size > self.capacity_bytes:
            return False
        near = self._near(start, end)
        offsets = self._offsets[near]
        blocked = (
            (self._starts[near] < end)
            & (self._ends[near] > start)
            & (offsets < offset + size)
            & (offsets + self._sizes[near] > offset)
        )
        return not blocked.any()

    def _near(self, start: int, end: int) -> Ints | slice:
        """Slots that hold every rectangle that meets [start, end), and others; some twice."""
        if self._used <= _BUCKET:
            return slice(0, self._used)
        slots = [slot for bucket in _buckets(start, end) for slot in self._buckets.get(bucket, ())]
        return np.array(slots, dtype=np.int64)

    def occupy(self, start: int, end: int, offset: int, size: int) -> int:
        """Add a rectangle, whether its place is free or not; returns its id, for `release`.

        Nothing is checked: a caller that did not get the offset from `find` asks `is_free`.
        """
        if self._free:
            slot = self._free.pop()
        else:
            if self._used == len(self._starts):
                self._grow()
            slot = self._used
            self._used += 1
        self._starts[slot] = start
        self._ends[slot] = end
        self._offsets[slot] = offset
        self._sizes[slot] = size
        for bucket in _buckets(start, end):
            self._buckets.setdefault(bucket, []).append(slot)
        return slot

    def place(self, start: int, end: int, size: int) -> int | None:
        """`find`, then `occupy` for good: the offset, or None and no change."""
        offset = self.find(start, end, size)
        if offset is not None:
            self.occupy(start, end, offset, size)
        return offset

    def release(self, rectangle: int) -> None:
        """Take a rectangle away; its id may be given to a later one.

        Raises:
            UsageError: there is no rectangle of this id (any more).
        """
        if not 0 <= rectangle < self._used or self._starts[rectangle] == _NEVER:
            raise UsageError(
                f"no rectangle {rectangle} in the address map; release each id of `occupy` once"
            )
        for bucket in _buckets(int(self._starts[rectangle]), int(self._ends[rectangle])):
            self._buckets[bucket].remove(rectangle)
        self._starts[rectangle] = _NEVER
        self._ends[rectangle] = 0
        self._free.append(rectangle)

    def _grow(self) -> None:
        more = len(self._starts)
        self._starts = np.concatenate([self._starts, np.full(more, _NEVER, dtype=np.int64)])
        self._ends = np.concatenate([self._ends, np.zeros(more, dtype=np.int64)])
        self._offsets = np.concatenate([self._offsets, np.zeros(more, dtype=np.int64)])
        self._sizes = np.concatenate([self._sizes, np.zeros(more, dtype=np.int64)])


def _buckets(start: int, end: int) -> range:
    """Numbers of the buckets that [start, end) touches; that of its start where it is empty."""
    return range(start // _BUCKET, max(start, end - 1) // _BUCKET + 1)
