"""What a part of a value needs of all values before it, operator by operator.

    output rows [4, 6)  <-  Conv 3x3  <-  rows [3, 7) of t  <-  Conv 3x3  <-  rows [2, 8) of x

`demand` says what must exist for a part to run: boxes, the hull where a value is read in several
ways, and whole axes where an operator is not cut. For `dependence` each axis has its own set of
indices (every other row, two rows far apart), and no operator has to run: a step of a recurrent
layer depends on the steps before it. Taps of one window are one run in both, gaps
of dilation included.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import prod

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph, Operator, Sharing
from ullage.compiler.ir.reach import REDUCTION, AxisMap, Box, Interval, hull, whole_box

# For each axis of a value which of its indices are meant.
Masks = tuple[NDArray[np.bool_], ...]


def boxes_read(
    graph: Graph, operator: Operator, ranges: Mapping[int, Interval]
) -> dict[str, list[Box]]:
    """By input the boxes that a part of an operator reads.

    Of an axis that is not cut, too, only what the result is made of is read: the rows that a Slice
    takes, those that some window meets. An operator that runs whole reads all of its inputs.

    Args:
        graph: the graph.
        operator: one of its operators.
        ranges: by output axis (or `REDUCTION`) the range of the part; empty: it runs whole.
    """
    shapes = {name: graph.values[name].shape for name in operator.inputs}
    if operator.reach is None or not ranges:
        return {name: [whole_box(shape)] for name, shape in shapes.items()}
    whole = dict(enumerate(whole_box(graph.values[operator.outputs[0]].shape)))
    return operator.reach.boxes({**whole, **ranges}, shapes)


def named_share(
    graph: Graph,
    operator: Operator,
    ranges: Mapping[int, Interval],
    boxes: Sequence[Box],
    name: str,
) -> Fraction:
    """The share of the rows of a table that a part looks up, of those that all of it looks up.

    A part of some rows of the result names as few; one of some columns names all rows, and reads a
    part of each, as its boxes say.

    Args:
        graph: the graph.
        operator: it looks rows of the table up.
        ranges: by output axis the range of the part.
        boxes: what the part reads of the table, any row of it.
        name: the table.
    """
    result = graph.values[operator.outputs[0]].shape
    made = Fraction(1)
    for axis, (low, high) in ranges.items():
        if axis != REDUCTION:
            made *= Fraction(high - low, max(1, result[axis]))
    held = sum(prod(high - low for low, high in box) for box in boxes)
    read = Fraction(held, max(1, prod(graph.values[name].shape)))
    return min(Fraction(1), made / read) if read else Fraction(0)


@dataclass
class Demands:
    """What must exist of values, collected from the last operator back to the first.

    Attributes:
        graph: the graph.
        boxes: by value the hull of what is demanded of it; values without are not demanded.
    """

    graph: Graph
    boxes: dict[str, Box] = field(default_factory=dict)

    def demand(self, name: str, box: Box) -> None:
        """Demand a box of a value, besides what is demanded of it already; an empty one is none."""
        if any(low >= high for low, high in box):
            return
        known = self.boxes.get(name)
        self.boxes[name] = box if known is None else hull(known, box)

    def pass_on(self, operator: Operator, ranges: Mapping[int, Interval]) -> None:
        """Demand of an operator's inputs what it reads to make these ranges; empty: everything."""
        for name, boxes in boxes_read(self.graph, operator, ranges).items():
            for box in boxes:
                self.demand(name, box)


def demand(
    graph: Graph, output: str, box: Box, operators: Collection[int] | None = None
) -> dict[str, Box]:
    """By value the box of it that must exist for a box of a value, which is included itself.

    An operator that cannot be cut along an axis needs what it takes to make that axis whole; one
    without a reach needs all of its inputs. A result of a Split needs the range of the operand that
    it is. Values of which nothing is needed are left out.

    Args:
        graph: the graph.
        output: name of a value.
        box: one half-open range for each of its axes, in elements.
        operators: indices of the operators that may be gone through, default all; what others make
            is demanded and no more.

    Raises:
        UsageError: there is no such value, or the box does not lie in it.
    """
    _check(graph, output, box)
    found = Demands(graph)
    found.demand(output, box)
    for index in range(len(graph.operators) - 1, -1, -1):
        operator = graph.operators[index]
        if operators is not None and index not in operators:
            continue
        made = {name: found.boxes[name] for name in operator.outputs if name in found.boxes}
        if made:
            _pass_on(found, operator, made)
    return found.boxes


def _pass_on(found: Demands, operator: Operator, made: Mapping[str, Box]) -> None:
    """Demand of an operator's inputs what it needs for boxes of its outputs."""
    graph = found.graph
    places = _places(graph, operator, made)
    for name, (source, axis, offset) in places.items():
        box = made[name]
        low, high = box[axis]
        found.demand(source, (*box[:axis], (low + offset, high + offset), *box[axis + 1 :]))
    if places:
        return
    ranges = dict(enumerate(whole_box(graph.values[operator.outputs[0]].shape)))
    for axis, label in enumerate(operator.reach.axes if operator.reach is not None else ()):
        if label != "none":  # outputs are cut together
            asked = [box[axis] for box in made.values()]
            ranges[axis] = (min(a[0] for a in asked), max(a[1] for a in asked))
    found.pass_on(operator, ranges)


def dependence(graph: Graph, output: str, box: Box) -> dict[str, tuple[tuple[Interval, ...], ...]]:
    """By value, for each of its axes, the disjoint ranges of indices that a box depends on.

    The value of the box is included itself; values of which nothing matters are left out.

    Args:
        graph: the graph.
        output: name of a value.
        box: one half-open range for each of its axes, in elements.

    Raises:
        UsageError: there is no such value, or the box does not lie in it.
    """
    _check(graph, output, box)
    found: dict[str, Masks] = {}
    if all(start < end for start, end in box):
        found[output] = tuple(
            _mask(length, *interval)
            for interval, length in zip(box, graph.values[output].shape, strict=True)
        )
    for operator in reversed(graph.operators):
        made = {name: found[name] for name in operator.outputs if name in found}
        for name, masks in _read(graph, operator, made) if made else ():
            before = found.get(name)
            found[name] = masks if before is None else _union(before, masks)
    return {name: tuple(_runs(mask) for mask in masks) for name, masks in found.items()}


def _read(graph: Graph, operator: Operator, made: Mapping[str, Masks]) -> list[tuple[str, Masks]]:
    """What an operator reads for some indices of its outputs."""
    shapes = {name: graph.values[name].shape for name in operator.inputs}
    slabs = _slabs(graph, operator, made)
    if slabs:
        return slabs
    if operator.reach is None:
        return [(n, _everything(shape)) for n, shape in shapes.items() if 0 not in shape]
    shape = graph.values[operator.outputs[0]].shape
    asked = list(_everything(shape))
    for axis, label in enumerate(operator.reach.axes):
        if label != "none" or len(operator.outputs) == 1:
            asked[axis] = np.any([masks[axis] for masks in made.values()], axis=0)
    result = []
    for entry in operator.reach.inputs:
        masks = tuple(
            np.ones(size, bool)
            if m is None or m.axis == REDUCTION
            else _mapped(m, asked[m.axis], size)
            for m, size in zip(entry.axes, shapes[entry.name], strict=True)
        )
        if all(mask.any() for mask in masks):
            result.append((entry.name, masks))
    return result


def _slabs(graph: Graph, operator: Operator, made: Mapping[str, Masks]) -> list[tuple[str, Masks]]:
    """What a Split reads for some of its parts; nothing where they are no ranges of one axis."""
    result = []
    for name, (source, axis, offset) in _places(graph, operator, made).items():
        masks = made[name]
        wider = np.zeros(graph.values[source].shape[axis], bool)
        wider[offset : offset + len(masks[axis])] = masks[axis]
        result.append((source, (*masks[:axis], wider, *masks[axis + 1 :])))
    return result


def _places(
    graph: Graph, operator: Operator, names: Collection[str]
) -> dict[str, tuple[str, int, int]]:
    """For results of a Split the operand, the axis that is cut, and where the result begins on it.

    Empty where the operator is none, or one of the results is no range of one axis.
    """
    sharings = {s.output: s for s in operator.sharings if s.kind == "split"}
    result = {}
    if len(operator.outputs) < 2 or not all(name in sharings for name in names):
        return {}
    for name in names:
        place = _place(graph, sharings[name])
        if place is None:
            return {}
        result[name] = (sharings[name].input, *place)
    return result


def _place(graph: Graph, sharing: Sharing) -> tuple[int, int] | None:
    """The axis that a Split cuts and where a part begins; None where it cuts none or several."""
    whole, part = graph.values[sharing.input], graph.values[sharing.output]
    if len(whole.shape) != len(part.shape) or not whole.size_bytes:
        return None
    axes = [a for a, (x, y) in enumerate(zip(whole.shape, part.shape, strict=True)) if x != y]
    if len(axes) != 1:
        return None
    length = whole.stored_shape[axes[0]]
    offset, rest = divmod(sharing.offset_bytes * length, whole.size_bytes)
    return None if rest else (axes[0], offset)


def _mapped(axis_map: AxisMap, asked: NDArray[np.bool_], size: int) -> NDArray[np.bool_]:
    """The indices of an input axis that some indices of an output axis need."""
    mask = np.zeros(size, bool)
    for index in np.flatnonzero(asked):
        low, high = axis_map.interval(int(index), int(index) + 1, size)
        mask[low:high] = True
    return mask


def _everything(shape: tuple[int, ...]) -> Masks:
    return tuple(np.ones(length, bool) for length in shape)


def _mask(length: int, start: int, end: int) -> NDArray[np.bool_]:
    mask = np.zeros(length, bool)
    mask[start:end] = True
    return mask


def _union(a: Masks, b: Masks) -> Masks:
    return tuple(x | y for x, y in zip(a, b, strict=True))


def _runs(mask: NDArray[np.bool_]) -> tuple[Interval, ...]:
    """The runs of indices in a mask, as half-open ranges."""
    borders = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return tuple((int(low), int(high)) for low, high in borders.reshape(-1, 2))


def _check(graph: Graph, output: str, box: Box) -> None:
    """Check that a box lies in a value.

    Raises:
        UsageError: says why not.
    """
    value = graph.values.get(output)
    if value is None:
        raise UsageError(f"no value {output!r} in the graph; its outputs are {graph.outputs}")
    fits = len(box) == len(value.shape) and all(
        0 <= start <= end <= length for (start, end), length in zip(box, value.shape, strict=False)
    )
    if not fits:
        raise UsageError(
            f"{box} is no box of {output!r}, whose shape is {value.shape}: one half-open range "
            "inside each axis is needed"
        )
