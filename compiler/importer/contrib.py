"""Output types of operators without an onnx schema: com.microsoft's quantised and fused ones.

Shapes follow onnxruntime's documentation of its contrib operators.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import onnx

from ullage.compiler.importer.bounds import Triple, Typed

# Operators whose first output has the shape of the first input.
LIKE_FIRST = frozenset(
    """Gelu BiasGelu FastGelu QuickGelu SimplifiedLayerNormalization LayerNormalization
    QLinearSigmoid QLinearLeakyRelu QLinearSoftmax RotaryEmbedding QuantizeLinear
    DequantizeLinear SkipLayerNormalization SkipSimplifiedLayerNormalization BiasSplitGelu
    GroupNorm Inverse GatedRelativePositionBias""".split()
)


def contrib_output_types(
    node: onnx.NodeProto, attributes: Mapping[str, Any], inputs: Sequence[Typed | None]
) -> list[Triple | None]:
    """Types (dtype, shape, is_upper_bound) of the outputs; empty for an unknown operator."""
    if not inputs or inputs[0] is None:
        return []
    first = inputs[0]
    op = node.op_type
    if op in LIKE_FIRST:
        dtype = _quantised_dtype(op, first, inputs)
        return [(dtype, first.shape, first.is_upper_bound)] + [None] * (len(node.output) - 1)
    if op in ("QLinearAdd", "QLinearMul") and len(inputs) > 3 and inputs[3] is not None:
        return [(first.dtype, _broadcast(first.shape, inputs[3].shape), False)]
    if op == "QLinearGlobalAveragePool":
        channels_last = bool(attributes.get("channels_last", 0))
        shape = list(first.shape)
        for axis in range(1, len(shape) - 1) if channels_last else range(2, len(shape)):
            shape[axis] = 1
        return [(first.dtype, tuple(shape), False)]
    if op == "QLinearConcat" and len(inputs) > 2:
        return _concat(attributes, inputs)
    if op in ("FusedMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm"):
        return _matmul(op, attributes, inputs)
    if op == "MatMulNBits":
        return [(first.dtype, (*first.shape[:-1], int(attributes.get("N", 0))), False)]
    if op in ("Attention", "MultiHeadAttention", "GroupQueryAttention", "QAttention"):
        return _attention(op, attributes, inputs)
    return []


def _quantised_dtype(op: str, first: Typed, inputs: Sequence[Typed | None]) -> str:
    if op == "QuantizeLinear":
        zero = inputs[2] if len(inputs) > 2 else None
        return zero.dtype if zero is not None else "uint8"
    if op == "DequantizeLinear":
        scale = inputs[1] if len(inputs) > 1 else None
        return scale.dtype if scale is not None else "float32"
    return first.dtype


def _broadcast(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    rank = max(len(a), len(b))
    a, b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    return tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))


def _concat(attributes: Mapping[str, Any], inputs: Sequence[Typed | None]) -> list[Triple | None]:
    """QLinearConcat: output scale and zero point, then (tensor, scale, zero point) triples."""
    parts = [t for t in inputs[2::3] if t is not None]
    if not parts:
        return []
    axis = int(attributes.get("axis", 0)) % max(1, len(parts[0].shape))
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return [(parts[0].dtype, tuple(shape), False)]


def _matmul(
    op: str, attributes: Mapping[str, Any], inputs: Sequence[Typed | None]
) -> list[Triple | None]:
    first, second = inputs[0], inputs[3 if op == "QGemm" and len(inputs) > 3 else 1]
    if first is None or second is None or len(first.shape) < 2 or len(second.shape) < 2:
        return []
    a, b = list(first.shape), list(second.shape)
    if attributes.get("transA", 0):
        a[-2:] = reversed(a[-2:])
    if attributes.get("transB", 0):
        b[-2:] = reversed(b[-2:])
    if op == "QGemm":
        zero = inputs[8] if len(inputs) > 8 else None
        dtype = zero.dtype if zero is not None else "float32"
    else:
        dtype = first.dtype if op == "FusedMatMul" else "float32"
    lead = _broadcast(tuple(a[:-2]), tuple(b[:-2]))
    return [(dtype, (*lead, a[-2], b[-1]), False)]


def _attention(
    op: str, attributes: Mapping[str, Any], inputs: Sequence[Typed | None]
) -> list[Triple | None]:
    first = inputs[0]
    if first is None or len(first.shape) != 3:
        return []
    hidden = first.shape[2]
    weight = inputs[1] if len(inputs) > 1 else None
    if op in ("Attention", "QAttention") and weight is not None and len(weight.shape) == 2:
        sizes = attributes.get("qkv_hidden_sizes")
        hidden = int(sizes[2]) if sizes else weight.shape[1] // 3
    value = inputs[2] if op == "MultiHeadAttention" and len(inputs) > 2 else None
    if value is not None and len(value.shape) == 3:
        hidden = value.shape[2]
    dtype = "float32" if op == "QAttention" else first.dtype
    return [(dtype, (*first.shape[:2], hidden), False)]
