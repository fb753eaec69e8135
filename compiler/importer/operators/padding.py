"""Padding of convolutions and pools, where onnx's inference differs from its specification.

`auto_pad` other than NOTSET decides alone, but onnx adds explicit `pads` to the lengths of pools.
For transposed convolutions with SAME_UPPER or SAME_LOWER, onnx adds `output_padding` to a length
that is fixed already, and takes a result longer than the kernel reaches where the stride is larger;
of an `output_shape` that is shorter than the input on one axis it drops that axis and those after.
"""

from collections.abc import Sequence

import onnx

from ullage.compiler.importer.bounds import Attributes, Typed
from ullage.compiler.importer.operators.identity import without_attributes

# Values of `auto_pad` by which the lengths of results follow from those of inputs.
SAME = ("SAME_UPPER", "SAME_LOWER")


def without_ignored_pads(node: onnx.NodeProto) -> onnx.NodeProto:
    """The node, without `pads` where it has an `auto_pad` that decides the padding alone."""
    given = {a.name: a for a in node.attribute if a.name in ("auto_pad", "pads")}
    if len(given) < 2 or given["auto_pad"].s in (b"", b"NOTSET"):
        return node
    return without_attributes(node, {"pads"})


def conv_transpose_shape(
    attributes: Attributes, inputs: Sequence[Typed | None]
) -> tuple[int, ...] | None:
    """Shape [N, M, *output] of ConvTranspose of [N, C, *spatial] and a kernel [C, M/group, *K].

    Lengths are those of the operator's specification and of onnxruntime: with `output_shape` these,
    with SAME padding `stride * length`, or what the kernel reaches where that is less (padding is
    never negative).

    Args:
        attributes: of the node, with the defaults of its version.
        inputs: types of its operands, None for absent ones.

    Returns:
        The shape; None where onnx's inference is right, or the operands do not fit one another.
    """
    if len(inputs) < 2 or inputs[0] is None or inputs[1] is None:
        return None
    data, kernel = inputs[0].shape, inputs[1].shape
    axes = len(data) - 2
    if axes < 1 or len(kernel) != len(data):
        return None
    lead = (data[0], kernel[1] * int(attributes.get("group", 1)))
    asked = _lengths(attributes, "output_shape", axes)
    if asked is not None:
        return (*lead, *asked)
    if _text(attributes.get("auto_pad")) not in SAME:
        return None
    strides = _lengths(attributes, "strides", axes) or [1] * axes
    dilations = _lengths(attributes, "dilations", axes) or [1] * axes
    extra = _lengths(attributes, "output_padding", axes) or [0] * axes
    rows = zip(data[2:], kernel[2:], strides, dilations, extra, strict=True)
    lengths = (
        min(length * stride, (length - 1) * stride + more + (taps - 1) * dilation + 1)
        for length, taps, stride, dilation, more in rows
    )
    return (*lead, *lengths)


def _lengths(attributes: Attributes, name: str, axes: int) -> list[int] | None:
    """An attribute with a number per spatial axis; None where it is absent or has another count."""
    given = list(attributes.get(name) or ())
    return [int(number) for number in given] if len(given) == axes else None


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
