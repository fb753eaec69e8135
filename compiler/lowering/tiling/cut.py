"""Cut an output of a graph into tiles, and derive the parts of the operators that produce it.

For each tile, from the operator that makes the output back to the first one, parts make what the
parts behind them read:

    tile of y       rows [0, 4)     rows [4, 8)     rows [8, 12)
    halo kept       t [0, 6)        t [6, 10)       t [10, 12)      what no part has made yet
    recomputed      t [0, 6)        t [2, 10)       t [6, 12)       the halo made again, as a copy

The parts come in the order of the tiles, so that a halo that is kept is a line buffer. What no tile
needs is made with the last one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Literal, get_args

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.boxes import most_covering, without
from ullage.compiler.ir.dag import is_order, operator_dag
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.reach import REDUCTION, Box, Interval, hull, whole_box
from ullage.compiler.ir.schedule import Part, Schedule, check_schedule, part_of, reach_of
from ullage.compiler.lowering.demand import Demands

# What becomes of elements that several tiles need: they stay, or are made again by each of them.
Halo = Literal["kept", "recomputed"]


def cut_output(
    graph: Graph,
    output: str,
    tiles: Mapping[int, int | Sequence[int]],
    *,
    halo: Halo = "kept",
    order: Sequence[int] | None = None,
    operators: Collection[int] | None = None,
    name: str = "cut",
) -> Schedule:
    """The schedule in which the operator of an output runs in tiles, its producers as needed.

    An operator that cannot be cut as its readers need it (no reach, an axis that is normalised)
    makes such axes whole, with the first tile that reads it.

    Args:
        graph: the graph.
        output: a value that an operator makes, an output of the graph or any other.
        tiles: for each axis that is cut (from 0, `reach.REDUCTION` for the K of a product) the
            length of a tile, of which the last may be shorter, or where tiles end, ascending. The
            first axis is the outermost loop.
        halo: whether elements that several tiles need are `kept` or `recomputed`.
        order: the order of the operators outside of the group, default that of the file.
        operators: indices of the operators that are cut with it, default all that the output
            depends on; the others run whole.
        name: of the schedule.

    Raises:
        UsageError: no operator makes the output, it cannot be cut so, tiles are no tiles of the
            axis, or the operators are no group (what one of them needs from another goes through
            an operator outside).
    """
    if halo not in get_args(Halo):
        raise UsageError(f"halo is kept or recomputed, not {halo!r:.60}")
    maker = _maker(graph, output)
    spans = {axis: _spans(graph, maker, output, axis, tile) for axis, tile in tiles.items()}
    dag = operator_dag(graph)
    chosen = tuple(range(len(graph.operators))) if order is None else tuple(order)
    if not is_order(dag, chosen):
        raise UsageError(f"the order is none of the {len(graph.operators)} operators")
    before, members, behind = _around(graph, chosen, maker, operators)
    cutting = _Cutting(graph, maker, halo)
    loops = list(product(*spans.values()))
    parts = [Part(index) for index in before]
    for number, loop in enumerate(loops):
        ranges = dict(zip(spans, loop, strict=True))
        parts += cutting.tile(members, ranges, is_last=number == len(loops) - 1)
    parts += [Part(index) for index in behind]
    schedule = Schedule(name, tuple(parts))
    check_schedule(schedule, graph)
    return schedule


def tile_ends(size: int, tile: int) -> list[int]:
    """Where tiles of a length end on an axis of `size`; the last may be shorter."""
    return [*range(tile, size, tile), size]


def _maker(graph: Graph, output: str) -> int:
    for index, operator in enumerate(graph.operators):
        if output in operator.outputs:
            return index
    raise UsageError(f"no operator makes {output!r}; outputs of the graph are {graph.outputs}")


def _spans(
    graph: Graph, maker: int, output: str, axis: int, tile: int | Sequence[int]
) -> list[Interval]:
    """The ranges of one axis of the output.

    Raises:
        UsageError: its operator does not let the axis be cut, or the tiles are none of it.
    """
    operator = graph.operators[maker]
    reach = reach_of(operator)
    shape = graph.values[operator.outputs[0]].shape
    what = "the reduction" if axis == REDUCTION else f"axis {axis}"
    allowed = axis == REDUCTION or (0 <= axis < len(shape) and reach.axes[axis] != "none")
    size = reach.reduction if axis == REDUCTION else shape[axis] if allowed else 0
    if not allowed or size < 1:
        raise UsageError(
            f"{output!r} cannot be cut along {what}: {operator.kind} {operator.name!r} does not "
            "let its parts be made apart there",
            {"operator": operator.name, "kind": operator.kind, "axis": axis},
        )
    if isinstance(tile, int):
        if tile < 1:
            raise UsageError(f"tiles of {what} have a length of at least 1, not {tile}")
        return list(pairwise([0, *tile_ends(size, tile)]))
    ends = [0, *tile]
    if ends[-1] != size or any(low >= high for low, high in pairwise(ends)):
        raise UsageError(
            f"tiles of {what} of {output!r} end at ascending indices, the last at {size}; not at "
            f"{list(tile)}"
        )
    return list(pairwise(ends))


def _around(
    graph: Graph, order: Sequence[int], maker: int, operators: Collection[int] | None
) -> tuple[list[int], list[int], list[int]]:
    """The operators before the group, in it, and behind it, each in the order.

    Raises:
        UsageError: the operators are no group.
    """
    writer = {name: i for i, o in enumerate(graph.operators) for name in o.outputs}
    sources = [{writer[n] for n in o.inputs if n in writer} for o in graph.operators]
    needed = {maker}
    for index in reversed(order):
        if index in needed:
            needed |= sources[index]
    chosen = needed if operators is None else needed & {*operators, maker}
    reached = set(chosen)  # by what is in the group
    for index in order:
        if sources[index] & reached:
            reached.add(index)
    between = sorted((reached & needed) - chosen)
    if between:
        raise UsageError(
            f"{graph.operators[between[0]].name!r} stands between operators that are cut: cut it "
            "with them, or fewer of them"
        )
    before = [i for i in order if i not in reached]
    return before, [i for i in order if i in chosen], [i for i in order if i in reached - chosen]


@dataclass
class _Cutting:
    """Tiles of one output, and what their parts have made so far.

    Attributes:
        graph: the graph.
        maker: the operator whose output is cut.
        halo: as for `cut_output`.
        made: by operator the boxes of its first output that parts have made.
        needed: by operator the box that the tile before needed.
    """

    graph: Graph
    maker: int
    halo: Halo
    made: dict[int, list[Box]] = field(default_factory=dict)
    needed: dict[int, Box] = field(default_factory=dict)

    def tile(
        self, members: Sequence[int], ranges: Mapping[int, Interval], *, is_last: bool
    ) -> list[Part]:
        """The parts of one tile, in the order in which they run."""
        demands = Demands(self.graph)
        parts: list[list[Part]] = []
        for index in reversed(members):
            if index == self.maker:
                own = [self._of_output(ranges)]
            else:
                own = self._of_producer(index, demands, is_last=is_last)
            for part in own:
                demands.pass_on(self.graph.operators[index], part.intervals)
            parts.append(own)
        return [part for own in reversed(parts) for part in own]

    def _shape(self, index: int) -> tuple[int, ...]:
        return self.graph.values[self.graph.operators[index].outputs[0]].shape

    def _of_output(self, ranges: Mapping[int, Interval]) -> Part:
        """The part that is the tile; axes that it makes whole are not named."""
        sizes = dict(enumerate(self._shape(self.maker)))
        sizes[REDUCTION] = reach_of(self.graph.operators[self.maker]).reduction
        return part_of(self.maker, {a: r for a, r in ranges.items() if r != (0, sizes[a])})

    def _of_producer(self, index: int, demands: Demands, *, is_last: bool) -> list[Part]:
        """The parts of an operator for what is demanded of it."""
        whole = whole_box(self._shape(index))
        made = self.made.setdefault(index, [])
        need = _needed(self.graph.operators[index], whole, demands)
        boxes: list[Box] = []
        if self.halo == "kept":
            if is_last:
                need = whole
            boxes = [] if need is None else without(_joined(need, made, whole), made)
        else:
            if need is not None and need != self.needed.get(index) and not self._stays(need, index):
                boxes = [need]
                self.needed[index] = need
            if is_last:
                boxes += without(whole, [*made, *boxes])
        parts = []
        for box in boxes:
            cut = {axis: box[axis] for axis in range(len(box)) if box[axis] != whole[axis]}
            parts.append(part_of(index, cut, most_covering(box, made)))
            made.append(box)
        return parts

    def _stays(self, need: Box, index: int) -> bool:
        """Whether nothing is made again: all of it is needed and there, or was made at once."""
        whole, made = whole_box(self._shape(index)), self.made[index]
        return whole in made or (need == whole and not without(whole, made))


def _needed(operator: Operator, whole: Box, demands: Demands) -> Box | None:
    """The box of the first output that makes what is demanded of all; None for nothing."""
    asked = [demands.boxes[name] for name in operator.outputs if name in demands.boxes]
    if not asked:
        return None
    if operator.reach is None:
        return whole
    need = list(whole)
    for axis, label in enumerate(operator.reach.axes):
        if label != "none":  # outputs are cut together
            need[axis] = _hull(box[axis] for box in asked)
    return tuple(need)


def _hull(spans: Iterable[Interval]) -> Interval:
    found = list(spans)
    return min(low for low, _ in found), max(high for _, high in found)


def _joined(need: Box, made: Sequence[Box], whole: Box) -> Box:
    """What is needed, with what lies between it and what is made, where one axis alone is cut.

    Rows that a stride leaves out are made on the way, so that the rows of a tile stay one range.
    """
    cut = {
        axis
        for box in (need, *made)
        for axis, (mine, all_) in enumerate(zip(box, whole, strict=True))
        if mine != all_
    }
    if len(cut) != 1:
        return need
    (axis,) = cut
    ends = [box[axis][1] for box in made if box[axis][1] <= need[axis][0]]
    return need if not ends else hull(need, _at(need, axis, max(ends)))


def _at(box: Box, axis: int, index: int) -> Box:
    return (*box[:axis], (index, index + 1), *box[axis + 1 :])
