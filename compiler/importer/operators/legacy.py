"""Result types of ONNX's oldest operators, for which onnx has schemas but no inference."""

from collections.abc import Sequence

from ullage.compiler.importer.bounds import Attributes, Triple, Typed

# Operators of operator set 1 whose result is as the first operand. Binary ones broadcast the second
# operand to the first, never the other way; Max, Min, Mean and Sum do not broadcast at all.
LIKE_FIRST = frozenset(
    """Abs Add BatchNormalization Ceil Clip Div Dropout Elu Exp Floor HardSigmoid
    InstanceNormalization LeakyRelu Log Max Mean Min Mul Neg PRelu Reciprocal Relu Selu Sigmoid Sqrt
    Sub Sum Tanh TrainingBatchNormalization TrainingDropout""".split()
)


def legacy_output_types(
    op: str, attributes: Attributes, inputs: Sequence[Typed | None]
) -> list[Triple | None]:
    """Type (dtype, shape, is_upper_bound) of the first output; empty where no rule is known.

    Args:
        op: the operator, of a version whose schema infers nothing.
        attributes: its attributes with the defaults of its version.
        inputs: types of its operands, None for absent ones.
    """
    operands = [t for t in inputs if t is not None]
    if not operands:
        return []
    first = operands[0]
    if op in LIKE_FIRST:
        return [(first.dtype, first.shape, first.is_upper_bound)]
    if op == "Concat":
        axis = int(attributes["axis"]) % max(1, len(first.shape))
        shape = list(first.shape)
        shape[axis] = sum(operand.shape[axis] for operand in operands)
        return [(first.dtype, tuple(shape), any(t.is_upper_bound for t in operands))]
    return []
