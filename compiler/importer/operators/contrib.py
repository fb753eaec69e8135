"""Result types of com.microsoft's operators, for which onnx has no schema.

Shapes follow onnxruntime's documentation of its contrib operators; the tests compare them with its
runs. What has no rule here is asked of onnxruntime's own inference (`onnxruntime_types`).
"""

from collections.abc import Sequence

import numpy as np
import onnx

from ullage.compiler.importer.bounds import Arrays, Attributes, Triple, Typed
from ullage.compiler.importer.operators.attention import ATTENTIONS, attention_output_types

# Operators whose first output has the shape of the first input.
LIKE_FIRST = frozenset(
    """Gelu BiasGelu FastGelu QuickGelu SimplifiedLayerNormalization BiasAdd BiasSoftmax
    QLinearSigmoid QLinearLeakyRelu QLinearSoftmax com.microsoft.RotaryEmbedding QuantizeLinear
    DequantizeLinear SkipLayerNormalization SkipSimplifiedLayerNormalization GroupNorm SkipGroupNorm
    Inverse ScaledSiLU LongformerAttention MoE QMoE BiasDropout Trilu""".split()
)
# Operators with two broadcast operands, each followed by its scale and zero point.
QUANTISED_PAIR = frozenset({"QLinearAdd", "QLinearMul"})
# Matrix products with the second operand at position 1, or 3 behind a scale and a zero point.
PRODUCTS = frozenset(
    """FusedMatMul FusedMatMulActivation TransposeMatMul MatMulIntegerToFloat DynamicQuantizeMatMul
    MatMulInteger16 QGemm FusedGemm GemmFastGelu""".split()
)
# Products whose weight is packed: its sides K and N are attributes.
PACKED_PRODUCTS = frozenset({"MatMulNBits", "MatMulBnb4", "MatMulFpQ4"})


def contrib_output_types(
    op: str,
    node: onnx.NodeProto,
    attributes: Attributes,
    inputs: Sequence[Typed | None],
    arrays: Arrays,
) -> list[Triple | None]:
    """Types (dtype, shape, is_upper_bound) of the outputs; empty where there is no rule.

    Args:
        op: which operator it is, as `identity.operator_key` says it.
        node: the node.
        attributes: its attributes.
        inputs: types of its operands, None for absent ones.
        arrays: values of small constants.
    """
    if op == "EmbedLayerNormalization":
        return _embedding(inputs)
    if not inputs or inputs[0] is None:
        return []
    first = inputs[0]
    if op in ("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "SkipGroupNorm"):
        return _skip_normalization(op, first)
    if op in LIKE_FIRST:
        dtype = _quantised_dtype(op, first, inputs)
        return [(dtype, first.shape, first.is_upper_bound)]
    if op in ATTENTIONS:
        return attention_output_types(op, attributes, inputs, _total_length(op, node, arrays))
    return _shaped(op, attributes, first, inputs)


def _shaped(
    op: str, attributes: Attributes, first: Typed, inputs: Sequence[Typed | None]
) -> list[Triple | None]:
    """Operators whose result has a shape of its own."""
    bound = first.is_upper_bound
    if op in QUANTISED_PAIR and len(inputs) > 3 and inputs[3] is not None:
        return [(first.dtype, _broadcast(first.shape, inputs[3].shape), bound)]
    if op == "QLinearWhere":
        return _where(inputs)
    if op == "QLinearGlobalAveragePool":
        channels_last = bool(attributes.get("channels_last", 0))
        shape = list(first.shape)
        for axis in range(1, len(shape) - 1) if channels_last else range(2, len(shape)):
            shape[axis] = 1
        return [(first.dtype, tuple(shape), bound)]
    if op == "QLinearReduceMean":
        return [(first.dtype, _reduced(first.shape, attributes), bound)]
    if op == "QLinearConcat":
        return _concat(attributes, inputs)
    if op in PRODUCTS:
        return _matmul(op, attributes, inputs)
    if op in PACKED_PRODUCTS:
        return [(first.dtype, (*first.shape[:-1], int(attributes.get("N", 0))), bound)]
    if op in ("BiasSplitGelu", "SwiGLU") and first.shape:
        return [(first.dtype, (*first.shape[:-1], first.shape[-1] // 2), bound)]
    if op == "GatedRelativePositionBias" and len(inputs) > 2 and inputs[2] is not None:
        return [(first.dtype, (first.shape[0], *inputs[2].shape[1:]), bound)]
    return []


def _quantised_dtype(op: str, first: Typed, inputs: Sequence[Typed | None]) -> str:
    if op == "QuantizeLinear":
        zero = inputs[2] if len(inputs) > 2 else None
        return zero.dtype if zero is not None else "uint8"
    if op == "DequantizeLinear":
        scale = inputs[1] if len(inputs) > 1 else None
        return scale.dtype if scale is not None else "float32"
    return first.dtype


def _skip_normalization(op: str, first: Typed) -> list[Triple | None]:
    """The normalised sum; then its mean, its deviation, and the sum."""
    whole = (first.dtype, first.shape, first.is_upper_bound)
    if op == "SkipGroupNorm":
        return [whole, whole]
    statistic = ("float32", (*first.shape[:-1], 1), first.is_upper_bound)
    return [whole, statistic, statistic, whole]


def _embedding(inputs: Sequence[Typed | None]) -> list[Triple | None]:
    """EmbedLayerNormalization: ids [batch, length], word embedding [words, hidden]."""
    ids, words = inputs[0] if inputs else None, inputs[2] if len(inputs) > 2 else None
    if ids is None or words is None or len(ids.shape) != 2 or len(words.shape) != 2:
        return []
    whole = (words.dtype, (*ids.shape, words.shape[1]), ids.is_upper_bound)
    return [whole, ("int32", ids.shape[:1], ids.is_upper_bound), whole]


def _total_length(op: str, node: onnx.NodeProto, arrays: Arrays) -> int | None:
    """The operand `total_sequence_length` of GroupQueryAttention, where it is a constant."""
    name = node.input[6] if op == "GroupQueryAttention" and len(node.input) > 6 else ""
    array = arrays.get(name)
    if array is None or array.size != 1:
        return None
    return int(np.asarray(array, dtype=np.int64).reshape(()))


def _broadcast(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(n) for n in np.broadcast_shapes(*shapes))


def _where(inputs: Sequence[Typed | None]) -> list[Triple | None]:
    """QLinearWhere: condition, (tensor, scale, zero point) twice, scale and zero point."""
    parts = [inputs[i] for i in (0, 1, 4) if i < len(inputs)]
    present = [t for t in parts if t is not None]
    if len(present) != 3:
        return []
    bound = any(t.is_upper_bound for t in present)
    return [(present[1].dtype, _broadcast(*(t.shape for t in present)), bound)]


def _reduced(shape: tuple[int, ...], attributes: Attributes) -> tuple[int, ...]:
    rank = len(shape)
    axes = {int(axis) % max(1, rank) for axis in attributes.get("axes") or range(rank)}
    if attributes.get("keepdims", 1):
        return tuple(1 if axis in axes else dim for axis, dim in enumerate(shape))
    return tuple(dim for axis, dim in enumerate(shape) if axis not in axes)


def _concat(attributes: Attributes, inputs: Sequence[Typed | None]) -> list[Triple | None]:
    """QLinearConcat: output scale and zero point, then (tensor, scale, zero point) triples."""
    parts = [t for t in inputs[2::3] if t is not None]
    if not parts:
        return []
    axis = int(attributes.get("axis", 0)) % max(1, len(parts[0].shape))
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return [(parts[0].dtype, tuple(shape), any(part.is_upper_bound for part in parts))]


def _matmul(op: str, attributes: Attributes, inputs: Sequence[Typed | None]) -> list[Triple | None]:
    """Matrix products with numpy's broadcasting.

    `transA` turns the last two axes, `transBatchA` moves the first axis behind all others but the
    last before that.
    """
    position = 3 if op == "QGemm" else 1
    first, second = inputs[0], inputs[position] if len(inputs) > position else None
    if first is None or second is None or len(first.shape) < 2 or len(second.shape) < 2:
        return []
    a = _turned(first.shape, attributes, "A")
    b = _turned(second.shape, attributes, "B")
    if op == "QGemm":
        zero = inputs[8] if len(inputs) > 8 else None
        dtype = zero.dtype if zero is not None else "float32"
    elif op == "MatMulInteger16":
        dtype = "int32" if first.dtype == "int16" else "uint32"
    else:
        floats = ("MatMulIntegerToFloat", "DynamicQuantizeMatMul")
        dtype = "float32" if op in floats else first.dtype
    lead = _broadcast(a[:-2], b[:-2])
    bound = first.is_upper_bound or second.is_upper_bound
    return [(dtype, (*lead, a[-2], b[-1]), bound)]


def _turned(shape: tuple[int, ...], attributes: Attributes, side: str) -> tuple[int, ...]:
    if attributes.get(f"transBatch{side}", 0):
        shape = (*shape[1:-1], shape[0], shape[-1])
    if attributes.get(f"trans{side}", 0):
        shape = (*shape[:-2], shape[-1], shape[-2])
    return shape
