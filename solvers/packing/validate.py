"""A check of packings that shares nothing with the packers."""

from bisect import bisect_left, insort

import numpy as np

from ullage.compiler.common.arrays import Ints


def overlapping_pair(
    starts: Ints, ends: Ints, offsets: Ints, sizes: Ints
) -> tuple[int, int] | None:
    """Two buffers that overlap in both time and address, or None: a sweep in O(N log N).

    Args:
        starts: shape (N,).
        ends: shape (N,), half-open.
        offsets: shape (N,), in bytes.
        sizes: shape (N,), in bytes; buffers of no bytes overlap nothing.
    """
    real = [int(i) for i in np.flatnonzero((sizes > 0) & (ends > starts))]
    # At equal times what ends goes first: intervals are half-open.
    accesses = sorted([(int(ends[i]), 0, i) for i in real] + [(int(starts[i]), 1, i) for i in real])
    alive: list[tuple[int, int, int]] = []  # (offset, one past the last byte, buffer)
    for _, begins, i in accesses:
        entry = (int(offsets[i]), int(offsets[i] + sizes[i]), i)
        if not begins:
            del alive[bisect_left(alive, entry)]
            continue
        at = bisect_left(alive, entry)
        # The alive ones are disjoint, so only the two neighbours can be hit.
        if at > 0 and alive[at - 1][1] > entry[0]:
            return alive[at - 1][2], i
        if at < len(alive) and alive[at][0] < entry[1]:
            return i, alive[at][2]
        insort(alive, entry)
    return None
