"""Weights larger than the memory behind their home: a part stays, the rest streams through.

In steady state weights come from a slow home (flash, an NVMe drive) into a middle tier (DRAM) with
room for a part of them. `reduce` gives that tier room for all: a problem that costs no more, and
that needs no link from home. `refill` makes a plan of the problem itself from one of that: of each
of the larger weights an equal part is brought in every inference, as late as it may, into slots of
one size; all else stays.

    dram    |==== stays ====|== slot ==|== slot ==|       flash is read in every step
    step    gate (read)                                   while gate runs: the rest of down arrives
            up   (stays)
            down (read)                                   the next one: its slots are those of gate

Weights of operators that run one right after the other are not both streamed where it can be
helped: the rest of the second would have to be there while the first is read. Slots cost the space
of what could stay, set-ups the time of transfers; the part that streams of a weight is chosen so
that the sum is least.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Tier
from ullage.hwmodels.cost import score
from ullage.solvers.packing.pack import pack

# Pieces that streamed weights are cut into, about, ...
PIECES = 4000
# ... and numbers of weights to stream from that are tried, as shares of all.
SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.75, 1.0)
# Nothing arrives early in steps in which the link could not move as much as in so many set-ups.
WORTH_SETUPS = 2.0
# Pieces more than the fewest that are tried.
MORE_PIECES = (0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 64)


@dataclass(frozen=True)
class Piece:
    """Bytes of a weight that operators or transfers read in the middle tier.

    Attributes:
        buffer: index of the weight.
        start: first byte.
        end: one past the last.
        first: the step in which they must be there.
        last: the last step in which they are read.
    """

    buffer: int
    start: int
    end: int
    first: int
    last: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the piece."""
        return self.end - self.start


@dataclass(frozen=True)
class Arrival:
    """A piece in a slot: it arrives in step `step`, in slot `slot`."""

    piece: Piece
    step: int
    slot: int


def reduce(problem: Problem) -> Problem | None:
    """The problem in which the middle tier has room for all weights; None where there is none."""
    way = _way(problem)
    if way is None or problem.objective != "latency" or problem.blend is not None:
        return None
    link, middle = way
    target, home = problem.target, problem.target.home("weight")
    weights = sum(b.size_bytes for b in problem.buffers if b.constant)
    room = replace(middle, capacity_bytes=middle.capacity_bytes + 2 * weights)
    tiers = tuple(room if t is middle else t for t in target.tiers if t is not home)
    links = tuple(each for each in target.links if home.name not in (each.source, each.destination))
    homes = {**target.homes, "weight": link.destination}
    return problem.on(replace(target, tiers=tiers, links=links, homes=homes))


def _way(problem: Problem) -> tuple[Link, Tier] | None:
    """The only link from the weights' home, and the middle tier that it leads to."""
    target = problem.target
    home = target.home("weight")
    links = [link for link in target.links if link.source == home.name]
    others = [name for kind, name in target.homes.items() if kind != "weight"]
    if not problem.steady_state or home.addressable or len(links) != 1:
        return None
    middle = target.tier(links[0].destination)
    if home.name in others or middle.read_only or middle is target.fastest:
        return None
    if not target.split_operands or home is target.fastest or problem.no_spill:
        return None
    return links[0], middle


def refill(problem: Problem, inner: Assignment) -> Assignment | None:
    """The best plan found of the problem, from one of the reduced problem.

    Which weights stream, and how much room is left for what arrives early, is chosen by an
    estimate: the link is either busy or waits for a step to end.

    Args:
        problem: the problem.
        inner: an assignment of `reduce(problem)`.

    Returns:
        None where the middle tier has no room beside what is not a weight.
    """
    way = _way(problem)
    if way is None:
        return None
    link, middle = way
    others, above = _others(problem, inner, middle)
    if above > middle.capacity_bytes:
        return None
    pieces = _pieces(problem, inner, middle)
    if not pieces:
        return None
    rate = min(problem.target.home("weight").read_bytes_per_s, link.bandwidth_bytes_per_s)
    spare: Floats = score(inner).elapsed_s * rate
    order = _streaming_order(problem, pieces)
    setup_bytes = link.setup_s * rate
    room_bytes = middle.capacity_bytes - above
    counts = dict.fromkeys(max(1, round(share * len(order))) for share in SHARES)
    ways = (
        way
        for count in counts
        for way in _streamed(pieces, order[:count], spare, middle, room_bytes, setup_bytes)
    )
    best = min(ways, key=lambda way: _estimate(way[0], spare, setup_bytes), default=None)
    if best is None:
        return None
    arrivals, kept, slot_bytes = best
    residencies = [*others, *_at_home(problem), *_stays(problem, kept, middle, above)]
    place = above + sum(_aligned(p.size_bytes, middle) for p in kept)
    for arrival in arrivals:
        piece = arrival.piece
        residencies.append(
            Residency(
                piece.buffer,
                piece.start,
                piece.end,
                middle.name,
                place + arrival.slot * slot_bytes,
                arrival.step,
                arrival.step + 1,
                piece.last + 1,
            )
        )
    transfers = [*inner.transfers, *_transfers(problem, arrivals, link)]
    return Assignment(
        problem,
        tuple(sorted(residencies, key=lambda r: (r.buffer, r.start_byte, r.start))),
        tuple(sorted(transfers, key=lambda t: (t.moves[0][0], t.buffer, t.start_byte))),
    )


def _aligned(size: int, tier: Tier) -> int:
    return -(-size // tier.alignment_bytes) * tier.alignment_bytes


def _others(problem: Problem, inner: Assignment, middle: Tier) -> tuple[list[Residency], int]:
    """All residencies but those of weights in the middle tier, and what the others take there."""
    listed = [
        r
        for r in inner.residencies
        if r.tier != middle.name or not problem.buffers[r.buffer].constant
    ]
    spans: dict[int, list[int]] = {}  # buffer -> lowest and highest address, first and last step
    for r in listed:
        if r.tier == middle.name:
            top = r.offset + r.end_byte - r.start_byte
            low, high, start, end = spans.get(r.buffer, (r.offset, top, r.start, r.end))
            spans[r.buffer] = [
                min(low, r.offset),
                max(high, top),
                min(start, r.start),
                max(end, r.end),
            ]
    if not spans:
        return listed, 0
    blocks = np.array(list(spans.values()), dtype=np.int64)
    sizes = blocks[:, 1] - blocks[:, 0]
    packing = pack(blocks[:, 2], blocks[:, 3], sizes, alignment_bytes=middle.alignment_bytes)
    moved = dict(zip(spans, (packing.offsets - blocks[:, 0]).tolist(), strict=True))
    placed = [
        replace(r, offset=r.offset + moved[r.buffer]) if r.tier == middle.name else r
        for r in listed
    ]
    return placed, _aligned(int(packing.peak_bytes), middle)


def _pieces(problem: Problem, inner: Assignment, middle: Tier) -> dict[int, list[Piece]]:
    """By weight its pieces that are read in the middle tier, in the order of their bytes."""
    granularity = problem.target.slice_granularity_bytes
    total = sum(b.size_bytes for b in problem.buffers if b.constant)
    fastest: dict[int, list[Residency]] = {}
    moved: dict[int, list[Transfer]] = {}
    for r in inner.residencies:
        if r.tier != middle.name:
            fastest.setdefault(r.buffer, []).append(r)
    for t in inner.transfers:
        if t.source == middle.name:
            moved.setdefault(t.buffer, []).append(t)
    result: dict[int, list[Piece]] = {}
    for index, buffer in enumerate(problem.buffers):
        if not buffer.constant or not problem.uses_of[index]:
            continue
        grain = granularity or buffer.row_bytes
        grain = grain * middle.alignment_bytes // gcd(grain, middle.alignment_bytes)
        step = max(grain, total // PIECES // grain * grain)
        for start in range(0, buffer.size_bytes, step):
            end = min(buffer.size_bytes, start + step)
            steps = set(_reads(problem, index, (start, end), fastest.get(index, ())))
            for t in moved.get(index, ()):
                if t.start_byte < end and start < t.end_byte:
                    steps.update(at for at, _ in t.moves)
            if steps:
                piece = Piece(index, start, end, min(steps), max(steps))
                result.setdefault(index, []).append(piece)
    return result


def _reads(
    problem: Problem, index: int, span: tuple[int, int], held: Sequence[Residency]
) -> Iterator[int]:
    """Steps whose operators read some of the bytes of a weight outside of faster tiers."""
    low, high = span
    for t, use in problem.uses_of[index]:
        start, end = max(low, use.start_byte), min(high, use.end_byte)
        position = start
        for r in sorted(held, key=lambda r: r.start_byte):
            if r.ready <= t < r.end and r.start_byte <= position:
                position = max(position, r.end_byte)
        if position < end:
            yield t


def _streaming_order(problem: Problem, pieces: Mapping[int, Sequence[Piece]]) -> list[int]:
    """Weights in the order in which they are chosen to stream: large ones first.

    Of weights that are read in one step after the other, every second one comes first.
    """
    by_step = sorted(pieces, key=lambda index: pieces[index][0].first)
    second: set[int] = set()
    last = -2
    for index in by_step:
        first = min(piece.first for piece in pieces[index])
        if first <= last + 1:
            second.add(index)
        else:
            last = max(piece.last for piece in pieces[index])
    sizes = {i: problem.buffers[i].size_bytes for i in pieces}
    usable = [i for i in pieces if min(piece.first for piece in pieces[i]) > 0]
    return sorted(usable, key=lambda i: (i in second, -sizes[i], i))


def _streamed(
    pieces: Mapping[int, Sequence[Piece]],
    chosen: Sequence[int],
    spare: Floats,
    middle: Tier,
    room_bytes: int,
    setup_bytes: float,
) -> Iterator[tuple[list[Arrival], list[Piece], int]]:
    """Ways in which a part of each of the chosen weights streams.

    The first one streams the least that leaves room for the rest. Others stream a little more: the
    room that this leaves lets pieces arrive earlier, while operators run that need none.

    Yields:
        Arrivals, what stays, and bytes of a slot; nothing where all of the chosen weights is not
        enough.
    """
    slot_bytes = max(_aligned(p.size_bytes, middle) for items in pieces.values() for p in items)
    turns: list[Piece] = []  # the last pieces of all weights, then the last but one ...
    for number in range(1, max(len(pieces[index]) for index in chosen) + 1):
        turns += [pieces[index][-number] for index in chosen if number <= len(pieces[index])]
    everything = [p for items in pieces.values() for p in items]
    taken = sum(_aligned(p.size_bytes, middle) for p in everything)

    def way(count: int) -> tuple[list[Arrival], list[Piece], int] | None:
        streaming = set(turns[:count])
        stream = sorted(streaming, key=lambda p: (p.first, p.buffer, p.start))
        stays = taken - sum(_aligned(p.size_bytes, middle) for p in stream)
        slots = (room_bytes - stays) // slot_bytes
        arrivals = _arrivals(stream, spare, slots, setup_bytes) if slots > 0 else None
        if arrivals is None:
            return None
        return arrivals, [p for p in everything if p not in streaming], slot_bytes

    low, high = 1, len(turns) + 1
    while low < high:  # the fewest pieces with which all fits
        middle_count = (low + high) // 2
        if way(middle_count) is None:
            low = middle_count + 1
        else:
            high = middle_count
    for more in MORE_PIECES:
        found = way(low + more) if low + more <= len(turns) else None
        if found is not None:
            yield found


def _estimate(arrivals: Sequence[Arrival], spare: Floats, setup_bytes: float) -> float:
    """Bytes that the link could move while a plan with these arrivals takes its time."""
    moved = np.zeros(len(spare))
    begun = {(a.step, a.piece.buffer) for a in arrivals}
    for arrival in arrivals:
        moved[arrival.step] += arrival.piece.size_bytes
    for step, _ in begun:
        moved[step] += setup_bytes
    return float(np.maximum(moved, spare).sum())


def _arrivals(
    stream: Sequence[Piece], spare: Floats, slots: int, setup_bytes: float
) -> list[Arrival] | None:
    """When pieces arrive: in the step before they are read, or in earlier ones with time to spare.

    Args:
        stream: the pieces in the order in which they are read.
        spare: (T,) bytes that the link moves in each step while other things take their time.
        slots: how many pieces have room.
        setup_bytes: bytes that move while a transfer is set up.

    Returns:
        None where too few slots are there.
    """
    free = list(range(slots))[::-1]
    held: list[tuple[int, int]] = []  # (last step, slot)
    arrivals: list[Arrival] = []
    position = 0
    for step in range(len(spare)):
        free += [slot for last, slot in held if last < step]
        held = [(last, slot) for last, slot in held if last >= step]
        moved = 0
        while position < len(stream):
            piece = stream[position]
            must = piece.first == step + 1
            if not must and (moved >= spare[step] or spare[step] < WORTH_SETUPS * setup_bytes):
                break
            if not free:
                if must:
                    return None
                break
            slot = free.pop()
            held.append((piece.last, slot))
            arrivals.append(Arrival(piece, step, slot))
            moved += piece.size_bytes
            position += 1
    return arrivals if position == len(stream) else None


def _at_home(problem: Problem) -> Iterator[Residency]:
    """All weights at home, one after the other."""
    home, place = problem.target.home("weight"), 0
    for index, buffer in enumerate(problem.buffers):
        if buffer.constant and buffer.size_bytes:
            yield Residency(index, 0, buffer.size_bytes, home.name, place, 0, 0, len(problem.steps))
            place += _aligned(buffer.size_bytes, home)


def _stays(
    problem: Problem, kept: Sequence[Piece], middle: Tier, place: int
) -> Iterator[Residency]:
    """What never leaves the middle tier; neighbours are one residency."""
    last = len(problem.steps)
    run: Residency | None = None
    for piece in sorted(kept, key=lambda p: (p.buffer, p.start)):
        is_next = run is not None and (run.buffer, run.end_byte) == (piece.buffer, piece.start)
        if run is not None and is_next:
            run = replace(run, end_byte=piece.end)
        else:
            if run is not None:
                yield run
            span = (piece.buffer, piece.start, piece.end)
            run = Residency(*span, middle.name, place, 0, 0, last)
        place += _aligned(piece.size_bytes, middle)
    if run is not None:
        yield run


def _transfers(problem: Problem, arrivals: Sequence[Arrival], link: Link) -> Iterator[Transfer]:
    """One transfer for neighbours of a weight that arrive in one step."""
    run: tuple[int, int, int, int] | None = None  # step, buffer, first byte, one past the last
    home = problem.target.home("weight").name
    ordered = sorted(arrivals, key=lambda a: (a.step, a.piece.buffer, a.piece.start))
    for arrival in ordered:
        piece = arrival.piece
        if run is not None and run[:2] == (arrival.step, piece.buffer) and run[3] == piece.start:
            run = (*run[:3], piece.end)
            continue
        if run is not None:
            yield _transfer(run, home, link)
        run = (arrival.step, piece.buffer, piece.start, piece.end)
    if run is not None:
        yield _transfer(run, home, link)


def _transfer(run: tuple[int, int, int, int], home: str, link: Link) -> Transfer:
    step, buffer, start, end = run
    moves = ((step, end - start),)
    return Transfer(buffer, start, end, home, link.destination, moves, link.name)
