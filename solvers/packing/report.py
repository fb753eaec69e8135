"""Pack a table of buffers into a stated capacity, and say by how much it fails where it does."""

import time

import numpy as np

from ullage.compiler.common.errors import InfeasibleError, VerificationError
from ullage.solvers.packing.instance import as_int64
from ullage.solvers.packing.minimalloc_csv import BufferTable
from ullage.solvers.packing.pack import Packing, pack
from ullage.solvers.packing.validate import overlapping_pair


def pack_table(
    table: BufferTable,
    *,
    alignment_bytes: int,
    capacity_bytes: int | None,
    time_limit_s: float,
) -> tuple[Packing, float]:
    """Pack with proof and check the result.

    Returns:
        The packing and the seconds (wall-clock) that it took.

    Raises:
        InfeasibleError: the capacity was not met; says whether that is proven.
        VerificationError: the packers made an illegal packing.
        UsageError: alignment, capacity or time limit make no sense.
    """
    begin = time.perf_counter()
    starts, ends, sizes = (
        as_int64(name, np.array(values, dtype=np.int64))
        for name, values in (
            ("lower", table.lower),
            ("upper", table.upper),
            ("size", table.size_bytes),
        )
    )
    packing = pack(
        starts,
        ends,
        sizes,
        alignment_bytes=alignment_bytes,
        capacity_bytes=capacity_bytes,
        time_limit_s=time_limit_s,
        proof=True,
    )
    solve_s = time.perf_counter() - begin
    pair = overlapping_pair(starts, ends, packing.offsets, sizes)
    if pair is not None or (packing.offsets % alignment_bytes).any() or packing.offsets.min() < 0:
        raise VerificationError(
            "the packing is illegal"
            + (f": {table.ids[pair[0]]} overlaps {table.ids[pair[1]]}" if pair else "")
            + "; please report this file"
        )
    if capacity_bytes is not None and packing.peak_bytes > capacity_bytes:
        raise _does_not_fit(table, packing, capacity_bytes, solve_s)
    return packing, solve_s


def _does_not_fit(
    table: BufferTable, packing: Packing, capacity_bytes: int, solve_s: float
) -> InfeasibleError:
    """The error for a packing above the capacity: proven impossible, or only not found."""
    proven = packing.lower_bound_bytes > capacity_bytes
    needed = packing.lower_bound_bytes if proven else packing.peak_bytes
    largest = sorted(zip(table.size_bytes, table.ids, strict=True), key=lambda pair: -pair[0])[:5]
    if proven:
        message = (
            f"impossible: the buffers need at least {needed} bytes and the capacity is "
            f"{capacity_bytes}, {needed - capacity_bytes} too few (proven); raise the capacity, "
            "shorten lifetimes or make buffers smaller"
        )
    else:
        message = (
            f"no packing found within {capacity_bytes} bytes: the best needs {needed}, "
            f"{needed - capacity_bytes} more; not proven impossible (lower bound "
            f"{packing.lower_bound_bytes}); allow more time with --time-limit, or raise the "
            "capacity"
        )
    return InfeasibleError(
        message,
        {
            "needed_bytes": needed,
            "available_bytes": capacity_bytes,
            "excess_bytes": needed - capacity_bytes,
            "peak_bytes": packing.peak_bytes,
            "lower_bound_bytes": packing.lower_bound_bytes,
            "proven": proven,
            "buffers": len(table.ids),
            "largest_buffers": [{"id": name, "size_bytes": size} for size, name in largest],
            "solve_s": solve_s,
        },
    )
