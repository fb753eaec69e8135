"""Slices with paths as a plan: addresses in every tier, residencies and transfers."""

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.solvers.budget import Budget
from ullage.solvers.packing.pack import pack
from ullage.solvers.packing.rows import Strip, row_runs
from ullage.solvers.paths.network import TierNetwork
from ullage.solvers.paths.page_map import PageMap, joined_runs, picked
from ullage.solvers.paths.paths import END, READY, SOURCE, START
from ullage.solvers.paths.slices import Ledger, Slice

# Bytes of a slice that lie side by side in a tier: (first byte, one past the last, address).
PlacedRange = tuple[int, int, int]


@dataclass(frozen=True)
class Unplaced:
    """Bytes of a slice for which a tier has no address during [start, end).

    Attributes:
        slice: index of the slice.
        tier: index of the tier.
        start: first step.
        end: one past the last step.
        size_bytes: bytes without an address, in whole units of the tier's space.
    """

    slice: int
    tier: int
    start: int
    end: int
    size_bytes: int


class NoAddress(Exception):  # noqa: N818 - it is caught where it is expected
    """Slices for which a tier has no address.

    Attributes:
        residencies: those without an address.
    """

    def __init__(self, residencies: Sequence[Unplaced]) -> None:
        super().__init__(f"{len(residencies)} residencies have no address")
        self.residencies = tuple(residencies)


def residencies_of(
    network: TierNetwork,
    ledger: Ledger,
    slices: Sequence[Slice],
    uncapacitated: int,
    buffers: Sequence[int],
    search: Budget | None = None,
) -> list[Residency]:
    """The residencies of all slices, with addresses.

    Args:
        network: the network.
        ledger: knows the units of space.
        slices: in the order of buffers and bytes.
        uncapacitated: mask of the tiers with room for everything.
        buffers: buffer of each slice.
        search: time for many orders of slices that are cut between rows; None: one order.

    Raises:
        NoAddress: the space is there, but not in one piece.
    """
    residencies: list[Residency] = []
    for m, tier in enumerate(network.target.tiers):
        rows = [
            (i, *row[1:])
            for i, item in enumerate(slices)
            for row in item.path.residencies.tolist()
            if row[0] == m
        ]
        if not rows:
            continue
        table = np.array(rows, dtype=np.int64)
        returning = _returning(network, m, slices, buffers)
        if uncapacitated >> m & 1:
            placed = _side_by_side(ledger, m, slices, table)
        elif ledger.paged[m]:
            placed = _in_pages(network, ledger, m, slices, table, returning)
        elif network.target.split_operands:
            placed = _in_rows(network, ledger, m, slices, table, returning, buffers, search)
        else:
            placed = _in_one_piece(network, ledger, m, slices, table, returning)
        for row, ranges in zip(table.tolist(), placed, strict=True):
            for low, high, offset in ranges:
                buffer = buffers[row[0]]
                span = (buffer, low, high, tier.name, offset)
                residencies.append(Residency(*span, row[START], row[READY], row[END]))
    return _merged(residencies)


def _returning(
    network: TierNetwork, tier: int, slices: Sequence[Slice], buffers: Sequence[int]
) -> set[int]:
    """Slices that a tier has at one address at the beginning of an inference and at its end.

    Those are loop-carried ones, and at home those of states and, in steady state, of weights: these
    leave a home that is small, and come back to it.
    """
    target, listed = network.target, network.problem.buffers
    homes = {
        index
        for index, buffer in enumerate(listed)
        if buffer.persistent
        and (network.problem.steady_state or not buffer.constant)
        and target.home(buffer.kind) is target.tiers[tier]
    }
    return {
        index
        for index, item in enumerate(slices)
        if buffers[index] in homes or item.path.loop_carried >> tier & 1
    }


def _side_by_side(
    ledger: Ledger, tier: int, slices: Sequence[Slice], table: Ints
) -> list[list[PlacedRange]]:
    """A place of its own for every slice, one after the other."""
    place: dict[int, int] = {}
    top = 0
    for index in table[:, 0].tolist():
        if index not in place:
            item, unit = slices[index], ledger.units[tier]
            place[index] = top
            top += -(-(item.end_byte - item.start_byte) // unit) * unit
    return [[(slices[i].start_byte, slices[i].end_byte, place[i])] for i in table[:, 0].tolist()]


def _in_one_piece(
    network: TierNetwork,
    ledger: Ledger,
    tier: int,
    slices: Sequence[Slice],
    table: Ints,
    returning: Container[int],
) -> list[list[PlacedRange]]:
    """Contiguous places.

    What is loop-carried, and a state at home, must be at one address at the end of an inference and
    at the beginning of the next: that address is reserved for it at all steps.
    """
    sizes = np.array([slices[i].end_byte - slices[i].start_byte for i in table[:, 0].tolist()])
    capacity = int(network.room[tier].min())
    residencies = table.copy()
    for at, (index, start, _, end, _) in enumerate(table.tolist()):
        if index in returning and (start == 0 or end == network.steps):
            residencies[at, START], residencies[at, END] = 0, network.steps
    loops = (residencies[:, START] == 0) & (residencies[:, END] == network.steps)
    _, first, inverse = np.unique(  # both sides of the loop boundary are one block
        np.where(loops, residencies[:, 0], len(slices) + np.arange(len(residencies))),
        return_index=True,
        return_inverse=True,
    )
    packing = pack(
        residencies[first, START],
        residencies[first, END],
        sizes[first].astype(np.int64),
        alignment_bytes=ledger.units[tier],
        capacity_bytes=capacity,
    )
    offsets = packing.offsets[inverse]
    over = offsets + sizes > capacity
    if over.any():
        raise NoAddress(
            [
                Unplaced(row[0], tier, row[START], row[END], int(size))
                for row, size in zip(residencies[over].tolist(), sizes[over].tolist(), strict=True)
            ]
        )
    return [
        [(slices[i].start_byte, slices[i].end_byte, int(at))]
        for i, at in zip(table[:, 0].tolist(), offsets, strict=True)
    ]


def _in_rows(
    network: TierNetwork,
    ledger: Ledger,
    tier: int,
    slices: Sequence[Slice],
    table: Ints,
    returning: Container[int],
    buffers: Sequence[int],
    search: Budget | None,
) -> list[list[PlacedRange]]:
    """Holes by the left-edge rule; a slice without a hole for all of it is cut between rows.

    One pass, as addresses are asked for many times; where it fails, in many orders if there is time
    for them, else in one piece each.
    """
    target, listed = network.target, network.problem.buffers
    unit = ledger.units[tier]
    sizes = [slices[row[0]].end_byte - slices[row[0]].start_byte for row in table.tolist()]
    grains = [
        target.slice_granularity_bytes or listed[buffers[row[0]]].row_bytes
        for row in table.tolist()
    ]

    def find(at: int, _limit: int, open_runs: Ints) -> _Place | Unplaced:
        index, start, _, end, _ = table[at].tolist()
        span = slices[index].start_byte, slices[index].end_byte
        placed = in_holes(span, grains[at], unit, open_runs)
        if placed is None:
            return Unplaced(index, tier, start, end, -(-sizes[at] // unit) * unit)
        return _Place(_pages_of(placed, unit), placed)

    order = np.lexsort((-np.array(sizes), -table[:, END], table[:, START]))
    try:
        return _by_left_edge(network, ledger, tier, table, returning, order, find)
    except NoAddress:
        if search is None or search.is_over():
            return _in_one_piece(network, ledger, tier, slices, table, returning)
    return _in_many_orders(network, ledger, tier, slices, table, returning, grains, search)


def _in_many_orders(
    network: TierNetwork,
    ledger: Ledger,
    tier: int,
    slices: Sequence[Slice],
    table: Ints,
    returning: Container[int],
    grains: Sequence[int],
    search: Budget,
) -> list[list[PlacedRange]]:
    """Holes for slices that are cut between rows, in the best of many orders (`packing.rows`).

    Args:
        network: the network.
        ledger: knows the unit of addresses.
        tier: of the residencies.
        slices: in the order of buffers and bytes.
        table: (n, 5) rows of residencies.
        returning: slices that begin an inference where they ended the one before.
        grains: of each row the bytes at whose multiples it may be cut.
        search: the time.

    Raises:
        NoAddress: some find none in any of these orders.
    """
    steps, unit = network.steps, ledger.units[tier]
    rows = table.tolist()
    begins = {row[0]: at for at, row in enumerate(rows) if not row[START] and row[0] in returning}
    strips = [
        Strip(
            row[START],
            row[END],
            slices[row[0]].start_byte,
            slices[row[0]].end_byte,
            grain,
            begins.get(row[0], -1) if row[START] and row[END] == steps else -1,
        )
        for row, grain in zip(rows, grains, strict=True)
    ]
    found = row_runs(strips, unit, int(network.room[tier].min()), search)
    failed = [
        Unplaced(row[0], tier, row[START], row[END], -(-size // unit) * unit)
        for row, size in zip(rows, found.missing, strict=True)
        if size
    ]
    if failed:
        raise NoAddress(failed)
    return found.runs


def in_holes(
    span: tuple[int, int], grain: int, unit: int, open_runs: Ints
) -> list[PlacedRange] | None:
    """Places for a range of bytes in the tightest hole, else in as few as there are; None if none.

    Args:
        span: first byte and one past the last.
        grain: bytes at whose multiples the range may be cut.
        unit: bytes of a page, at which each place begins.
        open_runs: (k, 3) as of `PageMap.open`.
    """
    if not len(open_runs):
        return None
    low, high = span
    count = -(-(high - low) // unit)
    # What is reserved soonest is taken first: it suits fewer residencies than the rest.
    for until in np.unique(open_runs[:, 2]).tolist():
        holes = joined_runs(open_runs[open_runs[:, 2] <= until, :2])
        lengths = holes[:, 1] - holes[:, 0]
        enough = np.flatnonzero(lengths >= count)
        if len(enough):
            return [(low, high, int(holes[enough[np.argmin(lengths[enough])], 0]) * unit)]
    places: list[PlacedRange] = []
    holes = joined_runs(open_runs[:, :2])
    for first, stop in holes[np.argsort(holes[:, 0] - holes[:, 1], kind="stable")].tolist():
        end = low + (stop - first) * unit
        if end < high:
            end = end // grain * grain
        if end > low:
            places.append((low, min(end, high), first * unit))
            low = min(end, high)
        if low == high:
            return places
    return None


def _pages_of(places: Sequence[PlacedRange], unit: int) -> Ints:
    """(k, 2) first page and one past the last of each place, ascending."""
    pages = [(at // unit, -(-(at + high - low) // unit)) for low, high, at in places]
    return np.array(sorted(pages), dtype=np.int64)


def lowest_room(room: Ints, residency: Ints, back: Mapping[int, int]) -> int:
    """The least room beside workspaces while a residency lasts, here and where it comes back.

    Args:
        room: (T,) in any unit.
        residency: a row (slice, first step, ready, one past the last step, source).
        back: slice that returns to the place where it began -> the step in which it does.
    """
    index, start, _, end, _ = residency.tolist()
    least = room[start:end].min()
    if start == 0 and index in back:
        least = min(least, room[back[index] :].min())
    return int(least)


def _in_pages(
    network: TierNetwork,
    ledger: Ledger,
    tier: int,
    slices: Sequence[Slice],
    table: Ints,
    returning: Container[int],
) -> list[list[PlacedRange]]:
    """Pages by the left-edge rule.

    A page lies below the workspace of every step. Where that varies, pages high up are taken first,
    as the lower ones suit more residencies.
    """
    unit = ledger.units[tier]
    room = _room_in_pages(network, ledger, tier)

    def find(at: int, limit: int, open_runs: Ints) -> _Place | Unplaced:
        index, start, _, end, _ = table[at].tolist()
        item = slices[index]
        count = ledger.needs(tier, item.start_byte, item.end_byte) // unit
        found = int((open_runs[:, 1] - open_runs[:, 0]).sum())
        if found < count:
            return Unplaced(index, tier, start, end, (count - found) * unit)
        pages = picked(open_runs, count, downwards=bool((room != limit).any()))
        return _Place(pages, _ranges(item, unit, pages))

    order = np.lexsort((table[:, 0], -table[:, END], table[:, START]))
    return _by_left_edge(network, ledger, tier, table, returning, order, find)


class _Place(NamedTuple):
    """Where a slice lies.

    Attributes:
        pages: (k, 2) first page and one past the last of each run, ascending.
        ranges: its bytes there, with addresses.
    """

    pages: Ints
    ranges: list[PlacedRange]


def _by_left_edge(
    network: TierNetwork,
    ledger: Ledger,
    tier: int,
    table: Ints,
    returning: Container[int],
    order: Ints,
    find: Callable[[int, int, Ints], _Place | Unplaced],
) -> list[list[PlacedRange]]:
    """Residencies one after the other; what is loop-carried returns to the place that it left.

        step     0        k            b        T
        slice A  |========|            |========|     loop-carried: the same place at 0 and at T
        slice B           |============|              may lie there until A is back in step b

    Args:
        network: the network.
        ledger: has the pages.
        tier: of the residencies.
        table: (n, 5) rows of residencies.
        returning: slices that begin an inference where they ended the one before.
        order: rows in the order of their first steps.
        find: the place of a row in the runs that are open to it, (k, 3) as of `PageMap.open`, below
            the room beside workspaces, in pages; or what finds none.

    Raises:
        NoAddress: some find none.
    """
    room = _room_in_pages(network, ledger, tier)
    page_map = PageMap(int(room.max()), network.steps + 1)
    back = {  # slice that returns -> its step
        index: start
        for index, start, _, end, _ in table.tolist()
        if end == network.steps and start and index in returning
    }
    places: list[list[PlacedRange]] = [[] for _ in range(len(table))]
    kept: dict[int, _Place] = {}
    failed: list[Unplaced] = []
    for at in order.tolist():
        index, start, _, end, _ = table[at].tolist()
        if start and back.get(index) == start:
            if index not in kept:  # its place at the beginning was not found either
                continue
            place = kept[index]
            page_map.reserve(place.pages, page_map.never)
        else:
            limit = lowest_room(room, table[at], back)
            found = find(at, limit, page_map.open(limit, start, end))
            if isinstance(found, Unplaced):
                failed.append(found)
                continue
            place = found
        if start == 0 and index in back:
            kept[index] = place
            page_map.reserve(place.pages, back[index])
        page_map.take(place.pages, start, end)
        places[at] = place.ranges
    if failed:
        raise NoAddress(failed)
    return places


def _room_in_pages(network: TierNetwork, ledger: Ledger, tier: int) -> Ints:
    """(T,) whole pages of a tier beside workspaces."""
    return np.asarray(network.room[tier] // ledger.units[tier], dtype=np.int64)


def _ranges(item: Slice, unit: int, pages: Ints) -> list[PlacedRange]:
    """The bytes of a slice in its runs of pages (first, one past the last), with addresses."""
    ranges: list[PlacedRange] = []
    base = item.start_byte // unit * unit
    for first, stop in pages.tolist():
        high = base + (stop - first) * unit
        ranges.append((max(base, item.start_byte), min(high, item.end_byte), first * unit))
        base = high
    return ranges


def _merged(residencies: Sequence[Residency]) -> list[Residency]:
    """Residencies joined where they are neighbours in bytes and addresses at the same time."""
    ordered = sorted(
        residencies, key=lambda r: (r.tier, r.start, r.ready, r.end, r.buffer, r.start_byte)
    )
    merged: list[Residency] = []
    for item in ordered:
        last = merged[-1] if merged else None
        if (
            last is not None
            and (last.tier, last.start, last.ready, last.end, last.buffer, last.end_byte)
            == (item.tier, item.start, item.ready, item.end, item.buffer, item.start_byte)
            and last.offset + last.end_byte - last.start_byte == item.offset
        ):
            merged[-1] = replace(last, end_byte=item.end_byte)
        else:
            merged.append(item)
    return sorted(merged, key=lambda r: (r.buffer, r.start_byte, r.start))


def transfers_of(
    network: TierNetwork, slices: Sequence[Slice], buffers: Sequence[int]
) -> list[Transfer]:
    """One transfer for each residency that DMA fills; neighbours that move together are one."""
    names = [tier.name for tier in network.target.tiers]
    rows = [
        (row[SOURCE], row[0], tuple(step for step, _ in moves), buffers[i], item, moves)
        for i, item in enumerate(slices)
        for at, row in enumerate(item.path.residencies.tolist())
        if row[SOURCE] >= 0 and (moves := item.moves_into(at))
    ]
    rows.sort(key=lambda row: (*row[:4], row[4].start_byte))
    transfers: list[Transfer] = []
    for source, tier, steps, buffer, item, moves in rows:
        last = transfers[-1] if transfers else None
        way = (buffer, names[source], names[tier])
        if (
            last is not None
            and (last.buffer, last.source, last.destination) == way
            and last.end_byte == item.start_byte
            and tuple(step for step, _ in last.moves) == steps
        ):
            both = zip(last.moves, moves, strict=True)
            joined = tuple((step, one + two) for (step, one), (_, two) in both)
            transfers[-1] = replace(last, end_byte=item.end_byte, moves=joined)
        else:
            span = (buffer, item.start_byte, item.end_byte)
            transfers.append(Transfer(*span, names[source], names[tier], moves))
    return sorted(transfers, key=lambda t: (t.moves[0][0], t.buffer, t.start_byte, t.destination))
