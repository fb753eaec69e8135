"""A plan at a shorter length: the same decisions, at the sizes of another program.

A model with a symbolic dimension has the same steps at every length, on buffers of other sizes.
Where values and uses begin and end in a buffer of the planned program, they do in the other one:

    planned     |0 -------- past -------- 800|-- new --900|
    shorter     |0 --- past --- 500|-- new --600|

Between two such ends bytes keep their distance from the first; what lies behind the second is not
there. So slices become shorter or vanish, and transfers with them; steps, tiers and addresses stay
as they are. A state lies in a row at home, so that the next inference finds it: there the bytes'
own place decides.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.plan import Plan, Residency, Transfer
from ullage.compiler.ir.program import Program


@dataclass(frozen=True)
class ByteMap:
    """Where bytes of a buffer at which slices are cut lie at another length.

    Attributes:
        planned: ends of values and uses in the planned buffer, ascending, from 0.
        actual: the same ends in the other buffer, ascending.
        grain: bytes at whose multiples slices may be cut elsewhere.
    """

    planned: tuple[int, ...]
    actual: tuple[int, ...]
    grain: int

    def __call__(self, byte: int) -> int:
        """The byte at the other length; that of the next end where it is not there."""
        at = bisect_right(self.planned, byte) - 1
        low, place = self.planned[at], self.actual[at]
        if byte == low:
            return place
        found = min(place + byte - low, self.actual[at + 1])
        if found < self.actual[at + 1]:
            return max(place, found // self.grain * self.grain)
        return found


def at_length(plan: Plan, program: Program) -> Plan:
    """The plan carried out on the program of another length; bounds and notes are left out.

    Args:
        plan: a plan for a length that is at least as long.
        program: the same model's program at the other length, in the same order.

    Raises:
        UsageError: the programs differ in more than sizes, or a state is not in a row at home.
    """
    maps = byte_maps(plan.program, program, plan.target.slice_granularity_bytes)
    homes = _homes_of_states(plan)
    residencies: list[Residency] = []
    for item in plan.residencies:
        low, high = (maps[item.buffer](byte) for byte in (item.start_byte, item.end_byte))
        offset = item.offset
        if (item.buffer, item.tier) in homes:
            offset = homes[item.buffer, item.tier] + low
            _check_aligned(plan, item, offset)
        if low < high:
            residencies.append(replace(item, start_byte=low, end_byte=high, offset=offset))
    transfers: list[Transfer] = []
    for transfer in plan.transfers:
        low, high = (maps[transfer.buffer](b) for b in (transfer.start_byte, transfer.end_byte))
        if low < high:
            moves = _fewer(transfer.moves, high - low)
            transfers.append(replace(transfer, start_byte=low, end_byte=high, moves=moves))
    return Plan(
        problem=replace(plan.problem, program=program),
        residencies=tuple(sorted(residencies, key=lambda r: (r.buffer, r.start_byte, r.start))),
        transfers=tuple(sorted(transfers, key=lambda t: t.moves[0][0])),
        solver=plan.solver,
        seed=plan.seed,
        options=plan.options,
        model=plan.model,
        chip_fast_memory_bytes=plan.chip_fast_memory_bytes,
    )


def byte_maps(planned: Program, actual: Program, granularity: int) -> list[ByteMap]:
    """For each buffer where its bytes lie in the program of another length.

    Args:
        planned: the planned program.
        actual: the other one.
        granularity: bytes at whose multiples slices are cut; 0: rows of the buffer.

    Raises:
        UsageError: the programs differ in more than sizes; names the first difference.
    """
    _check_alike(planned, actual)
    maps: list[ByteMap] = []
    for index, (one, two) in enumerate(zip(planned.buffers, actual.buffers, strict=True)):
        pairs = {(0, 0), (one.size_bytes, two.size_bytes)}
        for value, same in zip(one.values, two.values, strict=True):
            pairs |= {(value.start_byte, same.start_byte), (value.end_byte, same.end_byte)}
        uses = zip(planned.uses_of[index], actual.uses_of[index], strict=True)
        for (_, use), (_, other) in uses:
            pairs |= {(use.start_byte, other.start_byte), (use.end_byte, other.end_byte)}
        ordered = sorted(pairs)
        ends = tuple(a for a, _ in ordered), tuple(b for _, b in ordered)
        if len(set(ends[0])) != len(ends[0]) or list(ends[1]) != sorted(ends[1]):
            raise UsageError(
                f"the parts of {one.name!r} lie otherwise at the other length: a plan for that "
                "length is needed"
            )
        maps.append(ByteMap(*ends, granularity or two.row_bytes))
    return maps


def _check_alike(planned: Program, actual: Program) -> None:
    """Check that two programs have the same steps and buffers, but for sizes.

    Raises:
        UsageError: they do not; names the first difference.
    """

    def shape_of(program: Program) -> list[tuple[object, ...]]:
        steps = [
            (step.name, step.operator, *((u.buffer, u.value, u.write) for u in step.uses))
            for step in program.steps
        ]
        buffers = [(b.name, b.kind, *(v.name for v in b.values)) for b in program.buffers]
        return [*steps, *buffers]

    one, two = shape_of(planned), shape_of(actual)
    for ours, theirs in zip(one, two, strict=False):
        if ours != theirs:
            raise UsageError(
                f"at the other length {ours[0]!r} is another step or buffer ({theirs[0]!r}), or "
                "uses others: a plan for that length is needed"
            )
    if len(one) != len(two):
        raise UsageError("at the other length there are other steps: a plan for it is needed")


def _homes_of_states(plan: Plan) -> dict[tuple[int, str], int]:
    """(buffer, home tier) of each state -> address of its byte 0.

    Raises:
        UsageError: a state does not lie in a row there.
    """
    found: dict[tuple[int, str], set[int]] = {}
    for item in plan.residencies:
        buffer = plan.problem.buffers[item.buffer]
        is_home = plan.target.home(buffer.kind).name == item.tier
        if buffer.persistent and not buffer.constant and is_home:
            found.setdefault((item.buffer, item.tier), set()).add(item.offset - item.start_byte)
    for (index, tier), places in found.items():
        if len(places) > 1:
            raise UsageError(
                f"the rows of {plan.problem.buffers[index].name!r} are not side by side in {tier}, "
                "so that a shorter cache would not grow into its place: a plan for that length is "
                "needed"
            )
    return {key: places.pop() for key, places in found.items()}


def _check_aligned(plan: Plan, item: Residency, offset: int) -> None:
    """Check that rows of a state may begin where they do at another length.

    Raises:
        UsageError: the tier demands other addresses.
    """
    alignment = plan.target.tier(item.tier).alignment_bytes
    if offset % alignment:
        raise UsageError(
            f"a row of {plan.problem.buffers[item.buffer].name!r} would begin at address {offset} "
            f"of {item.tier}, which takes multiples of {alignment} bytes: a plan for that length "
            "is needed"
        )


def _fewer(moves: Sequence[tuple[int, int]], size_bytes: int) -> tuple[tuple[int, int], ...]:
    """Moves of fewer bytes in the same steps, the last one included; steps without bytes go."""
    total = sum(size for _, size in moves)
    if size_bytes == total:
        return tuple(moves)
    fewer: list[tuple[int, int]] = []
    planned, done = 0, 0
    for number, (step, size) in enumerate(moves, 1):
        planned += size
        # The last step keeps at least a byte, so that the data is ready when it was to be.
        most = size_bytes if number == len(moves) else size_bytes - 1
        until = min(most, planned * size_bytes // total) if number < len(moves) else size_bytes
        if until > done:
            fewer.append((step, until - done))
            done = until
    return tuple(fewer)
