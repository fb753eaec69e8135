"""Types that follow backwards from those that a file declares: the last resort of inference.

    n = Range(0, size, 1)      its length depends on data ...
    y = Cos(n)                 ... but the file says that y has 10 elements, and so has n

No operand of an element-wise operator has a longer axis than the result.
"""

from collections.abc import Mapping, Sequence

import onnx

from ullage.compiler.importer.optypes import BINARY, UNARY
from ullage.compiler.importer.scope import Scope, TensorType, from_proto, is_standard
from ullage.compiler.importer.shapes.axes import Axis, type_of

# Operators whose result has the shape of the first input.
SAME_SHAPE = (UNARY | {"Identity", "Dropout"}) - {"BiasGelu"}


def implied_shapes(nodes: Sequence[onnx.NodeProto], scope: Scope) -> Mapping[str, TensorType]:
    """Shapes of tensors by name, from the declared types of what is computed from them.

    Element types are those of the results and mean nothing. Of operands that are broadcast, the
    rank is the result's, which the reader has to cut.
    """
    implied: dict[str, TensorType] = {}
    for node in reversed(nodes):
        if not is_standard(node) or not node.output or not node.input:
            continue
        if node.op_type not in SAME_SHAPE and node.op_type not in BINARY:
            continue
        name = node.output[0]
        result = from_proto(scope.declared.get(name), name, scope) or implied.get(name)
        if result is None:
            continue
        if node.op_type in SAME_SHAPE:
            implied.setdefault(node.input[0], result)
            continue
        axes = [Axis(length, exact=False) for length in result.shape]
        for operand in node.input:
            if operand:
                implied.setdefault(operand, type_of(result.dtype, axes))
    return implied


def implied_type(
    name: str, dtype: str, lengths: Sequence[int | None], scope: Scope
) -> TensorType | None:
    """The type of a tensor of known element type and rank, open axes as its readers imply.

    None where nothing is implied, or not for every open axis.
    """
    source = scope.implied.get(name)
    if source is None or len(source.shape) < len(lengths):
        return None
    behind = len(source.shape) - len(lengths)
    axes = [
        Axis(length)
        if length is not None
        else Axis(source.shape[behind + i], source.is_exact(behind + i))
        for i, length in enumerate(lengths)
    ]
    return type_of(dtype, axes)
