"""Pieces of weights, and when they are read in the middle tier."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import lcm

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target, Tier

# Pieces that streamed weights are cut into, about.
PIECES = 4000


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


def pieces_of(problem: Problem, inner: Assignment, middle: Tier) -> dict[int, list[Piece]]:
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
        grain = grain_of(granularity or buffer.row_bytes, middle)
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


def streaming_order(problem: Problem, pieces: Mapping[int, Sequence[Piece]]) -> list[int]:
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


def grain_of(granularity_bytes: int, tier: Tier | Target) -> int:
    """What pieces are multiples of: the granularity of slices, and an alignment."""
    return lcm(granularity_bytes, tier.alignment_bytes)


def aligned(size_bytes: int, tier: Tier) -> int:
    """Bytes that data takes in a tier."""
    return -(-size_bytes // tier.alignment_bytes) * tier.alignment_bytes


@dataclass(frozen=True)
class Readable:
    """A weight as it is read in the middle tier.

    Attributes:
        buffer: its index.
        spans: byte ranges that are read, ascending.
        first: the step in which they must be there.
        last: the last step in which they are read.
    """

    buffer: int
    spans: tuple[tuple[int, int], ...]
    first: int
    last: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the ranges."""
        return sum(end - start for start, end in self.spans)

    def part(self, start: int, end: int) -> list[tuple[int, int]]:
        """The byte ranges of the weight that are bytes [start, end) of its ranges one by one."""
        result, position = [], 0
        for low, high in self.spans:
            begin, finish = max(start, position), min(end, position + high - low)
            if begin < finish:
                result.append((low + begin - position, low + finish - position))
            position += high - low
        return result


def readable(index: int, pieces: Sequence[Piece]) -> Readable:
    """A weight of some pieces, in the order of their bytes."""
    spans: list[tuple[int, int]] = []
    for piece in pieces:
        if spans and spans[-1][1] == piece.start:
            spans[-1] = (spans[-1][0], piece.end)
        else:
            spans.append((piece.start, piece.end))
    first, last = min(p.first for p in pieces), max(p.last for p in pieces)
    return Readable(index, tuple(spans), first, last)
