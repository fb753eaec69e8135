"""What a part of a value needs of all values before it, operator by operator.

    output rows [4, 6)  <-  Conv 3x3  <-  rows [3, 7) of t  <-  Conv 3x3  <-  rows [2, 8) of x

`demand` says what must exist for a part to run: boxes, the hull where a value is read in several
ways, and whole axes where an operator is not cut. For `dependence` each axis has its own set of
indices (every other row, two rows far apart), and no operator has to run: a running sum depends on
what is before it, a part of a Split on its own rows. Taps of one window are one run in both, gaps
of dilation included.
"""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph, Operator, Sharing
from ullage.compiler.ir.reach import REDUCTION, AxisMap, Box, Interval, hull, whole_box

# For each axis of a value which of its indices are meant.
Masks = tuple[NDArray[np.bool_], ...]


def demand(
    graph: Graph, output: str, box: Box, operators: Collection[int] | None = None
) -> dict[str, Box]:
    """By value the box of it that must exist for a box of a value, which is included itself.

    An operator that cannot be cut along an axis needs what it takes to make that axis whole; one
    without a reach needs all of its inputs. Values of which nothing is needed are left out.

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
    demanded: dict[str, Box] = {}
    if all(start < end for start, end in box):
        demanded[output] = box
    for index in range(len(graph.operators) - 1, -1, -1):
        operator = graph.operators[index]
        if operators is not None and index not in operators:
            continue
        made = {name: demanded[name] for name in operator.outputs if name in demanded}
        for name, needed in _needed(graph, operator, made).items() if made else ():
            demanded[name] = hull(demanded.get(name, needed), needed)
    return demanded


def _needed(graph: Graph, operator: Operator, made: dict[str, Box]) -> dict[str, Box]:
    """By input of an operator what it needs for boxes of its outputs."""
    shapes = {name: graph.values[name].shape for name in operator.inputs}
    if operator.reach is None:
        return {name: whole_box(shape) for name, shape in shapes.items() if 0 not in shape}
    ranges: dict[int, Interval] = dict(
        enumerate(whole_box(graph.values[operator.outputs[0]].shape))
    )
    for axis, label in enumerate(operator.reach.axes):
        if label != "none":  # outputs are cut together
            asked = [made_box[axis] for made_box in made.values()]
            ranges[axis] = (min(a[0] for a in asked), max(a[1] for a in asked))
    found: dict[str, Box] = {}
    for name, boxes in operator.reach.boxes(ranges, shapes).items():
        for box in boxes:
            found[name] = hull(found.get(name, box), box)
    return {name: box for name, box in found.items() if all(low < high for low, high in box)}


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
    if slabs is not None:
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


def _slabs(
    graph: Graph, operator: Operator, made: Mapping[str, Masks]
) -> list[tuple[str, Masks]] | None:
    """What a Split reads for some of its parts; None where they are no ranges of one axis."""
    sharings = {s.output: s for s in operator.sharings if s.kind == "split"}
    if len(operator.outputs) < 2 or not all(name in sharings for name in made):
        return None
    result = []
    for name, masks in made.items():
        place = _place(graph, sharings[name])
        if place is None:
            return None
        axis, offset = place
        wider = np.zeros(graph.values[sharings[name].input].shape[axis], bool)
        wider[offset : offset + len(masks[axis])] = masks[axis]
        result.append((sharings[name].input, (*masks[:axis], wider, *masks[axis + 1 :])))
    return result


def _place(graph: Graph, sharing: Sharing) -> tuple[int, int] | None:
    """The axis that a Split cuts and where a part begins; None where it cuts none or several."""
    whole, part = graph.values[sharing.input], graph.values[sharing.output]
    if len(whole.shape) != len(part.shape) or not whole.size_bytes:
        return None
    axes = [a for a, (x, y) in enumerate(zip(whole.shape, part.shape, strict=True)) if x != y]
    if len(axes) != 1:
        return None
    offset, rest = divmod(sharing.offset_bytes * whole.shape[axes[0]], whole.size_bytes)
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
