"""Operators that only move elements: Transpose, Slice, Split, Concat, Pad, views as copies."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import prod

import numpy as np
import onnx

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.emit.cortex_m.context import (
    Cell,
    Context,
    attributes,
    call,
    is_empty,
    reference,
)
from ullage.compiler.emit.cortex_m.shapes import MAX_RANK, contiguous
from ullage.compiler.execute.element_types import Array

VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
MOVES = VIEWS | {"Transpose", "Slice", "Split", "Concat", "Pad", "Expand"}


def element_bytes(context: Context, name: str) -> int:
    """Bytes of an element of a tensor."""
    bits = BITS[context.dtype(name)]
    if bits % 8:
        raise context.refuse(f"elements of {bits} bits")
    return bits // 8


def move(
    context: Context, node: onnx.NodeProto, source: str, result: str, fill: Array | None = None
) -> list[str]:
    """Statements of a node that moves elements.

    Args:
        context: the operator.
        node: the node.
        source: the tensor in memory that its first input is.
        result: the tensor in memory that its result is.
        fill: the element that a Pad adds, where it is not the node's own constant.
    """
    if node.op_type == "Transpose":
        return _transpose(context, node, source, result)
    context.whole()
    if node.op_type == "Pad":
        return _pad(context, node, source, result, fill)
    moves = {
        "Slice": _slice,
        "Split": _split,
        "Expand": _expand,
    }
    if node.op_type in VIEWS:
        return [_copy(context, source, result, [prod(context.shape(result))], ([1], 0), ([1], 0))]
    return moves[node.op_type](context, node, source, result)


def copy_part(
    context: Context, source: str, result: str, axes: Sequence[int] | None = None
) -> list[str]:
    """Copies of the elements that a step makes of a tensor, cell by cell.

    Args:
        context: the operator.
        source: a tensor in memory.
        result: the tensor that is made of its elements.
        axes: for each axis of the result that of the source; the same by default.
    """
    shape = context.shape(result)
    order = list(range(len(shape))) if axes is None else list(axes)
    before = [0] * len(shape)
    for d, axis in enumerate(order):
        before[axis] = shape[d]
    seen = [
        Cell(
            tuple(cell.low[axis] for axis in order),
            tuple(cell.high[axis] for axis in order),
            cell.start,
            tuple(cell.strides[axis] for axis in order),
        )
        for cell in context.cells(source, before)
    ]
    return _copies(context, source, result, seen, context.cells(result, shape))


def _copies(
    context: Context, source: str, result: str, seen: Sequence[Cell], cells: Sequence[Cell]
) -> list[str]:
    """Copies of what a step makes of a result and finds in a source.

    Args:
        context: the operator.
        source: the tensor that is read.
        result: the tensor that is written.
        seen: cells of the source, by indices of the result.
        cells: cells of the result.
    """
    statements = []
    for taken, put in product(seen, cells):
        box = taken.clip(put.clip(context.box(context.shape(result))))
        if is_empty(box):
            continue
        first = [low for low, _ in box]
        made = [high - low for low, high in box]
        ways = ((taken.strides, taken.place(first)), (put.strides, put.place(first)))
        statements.append(_copy(context, source, result, made, *ways))
    return statements


def _copy(
    context: Context,
    source: str,
    result: str,
    shape: Sequence[int],
    taken: tuple[Sequence[int], int],
    put: tuple[Sequence[int], int],
) -> str:
    """A copy of elements; `taken` and `put` are strides and the first element."""
    if len(shape) > MAX_RANK:
        raise context.refuse(f"{len(shape)} axes; kernels have at most {MAX_RANK}")
    literal = reference(
        "ullage_strided",
        element_bytes=element_bytes(context, result),
        rank=len(shape),
        shape=list(shape),
        in_start=taken[1],
        in_stride=list(taken[0]),
        out_start=put[1],
        out_stride=list(put[0]),
    )
    return call("ullage_copy_elements", literal, context.read(source), context.write(result))


def _transpose(context: Context, node: onnx.NodeProto, source: str, result: str) -> list[str]:
    rank = len(context.shape(node.input[0]))
    return copy_part(context, source, result, attributes(node).get("perm", range(rank)[::-1]))


def _slice(context: Context, node: onnx.NodeProto, source: str, result: str) -> list[str]:
    x, y = context.shape(node.input[0]), context.shape(node.output[0])
    given = [context.constant(name) if name else None for name in node.input[1:]]
    if any(name and array is None for name, array in zip(node.input[1:], given, strict=True)):
        raise context.refuse("its bounds are computed")
    arrays = [None if array is None else [int(v) for v in array.reshape(-1)] for array in given]
    starts = arrays[0] or []
    axes = (arrays[2] if len(arrays) > 2 else None) or list(range(len(starts)))
    steps = (arrays[3] if len(arrays) > 3 else None) or [1] * len(starts)
    strides, first = contiguous(x), 0
    taken = list(strides)
    for start, axis, stride in zip(starts, axes, steps, strict=True):
        size = x[axis]
        begin = start + size if start < 0 else start
        begin = min(max(begin, 0), size if stride > 0 else size - 1)
        first += begin * strides[axis]
        taken[axis] = strides[axis] * stride
    return [_copy(context, source, result, y, (taken, first), (contiguous(y), 0))]


def _split(context: Context, node: onnx.NodeProto, source: str, result: str) -> list[str]:
    del result
    x = context.shape(node.input[0])
    axis = attributes(node).get("axis", 0) % len(x)
    statements, first = [], 0
    for name in node.output:
        shape = context.shape(name)
        taken = (contiguous(x), first * contiguous(x)[axis])
        statements.append(_copy(context, source, name, shape, taken, (contiguous(shape), 0)))
        first += shape[axis]
    return statements


def _expand(context: Context, node: onnx.NodeProto, source: str, result: str) -> list[str]:
    x, y = context.shape(node.input[0]), context.shape(node.output[0])
    padded = (1,) * (len(y) - len(x)) + x
    taken = [0 if n == 1 else s for n, s in zip(padded, contiguous(padded), strict=True)]
    return [_copy(context, source, result, y, (taken, 0), (contiguous(y), 0))]


def _pad(
    context: Context, node: onnx.NodeProto, source: str, result: str, value: Array | None
) -> list[str]:
    found = attributes(node)
    if found.get("mode", b"constant") != b"constant":
        raise context.refuse(f"mode {found['mode'].decode()}; kernels pad with a constant")
    x, y = context.shape(node.input[0]), context.shape(node.output[0])
    pads = context.constant(node.input[1]) if len(node.input) > 1 else np.array(found.get("pads"))
    if pads is None:
        raise context.refuse("its padding is computed")
    if len(node.input) > 3 and node.input[3]:
        raise context.refuse("padding of chosen axes")
    before = [int(v) for v in pads.reshape(-1)[: len(x)]]
    if min(int(v) for v in pads.reshape(-1)) < 0:
        raise context.refuse("negative padding")
    dtype = np.dtype(context.dtype(result))
    value = padding(context, node, dtype) if value is None else value
    if value.dtype != dtype:
        raise context.refuse("its constant is of another type")
    fill = call(
        "ullage_fill",
        prod(y),
        element_bytes(context, result),
        context.array(value),
        context.write(result),
    )
    strides = contiguous(y)
    first = sum(b * s for b, s in zip(before, strides, strict=True))
    return [fill, _copy(context, source, result, x, (contiguous(x), 0), (strides, first))]


def gather(context: Context, node: onnx.NodeProto) -> list[str]:
    """Statements of a Gather: rows of a table, whose indices are data or constant."""
    context.whole()
    table, indices = node.input[0], node.input[1]
    shape = context.shape(table)
    axis = attributes(node).get("axis", 0) % len(shape)
    index_bytes = {"int32": 4, "int64": 8}.get(context.dtype(indices))
    if index_bytes is None:
        raise context.refuse(f"its indices are {context.dtype(indices)}")
    return [
        call(
            "ullage_gather",
            prod(shape[:axis]),
            shape[axis],
            prod(shape[axis + 1 :]) * element_bytes(context, table),
            prod(context.shape(indices)),
            context.read(indices),
            index_bytes,
            context.read(table),
            context.write(node.output[0]),
        )
    ]


def padding(context: Context, node: onnx.NodeProto, dtype: np.dtype[np.generic]) -> Array:
    """The number that a Pad adds, of shape [1]; 0 where it names none."""
    if len(node.input) < 3 or not node.input[2]:
        return np.full(1, attributes(node).get("value", 0), dtype=dtype)
    constant = context.constant(node.input[2])
    if constant is None:
        raise context.refuse("its constant is computed")
    return constant.reshape(-1)[:1]


def concat(
    context: Context, node: onnx.NodeProto, sources: Sequence[tuple[str, str]], result: str
) -> list[str]:
    """Statements of a Concat.

    Args:
        context: the operator.
        node: the Concat.
        sources: for each of its inputs the tensor in memory, and the name whose shape it has.
        result: the tensor in memory.
    """
    y = context.shape(node.output[0])
    axis: int = attributes(node)["axis"] % len(y)
    cells, first = context.cells(result, y), 0
    statements: list[str] = []
    for name, shaped in sources:
        shape = context.shape(shaped)
        if name not in context.absorbed and 0 not in shape:
            seen = [_moved(cell, axis, first) for cell in context.cells(name, shape)]
            statements += _copies(context, name, result, seen, cells)
        first += shape[axis]
    return statements


def _moved(cell: Cell, axis: int, by: int) -> Cell:
    """A cell whose indices of an axis are larger by a number."""
    low, high = list(cell.low), list(cell.high)
    low[axis], high[axis] = low[axis] + by, high[axis] + by
    return replace(cell, low=tuple(low), high=tuple(high))
