"""Constant folding: values that follow from constants alone are computed where they are small.

Shapes are often computed from constants, so their values are needed to know the types.
"""

import logging

import onnx

from ullage.compiler.importer.operators.identity import is_pure, operator_key
from ullage.compiler.importer.optypes import CONTROL_FLOW, ELEMENTWISE, RANDOM, REDUCTION, VIEWS
from ullage.compiler.importer.scope import Scope, TensorType, is_standard, label_of
from ullage.compiler.importer.values.evaluate import NotComputableError, evaluate

logger = logging.getLogger(__name__)

# Elements of a result beyond which it is not computed; the type alone is known then.
FOLD_LIMIT = 65_536
# Bytes of all folded constants of a model together beyond which no more are computed ...
FOLD_BUDGET_BYTES = 256 << 20
# ... and elements that may be read and written for all of them.
FOLD_BUDGET_ELEMENTS = 1 << 28
# Operators that are computed when all their inputs are constants.
FOLDABLE = (
    ELEMENTWISE
    | REDUCTION
    | VIEWS
    | frozenset(
        """Concat Gather GatherElements GatherND Slice Split Transpose Range ConstantOfShape Expand
        Tile NonZero Pad OneHot Trilu EyeLike ScatterElements ScatterND Scatter TopK Compress Unique
        ReverseSequence Softmax LogSoftmax""".split()
    )
)
# What the reference evaluator computes element by element in Python: an element counts as so many.
SLOW = dict.fromkeys("GatherND ScatterElements ScatterND Scatter TopK Unique".split(), 100)


def fold(node: onnx.NodeProto, read: list[str], scope: Scope) -> None:
    """Mark outputs of a node that follow from constants, and compute the small ones.

    Args:
        node: the node, whose output types are known.
        read: its inputs, absent ones left out.
        scope: scope of the graph in which it is; receives names, values and exact shapes.
    """
    outputs = [name for name in node.output if name]
    key = operator_key(node, scope.opsets)
    if key in RANDOM or key in CONTROL_FLOW or not is_pure(node, scope.opsets):
        return
    if not all(name in scope.constants for name in read):
        return
    if read or key == "Constant":
        scope.constants.update(outputs)
    if key not in FOLDABLE or not is_standard(node):
        return
    if any(name not in scope.arrays for name in read):
        return
    if any(scope.types[name].elements > FOLD_LIMIT for name in outputs):
        return
    sizes = [scope.types[name].elements for name in (*read, *outputs)]
    elements = sum(sizes) * SLOW.get(key, 1)
    work = scope.work
    if work.folded_bytes > FOLD_BUDGET_BYTES:
        return
    if work.folded_elements + elements > FOLD_BUDGET_ELEMENTS:
        return
    work.folded_elements += elements
    _compute(node, read, scope)


def _compute(node: onnx.NodeProto, read: list[str], scope: Scope) -> None:
    values = {name: scope.arrays[name] for name in read}
    try:
        results = evaluate(node, scope.opsets.get("", 1), values)
    except NotComputableError as error:
        # The tensor keeps its type; where a shape depends on its value, that shape is planned by
        # its bound or refused by name.
        logger.info("%s: %s is not folded: %s", scope.where, label_of(node), error)
        return
    for name, array in zip(node.output, results, strict=False):
        if not name or array is None:
            continue
        scope.arrays[name] = array
        scope.work.folded_bytes += array.nbytes
        old = scope.types[name]
        # Data decides some shapes (NonZero): the value knows better than inference.
        scope.types[name] = TensorType(old.dtype, array.shape)
