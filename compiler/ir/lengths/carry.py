"""The decisions of a plan for one length, carried over to another length of the same model.

Steps and buffers are the same ones, only sizes differ, so a residency stays at its address for the
same steps and holds as much of its bytes as there are. Where a buffer has several values, or steps
use ranges of it, each piece between two such bounds is carried over by itself:

    length 512   | a: 512 rows               | b: 512 rows               |
                      slice [100, 400)
    length 256   | a: 256 rows  | b: 256 rows  |
                      slice [100, 256)
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Buffer, Program


@dataclass(frozen=True)
class Pieces:
    """Where the bytes of a buffer lie at another length.

    Attributes:
        here: bounds of its pieces in bytes, ascending.
        there: the same bounds at the other length, ascending.
        granularity: cuts inside a piece are multiples of it at the other length.
    """

    here: tuple[int, ...]
    there: tuple[int, ...]
    granularity: int

    def __call__(self, byte: int) -> int:
        """The byte, or the end of its piece where that is shorter; never behind a later byte."""
        at = bisect_right(self.here, byte) - 1
        start = self.there[at]
        if byte == self.here[at]:
            return start
        most = self.there[at + 1] - start
        inside = byte - self.here[at]
        if inside >= most:
            return start + most
        return max(start, (start + inside) // self.granularity * self.granularity)


def pieces_of(here: Program, there: Program, granularity_bytes: int) -> tuple[Pieces, ...] | None:
    """How the bytes of each buffer of a program lie in a program of another length.

    Args:
        here: a program.
        there: the same model's at another length.
        granularity_bytes: of slices, as in the target; 0: rows.

    Returns:
        One for each buffer; None where the programs differ in more than sizes.
    """
    if not _are_alike(here, there):
        return None
    bounds: list[dict[int, int]] = [
        {0: 0, b.size_bytes: t.size_bytes} for b, t in _buffers(here, there)
    ]
    for number, one, other in _ranges(here, there):
        for byte, to in zip(one, other, strict=True):
            if bounds[number].setdefault(byte, to) != to:
                return None
    found = []
    for pairs, buffer in zip(bounds, there.buffers, strict=True):
        ascending = sorted(pairs.items())
        after = tuple(to for _, to in ascending)
        if list(after) != sorted(after):
            return None
        granularity = granularity_bytes or buffer.row_bytes
        found.append(Pieces(tuple(byte for byte, _ in ascending), after, granularity))
    return tuple(found)


def _buffers(here: Program, there: Program) -> Iterator[tuple[Buffer, Buffer]]:
    return zip(here.buffers, there.buffers, strict=True)


def _are_alike(here: Program, there: Program) -> bool:
    """Whether two programs have the same steps and buffers, apart from sizes."""
    if len(here.steps) != len(there.steps) or len(here.buffers) != len(there.buffers):
        return False
    steps = all(
        (a.name, a.kind, a.operator, [(u.buffer, u.write, u.value) for u in a.uses])
        == (b.name, b.kind, b.operator, [(u.buffer, u.write, u.value) for u in b.uses])
        for a, b in zip(here.steps, there.steps, strict=True)
    )
    return steps and all(
        (a.name, a.kind, [v.name for v in a.values], len(a.outputs))
        == (b.name, b.kind, [v.name for v in b.values], len(b.outputs))
        for a, b in _buffers(here, there)
    )


def _ranges(
    here: Program, there: Program
) -> Iterator[tuple[int, tuple[int, int], tuple[int, int]]]:
    """Yield (buffer, range, range at the other length) of values, outputs and uses."""
    for number, (a, b) in enumerate(_buffers(here, there)):
        for one, other in zip(a.values, b.values, strict=True):
            yield number, (one.start_byte, one.end_byte), (other.start_byte, other.end_byte)
        for before, after in zip(a.outputs, b.outputs, strict=True):
            yield number, before, after
    for step, same in zip(here.steps, there.steps, strict=True):
        for use, used in zip(step.uses, same.uses, strict=True):
            yield (
                use.buffer,
                (use.start_byte, use.end_byte),
                (used.start_byte, used.end_byte),
            )


def carried(plan: Plan, problem: Problem) -> Plan | None:
    """The plan of another length that makes the decisions of a plan; it may be illegal.

    Args:
        plan: of a length.
        problem: the same model's at another length, on the same target.

    Returns:
        The plan, without a bound; None where the programs differ in more than sizes.
    """
    granularity = problem.target.slice_granularity_bytes
    pieces = pieces_of(plan.program, problem.program, granularity)
    if pieces is None:
        return None
    residencies = [
        replace(r, start_byte=start, end_byte=end)
        for r in plan.residencies
        for start, end in [_range(pieces[r.buffer], r)]
        if start < end
    ]
    transfers = [
        replace(t, start_byte=start, end_byte=end, moves=_scaled(t, end - start))
        for t in plan.transfers
        for start, end in [_range(pieces[t.buffer], t)]
        if start < end
    ]
    return replace(
        plan,
        problem=problem,
        residencies=tuple(residencies),
        transfers=tuple(transfers),
        lower_bound=None,
        bound_source="",
        claimed_bound=None,
        claimed_by="",
        shadow_prices=(),
        statistics={},
    )


def _range(pieces: Pieces, item: Residency | Transfer) -> tuple[int, int]:
    return pieces(item.start_byte), pieces(item.end_byte)


def _scaled(transfer: Transfer, size: int) -> tuple[tuple[int, int], ...]:
    """The moves of a transfer of another size: the same share of it in each step, rounded down."""
    return moves_at(moved_upto(transfer), size)


def moved_upto(transfer: Transfer) -> tuple[tuple[int, int], ...]:
    """(step, bytes moved with the end of it) of a transfer's moves."""
    moved, pairs = 0, []
    for step, portion in transfer.moves:
        moved += portion
        pairs.append((step, moved))
    return tuple(pairs)


def moves_at(upto: Sequence[tuple[int, int]], size: int) -> tuple[tuple[int, int], ...]:
    """The moves of a transfer of another size.

    Args:
        upto: (step, bytes moved with the end of it) pairs of the transfer; not empty.
        size: bytes of the transfer at the other length.
    """
    whole, done, moves = upto[-1][1], 0, []
    for step, moved in upto:
        now = moved * size // whole
        if now > done:
            moves.append((step, now - done))
        done = now
    return tuple(moves)
