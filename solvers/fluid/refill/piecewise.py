"""Pieces of weights that come into slots of one size, as late as they may or while the link waits.

    middle  |==== stays ====|== slot ==|== slot ==|       the home is read in every step
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

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Tier
from ullage.solvers.fluid.refill.pieces import Piece, aligned

# Numbers of weights to stream from that are tried, as shares of all.
SHARES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.75, 1.0)
# Nothing arrives early in steps in which the link could not move as much as in so many set-ups.
WORTH_SETUPS = 2.0
# Pieces more than the fewest that are tried.
MORE_PIECES = (0, 1, 2, 4, 6, 8, 12, 16, 24, 32, 64)


@dataclass(frozen=True)
class Arrival:
    """A piece in a slot: it arrives in step `step`, in slot `slot`."""

    piece: Piece
    step: int
    slot: int


@dataclass(frozen=True)
class Piecewise:
    """A way in which pieces stream.

    Attributes:
        arrivals: what comes.
        kept: what stays.
        slot_bytes: of a slot.
        estimate: bytes that the link could move in the time that it takes.
    """

    arrivals: tuple[Arrival, ...]
    kept: tuple[Piece, ...]
    slot_bytes: int
    estimate: float

    def moved(
        self, problem: Problem, link: Link, middle: Tier, place: int
    ) -> tuple[list[Residency], list[Transfer]]:
        """What lies in the middle tier from an address on, and what comes there."""
        residencies = list(_stays(problem, self.kept, middle, place))
        place += sum(aligned(p.size_bytes, middle) for p in self.kept)
        for arrival in self.arrivals:
            piece = arrival.piece
            span = (piece.buffer, piece.start, piece.end)
            address = place + arrival.slot * self.slot_bytes
            steps = (arrival.step, arrival.step + 1, piece.last + 1)
            residencies.append(Residency(*span, middle.name, address, *steps))
        return residencies, list(_transfers(problem, self.arrivals, link))


def best_pieces(
    pieces: Mapping[int, Sequence[Piece]],
    order: Sequence[int],
    spare: Floats,
    middle: Tier,
    room_bytes: int,
    setup_bytes: float,
) -> Piecewise | None:
    """The way of the least estimate; None where none was found.

    Args:
        pieces: by weight.
        order: weights in the order in which they are chosen.
        spare: (T,) bytes that the link moves in each step while other things take their time.
        middle: the tier.
        room_bytes: of it, for weights.
        setup_bytes: bytes that move while a transfer is set up.
    """
    counts = dict.fromkeys(max(1, round(share * len(order))) for share in SHARES)
    ways = (
        Piecewise(tuple(way[0]), tuple(way[1]), way[2], _estimate(way[0], spare, setup_bytes))
        for count in counts
        for way in _streamed(pieces, order[:count], spare, middle, room_bytes, setup_bytes)
    )
    return min(ways, key=lambda way: way.estimate, default=None)


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
    slot_bytes = max(aligned(p.size_bytes, middle) for items in pieces.values() for p in items)
    turns: list[Piece] = []  # the last pieces of all weights, then the last but one ...
    for number in range(1, max(len(pieces[index]) for index in chosen) + 1):
        turns += [pieces[index][-number] for index in chosen if number <= len(pieces[index])]
    everything = [p for items in pieces.values() for p in items]
    taken = sum(aligned(p.size_bytes, middle) for p in everything)

    def way(count: int) -> tuple[list[Arrival], list[Piece], int] | None:
        streaming = set(turns[:count])
        stream = sorted(streaming, key=lambda p: (p.first, p.buffer, p.start))
        stays = taken - sum(aligned(p.size_bytes, middle) for p in stream)
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
        place += aligned(piece.size_bytes, middle)
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
