"""Offset assignment: put buffers with fixed lifetimes at addresses so that the peak is small."""

import math
import time
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.common.errors import UsageError
from ullage.solvers.packing.heuristics import Layout, quick_layout
from ullage.solvers.packing.instance import (
    Instance,
    aligned_load_bound,
    as_int64,
    check,
    load_bound,
)

# Number of buffers above which the search's tables grow too slow and too large; near-linear
# first-fit takes over.
MAX_SEARCH_BUFFERS = 5_000
# Seconds that a search with proof may take where the caller does not say.
DEFAULT_TIME_LIMIT_S = 10.0


@dataclass(frozen=True)
class Packing:
    """Addresses of N buffers.

    Attributes:
        offsets: shape (N,), in bytes, multiples of the alignment; 0 for buffers of no bytes.
        peak_bytes: highest address used.
        lower_bound_bytes: no packing has a smaller peak (load bound, or the proven optimum).
        optimal: the peak equals the lower bound.
        method: name of the method that found the offsets.
    """

    offsets: Ints
    peak_bytes: int
    lower_bound_bytes: int
    optimal: bool
    method: str


def pack(
    starts: object,
    ends: object,
    sizes: object,
    *,
    alignment_bytes: int = 1,
    capacity_bytes: int | None = None,
    time_limit_s: float = DEFAULT_TIME_LIMIT_S,
    proof: bool = False,
    seed: int = 0,
) -> Packing:
    """Assign an offset to each buffer; no two overlap in both time and address.

    Without `proof` it is quick and depends on its arguments alone, not on the clock: it stops
    at the first packing that reaches the load bound or fits the capacity. The peak may be above
    the capacity: the caller decides what to do then.

    Args:
        starts: shape (N,), integers, first time at which each buffer is alive.
        ends: shape (N,), integers, one past the last. A buffer with an empty lifetime or no
            bytes takes no space.
        sizes: shape (N,), integers, in bytes.
        alignment_bytes: offsets are multiples of it.
        capacity_bytes: size of the memory; without it the smallest peak is sought.
        time_limit_s: wall-clock limit of a search with `proof`.
        proof: search on for a smaller peak, and a proof that there is none. Buffers beyond
            `MAX_SEARCH_BUFFERS` alive in one connected stretch of time are packed without.
        seed: turns the list of search orders.

    Raises:
        UsageError: the arrays, alignment, capacity or time limit make no sense.
    """
    clock = time.monotonic()
    begin, end, size = (
        as_int64(name, values)
        for name, values in (("starts", starts), ("ends", ends), ("sizes", sizes))
    )
    check(begin, end, size)
    _check_options(alignment_bytes, capacity_bytes, time_limit_s)
    offsets = np.zeros(len(size), dtype=np.int64)
    real = np.flatnonzero((size > 0) & (end > begin))
    if len(real) == 0:
        return Packing(offsets, 0, 0, optimal=True, method="empty")
    begin, end, size = begin[real], end[real], size[real]
    if int((-(-size // alignment_bytes)).sum()) > 2**62 // alignment_bytes:
        raise UsageError(
            f"sizes rounded up to the alignment of {alignment_bytes} bytes exceed 2**62 bytes "
            "together; use a smaller alignment"
        )
    rounded = -(-size // alignment_bytes) * alignment_bytes
    # Sums of sizes are multiples of their common divisor, so are all peaks worth reaching.
    unit = int(np.gcd.reduce(rounded))
    bound = load_bound(begin, end, rounded) // unit
    target = bound if capacity_bytes is None else max(bound, capacity_bytes // unit)
    instance = Instance(begin, end, rounded // unit, bound, target, capacity_bytes is not None)
    layout, proven = _best_layout(
        instance, time_limit_s - (time.monotonic() - clock) if proof else None, seed
    )
    offsets[real] = layout.offsets * unit
    peak_bytes = int((offsets[real] + size).max())
    lower_bytes = aligned_load_bound(begin, end, size, alignment_bytes)
    if proven:
        # Proven of rounded sizes; the topmost buffer may end short of its rounded size.
        lower_bytes = max(lower_bytes, layout.peak * unit - int((rounded - size).max()))
    return Packing(offsets, peak_bytes, lower_bytes, peak_bytes <= lower_bytes, layout.method)


def _best_layout(instance: Instance, seconds: float | None, seed: int) -> tuple[Layout, bool]:
    """Pack each stretch of time by itself: no buffer is alive at the border of two."""
    parts = _stretches(instance)
    if len(parts) == 1:
        return _part_layout(instance, seconds, seed)
    if seconds is None and len(instance.sizes) > MAX_SEARCH_BUFFERS:
        layout = _many_layout(instance, parts, seed)
        return layout, layout.peak <= instance.lower_bound
    offsets = np.zeros(len(instance.sizes), dtype=np.int64)
    deadline = None if seconds is None else time.monotonic() + seconds
    methods: list[str] = []
    peak, proven = 0, True
    # The fullest first: its peak is good enough for all the others.
    bounds = [load_bound(instance.starts[p], instance.ends[p], instance.sizes[p]) for p in parts]
    for rank, index in enumerate(np.argsort([-bound for bound in bounds], kind="stable")):
        part = parts[index]
        floor = max(peak, instance.lower_bound)
        sub = replace(
            instance,
            starts=instance.starts[part],
            ends=instance.ends[part],
            sizes=instance.sizes[part],
            lower_bound=floor,
            target_peak=max(floor, instance.target_peak),
        )
        # What an easy stretch leaves of its share goes to the later ones.
        left = None if deadline is None else (deadline - time.monotonic()) / (len(parts) - rank)
        layout, optimal = _part_layout(sub, left, seed)
        offsets[part] = layout.offsets
        if layout.peak > peak:
            peak, proven = layout.peak, optimal
        methods.append(layout.method)
    method = " and ".join(sorted(set(methods)))
    return Layout(offsets, peak, method), proven or peak <= instance.lower_bound


def _many_layout(instance: Instance, parts: list[Ints], seed: int) -> Layout:
    """Near-linear first-fit for all stretches at once; then a search in those it leaves too high.

    They are searched, the shortest first, until that has taken `MAX_SEARCH_BUFFERS` buffers.
    """
    from ullage.solvers.packing.first_fit import first_fit_layout

    whole = first_fit_layout(instance)
    tops = whole.offsets + instance.sizes
    high = [part for part in parts if int(tops[part].max()) > instance.target_peak]
    left = MAX_SEARCH_BUFFERS
    methods = [whole.method]
    for part in sorted(high, key=len):
        left -= len(part)
        if left < 0:
            break
        sub = replace(
            instance,
            starts=instance.starts[part],
            ends=instance.ends[part],
            sizes=instance.sizes[part],
        )
        layout = quick_layout(sub, seed)
        if layout.peak < int(tops[part].max()):
            whole.offsets[part] = layout.offsets
            methods.append(layout.method)
    method = " and ".join(sorted(set(methods)))
    return Layout(whole.offsets, instance.peak(whole.offsets), method)


def _part_layout(instance: Instance, seconds: float | None, seed: int) -> tuple[Layout, bool]:
    """A layout of one stretch, and whether it is proven optimal."""
    if len(instance.sizes) > MAX_SEARCH_BUFFERS:
        from ullage.solvers.packing.first_fit import first_fit_layout

        layout = first_fit_layout(instance)
        return layout, layout.peak <= instance.lower_bound
    clock = time.monotonic()
    layout = quick_layout(instance, seed)
    if seconds is None or layout.peak <= instance.lower_bound:
        return layout, layout.peak <= instance.lower_bound
    from ullage.solvers.packing.branch_and_bound import exact_layout

    left = max(seconds - (time.monotonic() - clock), 0.0)
    return exact_layout(instance, layout, left, seed)


def _stretches(instance: Instance) -> list[Ints]:
    """Indices of buffers, grouped by stretches of time between which nothing is alive."""
    order = np.argsort(instance.starts, kind="stable")
    reach = np.maximum.accumulate(instance.ends[order])
    cuts = np.flatnonzero(instance.starts[order][1:] >= reach[:-1]) + 1
    return list(np.split(order, cuts))


def _check_options(alignment_bytes: int, capacity_bytes: int | None, time_limit_s: float) -> None:
    if alignment_bytes < 1:
        raise UsageError(f"alignment of {alignment_bytes} bytes; it is 1 byte or more")
    if capacity_bytes is not None and capacity_bytes < 0:
        raise UsageError(f"capacity of {capacity_bytes} bytes; it is 0 bytes or more")
    if not (math.isfinite(time_limit_s) and time_limit_s >= 0):
        raise UsageError(f"time limit of {time_limit_s} s; it is a number of seconds, 0 or more")
