"""What a part of a value needs of all values before it, operator by operator.

    output rows [4, 6)  <-  Conv 3x3  <-  rows [3, 7) of t  <-  Conv 3x3  <-  rows [2, 8) of x

Where several operators read a value, or one in several ways, the demand is the hull.
"""

from collections.abc import Collection

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.reach import Box, Interval


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
    check_box(graph, output, box)
    demanded: dict[str, Box] = {}
    if all(start < end for start, end in box):
        demanded[output] = box
    for index in range(len(graph.operators) - 1, -1, -1):
        operator = graph.operators[index]
        if operators is not None and index not in operators:
            continue
        made = {name: demanded[name] for name in operator.outputs if name in demanded}
        for name, needed in _needed(graph, operator, made).items() if made else ():
            demanded[name] = _hull(demanded.get(name, needed), needed)
    return demanded


def _needed(graph: Graph, operator: Operator, made: dict[str, Box]) -> dict[str, Box]:
    """By input of an operator what it needs for boxes of its outputs."""
    shapes = {name: graph.values[name].shape for name in operator.inputs}
    if operator.reach is None:
        return {name: whole_of(shape) for name, shape in shapes.items() if 0 not in shape}
    ranges: dict[int, Interval] = dict(enumerate(whole_of(graph.values[operator.outputs[0]].shape)))
    for axis, label in enumerate(operator.reach.axes):
        if label != "none":  # outputs are cut together
            asked = [made_box[axis] for made_box in made.values()]
            ranges[axis] = (min(a[0] for a in asked), max(a[1] for a in asked))
    found: dict[str, Box] = {}
    for name, boxes in operator.reach.boxes(ranges, shapes).items():
        for box in boxes:
            found[name] = _hull(found.get(name, box), box)
    return {name: box for name, box in found.items() if all(low < high for low, high in box)}


def whole_of(shape: tuple[int, ...]) -> Box:
    """The box of a whole tensor."""
    return tuple((0, length) for length in shape)


def _hull(a: Box, b: Box) -> Box:
    return tuple((min(x[0], y[0]), max(x[1], y[1])) for x, y in zip(a, b, strict=True))


def check_box(graph: Graph, output: str, box: Box) -> None:
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
