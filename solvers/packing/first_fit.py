"""First-fit for very many buffers, compiled: this module imports numba, import it where needed.

Two algorithms. The sweep meets buffers in the order of time and keeps the free gaps of the
address space: near-linear. The ordered first-fit places them in any order and, to find what
is in the way, visits only what is alive at the same time: linear in the number of such pairs.
"""

from collections.abc import Iterator

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.common.kernel_cache import kernel
from ullage.solvers.packing.heuristics import Layout, greedy_orders
from ullage.solvers.packing.instance import Instance

# Most pairs of buffers alive together that all ordered passes may visit, some 20 ns each.
_MAX_PAIRS = 600_000_000

_compiled = kernel()


def first_fit_layout(instance: Instance) -> Layout:
    """Pack by sweeps in both directions of time, then by ordered first-fit, until good enough.

    Ordered passes stop where their work would exceed a fixed number of pairs of buffers alive
    together: the result depends on the instance alone.

    Args:
        instance: N buffers, and the peak that is good enough.

    Returns:
        The layout with the lowest peak.
    """
    best: Layout | None = None
    for layout in _layouts(instance):
        if best is None or layout.peak < best.peak:
            best = layout
        if best.peak <= instance.target_peak:
            break
    assert best is not None  # noqa: S101 - the sweeps are always tried
    return best


def _layouts(instance: Instance) -> Iterator[Layout]:
    latest = instance.ends.max()
    times = (
        ("forwards", instance.starts, instance.ends),
        ("backwards", latest - instance.ends, latest - instance.starts),
    )
    for name, starts, ends in times:
        for rule, best_fit in (("first-fit", False), ("best-fit", True)):
            offsets = sweep_fit(starts, ends, instance.sizes, best_fit=best_fit)
            yield Layout(offsets, instance.peak(offsets), f"{rule} sweep {name}")
    budget = _MAX_PAIRS
    orders = dict(greedy_orders(instance))
    for name in ("area", "duration", "size"):
        if instance.pairs > budget:
            return
        budget -= instance.pairs
        offsets = ordered_first_fit(instance.starts, instance.ends, instance.sizes, orders[name])
        yield Layout(offsets, instance.peak(offsets), f"first-fit by {name}")


def sweep_fit(starts: Ints, ends: Ints, sizes: Ints, *, best_fit: bool) -> Ints:
    """Place buffers by start (larger first) in the lowest or the tightest gap free at that time.

    Args:
        starts: first step of each buffer, shape (N,).
        ends: one past its last step, shape (N,), larger than `starts`.
        sizes: bytes, shape (N,), positive.
        best_fit: the smallest gap that is large enough, else the lowest.

    Returns:
        Offsets, shape (N,).
    """
    arrivals = np.lexsort((starts - ends, -sizes, starts))
    departures = np.argsort(ends, kind="stable")
    return _sweep(starts, ends, sizes, arrivals, departures, best_fit)


@_compiled
def _sweep(
    starts: Ints,
    ends: Ints,
    sizes: Ints,
    arrivals: Ints,
    departures: Ints,
    best_fit: bool,
) -> Ints:
    count = len(starts)
    offsets = np.zeros(count, np.int64)
    # Gaps in the order of addresses, never adjacent; above `top` all is free.
    gap_start = np.empty(count + 1, np.int64)
    gap_end = np.empty(count + 1, np.int64)
    gaps = 0
    top = 0
    leaving = 0
    for i in arrivals:
        while ends[departures[leaving]] <= starts[i]:
            departed = departures[leaving]
            leaving += 1
            low, high = offsets[departed], offsets[departed] + sizes[departed]
            # First gap above the freed range, by bisection.
            left, right = 0, gaps
            while left < right:
                middle = (left + right) // 2
                if gap_start[middle] < low:
                    left = middle + 1
                else:
                    right = middle
            joins_below = left > 0 and gap_end[left - 1] == low
            joins_above = left < gaps and gap_start[left] == high
            if joins_below and joins_above:
                gap_end[left - 1] = gap_end[left]
                gaps -= 1
                for j in range(left, gaps):
                    gap_start[j], gap_end[j] = gap_start[j + 1], gap_end[j + 1]
            elif joins_below:
                gap_end[left - 1] = high
            elif joins_above:
                gap_start[left] = low
            else:
                for j in range(gaps, left, -1):
                    gap_start[j], gap_end[j] = gap_start[j - 1], gap_end[j - 1]
                gap_start[left], gap_end[left] = low, high
                gaps += 1
            if gaps > 0 and gap_end[gaps - 1] == top:
                gaps -= 1
                top = gap_start[gaps]
        gap = -1
        for j in range(gaps):
            room = gap_end[j] - gap_start[j]
            if room >= sizes[i] and (gap < 0 or room < gap_end[gap] - gap_start[gap]):
                gap = j
                if not best_fit or room == sizes[i]:
                    break
        if gap < 0:
            offsets[i] = top
            top += sizes[i]
            continue
        offsets[i] = gap_start[gap]
        gap_start[gap] += sizes[i]
        if gap_start[gap] == gap_end[gap]:
            gaps -= 1
            for j in range(gap, gaps):
                gap_start[j], gap_end[j] = gap_start[j + 1], gap_end[j + 1]
    return offsets


def ordered_first_fit(starts: Ints, ends: Ints, sizes: Ints, order: Ints) -> Ints:
    """Place buffers in the given order at the lowest address free during their whole lifetime.

    What is alive together with [s, e) either starts inside it, which is a range of the buffers
    sorted by start, or contains s, which is on one path of a segment tree over time.

    Args:
        starts: first step of each buffer, shape (N,).
        ends: one past its last step, shape (N,), larger than `starts`.
        sizes: bytes, shape (N,), positive.
        order: shape (N,), indices of the buffers, first placed first.

    Returns:
        Offsets in bytes, shape (N,).
    """
    by_start = np.argsort(starts, kind="stable")
    ticks, first_tick = np.unique(starts, return_inverse=True)
    end_tick = np.searchsorted(ticks, ends, side="left")
    # Position in `by_start` of the first buffer that starts at or after a tick.
    position = np.searchsorted(starts[by_start], ticks, side="left")
    position = np.append(position, len(starts)).astype(np.int64)
    rank = np.empty(len(starts), np.int64)
    rank[by_start] = np.arange(len(starts))
    rank_of_order = rank[order]
    offsets = _ordered(
        first_tick[by_start].astype(np.int64),
        end_tick[by_start].astype(np.int64),
        sizes[by_start],
        rank_of_order,
        position,
    )
    return offsets[rank]


@_compiled
def _doubled(values: Ints) -> Ints:
    """The same values in an array of twice the length.

    Numba's `append` takes four times as long to compile.
    """
    more = np.empty(2 * len(values), np.int64)
    for i in range(len(values)):
        more[i] = values[i]
    return more


@_compiled
def _ordered(first: Ints, last: Ints, sizes: Ints, order: Ints, position: Ints) -> Ints:
    count = len(first)
    leaves = 1
    while leaves < len(position):
        leaves *= 2
    # Lists of the nodes share one pool; a buffer is in fewer than 2 * 64 nodes.
    head = np.empty(2 * leaves, np.int64)
    head[:] = -1
    item = np.empty(4 * count + 2 * 64, np.int64)
    link = np.empty(4 * count + 2 * 64, np.int64)
    used = 0
    offsets = np.empty(count, np.int64)
    offsets[:] = -1
    low = np.empty(count, np.int64)
    high = np.empty(count, np.int64)
    for i in order:
        blocking = 0
        for j in range(position[first[i] + 1], position[last[i]]):
            if offsets[j] >= 0:
                low[blocking], high[blocking] = offsets[j], offsets[j] + sizes[j]
                blocking += 1
        node = leaves + first[i]
        while node >= 1:
            entry = head[node]
            while entry >= 0:
                j = item[entry]
                low[blocking], high[blocking] = offsets[j], offsets[j] + sizes[j]
                blocking += 1
                entry = link[entry]
            node //= 2
        # Rectangles in the way may share addresses (at different times): keep the furthest end.
        address = 0
        ascending = np.argsort(low[:blocking])
        for k in ascending:
            if low[k] - address >= sizes[i]:
                break
            address = max(address, high[k])
        offsets[i] = address
        if used + 2 * 64 > len(item):
            item, link = _doubled(item), _doubled(link)
        left, right = leaves + first[i], leaves + last[i]
        while left < right:
            if left % 2 == 1:
                item[used], link[used], head[left] = i, head[left], used
                used += 1
                left += 1
            if right % 2 == 1:
                right -= 1
                item[used], link[used], head[right] = i, head[right], used
                used += 1
            left //= 2
            right //= 2
    return offsets
