"""Slices of a segment that go the same way at different steps become one transfer per link.

Each slice moves in one step, where a port has time for it. A transfer may move in several steps,
and starts once, so that slices which differ only in when they move save set-ups together:

    slice 0   DRAM ==|         L2  .===========|       . moves      before   2 transfers
    slice 1   DRAM ======|     L2      .=======|                    after    1 transfer, 2 moves
    joined    DRAM ======|     L2  .xxx.=======|       x takes space, not ready yet

What is joined takes the space of all from the first move on, and is ready after the last.
"""

from dataclasses import replace

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.solvers.paths.network import LiveRange
from ullage.solvers.paths.paths import END, READY, SOURCE, START, Path, is_exact
from ullage.solvers.paths.slices import Slice, Slicer


def join_transfers(slicer: Slicer) -> int:
    """Join neighbours where that is legal and there is room; returns how many were joined."""
    joined = 0
    for index, items in slicer.items.items():
        live_range = slicer.live_ranges[index]
        assert live_range is not None  # noqa: S101 - only segments with a live range have slices
        number = 0
        while number + 1 < len(items):
            one, two = items[number : number + 2]
            together = _together(live_range, one, two)
            if together is None:
                number += 1
                continue
            for item in (one, two):
                slicer.ledger.book(item, -1)
            fits = slicer.ledger.fits(together)
            for item in (together,) if fits else (one, two):
                slicer.ledger.book(item)
            if fits:
                items[number : number + 2] = [together]
                joined += 1
            else:
                number += 1
    return joined


def _together(live_range: LiveRange, one: Slice, two: Slice) -> Slice | None:
    """Two slices, side by side, as one; None where they go different ways, or one too late."""
    a, b = one.path.residencies, two.path.residencies
    same = a.shape == b.shape and bool((a[:, [0, SOURCE]] == b[:, [0, SOURCE]]).all())
    if not same or one.path.loop_carried or two.path.loop_carried:
        return None
    if not np.array_equal(one.path.served, two.path.served):
        return None
    rows = a.copy()
    rows[:, START] = np.minimum(a[:, START], b[:, START])
    rows[:, READY] = np.maximum(a[:, READY], b[:, READY])
    rows[:, END] = np.maximum(a[:, END], b[:, END])
    path = Path(rows, one.path.served)
    moved = np.maximum(a[:, START], b[:, START])
    if not (_is_consistent(live_range, path, moved) and is_exact(live_range, path)):
        return None
    return replace(one, end_byte=two.end_byte, path=path, parts=(*one.moving, *two.moving))


def _is_consistent(live_range: LiveRange, path: Path, moved: Ints) -> bool:
    """Whether all data is where it is used and moved from, and no tier holds two copies.

    Args:
        live_range: of the segment.
        path: joined; `READY` follows the last move.
        moved: step of the last move into each residency.
    """
    rows = path.residencies
    for step, tiers in zip(live_range.steps.tolist(), path.served.tolist(), strict=True):
        for tier in tiers:
            here = (rows[:, 0] == tier) & (rows[:, START] <= step) & (step < rows[:, END])
            if tier >= 0 and not (here & (rows[:, READY] <= step)).any():
                return False
    writes = live_range.steps[live_range.writes]
    for at, (tier, start, _, end, source) in enumerate(rows.tolist()):
        others = (rows[:, 0] == tier) & (np.arange(len(rows)) != at)
        if ((rows[:, START] < end) & (rows[:, END] > start) & others).any():
            return False
        if source < 0:
            continue
        origin = (rows[:, 0] == source) & (rows[:, READY] <= start) & (rows[:, END] > moved[at])
        written_between = (writes >= start) & (writes <= moved[at])
        if not origin.any() or written_between.any():
            return False
    return True
