"""Windows, products, broadcasting and axes as the parameters of kernels."""

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Any

import onnx

from ullage.compiler.emit.cortex_m.context import (
    Cell,
    Context,
    attributes,
    is_empty,
    reference,
    struct,
)

# Axes that kernels can walk over (ULLAGE_MAX_RANK).
MAX_RANK = 6


def contiguous(shape: Sequence[int]) -> list[int]:
    """Strides in elements of a tensor without gaps."""
    return [prod(shape[d + 1 :]) for d in range(len(shape))]


def windows(
    context: Context, node: onnx.NodeProto, source: str, result: str, weights: str | None = None
) -> list[str]:
    """The window of a convolution or pooling over one or two axes, as C literals.

    There is one for each cell of the result in which the step makes elements.

    Args:
        context: the operator.
        node: the node.
        source: its input as it lies in memory.
        result: its result as it lies in memory.
        weights: name of a convolution's weights.
    """
    found = attributes(node)
    x, y = context.shape(node.input[0]), context.shape(node.output[0])
    axes = len(x) - 2
    if axes not in (1, 2):
        raise context.refuse(f"a window over {axes} axes; kernels have one or two")
    if weights:
        context.row_major(weights)
    size = context.shape(weights)[2:] if weights else tuple(found.get("kernel_shape", x[2:]))
    strides = list(found.get("strides", [1] * axes))
    dilations = list(found.get("dilations", [1] * axes))
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
    pads = _pads(context, found, (x[2:], y[2:]), reach, strides)
    box, put, taken = context.box(y), context.cells(result, y), context.cells(source, x)
    if axes == 1:  # one row
        x, y, size = (*x[:2], 1, x[2]), (*y[:2], 1, y[2]), (1, *size)
        strides, dilations, pads = [1, *strides], [1, *dilations], [0, *pads]
        box.insert(2, (0, 1))
        put, taken = ([_with_a_row(cell) for cell in cells] for cells in (put, taken))
    cells = ", ".join(_cell(cell) for cell in taken)
    literals = []
    for cell in put:
        inside = cell.clip(box)
        if is_empty(inside):
            continue
        literals.append(
            reference(
                "ullage_window",
                batch=x[0],
                in_channels=x[1],
                in_height=x[2],
                in_width=x[3],
                out_channels=y[1],
                out_height=y[2],
                out_width=y[3],
                kernel_height=size[0],
                kernel_width=size[1],
                stride_y=strides[0],
                stride_x=strides[1],
                dilation_y=dilations[0],
                dilation_x=dilations[1],
                pad_top=pads[0],
                pad_left=pads[1],
                groups=found.get("group", 1),
                count_padding=found.get("count_include_pad", 0),
                first=[low for low, _ in inside],
                last=[high for _, high in inside],
                x=f"(const ullage_cell[]){{{cells}}}",
                x_cells=len(taken),
                y_start=cell.place([0] * 4),
                y_stride=list(cell.strides),
            )
        )
    return literals


def _with_a_row(cell: Cell) -> Cell:
    """A cell of [batch, channel, column] as one of [batch, channel, row, column]."""
    low, high = (*cell.low[:2], 0, cell.low[2]), (*cell.high[:2], 1, cell.high[2])
    return Cell(low, high, cell.start, (*cell.strides[:2], 0, cell.strides[2]))


def _cell(cell: Cell) -> str:
    fields = {"low": cell.low, "high": cell.high, "start": cell.start, "stride": cell.strides}
    return struct("", **fields).removeprefix("()")


def _pads(
    context: Context,
    found: Mapping[str, Any],
    sizes: tuple[Sequence[int], Sequence[int]],
    reach: Sequence[int],
    strides: Sequence[int],
) -> list[int]:
    """Padding before the first element of each axis.

    Args:
        context: the operator.
        found: the node's attributes.
        sizes: lengths of the axes of input and result.
        reach: elements from the first to the last that a window reads, by axis.
        strides: by axis.
    """
    x, y = sizes
    way = found.get("auto_pad", b"NOTSET")
    if found.get("ceil_mode", 0) and found.get("count_include_pad", 0):
        raise context.refuse("ceil_mode with count_include_pad")
    if way == b"NOTSET":
        pads = list(found.get("pads", [0] * (2 * len(x))))
        return pads[: len(x)]
    if way == b"VALID":
        return [0] * len(x)
    total = [
        max(0, (out - 1) * stride + k - size)
        for size, out, k, stride in zip(x, y, reach, strides, strict=True)
    ]
    return [(t + 1) // 2 if way == b"SAME_LOWER" else t // 2 for t in total]


def matmul(
    context: Context,
    node: onnx.NodeProto,
    operands: tuple[str, str, str],
    *,
    trans_a: bool = False,
    trans_b: bool = False,
) -> str:
    """A product of matrices as a C literal; batches are products of the same count, or of one.

    Args:
        context: the operator.
        node: the node.
        operands: A, B and the result, as they lie in memory.
        trans_a: A is transposed.
        trans_b: B is transposed.
    """
    a, b = context.shape(node.input[0]), context.shape(node.input[1])
    y = context.shape(node.output[0])
    if len(a) < 2 or len(b) < 2:
        raise context.refuse("a product with a vector")
    k, m = (a[-2], a[-1]) if trans_a else (a[-1], a[-2])
    n = b[-2] if trans_b else b[-1]
    count, others = prod(a[:-2]), prod(b[:-2])
    box = context.box(y)
    if (count, others) != (1, 1) and context.is_part:
        raise context.refuse("no kernel for parts of several products")
    if others == 1 and not trans_a and not context.is_part:  # one matrix for all rows
        m, count = count * m, 1
        box = [(0, m), (0, n)]
    elif 1 not in (count, others) and tuple(a[:-2]) != tuple(b[:-2]):
        raise context.refuse("a product whose batches are broadcast")
    a_strides, b_strides, y_strides = (
        context.strides(name, shape)[-2:] for name, shape in zip(operands, (a, b, y), strict=True)
    )
    return reference(
        "ullage_matmul",
        count=max(count, others),
        m=m,
        k=k,
        n=n,
        a_batch_stride=0 if count == 1 else m * k,
        a_row_stride=a_strides[1 if trans_a else 0],
        a_column_stride=a_strides[0 if trans_a else 1],
        b_batch_stride=0 if others == 1 else k * n,
        b_row_stride=b_strides[1 if trans_b else 0],
        b_column_stride=b_strides[0 if trans_b else 1],
        y_batch_stride=m * n,
        y_row_stride=y_strides[0],
        y_column_stride=y_strides[1],
        first_row=box[-2][0],
        last_row=box[-2][1],
        first_column=box[-1][0],
        last_column=box[-1][1],
    )


def broadcasts(context: Context, node: onnx.NodeProto, operands: tuple[str, str, str]) -> list[str]:
    """Element-wise work on two tensors as C literals, one for each set of cells.

    Args:
        context: the operator.
        node: the node.
        operands: both inputs and the result, as they lie in memory.
    """
    y = context.shape(node.output[0])
    shapes = [context.shape(node.input[0]), context.shape(node.input[1]), y]
    if len(y) > MAX_RANK:
        raise context.refuse(f"{len(y)} axes; kernels have at most {MAX_RANK}")
    tensors = [
        [_repeated(cell, y) for cell in context.cells(name, shape)]
        for name, shape in zip(operands, shapes, strict=True)
    ]
    literals = []
    for cells in product(*tensors):
        box = context.box(y)
        for cell in cells:
            box = cell.clip(box)
        if is_empty(box):
            continue
        made = [high - low for low, high in box]
        starts = [cell.place([low for low, _ in box]) for cell in cells]
        strides = [list(cell.strides) for cell in cells]
        if all(s == contiguous(made) for s in strides):  # as one long row
            made, strides = [prod(made)], [[1]] * 3
        literals.append(
            reference(
                "ullage_broadcast",
                rank=len(made),
                shape=made,
                a_start=starts[0],
                a_stride=strides[0],
                b_start=starts[1],
                b_stride=strides[1],
                y_start=starts[2],
                y_stride=strides[2],
            )
        )
    return literals


def _repeated(cell: Cell, y: Sequence[int]) -> Cell:
    """A cell of a tensor that is repeated along the axes of a result of shape `y`."""
    missing = len(y) - len(cell.low)
    low, high = [0] * missing + list(cell.low), [1] * missing + list(cell.high)
    strides = [0] * missing + list(cell.strides)
    for axis, size in enumerate(y):
        if (low[axis], high[axis]) == (0, 1):  # one element, for all of the result's
            high[axis], strides[axis] = size, strides[axis] if size == 1 else 0
    return Cell(tuple(low), tuple(high), cell.start, tuple(strides))


def around(shape: Sequence[int], axes: Sequence[int]) -> tuple[int, int, int] | None:
    """(outer, count, inner) of adjacent axes; None where other axes lie between them."""
    chosen = sorted(axis % len(shape) for axis in axes) if shape else []
    chosen = [axis for axis in chosen if shape[axis] != 1] or chosen[:1]
    if not chosen:
        return (1, 1, prod(shape))
    between = [d for d in range(chosen[0], chosen[-1] + 1) if d not in chosen and shape[d] != 1]
    if between:
        return None
    return (
        prod(shape[: chosen[0]]),
        prod(shape[chosen[0] : chosen[-1] + 1]),
        prod(shape[chosen[-1] + 1 :]),
    )
