"""Slices of a segment that go the same way at different steps become one transfer per link.

Each slice moves in one step, where a port has time for it. A transfer may move in several steps,
and starts once, so that slices which differ only in when they move save set-ups together:

    slice 0   DRAM ==|         L2  .===========|       . moves      before   2 transfers
    slice 1   DRAM ======|     L2      .=======|                    after    1 transfer, 2 moves
    joined    DRAM ======|     L2  .xxx.=======|       x takes space, not ready yet

What is joined takes the space of all from the first move on, and is ready after the last. Over a
chain of links nothing moves on before all is there, so what is joined on one link may have to wait
for the next: those that would move on sooner are put off to that step, if they may.

Slices that must stay two may still leave home together, in the steps of one of them, and go on
apart: that is one transfer on the first link, and one set-up.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.paths.column import column_of
from ullage.solvers.paths.network import LiveRange, TierNetwork
from ullage.solvers.paths.paths import END, READY, SOURCE, START, Path, is_exact
from ullage.solvers.paths.slices import Ledger, Slice, Slicer, part_of

# Seconds that are no gain: less than the rounding of sums of them.
SAME_S = 1e-15


def join_transfers(
    network: TierNetwork, slicer: Slicer, is_over: Callable[[], bool] = lambda: False
) -> int:
    """Join neighbours where that is legal, fits and makes no step longer than it saves elsewhere.

    Args:
        network: the network.
        slicer: with its slices, which are changed.
        is_over: whether the time is over; what is not joined by then stays as it is.

    Returns:
        How many were joined.
    """
    if is_over():
        return 0
    busy_s = busy_seconds(network, slicer.items, slicer.live_ranges)
    joined = 0
    for index, items in slicer.items.items():
        live_range = slicer.live_ranges[index]
        assert live_range is not None  # noqa: S101 - only segments with a live range have slices
        number = 0
        while number + 1 < len(items):
            if is_over():
                return joined
            low = max(0, number - 1)  # set-ups are shared with neighbours, with no others
            near = items[low : number + 3]
            better = _better(network, slicer.ledger, busy_s, live_range, near, number - low)
            if better is None:
                pair = _aligned(network, slicer.ledger, busy_s, live_range, near, number - low)
                if pair is not None:
                    _charge(network, busy_s, near, -1.0)
                    items[number : number + 2] = pair
                    _charge(network, busy_s, items[low : number + 3], 1.0)
                number += 1
            else:
                _charge(network, busy_s, near, -1.0)
                items[number : number + 2] = [better]
                _charge(network, busy_s, items[low : number + 2], 1.0)
                joined += 1
    return joined


def _better(
    network: TierNetwork,
    ledger: Ledger,
    busy_s: Floats,
    live_range: LiveRange,
    items: Sequence[Slice],
    number: int,
) -> Slice | None:
    """Two neighbours among some slices joined as costs least, and booked; None if it costs more.

    With and without moves that are put off until all that is joined has arrived where they begin.
    """
    one, two = items[number : number + 2]
    best, least = None, 0.0
    for item in (one, two):
        ledger.book(item, -1)
    for waits in (False, True):
        together = _together(live_range, one, two, waits=waits)
        if together is None or not ledger.fits(together):
            continue
        after = [*items[:number], together, *items[number + 2 :]]
        cost = _added_s(network, busy_s, items, after)
        if cost < least or (best is None and cost <= least):
            best, least = together, cost
    for item in (one, two) if best is None else (best,):
        ledger.book(item)
    return best


def _aligned(
    network: TierNetwork,
    ledger: Ledger,
    busy_s: Floats,
    live_range: LiveRange,
    items: Sequence[Slice],
    number: int,
) -> list[Slice] | None:
    """Two neighbours whose first moves share a transfer, booked; None if that costs as much.

    One of them leaves home in the steps of the other, and goes on as before.
    """
    pair = items[number : number + 2]
    best, least = None, 0.0
    for at in (0, 1):
        moved, other = pair[at], pair[1 - at]
        ledger.book(moved, -1)
        together = _leaving_with(live_range, moved, other)
        if together is not None and ledger.fits(together):
            both = [together, other] if at == 0 else [other, together]
            after = [*items[:number], *both, *items[number + 2 :]]
            cost = _added_s(network, busy_s, items, after)
            if cost < least - SAME_S:
                best, least = (at, together, both), cost
        ledger.book(moved)
    if best is None:
        return None
    at, together, both = best
    ledger.book(pair[at], -1)
    ledger.book(together)
    return both


def _leaving_with(live_range: LiveRange, moved: Slice, other: Slice) -> Slice | None:
    """A slice that leaves home in the steps in which a neighbour does; None where it may not."""
    rows, theirs = moved.path.residencies, other.path.residencies
    ways = _first_moves(rows), _first_moves(theirs)
    if len(ways[0]) != 1 or len(ways[1]) != 1 or moved.path.loop_carried:
        return None
    (row,), (their,) = ways
    if (rows[row, [0, SOURCE]] != theirs[their, [0, SOURCE]]).any():
        return None
    moves = other.moves_into(their)
    if moves == moved.moves_into(row) or len(moved.moving) > 1 or len(moves) > 1:
        return None
    changed = rows.copy()
    step = moves[0][0]
    changed[row, START], changed[row, READY] = step, step + 1
    path = Path(changed, moved.path.served)
    if changed[row, END] <= step + 1 or not is_exact(live_range, path):
        return None
    if not _is_consistent(live_range, path, changed[:, START]):
        return None
    return replace(moved, path=path)


def _first_moves(rows: Ints) -> list[int]:
    """Rows of a path into which bytes move from where they are at the beginning."""
    home = set(rows[rows[:, SOURCE] < 0, 0].tolist())
    return [at for at, source in enumerate(rows[:, SOURCE].tolist()) if source in home]


def busy_seconds(
    network: TierNetwork,
    slices: Mapping[int, Sequence[Slice]],
    live_ranges: Sequence[LiveRange | None],
) -> Floats:
    """(R, T) seconds that ports, links and the unit are busy in each step.

    Args:
        network: the network.
        slices: of each segment, in byte order.
        live_ranges: of the segments.
    """
    busy_s = network.idle_table()
    for index, items in slices.items():
        live_range = live_ranges[index]
        assert live_range is not None  # noqa: S101 - only segments with a live range have slices
        for item in items:
            still = item.path.residencies.copy()
            still[:, SOURCE] = -1
            part = part_of(live_range, item.end_byte - item.start_byte)
            column = column_of(network, index, part, replace(item.path, residencies=still))
            np.add.at(busy_s.reshape(-1), column.busy_at, column.busy_s)
        _charge(network, busy_s, items, 1.0)
    return busy_s


def _charge(network: TierNetwork, busy_s: Floats, items: Sequence[Slice], sign: float) -> None:
    """Add the seconds of a segment's transfers, or take them away (sign -1)."""
    for (resource, step), seconds in _transfer_seconds(network, items).items():
        busy_s[resource, step] += sign * seconds


def _added_s(
    network: TierNetwork, busy_s: Floats, before: Sequence[Slice], after: Sequence[Slice]
) -> float:
    """Seconds by which the plan grows where a segment's slices are others; objective time."""
    changes = _transfer_seconds(network, after)
    for cell, seconds in _transfer_seconds(network, before).items():
        changes[cell] = changes.get(cell, 0.0) - seconds
    steps = sorted({step for _, step in changes})
    at = {step: i for i, step in enumerate(steps)}
    there = busy_s[:, steps]
    compute_s = network.compute_s[steps]
    was = np.maximum(there.max(axis=0), compute_s).sum()
    for (resource, step), seconds in changes.items():
        there[resource, at[step]] += seconds
    return float(np.maximum(there.max(axis=0), compute_s).sum() - was)


def _transfer_seconds(network: TierNetwork, items: Sequence[Slice]) -> dict[tuple[int, int], float]:
    """(port or link, step) -> seconds of the transfers of a segment's slices.

    As in a plan, neighbours that move in the same steps over the same link are one transfer, which
    starts once.
    """
    seconds: dict[tuple[int, int], float] = {}
    link_of = {(a, b): i for i, (a, b) in enumerate(network.links.tolist())}
    begun: dict[tuple[int, int, tuple[int, ...]], int] = {}  # way and steps -> end of its bytes
    for item in items:
        for row, (tier, _, _, _, source) in enumerate(item.path.residencies.tolist()):
            if source < 0:
                continue
            link = link_of[source, tier]
            moves = item.moves_into(row)
            way = (source, tier, tuple(step for step, _ in moves))
            if begun.get(way) != item.start_byte:
                cell = network.tiers + link, moves[0][0]
                seconds[cell] = seconds.get(cell, 0.0) + float(network.setups_s[link])
            begun[way] = item.end_byte
            for step, size in moves:
                for resource, rate in (
                    (source, network.rates_read[source]),
                    (tier, network.rates_write[tier]),
                    (network.tiers + link, network.link_rates[link]),
                ):
                    cell = resource, step
                    seconds[cell] = seconds.get(cell, 0.0) + size / float(rate)
    return seconds


def _together(live_range: LiveRange, one: Slice, two: Slice, *, waits: bool) -> Slice | None:
    """Two slices, side by side, as one; None where they go different ways, or one too late."""
    a, b = one.path.residencies, two.path.residencies
    same = a.shape == b.shape and bool((a[:, [0, SOURCE]] == b[:, [0, SOURCE]]).all())
    if not same or one.path.loop_carried or two.path.loop_carried:
        return None
    if not np.array_equal(one.path.served, two.path.served):
        return None
    parts = [*one.moving, *two.moving]
    moves = np.array([path.residencies[:, START] for _, path in parts])  # (parts, rows)
    rows = a.copy()
    rows[:, START] = np.minimum(a[:, START], b[:, START])
    rows[:, READY] = np.maximum(a[:, READY], b[:, READY])
    rows[:, END] = np.maximum(a[:, END], b[:, END])
    if waits:
        _put_off(a, rows, moves)
    path = Path(rows, one.path.served)
    if not (_is_consistent(live_range, path, moves.max(axis=0)) and is_exact(live_range, path)):
        return None
    return replace(one, end_byte=two.end_byte, path=path, parts=_moving_apart(parts, moves))


def _moving_apart(parts: Sequence[tuple[int, Path]], moves: Ints) -> tuple[tuple[int, Path], ...]:
    """What moves at different steps, those that move at the same steps as one; () for only one.

    So what is joined from many slices has few parts, and one more takes little time to join.

    Args:
        parts: (bytes, path) of what is joined.
        moves: (parts, rows) the step in which each part moves.
    """
    sizes: dict[tuple[int, ...], int] = {}
    paths: dict[tuple[int, ...], Path] = {}
    for (size, path), starts in zip(parts, moves.tolist(), strict=True):
        key = tuple(starts)
        sizes[key] = sizes.get(key, 0) + size
        paths.setdefault(key, path)
    if len(sizes) == 1:
        return ()
    return tuple(
        (size, replace(paths[key], residencies=_with_starts(paths[key].residencies, key)))
        for key, size in sizes.items()
    )


def _put_off(before: Ints, rows: Ints, moves: Ints) -> None:
    """Let all moves wait until what they begin at is ready; `rows` and `moves` are changed.

    Args:
        before: rows of one of the slices, which say where each move begins.
        rows: of what is joined.
        moves: (parts, rows) the step in which each part moves.
    """
    for at in np.argsort(before[:, START], kind="stable").tolist():
        source, start = before[at, SOURCE], before[at, START]
        here = (before[:, READY] <= start) & (start < before[:, END])
        origins = np.flatnonzero((before[:, 0] == source) & here)
        if source < 0 or not len(origins):
            continue
        origin = origins[0]
        moves[:, at] = np.maximum(moves[:, at], rows[origin, READY])
        first, last = moves[:, at].min(), moves[:, at].max()
        rows[at, START], rows[at, READY] = first, last + 1
        rows[origin, END] = max(rows[origin, END], last + 1)


def _with_starts(residencies: Ints, starts: Sequence[int]) -> Ints:
    """Rows of a path with other first steps."""
    changed = residencies.copy()
    changed[:, START] = starts
    return changed


def _is_consistent(live_range: LiveRange, path: Path, moved: Ints) -> bool:
    """Whether all data is where it is used and moved from, no tier holds two copies, none is old.

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
        written_later = (
            live_range.writes & (live_range.steps > moved[at]) & (live_range.steps < end)
        )
        if (path.served[written_later, 1] != tier).any():
            return False  # the copy is older than what is written elsewhere
    return True
