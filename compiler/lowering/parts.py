"""From a graph and a schedule to a program: parts of operators as steps.

    schedule                                steps
    conv1 rows [0, 4)                       conv1 [rows 0:4)   write a, rows [0, 4)
    conv2 rows [0, 3), reads rows [0, 4)    conv2 [rows 0:3)   read a, rows [0, 4)
    conv1 rows [4, 8)                       conv1 [rows 4:8)   write a, rows [4, 8)
    conv2 rows [3, 8), reads rows [2, 8)    conv2 [rows 3:8)   read a, rows [2, 8)

What comes out is an ordinary program. Here a's rows [0, 2) are dead after the second step: memory
for a is a line buffer of six rows, without anybody having asked for one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil, prod

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.part_names import axis_name, part_name
from ullage.compiler.ir.program import Buffer, DmaSteps, Program, Use
from ullage.compiler.ir.reach import REDUCTION, Box, Interval, whole_box
from ullage.compiler.ir.schedule import Part, Schedule, check_schedule, reach_of
from ullage.compiler.lowering.aliases import Aliases, AliasOptions, find_aliases
from ullage.compiler.lowering.demand import boxes_read, named_share
from ullage.compiler.lowering.layouts import ByteRange, LaidOut, whole_range
from ullage.compiler.lowering.leaves import Leaves
from ullage.compiler.lowering.lower import (
    ONE_AT_EACH_END,
    buffer_numbers,
    buffers_of,
    build_program,
    end_steps,
    looks_up,
    merged_uses,
    steps_before,
)
from ullage.compiler.lowering.part_layouts import LayoutConflictError, LeafBox, choose_layouts
from ullage.compiler.lowering.part_work import operator_step, part_work
from ullage.compiler.lowering.symbolic_memory import ByteRuns, DataRange

# Bytes of an accumulator: a partial sum of a reduction that is cut.
ACCUMULATOR_BYTES = 4


def lower_schedule(
    graph: Graph,
    schedule: Schedule,
    *,
    order_name: str | None = None,
    aliases: AliasOptions | None = None,
    dma_steps: DmaSteps = ONE_AT_EACH_END,
    steady_state: bool = False,
) -> Program:
    """The program of a schedule.

    Args:
        graph: the graph.
        schedule: parts of its operators, in the order in which they run.
        order_name: how the order of the operators was chosen, default the name of the schedule.
        aliases: what may share storage, default everything.
        dma_steps: how many DMA-only steps stand between steps with operators and at both ends.
        steady_state: the steps repeat for ever.

    Raises:
        UsageError: the schedule is none of this graph, a part reads elements before they are made,
            or a value cannot be made in such parts.
    """
    check_schedule(schedule, graph)
    options = aliases or AliasOptions()
    if schedule.is_whole:
        return build_program(
            graph,
            schedule.order,
            order_name=order_name or schedule.name,
            aliases=options,
            dma_steps=dma_steps,
            steady_state=steady_state,
        )
    if graph.states:
        raise UsageError(
            "operators run whole where tensors live from one inference to the next (--state): use "
            "--schedule whole"
        )
    lowered = resolve(graph, schedule, options)
    numbers = buffer_numbers(graph, lowered.aliases)
    scattered = {name: lowered.output_ranges(graph, name) for name in graph.outputs}
    scattered = {name: pieces for name, pieces in scattered.items() if pieces}
    buffers = buffers_of(graph, lowered.aliases, numbers, lowered.laid_out, scattered)
    accumulators = _Accumulators(len(buffers), graph)
    steps = end_steps("start", dma_steps)
    for part, accesses in zip(schedule.parts, lowered.accesses, strict=True):
        operator = graph.operators[part.operator]
        if accesses is None:
            continue
        rank = len(graph.values[operator.outputs[0]].shape)
        axis_names = tuple(axis_name(operator.kind, r.axis, rank) for r in part.ranges)
        name = part_name(operator.name, part.ranges, axis_names, part.copy)
        if len(steps) > dma_steps.at_ends:
            steps += steps_before(name, dma_steps)
        work = part_work(graph, operator, part.intervals)
        before, behind = accumulators.of(operator, part)
        reads = [
            replace(
                _use(lowered.aliases, numbers, access, write=False),
                look_up=looks_up(graph, operator, access.value),
            )
            for access in accesses.reads
        ]
        writes = [_use(lowered.aliases, numbers, access, write=True) for access in accesses.writes]
        uses = (*merged_uses(reads), *before, *merged_uses(writes), *behind)
        step = operator_step(operator, part.operator, work, name=name, uses=uses)
        steps.append(replace(step, ranges=part.ranges, copy=part.copy, axis_names=axis_names))
    steps += end_steps("finish", dma_steps)
    return Program(
        graph.name,
        order_name or schedule.name,
        tuple(steps),
        (*buffers, *accumulators.buffers),
        steady_state,
    )


@dataclass(frozen=True, slots=True)
class Access:
    """Bytes that a part reads or writes, for a value.

    Attributes:
        value: the operator's input or output.
        leaf: the value whose bytes they are.
        range: the bytes, counted from the beginning of the leaf.
    """

    value: str
    leaf: str
    range: ByteRange


@dataclass(frozen=True, slots=True)
class Accesses:
    """What a part reads and what it writes."""

    reads: tuple[Access, ...]
    writes: tuple[Access, ...]


@dataclass(frozen=True)
class Lowered:
    """A schedule with its storage decided.

    Attributes:
        aliases: which values share bytes.
        leaves: what boxes of values are made of.
        laid_out: the layouts of values made or read in parts.
        accesses: for each part of the schedule what it reads and writes; None for a part that only
            arranges bytes and vanishes.
    """

    aliases: Aliases
    leaves: Leaves
    laid_out: Mapping[str, LaidOut]
    accesses: tuple[Accesses | None, ...]

    def output_ranges(self, graph: Graph, name: str) -> list[tuple[str, int, int]]:
        """Bytes of an output that only arranges values with layouts, as (root, start, end).

        Empty for any other output, which lies where its value does.
        """
        pieces = self.leaves.of(name, whole_box(graph.values[name].shape))
        if not any(leaf in self.laid_out for leaf, _ in pieces) or name in self.laid_out:
            return []
        result = []
        for leaf, box in pieces:
            root, offset = self.aliases.buffer_of[leaf]
            laid_out = self.laid_out.get(leaf)
            ranges = laid_out.ranges(box) if laid_out else whole_range(graph.values[leaf])
            result += [(root, offset + r.start, offset + r.end) for r in ranges]
        return result


def resolve(graph: Graph, schedule: Schedule, options: AliasOptions) -> Lowered:
    """Decide which values share bytes, how they are laid out, and what each part accesses.

    Storage is shared as for whole operators, but for what a proof by symbolic execution refuses: a
    result may overwrite an operand only where no later part reads it.

    Raises:
        UsageError: a part reads elements before they are made.
    """
    apart: set[str] = set()
    writer = {name: o.name for o in graph.operators for name in o.outputs}
    parts = schedule.parts
    repeats = any(part.copy for part in parts) and not any(part.ranges for part in parts)
    executions = [part.operator for part in parts] if repeats else None
    while True:
        aliases = find_aliases(graph, schedule.order, options, apart, executions)
        partly = {name for name, _ in aliases.absorbed if name not in aliases.elided}
        if partly:
            apart |= partly
            continue
        try:
            lowered = _lower(graph, schedule, aliases)
            _prove(graph, schedule, lowered)
        except LayoutConflictError as conflict:
            blamed = {writer[name] for name in conflict.values if name in writer} - apart
            if not blamed and conflict.lost in writer:  # it was put over one of them
                blamed = {writer[conflict.lost]} - apart
            shares = {
                o.name for o in graph.operators if o.name in blamed and _is_in_place(o, aliases)
            }
            if not (shares or blamed):
                raise UsageError(
                    f"{conflict.values[0]!r} cannot be laid out for the parts of this schedule"
                ) from None
            apart |= shares or blamed
            continue
        return lowered


def _is_in_place(operator: Operator, aliases: Aliases) -> bool:
    """Whether a result of an operator lies in the bytes of an operand."""
    places = {aliases.buffer_of[name] for name in operator.inputs}
    return any(aliases.buffer_of[name] in places for name in operator.outputs)


def _lower(graph: Graph, schedule: Schedule, aliases: Aliases) -> Lowered:
    leaves = Leaves(graph, aliases)
    shapes = {name: value.shape for name, value in graph.values.items()}
    reads: list[list[tuple[str, LeafBox]]] = []
    writes: list[list[LeafBox]] = []
    for part in schedule.parts:
        operator = graph.operators[part.operator]
        if operator.name in aliases.elided:
            reads.append([])
            writes.append([])
            continue
        reads.append(
            [
                (name, leaf)
                for name, boxes in boxes_read(graph, operator, part.intervals).items()
                for box in boxes
                for leaf in leaves.of(name, box)
                if graph.values[leaf[0]].size_bytes
            ]
        )
        writes.append(_written(operator, part, shapes))
    laid_out = choose_layouts(
        graph,
        aliases,
        (box for boxes in writes for box in boxes),
        (box for boxes in reads for _, box in boxes),
    )

    def ranges(leaf: str, box: Box) -> list[ByteRange]:
        found = laid_out.get(leaf)
        return found.ranges(box) if found else whole_range(graph.values[leaf])

    accesses: list[Accesses | None] = []
    for part, read, written in zip(schedule.parts, reads, writes, strict=True):
        operator = graph.operators[part.operator]
        if operator.name in aliases.elided:
            accesses.append(None)
            continue
        accesses.append(
            Accesses(
                _fewer(
                    [
                        Access(name, leaf, r)
                        for name, (leaf, box) in read
                        for r in ranges(leaf, box)
                    ],
                    operator,
                    graph,
                    part,
                ),
                tuple(Access(name, name, r) for name, box in written for r in ranges(name, box)),
            )
        )
    return Lowered(aliases, leaves, laid_out, tuple(accesses))


def _written(
    operator: Operator, part: Part, shapes: Mapping[str, tuple[int, ...]]
) -> list[LeafBox]:
    """The boxes that a part makes; none before the last part of a cut reduction."""
    cut = part.intervals
    if REDUCTION in cut and cut[REDUCTION][1] < reach_of(operator).reduction:
        return []
    return [
        (name, tuple(cut.get(axis, (0, size)) for axis, size in enumerate(shapes[name])))
        for name in operator.outputs
    ]


def _fewer(
    accesses: Sequence[Access], operator: Operator, graph: Graph, part: Part
) -> tuple[Access, ...]:
    """The accesses, with fewer bytes where an operator reads little of an operand (a Gather).

    Boxes of a part leave out some of what is not read already (all but the rows that a Slice
    takes); only the rest is taken off. Of a table in which rows are looked up, a part reads those
    that its own indices name.
    """
    result = list(accesses)
    for name, read_bytes in operator.accessed_bytes:
        value = graph.values[name]
        share = _boxed_share(graph, operator, name) if part.ranges else Fraction(1)
        kept = min(Fraction(1), Fraction(read_bytes, max(1, value.size_bytes)) / share)
        if part.ranges and name in operator.looked_up:
            boxes = boxes_read(graph, operator, part.intervals).get(name, ())
            kept *= named_share(graph, operator, part.intervals, boxes, name)
        for at, access in enumerate(result):
            r = access.range
            if access.value == name:
                fewer = ByteRange(r.start, r.end, ceil(r.accessed_bytes * kept))
                result[at] = Access(name, access.leaf, fewer)
    return tuple(result)


def _boxed_share(graph: Graph, operator: Operator, name: str) -> Fraction:
    """The share of an operand that the boxes of all parts of its operator hold."""
    shape = graph.values[name].shape
    whole = dict(enumerate(whole_box(graph.values[operator.outputs[0]].shape)))
    boxes = boxes_read(graph, operator, whole).get(name, ())
    held = sum(prod(high - low for low, high in box) for box in boxes)
    return min(Fraction(1), Fraction(held or 1, max(1, prod(shape))))


def _use(aliases: Aliases, numbers: Mapping[str, int], access: Access, *, write: bool) -> Use:
    root, offset = aliases.buffer_of[access.leaf]
    r = access.range
    accessed = r.end - r.start if write else r.accessed_bytes
    return Use(numbers[root], offset + r.start, offset + r.end, write, accessed, access.value)


def _prove(graph: Graph, schedule: Schedule, lowered: Lowered) -> None:
    """Run the parts symbolically: every read must find the bytes of the value that it means.

    Raises:
        LayoutConflictError: a result overwrote an operand that is still read.
        UsageError: a part reads elements that no part has made yet.
    """
    buffer_of = lowered.aliases.buffer_of
    memory = {root: ByteRuns() for root, _ in buffer_of.values()}
    for name, value in graph.values.items():
        if value.kind in ("input", "weight") and value.size_bytes:
            root, offset = buffer_of[name]
            memory[root].write(offset, [(0, value.size_bytes, name, 0)])

    def expect(access: Access, reader: str) -> None:
        root, offset = buffer_of[access.leaf]
        r = access.range
        held = memory[root].read(offset + r.start, offset + r.end)
        expected: list[DataRange] = [(0, r.end - r.start, access.leaf, r.start)]
        if held == expected:
            return
        strangers = {run[2] for run in held} - {access.leaf}
        if strangers:
            raise LayoutConflictError(strangers, access.leaf)
        raise UsageError(
            f"the schedule is wrong: {reader} reads elements of {access.value!r} that no part "
            "before it makes"
        )

    for part, accesses in zip(schedule.parts, lowered.accesses, strict=True):
        if accesses is None:
            continue
        reader = f"a part of {graph.operators[part.operator].name!r}"
        for access in accesses.reads:
            expect(access, reader)
        for access in accesses.writes:
            root, offset = buffer_of[access.leaf]
            r = access.range
            memory[root].write(offset + r.start, [(0, r.end - r.start, access.leaf, r.start)])
    for name in graph.outputs:
        for leaf, _ in lowered.leaves.of(name, whole_box(graph.values[name].shape)):
            for r in whole_range(graph.values[leaf]):
                expect(Access(name, leaf, r), "the end of the graph")


@dataclass
class _Accumulators:
    """Buffers for the partial sums of reductions that are cut.

    Attributes:
        first: index of the first of them in `Program.buffers`.
        graph: the graph.
        buffers: the buffers so far.
    """

    first: int
    graph: Graph
    buffers: list[Buffer] = field(default_factory=list)
    _open: dict[tuple[str, tuple[tuple[int, Interval], ...]], int] = field(default_factory=dict)

    def of(self, operator: Operator, part: Part) -> tuple[tuple[Use, ...], tuple[Use, ...]]:
        """The accumulators that a part reads, and those that it writes."""
        cut = part.intervals
        if REDUCTION not in cut:
            return (), ()
        reduction = reach_of(operator).reduction
        start, end = cut.pop(REDUCTION)
        key = (operator.name, tuple(sorted(cut.items())))
        index = self._open.pop(key, -1)
        if index < 0 and end == reduction:
            return (), ()
        if index < 0:
            shape = self.graph.values[operator.outputs[0]].shape
            spans = [cut.get(axis, (0, size)) for axis, size in enumerate(shape)]
            size = ACCUMULATOR_BYTES * prod(high - low for low, high in spans)
            index = self.first + len(self.buffers)
            name = f"{operator.name}#accumulators {len(self.buffers) + 1}"
            self.buffers.append(Buffer(name, size, "activation"))
        size = self.buffers[index - self.first].size_bytes
        value = self.buffers[index - self.first].name
        read = (Use(index, 0, size, False, size, value),) if start else ()
        if end == reduction:
            return read, ()
        self._open[key] = index
        return read, (Use(index, 0, size, True, size, value),)
