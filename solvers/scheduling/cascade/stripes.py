"""The parts of a cascade: a group of consecutive operators, executed stripe by stripe.

The group's last operator is cut into stripes along one axis. For each stripe, from the last
operator back to the first, a part makes what the parts behind it need and no part has made yet:

    stripe      1               2               3
    conv3       rows [0, 4)     rows [4, 8)     rows [8, 12)
    conv2       rows [0, 5)     rows [5, 9)     rows [9, 12)        a halo of one row
    conv1       rows [0, 6)     rows [6, 10)    rows [10, 12)

Rows of the halo are made once and stay (in fast memory, or wherever the plan puts them) until the
next stripe has read them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.reach import REDUCTION, Interval
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
        stripes: number of stripes; 1: each operator runs whole, one after the other.
        axis: output axis of the last operator that is cut; of one operator also its reduction.
        inner: (axis, number of parts) of loops inside each stripe, the outermost first; a group of
            one operator only.
    """

    first: int
    last: int
    stripes: int = 1
    axis: int = 0
    inner: tuple[tuple[int, int], ...] = ()


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
    if cascade.stripes == 1:
        return [Part(index) for index in members]
    if len(members) == 1:
        return _grid(graph, members[0], ((cascade.axis, cascade.stripes), *cascade.inner))
    last = graph.operators[members[-1]]
    size = graph.values[last.outputs[0]].shape[cascade.axis]
    ends = stripe_ends(size, cascade.stripes)
    made: dict[int, tuple[int, int]] = {}  # operator -> axis that is cut, rows made so far
    parts: list[Part] = []
    for number, end in enumerate(ends):
        is_final = number == len(ends) - 1
        demands = Demands(graph)
        _demand_results(demands, members, cascade, readers, number + 1, len(ends), end)
        stripe: list[Part] = []
        for index in reversed(members):
            part = _part(graph, index, demands, made, is_final=is_final)
            if part is None:
                return None
            if part:
                demands.pass_on(graph.operators[index], part[0].intervals)
                stripe += part
        parts += reversed(stripe)
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


def _demand_results(
    demands: Demands,
    members: Sequence[int],
    cascade: Cascade,
    readers: Mapping[str, Sequence[int]],
    number: int,
    count: int,
    end: int,
) -> None:
    """Demand what stripe `number` of `count` must have made of the group's results."""
    graph = demands.graph
    for index in members:
        operator = graph.operators[index]
        is_last = index == members[-1]
        for name in operator.outputs:
            outside = any(position >= cascade.last for position in readers.get(name, ()))
            if not (outside or is_last):
                continue
            shape = graph.values[name].shape
            box = [(0, size) for size in shape]
            if is_last:
                box[cascade.axis] = (0, end)
            elif number < count:
                continue  # as it is made for the others; the rest with the last stripe
            demands.demand(name, tuple(box))


def _part(
    graph: Graph,
    index: int,
    demands: Demands,
    made: dict[int, tuple[int, int]],
    *,
    is_final: bool,
) -> list[Part] | None:
    """The part that makes what is demanded of an operator and not made yet.

    Returns:
        No part where nothing is missing; None where the operator cannot be cut so.
    """
    operator = graph.operators[index]
    ranges = demands.of(operator)
    known = made.get(index)
    shape = graph.values[operator.outputs[0]].shape
    if ranges is None:
        if not is_final:
            return []
        ranges = {}
    if known is None and not ranges:
        made[index] = (-1, 0)
        return [Part(index)]
    if known is not None and known[0] < 0:
        return []
    axis, done = known if known is not None else (next(iter(ranges)), 0)
    end = shape[axis] if is_final or axis not in ranges else ranges[axis][1]
    if operator.reach is None or operator.reach.axes[axis] == "none":
        return None
    if end <= done:
        return []
    made[index] = (axis, end)
    if done == 0 and end == shape[axis]:
        return [Part(index)]
    return [part_of(index, {axis: (done, end)})]
