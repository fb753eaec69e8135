"""Quick estimates of groups: what stripes keep in fast memory, and what they move.

For each operator that may end a group, each axis of its output and each number of stripes, one walk
back along the order gives the estimates of all groups that end there:

    order     ... conv1 | dw1 | pw1 | conv2 | dw2 | pw2      groups that end with pw2 begin with
                                          <-  <-  <-         pw2, dw2, conv2, ...

A walk ends at an operator that cannot be cut, or of which a stripe needs everything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Program
from ullage.compiler.ir.reach import REDUCTION, Box, whole_box
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.part_work import operator_step, part_work
from ullage.compiler.lowering.parts import ACCUMULATOR_BYTES
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.scheduling.cascade.fitting import grids_that_fit, most_demanding, too_large
from ullage.solvers.scheduling.cascade.stripes import Cascade, Demands, stripe_ends

# Operators of a group at most.
LONGEST = 40
# Numbers of stripes that are looked at.
STRIPES = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
# Where line buffers take so many times the memory, longer groups are not looked at either.
HOPELESS = 1.5
# Axes of the last operator that are looked at, the first of those longer than 1.
AXES = 3


@dataclass(frozen=True, slots=True)
class GroupEstimate:
    """A group with what it needs and moves, estimated.

    Attributes:
        cascade: the group.
        kept_bytes: line buffers, and what is live inside a stripe; whole operators: their operands.
        weight_bytes: weights of its operators.
        compute_s: compute time, overhead of all parts included.
        given_bytes: what it reads of the graph's inputs and writes of its outputs.
        consumed_bytes: values made before the group that it reads.
        produced_bytes: values made by the group that are read behind it.
        parts: steps that its operators take.
        again_bytes: weights (and operands of a grid) that are read once more or oftener, in all;
            None where weights are read again for each stripe as far as they find no room.
        late_bytes: bytes that find no room before the part that reads them.
        cut_weight_bytes: weights of which each stripe reads a share of its own (output channels).
    """

    cascade: Cascade
    kept_bytes: float
    weight_bytes: int
    compute_s: float
    given_bytes: int
    consumed_bytes: int
    produced_bytes: int
    parts: int
    again_bytes: float | None = None
    late_bytes: float = 0.0
    cut_weight_bytes: float = 0.0

    def read_again(self, room_bytes: float) -> float:
        """Bytes of weights that are read once more or oftener, with that much room for them."""
        if self.again_bytes is not None:
            return self.again_bytes
        common = self.weight_bytes - self.cut_weight_bytes
        return max(0.0, common - room_bytes) * (self.cascade.stripes - 1)

    @property
    def held_weight_bytes(self) -> float:
        """Weights that are used by one stripe."""
        cut = self.cut_weight_bytes * (1 - 1 / self.cascade.stripes)
        return self.weight_bytes - cut


@dataclass(frozen=True)
class OrderFacts:
    """A graph in an order, as the estimates need it.

    Attributes:
        graph: the graph.
        order: operator indices.
        maker: by value the position of the operator that makes it; inputs and weights have none.
        readers: by value the positions that read it; the length of the order for an output.
        compute_s: by position the compute time of the whole operator, 0 for one that vanishes.
        overhead_s: time of each part on top.
        target: the chip.
        part_times: compute times of parts that were asked for, by position and lengths.
    """

    graph: Graph
    order: tuple[int, ...]
    maker: Mapping[str, int]
    readers: Mapping[str, tuple[int, ...]]
    compute_s: Sequence[float]
    overhead_s: float
    target: Target
    part_times: dict[tuple[int, tuple[tuple[int, int], ...]], float] = field(default_factory=dict)

    @property
    def fitting_bytes(self) -> int | None:
        """Size of the memory in which all operands of a part must lie; None: not in one."""
        target = self.target
        return target.fastest.capacity_bytes if target.must_be_fastest("activation") else None

    @property
    def seconds_per_byte(self) -> float:
        """Of reading the second memory."""
        return 1 / self.target.tiers[1].read_bytes_per_s

    def together(self, compute_s: float, moved_s: float) -> float:
        """Time of computing and of accesses to the second memory beside it.

        What the unit cannot compute in (`compute.overlap` below 1) is added: all that it accesses
        there counts as in place.
        """
        return max(compute_s + self.target.compute.exposed * moved_s, moved_s)

    @classmethod
    def of(cls, graph: Graph, order: Sequence[int], problem: Problem) -> "OrderFacts":
        """The facts of a graph in an order.

        Args:
            graph: the graph.
            order: operator indices.
            problem: the problem of that order, with whole operators.
        """
        target = problem.target
        seconds = {
            step.operator: float(s)
            for step, s in zip(problem.steps, compute_seconds(problem)[0], strict=True)
            if step.kind != DMA_STEP
        }
        maker: dict[str, int] = {}
        readers: dict[str, list[int]] = {}
        for position, index in enumerate(order):
            operator = graph.operators[index]
            maker.update(dict.fromkeys(operator.outputs, position))
            for name in operator.inputs:
                readers.setdefault(name, []).append(position)
        for name in graph.outputs:
            readers.setdefault(name, []).append(len(order))
        return cls(
            graph,
            tuple(order),
            maker,
            {name: tuple(sorted(set(places))) for name, places in readers.items()},
            [seconds.get(index, 0.0) for index in order],
            target.compute.overhead_s,
            target,
        )

    def cut_s(self, position: int, lengths: tuple[tuple[int, int], ...]) -> float:
        """Compute time of an operator that runs in parts, in s, overhead not included.

        Units that compute in blocks, or wait for weights, take longer for many small parts than for
        one large one; at peak rates parts take their share.

        Args:
            position: the operator's.
            lengths: (axis, indices of a part) of the axes that are cut.
        """
        compute = self.target.compute
        if not (compute.mac_blocks or compute.systolic or compute.kernel_cycles):
            return self.compute_s[position]
        key = position, lengths
        if key not in self.part_times:
            operator, index = self.operator(position), self.order[position]
            shape = self.graph.values[operator.outputs[0]].shape
            reduction = operator.reach.reduction if operator.reach else 1
            parts = 1.0
            for axis, length in lengths:
                parts *= (reduction if axis == REDUCTION else shape[axis]) / length
            work = part_work(self.graph, operator, {axis: (0, n) for axis, n in lengths})
            step = operator_step(operator, index, work)
            problem = Problem(Program(self.graph.name, "", (step,), ()), self.target)
            self.part_times[key] = parts * float(compute_seconds(problem)[0][0])
        return self.part_times[key]

    def operator(self, position: int) -> Operator:
        """The operator at a position of the order."""
        return self.graph.operators[self.order[position]]

    def size(self, name: str) -> int:
        """Bytes of a value."""
        return self.graph.values[name].size_bytes

    def read_bytes(self, operator: Operator, name: str) -> int:
        """Bytes that an operator reads of an input: of a table those rows that it looks up."""
        if name in operator.looked_up:
            return dict(operator.accessed_bytes).get(name, self.size(name))
        return self.size(name)

    def is_held(self, operator: Operator, name: str) -> bool:
        """Whether an operand must be in the fastest memory while its operator runs."""
        kind = self.graph.values[name].kind
        return self.target.must_be_fastest(kind, look_up=name in operator.looked_up)

    def too_large(self) -> InfeasibleError:
        """The error where parts of some operator do not fit: names the one that needs the most."""
        working = [self.operator(p) for p, seconds in enumerate(self.compute_s) if seconds > 0]
        return too_large(self.graph, most_demanding(self.graph, working, self.target), self.target)


def groups_ending_at(facts: OrderFacts, last: int) -> Iterator[GroupEstimate]:
    """Estimates of the groups whose last operator is at position `last - 1`."""
    if facts.fitting_bytes is None:
        yield _single(facts, last - 1)
    else:
        yield from alone(facts, last - 1, facts.fitting_bytes)
    operator = facts.operator(last - 1)
    if operator.reach is None:
        return
    shape = facts.graph.values[operator.outputs[0]].shape
    axes = [a for a, size in enumerate(shape) if size > 1 and operator.reach.axes[a] != "none"]
    lengths = {axis: shape[axis] for axis in axes[:AXES]}
    if not operator.macs:  # a mean, of rows that need not be there at once
        lengths[REDUCTION] = operator.reach.reduction
    for axis, length in lengths.items():
        for stripes in STRIPES:
            if stripes <= length:
                yield from _walk(facts, Cascade(last - 1, last, stripes, axis))


def _single(facts: OrderFacts, position: int) -> GroupEstimate:
    """An operator that runs whole."""
    operator = facts.operator(position)
    crossing = _Crossing(facts, position + 1)
    crossing.add(position)
    operands = sum(
        facts.size(name)
        for name in dict.fromkeys((*operator.inputs, *operator.outputs))
        if facts.graph.values[name].kind != "weight" or facts.is_held(operator, name)
    )
    if facts.fitting_bytes is not None:
        operands += operator.workspace_bytes
    return crossing.estimate(Cascade(position, position + 1), float(operands), 1)


def alone(
    facts: OrderFacts, position: int, fitting_bytes: int, outermost: int | None = None
) -> Iterator[GroupEstimate]:
    """An operator by itself where all operands must lie in fast memory: whole, and in parts.

    Args:
        facts: the graph in its order.
        position: the operator.
        fitting_bytes: what its parts may need.
        outermost: the axis of their outermost loop; None: any.
    """
    whole = _single(facts, position)
    if whole.kept_bytes <= fitting_bytes or facts.compute_s[position] == 0:
        yield whole  # what vanishes needs no bytes
    operator = facts.operator(position)
    crossing = _Crossing(facts, position + 1)
    crossing.add(position)
    for grid in grids_that_fit(
        facts.graph,
        operator,
        facts.target,
        fitting_bytes,
        facts.compute_s[position],
        outermost,
    ):
        (axis, stripes), *inner = grid.loops
        cascade = Cascade(position, position + 1, stripes, axis, tuple(inner))
        plain = crossing.estimate(cascade, float(grid.part_bytes), grid.parts)
        yield replace(plain, again_bytes=grid.again_bytes, late_bytes=grid.late_bytes)


def _walk(facts: OrderFacts, begin: Cascade) -> Iterator[GroupEstimate]:
    """Groups in that many stripes of that axis, from the shortest to the longest."""
    last, graph, is_sum = begin.last, facts.graph, begin.axis == REDUCTION
    before, now, first_end, second_end = _two_stripes(facts, begin)
    crossing = _Crossing(facts, last)
    kept: dict[str, float] = {}
    live = widest = weights = cut_weights = 0.0
    for position in range(last - 1, max(-1, last - 1 - LONGEST), -1):
        operator = facts.operator(position)
        if operator.reach is None:
            return
        if is_sum and position == last - 1:
            axis, done, end, live = REDUCTION, first_end, second_end, 0.0
            length = operator.reach.reduction
            for name in operator.outputs:
                kept[name] = float(ACCUMULATOR_BYTES * prod(graph.values[name].shape))
        else:
            old, new = before.of(operator), now.of(operator)
            if not old or not new or old.keys() != new.keys():
                return
            axis = next(iter(new))
            if operator.reach.axes[axis] == "none":
                return
            done, end = old[axis][1], new[axis][1]
            length = graph.values[operator.outputs[0]].shape[axis]
            for name in operator.outputs:
                row = facts.size(name) / length
                if position < last - 1:
                    kept[name] = row * max(0, done - new[axis][0])
            live = sum(facts.size(name) for name in operator.outputs) / length * max(0, end - done)
        before.pass_on(operator, {axis: (max(0, done - 1), done)})
        now.pass_on(operator, {axis: (min(done, end - 1), end)})
        fed = own_weights = 0.0
        for name in operator.inputs:
            if name not in now.boxes:
                continue
            if name in operator.looked_up:  # each stripe reads rows of its own
                cut_weights += facts.read_bytes(operator, name)
                continue
            if graph.values[name].kind == "weight":
                part = facts.size(name) * _volume(now.boxes[name], graph.values[name].shape)
                own_weights += part
                cut_weights += facts.size(name) if part < facts.size(name) else 0
                continue
            share, halo = _share(graph, name, before, now)
            fed += facts.size(name) * share
            kept[name] = facts.size(name) * halo
        widest = max(widest, live + fed)
        made = end - done if 0 < end - done < length else 0
        crossing.add(position, ((axis, made),) if made else ())
        cascade = Cascade(position, last, begin.stripes, begin.axis)
        estimate = replace(
            crossing.estimate(cascade, sum(kept.values()) + widest, begin.stripes),
            cut_weight_bytes=cut_weights,
        )
        if facts.fitting_bytes is None:
            if estimate.kept_bytes > HOPELESS * facts.target.fastest.capacity_bytes:
                return
            yield estimate
            continue
        if not facts.target.must_be_fastest("weight"):
            own_weights = 0.0
        weights = max(weights, own_weights + operator.workspace_bytes)
        if estimate.kept_bytes + weights > facts.fitting_bytes:
            return
        if position < last - 1:
            yield _with_late_weights(estimate, weights, facts.fitting_bytes)


def _two_stripes(facts: OrderFacts, begin: Cascade) -> tuple[Demands, Demands, int, int]:
    """The end of a stripe in the middle and the one behind it, demanded of the last operator.

    Returns:
        The demands of both, and where the two stripes end. Of a reduction nothing is demanded.
    """
    graph, final = facts.graph, facts.operator(begin.last - 1)
    before, now = Demands(graph), Demands(graph)
    if begin.axis == REDUCTION:
        size = final.reach.reduction if final.reach else 0
    else:
        size = graph.values[final.outputs[0]].shape[begin.axis]
    ends = stripe_ends(size, begin.stripes)
    middle = len(ends) // 2
    first_end, second_end = ends[middle - 1], ends[middle]
    for name in () if begin.axis == REDUCTION else final.outputs:
        box = list(whole_box(graph.values[name].shape))
        box[begin.axis] = (first_end - 1, first_end)
        before.demand(name, tuple(box))
        box[begin.axis] = (first_end, second_end)
        now.demand(name, tuple(box))
    return before, now, first_end, second_end


def _with_late_weights(
    estimate: GroupEstimate, largest_bytes: float, fitting_bytes: int
) -> GroupEstimate:
    """The estimate, with the weights that cannot arrive beside a part that runs.

    Args:
        estimate: the group.
        largest_bytes: of the operator of most weights.
        fitting_bytes: capacity of the memory.
    """
    room = fitting_bytes - estimate.kept_bytes
    if estimate.weight_bytes <= room:
        return estimate
    moved = estimate.weight_bytes + estimate.read_again(room)
    late = max(0.0, moved / max(1, estimate.parts) - (room - largest_bytes))
    return replace(estimate, late_bytes=late * estimate.parts)


def _volume(box: Box, shape: tuple[int, ...]) -> float:
    """The share of a value that a box is."""
    share = 1.0
    for (low, high), size in zip(box, shape, strict=True):
        share *= (high - low) / max(1, size)
    return share


def _share(graph: Graph, name: str, before: Demands, now: Demands) -> tuple[float, float]:
    """Shares of a value that a stripe reads anew, and that it has from the stripe before."""
    new, halo = 1.0, 1.0
    old_box, box = before.boxes.get(name), now.boxes[name]
    if old_box is None:
        return 1.0, 0.0
    cut = False
    for (_, old_end), (low, high), size in zip(old_box, box, graph.values[name].shape, strict=True):
        if size and (low, high) != (0, size):
            new *= max(0, high - max(low, old_end)) / size
            halo *= max(0, min(high, old_end) - low) / size
            cut = True
    return (new, halo) if cut else (0.0, 1.0)


class _Crossing:
    """What a group that grows backwards moves across its ends."""

    def __init__(self, facts: OrderFacts, last: int) -> None:
        self.facts, self.last = facts, last
        self.weights: dict[str, int] = {}
        self.consumed: dict[str, int] = {}
        self.given: dict[str, int] = {}
        self.produced: dict[str, int] = {}
        self.compute_s = 0.0
        self.operators = 0

    def add(self, position: int, lengths: tuple[tuple[int, int], ...] = ()) -> None:
        """Put the operator at a position in front of the group, in parts of these lengths."""
        facts = self.facts
        operator = facts.operator(position)
        vanishes = facts.compute_s[position] == 0
        whole = vanishes or not lengths
        self.compute_s += facts.compute_s[position] if whole else facts.cut_s(position, lengths)
        self.operators += facts.compute_s[position] > 0
        for name in operator.outputs:
            self.consumed.pop(name, None)
            places = facts.readers.get(name, ())
            if len(facts.order) in places:
                self.given[name] = facts.size(name)
            if any(self.last <= place < len(facts.order) for place in places):
                self.produced[name] = facts.size(name)
        for name in operator.inputs:
            kind = facts.graph.values[name].kind
            if kind == "weight":
                read_bytes = facts.read_bytes(operator, name)
                self.weights[name] = max(read_bytes, self.weights.get(name, 0))
            elif name in facts.maker:
                self.consumed[name] = facts.size(name)
            else:
                self.given[name] = facts.size(name)

    def estimate(self, cascade: Cascade, kept_bytes: float, stripes: int) -> GroupEstimate:
        """The estimate of the group as it is now."""
        return GroupEstimate(
            cascade=cascade,
            kept_bytes=kept_bytes,
            weight_bytes=sum(self.weights.values()),
            compute_s=self.compute_s + self.facts.overhead_s * stripes * self.operators,
            given_bytes=sum(self.given.values()),
            consumed_bytes=sum(self.consumed.values()),
            produced_bytes=sum(self.produced.values()),
            parts=stripes * self.operators,
        )
