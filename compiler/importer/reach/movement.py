"""Reach of operators that move elements: an output element is an input element, or none."""

from collections.abc import Sequence

from ullage.compiler.importer.bounds import product
from ullage.compiler.importer.reach.site import (
    Maps,
    Reads,
    Site,
    broadcast,
    identity,
    labelled,
    table_map,
)
from ullage.compiler.ir.reach import AxisMap, Interval, Reach, equal_blocks


def view(site: Site) -> Reach | None:
    """Reshape, Flatten, Squeeze, Unsqueeze: the same elements in the same order.

    Axes fall into blocks of equal products, [6, 4] -> [2, 3, 4] into 6 -> 2 * 3 and 4 -> 4. In a
    block a range of the first output axis is a range of the first input axis, and of the axes
    behind it where it does not go around them; ranges of further output axes need all of it.
    """
    shape, out = site.shape(0), site.result
    if shape is None or out is None or not product(out) or product(shape) != product(out):
        return None
    maps: list[AxisMap | None] = [None] * len(shape)
    for old, new in equal_blocks(shape, out):
        elements = product([out[axis] for axis in new[1:]])
        divisor = product([shape[axis] for axis in old[1:]])
        maps[old[0]] = _reduced(new[0], elements, divisor)
        for place, axis in enumerate(old[1:], 2):
            each = product([shape[inner] for inner in old[place:]])
            maps[axis] = _wrapped(new[0], out[new[0]], elements, each, shape[axis])
    inputs = (*site.read(0, maps), *site.rest_whole(1))
    return Reach(labelled(len(out), "elements"), inputs)


def _wrapped(axis: int, length: int, elements: int, each: int, size: int) -> AxisMap | None:
    """Map to an inner axis of a block; None where every row goes around it.

    Args:
        axis: the output axis.
        length: of it.
        elements: of one of its rows.
        each: elements of one row of the inner axis.
        size: length of the inner axis.
    """
    if elements >= each * size:
        return None

    def rows(row: int) -> Interval:
        first, last = row * elements // each, ((row + 1) * elements - 1) // each
        if first // size == last // size:
            return first % size, last % size + 1
        return 0, size

    return table_map(axis, length, rows)


def _reduced(axis: int, elements: int, divisor: int) -> AxisMap:
    """A map from rows of so many elements to rows of `divisor` elements."""
    if elements == divisor:
        return AxisMap(axis)
    if elements % divisor == 0:
        return AxisMap(axis, unit=elements // divisor)
    if divisor % elements == 0:
        return AxisMap(axis, divisor=divisor // elements)
    return AxisMap(axis, multiplier=elements, divisor=divisor, last=elements - 1)


def unchanged(site: Site) -> Reach | None:
    """Each element at its place; further operands are read whole."""
    shape, out = site.shape(0), site.result
    if shape is None or out is None or shape != out:
        return None
    inputs = (*site.read(0, identity(len(out))), *site.rest_whole(1))
    return Reach(labelled(len(out), "elements"), inputs)


def dropout(site: Site) -> Reach | None:
    """Dropout that drops nothing; since operator set 12 an operand may say that it does."""
    training = site.arrays.get(site.inputs[2]) if site.has(2) else None
    if site.has(2) and (training is None or bool(training.any())):
        return None
    return unchanged(site)


def transpose(site: Site) -> Reach | None:
    """Output axis j is input axis perm[j]."""
    shape, out = site.shape(0), site.result
    if shape is None or out is None:
        return None
    rank = len(out)
    perm = [int(axis) for axis in site.attributes.get("perm", range(rank - 1, -1, -1))]
    if sorted(perm) != list(range(rank)):
        return None
    inputs = site.read(0, [AxisMap(perm.index(axis)) for axis in range(rank)])
    return Reach(labelled(rank, "elements"), inputs)


def concat(site: Site) -> Reach | None:
    """Operands one after the other along an axis.

    QLinearConcat has a scale and a zero point for the result, then three operands for each part.
    """
    out = site.result
    if not out:
        return None
    first, step = (2, 3) if site.op == "QLinearConcat" else (0, 1)
    axis = site.number("axis", 0) % len(out)
    parts = range(first, len(site.inputs), step)
    inputs: Reads = ()
    begin = 0
    for position in range(len(site.inputs)):
        if position not in parts:
            inputs += site.whole(position)
            continue
        shape = site.shape(position)
        if shape is None or len(shape) != len(out):
            return None
        inputs += site.read(position, _shifted(len(out), axis, -begin))
        begin += shape[axis]
    return Reach(labelled(len(out), "elements"), inputs) if begin == out[axis] else None


def split(site: Site) -> Reach | None:
    """Parts of an operand along an axis, which has to be whole where there are several."""
    shape, out = site.shape(0), site.result
    if not shape or out is None:
        return None
    axis = site.number("axis", 0) % len(shape)
    if len([name for name in site.outputs if name]) == 1:
        maps: Maps = _shifted(len(shape), axis, 0)
        whole: tuple[int, ...] = ()
    else:
        maps = identity(len(shape), [a for a in range(len(shape)) if a != axis])
        whole = (axis,)
    inputs = (*site.read(0, maps), *site.rest_whole(1))
    return Reach(labelled(len(shape), "elements", whole), inputs)


def _shifted(rank: int, axis: int, offset: int) -> Maps:
    """Each axis is needed in the same range, one of them shifted."""
    return tuple(
        AxisMap(a, first=offset, last=offset) if a == axis else AxisMap(a) for a in range(rank)
    )


def expand(site: Site) -> Reach | None:
    """Expand: the operand broadcast."""
    shape, out = site.shape(0), site.result
    if shape is None or out is None or len(shape) > len(out):
        return None
    inputs = (*site.read(0, broadcast(shape, out)), *site.rest_whole(1))
    return Reach(labelled(len(out), "elements"), inputs)


def tile(site: Site) -> Reach | None:
    """Tile: the operand again and again along its axes."""
    shape, out = site.shape(0), site.result
    if shape is None or out is None or len(shape) != len(out):
        return None
    maps = [
        AxisMap(axis) if length == out[axis] else _repeated(axis, length, out[axis])
        for axis, length in enumerate(shape)
    ]
    return Reach(labelled(len(out), "elements"), (*site.read(0, maps), *site.rest_whole(1)))


def depth_to_space(site: Site) -> Reach | None:
    """[N, b * b * C, H, W] -> [N, C, b * H, b * W]: channels become pixels of a block."""
    shape, out, block = site.shape(0), site.result, site.number("blocksize")
    if shape is None or out is None or len(shape) != 4 or block < 1:
        return None
    squared = block * block
    channels = AxisMap(1, unit=squared)
    if site.text("mode", "DCR") == "DCR":  # channel c and every C-th after it
        channels = AxisMap(1, last=(squared - 1) * out[1])
    maps = (AxisMap(0), channels, *(AxisMap(axis, divisor=block) for axis in (2, 3)))
    return Reach(labelled(4, "elements"), site.read(0, maps))


def space_to_depth(site: Site) -> Reach | None:
    """[N, C, b * H, b * W] -> [N, b * b * C, H, W]: pixels of a block become channels."""
    shape, out, block = site.shape(0), site.result, site.number("blocksize")
    if shape is None or out is None or len(shape) != 4 or block < 1:
        return None
    maps = (
        AxisMap(0),
        _repeated(1, shape[1], out[1]),
        *(AxisMap(axis, unit=block) for axis in (2, 3)),
    )
    return Reach(labelled(4, "elements"), site.read(0, maps))


def _repeated(axis: int, length: int, out: int) -> AxisMap | None:
    """Map of an axis that is there again and again."""
    return table_map(axis, out, lambda index: (index % length, index % length + 1))


def index_map(axis: int, indices: Sequence[int]) -> AxisMap | None:
    """Map of an input axis of which each output index takes one index, -1 for none."""
    first = indices[0] if indices else 0
    if first >= 0 and list(indices) == list(range(first, first + len(indices))):
        return AxisMap(axis, first=first, last=first)

    def rows(index: int) -> Interval:
        return (indices[index], indices[index] + 1) if indices[index] >= 0 else (0, 0)

    return table_map(axis, len(indices), rows)
