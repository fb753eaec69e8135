"""The parts of a cascade: a group of consecutive operators, executed stripe by stripe.

The group's last operator is cut into stripes along one axis. For each stripe, from the last
operator back to the first, a part makes what the parts behind it need and no part has made yet:

    stripe      1               2               3
    conv3       rows [0, 4)     rows [4, 8)     rows [8, 12)
    conv2       rows [0, 5)     rows [5, 9)     rows [9, 12)        a halo of one row
    conv1       rows [0, 6)     rows [6, 10)    rows [10, 12)

Rows of the halo are made once and stay (in fast memory, or wherever the plan puts them) until the
next stripe has read them.

Stripes may also be ranges of the last operator's reduction: each adds to its accumulators, which
wait until the last of them is done.

Where a stripe of whole rows is too much, the group runs in blocks of another axis (columns), and
each block stripe by stripe. The columns that a block needs of the one before stay like rows do.

What was made before the group and has found no room may be made again, stripe by stripe, where that
is cheaper than to store and load it:

    expand, dw, mean            the group before: of dw the mean alone is kept
    squeeze, excite             operators that run whole
    expand, dw, mul, project    the group: expand and dw a second time
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.reach import REDUCTION, AxisRange, Interval
from ullage.compiler.ir.schedule import Part, part_of
from ullage.compiler.lowering import demand as lowering

# The range of one axis that is demanded of an operator, by axis; empty: nothing is cut.
Ranges = dict[int, Interval]


@dataclass(frozen=True, slots=True)
class Cascade:
    """A group of consecutive operators of an order, and in how many stripes it runs.

    Attributes:
        first: position in the order of its first operator.
        last: one past the position of its last operator.
        stripes: number of stripes; 1 beside one block: each operator runs whole, one after the
            other.
        axis: axis of the last operator's output that is cut into stripes, or `REDUCTION`.
        inner: (axis, number of parts) of loops inside each stripe, the outermost first; a group of
            one operator only, in one block.
        blocks: number of blocks, each of which runs stripe by stripe.
        block_axis: axis of the last operator's output that is cut into blocks.
        again: positions, ascending, of operators before the group that it runs again as far as its
            stripes need them.
        found: number of stripes at its beginning that take what is there instead.
    """

    first: int
    last: int
    stripes: int = 1
    axis: int = 0
    inner: tuple[tuple[int, int], ...] = ()
    blocks: int = 1
    block_axis: int = 0
    again: tuple[int, ...] = ()
    found: int = 0

    @property
    def is_cut(self) -> bool:
        """Whether its operators run in parts."""
        return self.stripes > 1 or self.blocks > 1


def runs_thrice(cascades: Sequence[Cascade]) -> bool:
    """Whether several groups run the same operator again."""
    again = [position for cascade in cascades for position in cascade.again]
    return len(set(again)) < len(again)


class Demands(lowering.Demands):
    """What the parts of one stripe must make, from the group's last operator back to its first."""

    def of(self, operator: Operator) -> Ranges | None:
        """The ranges that an operator must make; None where nothing of it is demanded.

        Where several axes are cut, the hull of the demand along the first of them is meant.
        """
        found: Ranges | None = None
        for name in operator.outputs:
            box = self.boxes.get(name)
            if box is None:
                continue
            shape = self.graph.values[name].shape
            cut = {
                axis: span
                for axis, (span, size) in enumerate(zip(box, shape, strict=True))
                if span != (0, size)
            }
            found = cut if found is None else _hull(found, cut)
        if found is None or not found:
            return found
        axis = min(found)
        return {axis: found[axis]}


def _hull(one: Ranges, other: Ranges) -> Ranges:
    """The hull of two demands; an axis that either needs whole is not cut."""
    return {
        axis: (min(one[axis][0], other[axis][0]), max(one[axis][1], other[axis][1]))
        for axis in one.keys() & other.keys()
    }


def cascade_parts(
    graph: Graph, order: Sequence[int], cascade: Cascade, readers: Mapping[str, Sequence[int]]
) -> list[Part] | None:
    """The parts of a cascade in the order in which they run; None where it cannot be cut so.

    Args:
        graph: the graph.
        order: operator indices.
        cascade: the group.
        readers: by value the positions in the order of the operators that read it; the length of
            the order stands for the end of the graph.
    """
    members = order[cascade.first : cascade.last]
    if not cascade.is_cut:
        return [Part(index) for index in members]
    if len(members) == 1 and cascade.blocks == 1 and not cascade.again:
        return _grid(graph, members[0], ((cascade.axis, cascade.stripes), *cascade.inner))
    if cascade.again:
        if cascade.again[-1] >= cascade.first or cascade.blocks > 1 or cascade.inner:
            return None
        again = [order[position] for position in cascade.again]
        members = [*again, *members]
        cutting = _Cutting(graph, members, cascade.last, readers, frozenset(again), cascade.found)
    else:
        cutting = _Cutting(graph, members, cascade.last, readers)
    stripes = cutting.rounds(cascade.axis, cascade.stripes)
    blocks = cutting.rounds(cascade.block_axis, cascade.blocks)
    if stripes is None or blocks is None:
        return None
    parts: list[Part] = []
    for block in blocks:
        for stripe in stripes:
            for index in members:
                if index not in block or index not in stripe:
                    continue
                cuts = [cut for cut in (block[index], stripe[index]) if cut is not None]
                if len({cut.axis for cut in cuts}) < len(cuts):
                    return None
                copy = int(index in cutting.again)
                parts.append(Part(index, tuple(sorted(cuts, key=lambda cut: cut.axis)), copy))
    if not {part.operator for part in parts} >= set(cutting.again):
        return None
    return parts


def _grid(graph: Graph, index: int, loops: Sequence[tuple[int, int]]) -> list[Part] | None:
    """The parts of one operator in loops inside one another; None where it cannot be cut so."""
    operator = graph.operators[index]
    shape = graph.values[operator.outputs[0]].shape
    spans: list[list[tuple[int, Interval]]] = []
    for axis, count in loops:
        if operator.reach is None:
            return None
        is_sum = axis == REDUCTION
        if operator.reach.reduction < 2 if is_sum else operator.reach.axes[axis] == "none":
            return None
        ends = stripe_ends(operator.reach.reduction if is_sum else shape[axis], count)
        spans.append([(axis, span) for span in pairwise([0, *ends])])
    return [part_of(index, dict(ranges)) for ranges in product(*spans)]


def stripe_ends(size: int, stripes: int) -> list[int]:
    """Where stripes of an axis end: as equal as whole indices allow, none empty."""
    count = max(1, min(size, stripes))
    return [-(-size * (k + 1) // count) for k in range(count)]


@dataclass(frozen=True)
class _Cutting:
    """A group that is cut along one axis at a time.

    Attributes:
        graph: the graph.
        members: its operators in their order.
        last: one past the position of the last of them.
        readers: by value the positions of the operators that read it.
        again: members that have run before the group.
        found: rounds at the beginning in which they do not run again.
    """

    graph: Graph
    members: Sequence[int]
    last: int
    readers: Mapping[str, Sequence[int]]
    again: frozenset[int] = frozenset()
    found: int = 0

    def rounds(self, axis: int, count: int) -> list[dict[int, AxisRange | None]] | None:
        """For each of so many ranges of an axis of the last operator, what is made for it.

        Returns:
            For each round by operator the range that no round before it has made; None for all of
            the operator, which later rounds leave out. Or None where the group cannot be cut so.
        """
        if count == 1:
            return [dict.fromkeys(self.members)]
        last = self.graph.operators[self.members[-1]]
        if axis == REDUCTION:
            size = last.reach.reduction if last.reach else 0
        else:
            size = self.graph.values[last.outputs[0]].shape[axis]
        if size < 2:
            return None
        ends = stripe_ends(size, count)
        if self.again and self.found >= count:
            return None
        made: dict[int, tuple[int, int]] = {}  # operator -> axis that is cut, indices made so far
        result: list[dict[int, AxisRange | None]] = []
        for number, end in enumerate(ends):
            is_final = number == len(ends) - 1
            demands = Demands(self.graph)
            self._demand_results(demands, axis, end, is_final=is_final)
            cuts: dict[int, AxisRange | None] = {}
            for index in reversed(self.members):
                operator = self.graph.operators[index]
                cut: tuple[AxisRange | None, ...]
                if index == self.members[-1] and axis == REDUCTION:
                    cut = (AxisRange(REDUCTION, ends[number - 1] if number else 0, end),)
                else:
                    found = self._missing(index, demands, made, is_final=is_final)
                    if found is None:
                        return None
                    cut = found if index not in self.again or number >= self.found else ()
                if not cut:
                    continue
                cuts[index] = cut[0]
                demands.pass_on(
                    operator, {} if cut[0] is None else {cut[0].axis: (cut[0].start, cut[0].end)}
                )
            result.append(cuts)
        return result

    def _demand_results(self, demands: Demands, axis: int, end: int, *, is_final: bool) -> None:
        """Demand what must have been made of the group's results when a range of `axis` ends."""
        for index in self.members:
            if index in self.again:
                continue
            is_last = index == self.members[-1]
            for name in self.graph.operators[index].outputs:
                outside = any(position >= self.last for position in self.readers.get(name, ()))
                if not (outside or is_last):
                    continue
                box = [(0, size) for size in self.graph.values[name].shape]
                if is_last and axis != REDUCTION:
                    box[axis] = (0, end)
                elif not is_final and not is_last:
                    continue  # as it is made for the others; the rest in the last round
                demands.demand(name, tuple(box))

    def _missing(
        self, index: int, demands: Demands, made: dict[int, tuple[int, int]], *, is_final: bool
    ) -> tuple[AxisRange | None, ...] | None:
        """What is demanded of an operator and not made yet.

        Returns:
            One entry: a range, or None for all of the operator; no entry where nothing is missing.
            None where the operator cannot be cut so.
        """
        operator = self.graph.operators[index]
        ranges = demands.of(operator)
        known = made.get(index)
        shape = self.graph.values[operator.outputs[0]].shape
        is_again = index in self.again
        if ranges is None:
            if is_again or not is_final:
                return ()
            ranges = {}
        if known is None and not ranges:
            made[index] = (-1, 0)
            return (None,)
        if known is not None and known[0] < 0:
            return ()
        axis, done = known if known is not None else (next(iter(ranges)), 0)
        if is_again and known is None:  # what lies before is not needed any more
            done = ranges[axis][0]
        is_rest = is_final and not is_again
        end = shape[axis] if is_rest or axis not in ranges else ranges[axis][1]
        if operator.reach is None or operator.reach.axes[axis] == "none":
            return None
        if end <= done:
            return ()
        made[index] = (axis, end)
        if done == 0 and end == shape[axis]:
            return (None,)
        return (AxisRange(axis, done, end),)
