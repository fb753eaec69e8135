"""Types of results whose shapes depend on data, by the best bound that follows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import onnx

from ullage.compiler.importer import optypes
from ullage.compiler.importer.scope import Scope, TensorType, attributes, label_of
from ullage.compiler.importer.shapes.axes import Axis, NoBoundError, axes_of, type_of
from ullage.compiler.importer.shapes.rules import RULES, Case

# What inference found: element type, and the length of each axis, None where it is open; no list
# where not even the rank is known.
Found = tuple[str | None, Sequence[int | None] | None]
# Types of a node's outputs by name, if its inputs have the types given.
InferAt = Callable[[Sequence[TensorType | None]], Mapping[str, TensorType]]

# Operators with results that only grow with the axes of their inputs, so that inference at the
# largest lengths bounds them. What a value decides (Reshape, Range ...) has a rule.
MONOTONE = (
    optypes.UNARY
    | optypes.BINARY
    | optypes.MATRIX
    | optypes.NORMALIZATION
    | optypes.POOLING
    | optypes.REDUCTION
    | (optypes.VIEWS - {"Reshape", "Squeeze"})
    | (optypes.DATA_MOVEMENT - {"Slice", "Split", "ConstantOfShape", "Range", "Expand", "Col2Im"})
    | frozenset(
        """BatchNormalization TopK LSTM GRU RNN Attention RotaryEmbedding RoiAlign MaxRoiPool
        GridSample DeformConv RandomNormalLike RandomUniformLike Bernoulli Det NonMaxSuppression
        NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss FlexAttention""".split()
    )
)
# Operators whose results have no more elements than their first input ...
NO_MORE_ELEMENTS = (
    (optypes.UNARY - {"BiasGelu", "CastLike"})
    | optypes.VIEWS
    | optypes.NORMALIZATION
    | frozenset(
        """CastLike Transpose Slice Split Trilu CumSum CumProd ReverseSequence SpaceToDepth
        DepthToSpace Compress BatchNormalization""".split()
    )
)


def bounded_types(
    node: onnx.NodeProto, found: Sequence[Found], scope: Scope, infer_at: InferAt
) -> tuple[list[TensorType | None], str]:
    """Types of the outputs of a node of the standard domain that inference leaves open.

    Args:
        node: the node.
        found: what inference has found of each output.
        scope: what is known of its inputs.
        infer_at: inference for inputs of other types.

    Returns:
        A type for each output, None where no bound follows, and from what one would follow.
    """
    inputs = [scope.types[name] if name else None for name in node.input]
    given = attributes(node)
    dtype = found[0][0] if found else None
    reason, candidates = "", []
    rule = RULES.get(node.op_type)
    if rule is not None:
        try:
            candidates.append(list(rule(Case(node, given, inputs, dtype, scope))))
        except NoBoundError as error:
            reason = str(error)
    loose = any(t is not None and t.is_upper_bound for t in inputs)
    if loose and not reason and _grows(node, given, inputs):
        largest = infer_at([None if t is None else TensorType(t.dtype, t.shape) for t in inputs])
        at_largest = [largest.get(name) for name in node.output]
        candidates.append(
            [
                None if t is None else type_of(t.dtype, _all_open(t), _most(node, inputs))
                for t in at_largest
            ]
        )
    results: list[TensorType | None] = []
    for position, (dtype, lengths) in enumerate(found):
        bounds = [c[position] for c in candidates if position < len(c)]
        results.append(_merged(dtype, lengths, [b for b in bounds if b is not None]))
    return results, reason


def _all_open(tensor_type: TensorType) -> list[Axis]:
    return [Axis(length, exact=False) for length in tensor_type.shape]


def _grows(
    node: onnx.NodeProto, given: Mapping[str, Any], inputs: Sequence[TensorType | None]
) -> bool:
    """Whether the results of a node only grow with the axes of its inputs."""
    if node.op_type == "GatherND":  # the last axis of the indices decides the rank
        indices = inputs[1] if len(inputs) > 1 else None
        return indices is not None and indices.is_exact(len(indices.shape) - 1)
    if node.op_type == "Resize":
        return bool(given.get("keep_aspect_ratio_policy", b"stretch") == b"stretch")
    return node.op_type in MONOTONE


def _most(node: onnx.NodeProto, inputs: Sequence[TensorType | None]) -> int | None:
    """Bound on the elements of a result that follows from those of the inputs, else None."""
    first = inputs[0] if inputs else None
    if first is None or node.op_type not in NO_MORE_ELEMENTS:
        return None
    return first.elements


def _merged(
    dtype: str | None, lengths: Sequence[int | None] | None, bounds: Sequence[TensorType]
) -> TensorType | None:
    """The tightest type by what inference found and by bounds; None where an axis remains open."""
    if lengths is None:
        if not bounds:
            return None
        lengths = [None] * len(bounds[0].shape)
    fitting = [b for b in bounds if len(b.shape) == len(lengths)]
    axes: list[Axis] = []
    for i, length in enumerate(lengths):
        if length is not None:
            axes.append(Axis(length))
            continue
        options = [axes_of(b)[i] for b in fitting]
        exact = [axis for axis in options if axis.exact]
        if not options:
            return None
        axes.append(exact[0] if exact else min(options))
    most = min((b.elements for b in fitting), default=None)
    known = dtype or (fitting[0].dtype if fitting else None)
    return None if known is None else type_of(known, axes, most)


def loosened(tensor_type: TensorType) -> TensorType:
    """The same type, each axis of which may be shorter."""
    return replace(tensor_type, is_upper_bound=True, exact_axes=frozenset())


def refusal_reason(node: onnx.NodeProto, reason: str) -> str:
    """In words, from what a bound of a node's result would follow."""
    return f"; {label_of(node)} would need a bound of {reason}" if reason else ""
