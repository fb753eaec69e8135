"""An offset assignment instance in plain units, and the bound that every packing obeys."""

import heapq
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.common.errors import UsageError

# Bytes that all sizes together may have, so that sums stay inside 64-bit integers.
MAX_TOTAL_BYTES = 2**62


@dataclass(frozen=True)
class Instance:
    """N rectangles to stack: fixed intervals of time, free offsets.

    Attributes:
        starts: shape (N,), first time at which each buffer is alive.
        ends: shape (N,), one past the last; larger than `starts`.
        sizes: shape (N,), positive, in units (alignment and common divisor divided out).
        lower_bound: load bound in units.
        target_peak: peak in units that is good enough; at least `lower_bound`.
        capacity_stated: the target is a capacity: a peak above it is of little use.
    """

    starts: Ints
    ends: Ints
    sizes: Ints
    lower_bound: int
    target_peak: int
    capacity_stated: bool = False

    @cached_property
    def pairs(self) -> int:
        """Number of pairs of buffers alive together: the work of placing every buffer once."""
        begun = np.searchsorted(np.sort(self.starts), self.ends, side="left")
        over = np.searchsorted(np.sort(self.ends), self.starts, side="right")
        return (int((begun - over).sum()) - len(self.sizes)) // 2

    def peak(self, offsets: Ints) -> int:
        """Highest address used, in units."""
        return int((offsets + self.sizes).max())


def as_int64(name: str, values: object) -> Ints:
    """A one-dimensional int64 array; UsageError when the values are not integers."""
    array = np.asarray(values)
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise UsageError(
            f"packing needs {name} as one row of 64-bit integers, found {array.dtype} of shape "
            f"{array.shape}; convert times and sizes to whole numbers"
        )
    if array.dtype.kind == "u" and int(array.max()) > np.iinfo(np.int64).max:
        raise UsageError(f"packing: {name} beyond 2**63; use smaller numbers")
    return array.astype(np.int64)


def check(starts: Ints, ends: Ints, sizes: Ints) -> None:
    """Refuse arrays that do not describe an instance.

    Raises:
        UsageError: arrays differ in length, a lifetime ends before it starts, a size is
            negative, or all sizes together exceed 2**62.
    """
    if not len(starts) == len(ends) == len(sizes):
        raise UsageError(
            f"packing needs as many starts, ends and sizes, found {len(starts)}, {len(ends)} "
            f"and {len(sizes)}; give one of each per buffer"
        )
    backwards = np.flatnonzero(ends < starts)
    if len(backwards):
        i = int(backwards[0])
        raise UsageError(
            f"buffer {i} lives during [{starts[i]}, {ends[i]}), which ends before it starts; "
            "lifetimes are half-open [start, end)"
        )
    negative = np.flatnonzero(sizes < 0)
    if len(negative):
        i = int(negative[0])
        raise UsageError(f"buffer {i} has size {sizes[i]}; sizes are zero or more bytes")
    if float(sizes.sum(dtype=np.float64)) > MAX_TOTAL_BYTES:
        raise UsageError("all sizes together exceed 2**62 bytes; use a larger unit of size")


def load_bound(starts: Ints, ends: Ints, sizes: Ints) -> int:
    """Largest sum of sizes alive at any time: no packing has a smaller peak."""
    if len(starts) == 0:
        return 0
    times = np.concatenate([ends, starts])
    deltas = np.concatenate([-sizes, sizes])
    # Ends stand first and the sort is stable: space left at t is free at t.
    return max(int(np.cumsum(deltas[np.argsort(times, kind="stable")]).max()), 0)


def aligned_load_bound(starts: Ints, ends: Ints, sizes: Ints, alignment: int) -> int:
    """Load bound of buffers at aligned offsets, in bytes.

    At each time every buffer but the topmost takes its size rounded up to the alignment, the
    topmost its bare size; which one is on top is free, so the largest rounding is given back.
    """
    rounded = -(-sizes // alignment) * alignment
    slacks = rounded - sizes
    if not slacks.any():
        return load_bound(starts, ends, sizes)
    alive: list[tuple[int, int]] = []  # (-slack, end), dead ones dropped when they surface
    departures = np.sort(ends)
    rounded_leaving = rounded[np.argsort(ends, kind="stable")]
    load = left = bound = 0
    for i in np.argsort(starts, kind="stable"):
        start = int(starts[i])
        while left < len(departures) and departures[left] <= start:
            load -= int(rounded_leaving[left])
            left += 1
        load += int(rounded[i])
        heapq.heappush(alive, (-int(slacks[i]), int(ends[i])))
        while alive[0][1] <= start:
            heapq.heappop(alive)
        # Evaluated before all starts of this time are in, the value is low, hence still a bound.
        bound = max(bound, load + alive[0][0])
    return bound
