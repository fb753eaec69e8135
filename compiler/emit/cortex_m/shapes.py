"""Windows, products, broadcasting and axes as the parameters of kernels."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import onnx

from ullage.compiler.emit.cortex_m.context import Context, attributes, reference

# Axes that kernels can walk over (ULLAGE_MAX_RANK).
MAX_RANK = 6


def contiguous(shape: Sequence[int]) -> list[int]:
    """Strides in elements of a tensor without gaps."""
    return [prod(shape[d + 1 :]) for d in range(len(shape))]


def window(context: Context, node: onnx.NodeProto, *, weights: str | None = None) -> str:
    """The window of a convolution or pooling over one or two axes, as a C literal.

    Args:
        context: the operator.
        node: the node.
        weights: name of a convolution's weights.
    """
    found = attributes(node)
    x, y = context.shape(node.input[0]), context.shape(node.output[0])
    axes = len(x) - 2
    if axes not in (1, 2):
        raise context.refuse(f"a window over {axes} axes; kernels have one or two")
    size = context.shape(weights)[2:] if weights else tuple(found.get("kernel_shape", x[2:]))
    strides = list(found.get("strides", [1] * axes))
    dilations = list(found.get("dilations", [1] * axes))
    reach = [(k - 1) * d + 1 for k, d in zip(size, dilations, strict=True)]
    pads = _pads(context, found, (x[2:], y[2:]), reach, strides)
    if axes == 1:  # one row
        x, y, size = (*x[:2], 1, x[2]), (*y[:2], 1, y[2]), (1, *size)
        strides, dilations, pads = [1, *strides], [1, *dilations], [0, *pads]
    return reference(
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
    )


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
    a: Sequence[int],
    b: Sequence[int],
    *,
    trans_a: bool = False,
    trans_b: bool = False,
) -> str:
    """A product of matrices as a C literal; batches are products of the same count, or of one."""
    if len(a) < 2 or len(b) < 2:
        raise context.refuse("a product with a vector")
    k, m = (a[-2], a[-1]) if trans_a else (a[-1], a[-2])
    n = b[-2] if trans_b else b[-1]
    count, others = prod(a[:-2]), prod(b[:-2])
    if others == 1 and not trans_a:  # one matrix for all rows
        m, count = count * m, 1
    elif 1 not in (count, others) and tuple(a[:-2]) != tuple(b[:-2]):
        raise context.refuse("a product whose batches are broadcast")
    batches = max(count, others)
    return reference(
        "ullage_matmul",
        count=batches,
        m=m,
        k=k,
        n=n,
        a_batch_stride=0 if count == 1 else m * k,
        a_row_stride=1 if trans_a else k,
        a_column_stride=m if trans_a else 1,
        b_batch_stride=0 if others == 1 else k * n,
        b_row_stride=1 if trans_b else n,
        b_column_stride=k if trans_b else 1,
    )


def broadcast(context: Context, a: Sequence[int], b: Sequence[int], y: Sequence[int]) -> str:
    """Element-wise work on two tensors as a C literal."""
    if tuple(a) == tuple(b) == tuple(y):
        a = b = y = (prod(y),)
    if len(y) > MAX_RANK:
        raise context.refuse(f"{len(y)} axes; kernels have at most {MAX_RANK}")
    strides = []
    for shape in (a, b):
        padded = (1,) * (len(y) - len(shape)) + tuple(shape)
        full = contiguous(padded)
        strides.append([0 if size == 1 else s for size, s in zip(padded, full, strict=True)])
    return reference(
        "ullage_broadcast", rank=len(y), shape=list(y), a_stride=strides[0], b_stride=strides[1]
    )


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
