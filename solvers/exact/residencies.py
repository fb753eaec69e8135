"""Between the CP-SAT model and plans: its values as residencies, known plans as its hints."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ullage.compiler.ir.assignment import Assignment
from ullage.solvers.exact.model import ResidencyModel
from ullage.solvers.exact.rows import LatencyCost
from ullage.solvers.exact.variables import Amount, SegmentVariables, readers_of
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.required import resident_residency
from ullage.solvers.state.segments import Segment

# (first access, last access, residency); accesses (0, -1) for a residency without any.
SpanResidency = tuple[int, int, SegmentResidency]
# The value of a variable in a solution.
Values = Callable[[Any], int]


def residencies_of_solution(model: ResidencyModel, value: Values) -> list[SpanResidency]:
    """The residencies that a solution describes, segments at home in the fastest tier included."""
    residencies: list[SpanResidency] = []
    for index, segment in enumerate(model.segments):
        if index in model.variables:
            residencies += _spans(index, segment, model.variables[index], value)
        elif segment.size_bytes and segment.home == model.target.fastest.name:
            residency = resident_residency(model.problem, index, segment)
            if residency is not None:
                residencies.append((0, len(segment.accesses) - 1, residency))
    return residencies


def _spans(
    index: int, segment: Segment, variables: SegmentVariables, value: Values
) -> list[SpanResidency]:
    """The use spans of one segment in a solution, with their residencies."""
    residencies: list[SpanResidency] = []
    first = 0
    while first < len(segment.accesses):
        if not value(variables.inside[first]):
            first += 1
            continue
        last = first
        while last + 1 in variables.kept and value(variables.kept[last + 1]):
            last += 1
        fill: Moves = ()
        if first in variables.fills:
            fill = _moves(variables.fills[first].arrived, value)
        spill: Moves = ()
        writes = [j for j in range(first, last + 1) if segment.accesses[j].writes]
        if writes and _is_wanted(segment, last):
            spill = _moves(variables.spills[writes[-1]].stored, value)
        begin, end = segment.accesses[first].step, segment.accesses[last].step + 1
        if spill:
            end = max(end, spill[-1][0] + 1)
        start = fill[0][0] if fill else begin
        ready = fill[-1][0] + 1 if fill else begin
        residencies.append((first, last, SegmentResidency(index, start, ready, end, fill, spill)))
        first = last + 1
    return residencies


def _is_wanted(segment: Segment, last: int) -> bool:
    """Whether the home tier needs the data when a use span ends at access `last`."""
    return (
        segment.accesses[last + 1].reads if last + 1 < len(segment.accesses) else segment.is_output
    )


def _moves(cumulative: Mapping[int, Amount], value: Values) -> Moves:
    """Moves of each step, from the bytes moved by its end."""
    moves: list[tuple[int, int]] = []
    before = 0
    for step, amount in cumulative.items():
        now = amount.factor * value(amount.variable)
        if now > before:
            moves.append((step, now - before))
        before = now
    return tuple(moves)


def residencies_of_plan(
    plan: Assignment, segments: Sequence[Segment]
) -> list[SegmentResidency] | None:
    """The residencies of a plan, None where it keeps parts or goes through other tiers."""
    fastest = plan.target.fastest.name
    by_span = {(a.buffer, a.start_byte, a.end_byte): i for i, a in enumerate(segments)}
    fills: dict[tuple[int, int], Moves] = {}
    spills: dict[int, list[Moves]] = {}
    for transfer in plan.transfers:
        index = by_span.get((transfer.buffer, transfer.start_byte, transfer.end_byte))
        if index is None or segments[index].home not in (transfer.source, transfer.destination):
            return None
        if transfer.destination == fastest:
            fills[index, transfer.moves[-1][0] + 1] = transfer.moves
        elif transfer.source == fastest:
            spills.setdefault(index, []).append(transfer.moves)
        else:
            return None
    residencies: list[SegmentResidency] = []
    for held in plan.residencies:
        if held.tier != fastest:
            continue
        index = by_span.get((held.buffer, held.start_byte, held.end_byte))
        if index is None:
            return None
        fill = fills.get((index, held.ready), ()) if held.ready > held.start else ()
        inside = [m for m in spills.get(index, ()) if held.start <= m[0][0] < held.end]
        spill = inside[-1] if inside else ()
        residencies.append(
            SegmentResidency(index, held.start, held.ready, held.end, fill, spill, held.offset)
        )
    return residencies


def hint(model: ResidencyModel, residencies: Sequence[SegmentResidency]) -> None:
    """Give the model a known plan as a hint, as far as its windows contain it."""
    values: dict[int, int] = {}
    by_segment: dict[int, list[SegmentResidency]] = {}
    for residency in residencies:
        by_segment.setdefault(residency.segment, []).append(residency)
    for index, variables in model.variables.items():
        _hint_segment(model.segments[index], variables, by_segment.get(index, []), values)
    if isinstance(model.cost, LatencyCost):
        values.update(model.cost.hints(values))
    program: Any = model.model  # not all of it has types
    program.clear_hints()
    for number, value in sorted(values.items()):
        program.add_hint(program.get_int_var_from_proto_index(number), value)


def _hint_segment(
    segment: Segment,
    variables: SegmentVariables,
    residencies: Sequence[SegmentResidency],
    values: dict[int, int],
) -> None:
    """Put the values of one segment's variables in a known plan into `values`, by index."""
    inside = [
        next((s for s in residencies if s.ready <= access.step < s.end), None)
        for access in segment.accesses
    ]
    for j, x in enumerate(variables.inside):
        values[x.index] = int(inside[j] is not None)
    for j, kept in variables.kept.items():
        values[kept.index] = int(inside[j] is not None and inside[j] is inside[j - 1])
    for j, fill in variables.fills.items():
        residency = inside[j]
        wanted = residency is not None and not (
            j in variables.kept and values[variables.kept[j].index]
        )
        values[fill.wanted.index] = int(wanted)
        moves = residency.fill if residency is not None and wanted else ()
        for step, amount in fill.arrived.items():
            arrived = sum(size for t, size in moves if t <= step)
            if amount.variable is not fill.wanted:
                values[amount.variable.index] = arrived
                values[fill.taken[step].index] = int(arrived > 0)
    for w, spill in variables.spills.items():
        residency = inside[w]
        left = residency is not None and any(
            inside[r] is not residency for r in readers_of(segment, w)
        )
        rewritten = any(access.writes for access in segment.accesses[w + 1 :])
        wanted = residency is not None and (left or (segment.is_output and not rewritten))
        moves = residency.spill if residency is not None and wanted else ()
        values[spill.wanted.index] = int(wanted)
        for step, amount in spill.stored.items():
            stored = sum(size for t, size in moves if t <= step)
            if amount.variable is not spill.wanted:
                values[amount.variable.index] = stored
            if step in spill.started:
                values[spill.started[step].index] = int(stored > 0)
    for j, lingers in variables.lingers.items():
        residency = inside[j]
        followed = j + 1 < len(inside) and residency is not None and inside[j + 1] is residency
        until = (
            residency.spill[-1][0]
            if residency is not None and residency.spill and not followed
            else -1
        )
        for step, linger in lingers.items():
            values[linger.index] = int(step <= until)
