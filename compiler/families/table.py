"""The table of a family: decisions once for each bucket, byte positions by length.

A byte position in a plan is the same for all lengths of its bucket, or it moves with the length.
Those that move are columns of one table, with an entry for each tested length; different positions
that move alike share a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ullage.compiler.families.family import Family
from ullage.compiler.ir.lengths.carry import moved_upto, moves_at, pieces_of
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.program import Program


@dataclass(frozen=True)
class Position:
    """A byte position.

    Attributes:
        byte: the byte, at all lengths of the bucket; -1 where it moves.
        column: index of the column with its bytes by length; -1 where it does not.
    """

    byte: int = -1
    column: int = -1


@dataclass(frozen=True)
class Slot:
    """A residency of a bucket's plan: `Residency` with positions that move."""

    buffer: int
    start: Position
    end: Position
    tier: str
    offset: int
    first_step: int
    ready_step: int
    end_step: int


@dataclass(frozen=True)
class Copy:
    """A transfer of a bucket's plan: `Transfer` with positions that move.

    Attributes:
        buffer: index of the buffer.
        start: first byte.
        end: one past the last byte.
        source: tier that is read.
        destination: tier that is written.
        link: name of the link.
        moves: (step, bytes moved with the end of that step at the longest length) pairs; at another
            length their share of its bytes is, rounded down.
    """

    buffer: int
    start: Position
    end: Position
    source: str
    destination: str
    link: str
    moves: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class BucketTable:
    """The decisions of a bucket.

    Attributes:
        first: shortest length.
        last: longest length.
        slots: residencies; one whose start is its end at a length is not there.
        copies: transfers; likewise.
    """

    first: int
    last: int
    slots: tuple[Slot, ...]
    copies: tuple[Copy, ...]


@dataclass(frozen=True)
class FamilyTable:
    """All decisions of a family.

    Attributes:
        lengths: tested lengths, ascending.
        bucket_of: index of the bucket of each.
        columns: bytes by length, an entry for each tested length; 0 outside the column's bucket.
        buckets: from the shortest lengths to the longest.
    """

    lengths: tuple[int, ...]
    bucket_of: tuple[int, ...]
    columns: tuple[tuple[int, ...], ...]
    buckets: tuple[BucketTable, ...]

    def index_of(self, length: int) -> int:
        """Index of the shortest tested length that is not shorter.

        Raises:
            ValueError: the length is longer than all.
        """
        for index, tested in enumerate(self.lengths):
            if tested >= length:
                return index
        raise ValueError(f"length {length} is above {self.lengths[-1]}")

    def position(self, position: Position, index: int) -> int:
        """The byte of a position at the tested length of an index."""
        return position.byte if position.column < 0 else self.columns[position.column][index]

    def residencies(self, index: int) -> tuple[Residency, ...]:
        """The residencies at the tested length of an index."""
        found = []
        for slot in self.buckets[self.bucket_of[index]].slots:
            start, end = self.position(slot.start, index), self.position(slot.end, index)
            if start < end:
                steps = (slot.first_step, slot.ready_step, slot.end_step)
                found.append(Residency(slot.buffer, start, end, slot.tier, slot.offset, *steps))
        return tuple(found)

    def transfers(self, index: int) -> tuple[Transfer, ...]:
        """The transfers at the tested length of an index."""
        found = []
        for copy in self.buckets[self.bucket_of[index]].copies:
            start, end = self.position(copy.start, index), self.position(copy.end, index)
            if start < end:
                moves = moves_at(copy.moves, end - start)
                ends = (copy.source, copy.destination)
                found.append(Transfer(copy.buffer, start, end, *ends, moves, copy.link))
        return tuple(found)


def table_of(family: Family) -> FamilyTable:
    """The table of a family."""
    columns: dict[tuple[int, ...], int] = {}
    buckets = []
    for number, bucket in enumerate(family.buckets):
        plan = bucket.compiled.plan
        programs = [at.plan.program if at.bucket == number else None for at in family.lengths]
        mapped = _Positions(plan.program, programs, plan.target.slice_granularity_bytes, columns)
        buckets.append(
            BucketTable(
                bucket.first,
                bucket.last,
                tuple(
                    Slot(
                        r.buffer,
                        mapped.of(r.buffer, r.start_byte),
                        mapped.of(r.buffer, r.end_byte),
                        r.tier,
                        r.offset,
                        r.start,
                        r.ready,
                        r.end,
                    )
                    for r in plan.residencies
                ),
                tuple(
                    Copy(
                        t.buffer,
                        mapped.of(t.buffer, t.start_byte),
                        mapped.of(t.buffer, t.end_byte),
                        t.source,
                        t.destination,
                        t.link,
                        moved_upto(t),
                    )
                    for t in plan.transfers
                ),
            )
        )
    return FamilyTable(
        tuple(at.length for at in family.lengths),
        tuple(at.bucket for at in family.lengths),
        tuple(columns),
        tuple(buckets),
    )


class _Positions:
    """Positions of a bucket's plan at all tested lengths.

    Args:
        longest: program of the bucket's longest length.
        programs: of each tested length; None where another bucket has it.
        granularity: of slices.
        columns: columns that are known, by their entries; new ones are added.
    """

    def __init__(
        self,
        longest: Program,
        programs: Sequence[Program | None],
        granularity: int,
        columns: dict[tuple[int, ...], int],
    ) -> None:
        self.pieces = [
            None if program is None else pieces_of(longest, program, granularity)
            for program in programs
        ]
        self.columns = columns

    def of(self, buffer: int, byte: int) -> Position:
        """The position of a byte."""
        entries = tuple(0 if pieces is None else pieces[buffer](byte) for pieces in self.pieces)
        own = {e for e, pieces in zip(entries, self.pieces, strict=True) if pieces is not None}
        if len(own) == 1:
            return Position(byte=own.pop())
        return Position(column=self.columns.setdefault(entries, len(self.columns)))
