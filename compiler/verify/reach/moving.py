"""Operators that move elements: each is applied to the numbers of its operand's indices.

Where axes are apart, each axis of the operand has a vector: for every index of the axis of the
result that it belongs to, the index that is taken, -1 for none. A Slice [5:1:-2] has (5, 3).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.importer.operators.identity import NodeFacts
from ullage.compiler.verify.reach.geometry import Geometry, Shape
from ullage.compiler.verify.reach.needs import Mask, Need, by_axis, everything, is_empty, one_by_one

Vector = NDArray[np.int64]
# For each axis of an operand the axis of the result (None: none) and its vector.
Taken = list[tuple[int | None, Vector]]
# (node, geometry, which result) -> for some operands what is taken of them; None where unknown.
Mover = Callable[[NodeFacts, Geometry, int], dict[int, Taken] | None]


def moved(node: NodeFacts, geometry: Geometry, out: int, need: Need) -> dict[int, Need] | None:
    """What is taken of operands for some elements of a result; None for an operator of others."""
    if node.op in RESHAPING:
        shape = geometry.shapes[node.inputs[0]]
        if isinstance(need, tuple) and all(mask.all() for mask in need):
            return {0: everything(shape)}
        return {0: by_axis(one_by_one(need).reshape(shape))}
    if node.op in ("DepthToSpace", "SpaceToDepth"):
        return _blocks(node, geometry, need)
    mover = MOVERS.get(node.op)
    taken = mover(node, geometry, out) if mover else None
    if taken is None:
        return None
    found: dict[int, Need] = {}
    for position, axes in taken.items():
        shape = geometry.shapes[node.inputs[position]]
        own = _by_axis(need, axes, shape) if isinstance(need, tuple) else _single(need, axes, shape)
        if not is_empty(own):
            found[position] = own
    return found


def _by_axis(need: tuple[Mask, ...], axes: Taken, shape: Shape) -> Need:
    masks = []
    for (axis, vector), length in zip(axes, shape, strict=True):
        chosen = vector if axis is None else vector[need[axis]]
        mask = np.zeros(length, bool)
        mask[chosen[chosen >= 0]] = True
        masks.append(mask)
    return tuple(masks)


def _single(need: Mask, axes: Taken, shape: Shape) -> Need:
    places = np.nonzero(need)
    count = len(places[0]) if places else int(need.any())
    taken = [np.full(count, v[0]) if a is None else v[places[a]] for a, v in axes]
    there = np.all([index >= 0 for index in taken], axis=0) if taken else np.ones(count, bool)
    mask = np.zeros(shape, bool)
    mask[tuple(index[there] for index in taken)] = True
    return mask


def _same(node: NodeFacts, geometry: Geometry, _out: int) -> dict[int, Taken] | None:
    return {0: [(axis, np.arange(n)) for axis, n in enumerate(geometry.shapes[node.inputs[0]])]}


def _transpose(node: NodeFacts, geometry: Geometry, _out: int) -> dict[int, Taken] | None:
    shape = geometry.shapes[node.inputs[0]]
    perm = node.numbers("perm", 0, 0) or list(range(len(shape)))[::-1]
    return {0: [(perm.index(axis), np.arange(n)) for axis, n in enumerate(shape)]}


def _concat(node: NodeFacts, geometry: Geometry, _out: int) -> dict[int, Taken] | None:
    result = geometry.shapes[node.outputs[0]]
    axis = node.number("axis") % len(result)
    found: dict[int, Taken] = {}
    begin = 0
    for position, name in enumerate(node.inputs):
        length = geometry.shapes[name][axis]
        vectors: Taken = [(a, np.arange(n)) for a, n in enumerate(result)]
        own = np.arange(result[axis]) - begin
        vectors[axis] = (axis, np.where((own >= 0) & (own < length), own, -1))
        found[position] = vectors
        begin += length
    return found


def _split(node: NodeFacts, geometry: Geometry, out: int) -> dict[int, Taken] | None:
    axis = node.number("axis") % len(geometry.shapes[node.inputs[0]])
    if any(not name for name in node.outputs[:out]):
        return None
    begin = sum(geometry.shapes[name][axis] for name in node.outputs[:out])
    vectors: Taken = [
        (a, np.arange(n) + (begin if a == axis else 0))
        for a, n in enumerate(geometry.shapes[node.outputs[out]])
    ]
    return {0: vectors}


def _slice(node: NodeFacts, geometry: Geometry, _out: int) -> dict[int, Taken] | None:
    shape = geometry.shapes[node.inputs[0]]
    given = [_constant(node, geometry, p, n) for p, n in enumerate(("", "starts", "ends", "axes"))]
    starts, ends = given[1], given[2]
    if starts is None or ends is None:
        return None
    axes = given[3] if given[3] is not None else list(range(len(starts)))
    steps = _constant(node, geometry, 4, "") or [1] * len(starts)
    vectors: Taken = [(a, np.arange(n)) for a, n in enumerate(shape)]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place, length = axis % len(shape), shape[axis % len(shape)]
        low, high = (0, length) if step > 0 else (-1, length - 1)
        first = min(max(start + length if start < 0 else start, 0), high)
        stop = min(max(end + length if end < 0 else end, low), high)
        vectors[place] = (place, np.arange(first, stop, step))
    return {0: vectors}


def _pad(node: NodeFacts, geometry: Geometry, _out: int) -> dict[int, Taken] | None:
    shape = geometry.shapes[node.inputs[0]]
    pads = _constant(node, geometry, 1, "pads")
    axes = _constant(node, geometry, 3, "") or list(range(len(shape)))
    if pads is None or len(pads) != 2 * len(axes):
        return None
    vectors: Taken = [(a, np.arange(n)) for a, n in enumerate(shape)]
    for place, axis in enumerate(a % len(shape) for a in axes):
        low, high = pads[place], pads[place + len(axes)]
        kept = np.arange(max(0, -low), shape[axis] - max(0, -high))
        if not kept.size:
            return None
        width, mode = (max(0, low), max(0, high)), node.text("mode", "constant")
        if mode == "constant":
            vectors[axis] = (axis, np.pad(kept, width, constant_values=-1))
        else:
            vectors[axis] = (axis, np.pad(kept, width, mode=mode))  # type: ignore[call-overload]
    return {0: vectors}


def _expand(node: NodeFacts, geometry: Geometry, _out: int) -> dict[int, Taken] | None:
    shape, result = geometry.shapes[node.inputs[0]], geometry.shapes[node.outputs[0]]
    before = len(result) - len(shape)
    numbers = [np.broadcast_to(np.arange(n), (result[a + before],)) for a, n in enumerate(shape)]
    return {0: [(a + before, np.array(vector)) for a, vector in enumerate(numbers)]}


def _tile(node: NodeFacts, geometry: Geometry, _out: int) -> dict[int, Taken] | None:
    shape, result = geometry.shapes[node.inputs[0]], geometry.shapes[node.outputs[0]]
    return {0: [(a, np.arange(result[a]) % n) for a, n in enumerate(shape)]}


def _gather(node: NodeFacts, geometry: Geometry, _out: int) -> dict[int, Taken] | None:
    shape, array = geometry.shapes[node.inputs[0]], geometry.arrays.get(node.inputs[1])
    if array is None or array.ndim > 1:
        return None
    axis = node.number("axis") % len(shape)
    rows = np.atleast_1d(array.astype(np.int64)) % shape[axis]
    vectors: Taken = []
    for a, n in enumerate(shape):
        if a == axis:
            vectors.append((axis if array.ndim else None, rows))
        else:
            vectors.append((a if a < axis or array.ndim else a - 1, np.arange(n)))
    return {0: vectors}


def _blocks(node: NodeFacts, geometry: Geometry, need: Need) -> dict[int, Need]:
    """DepthToSpace and SpaceToDepth, applied to the numbers of the operand's elements."""
    shape = geometry.shapes[node.inputs[0]]
    n, c, h, w = shape
    b = node.number("blocksize")
    numbers = np.arange(n * c * h * w)
    if node.op == "SpaceToDepth":
        apart = numbers.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
    elif node.text("mode", "DCR") == "DCR":
        apart = numbers.reshape(n, b, b, c // (b * b), h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        apart = numbers.reshape(n, c // (b * b), b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    mask = np.zeros(n * c * h * w, bool)
    mask[apart.reshape(-1)[one_by_one(need).reshape(-1)]] = True
    return {0: mask.reshape(shape)}


def _constant(node: NodeFacts, geometry: Geometry, position: int, name: str) -> list[int] | None:
    """A list of integers: an attribute or a constant operand; None where it is neither."""
    given: Any = node.attributes.get(name) if name else None
    if given is None and position < len(node.inputs):
        given = geometry.arrays.get(node.inputs[position])
    return None if given is None else [int(v) for v in np.asarray(given).reshape(-1)]


RESHAPING = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
MOVERS: Mapping[str, Mover] = {
    "Identity": _same,
    "Dropout": _same,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Pad": _pad,
    "Expand": _expand,
    "Tile": _tile,
    "Gather": _gather,
}
