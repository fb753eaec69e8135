"""Constant folding: values that follow from constants alone are computed where they are small.

Shapes are often computed from constants, so their values are needed to know the types.
"""

import logging
import warnings

import numpy as np
import onnx

from ullage.compiler.importer.optypes import CONTROL_FLOW, ELEMENTWISE, RANDOM, REDUCTION, VIEWS
from ullage.compiler.importer.scope import Scope, TensorType, attributes, label_of

logger = logging.getLogger(__name__)

# Elements of a result beyond which it is not computed; the type alone is known then.
FOLD_LIMIT = 65_536
# Bytes of all folded constants of a model together beyond which no more are computed.
FOLD_BUDGET_BYTES = 256 << 20
# Operators that are computed when all their inputs are constants.
FOLDABLE = (
    ELEMENTWISE
    | REDUCTION
    | VIEWS
    | frozenset(
        """Concat Gather GatherElements GatherND Slice Split Transpose Range ConstantOfShape Expand
        Tile Shape Size NonZero Pad OneHot Trilu EyeLike ScatterElements ScatterND TopK""".split()
    )
)


def fold(node: onnx.NodeProto, read: list[str], scope: Scope) -> None:
    """Mark outputs of a node that follow from constants, and compute the small ones.

    Args:
        node: the node, whose output types are known.
        read: its inputs, absent ones left out.
        scope: scope of the graph in which it is; receives names, values and exact shapes.
    """
    outputs = [name for name in node.output if name]
    if node.op_type in ("Shape", "Size") and read:
        source = scope.types[read[0]]
        if node.op_type == "Shape":
            node_attributes = attributes(node)
            rank = len(source.shape)
            start, end, _ = slice(
                node_attributes.get("start", 0), node_attributes.get("end", rank)
            ).indices(rank)
            scope.arrays[outputs[0]] = np.asarray(source.shape[start:end], dtype=np.int64)
        else:
            scope.arrays[outputs[0]] = np.asarray(source.elements, dtype=np.int64)
        scope.constants.update(outputs)
        return
    if node.op_type in RANDOM or node.op_type in CONTROL_FLOW:
        return
    if not all(name in scope.constants for name in read):
        return
    if read or node.op_type == "Constant":
        scope.constants.update(outputs)
    if node.op_type not in FOLDABLE or any(name not in scope.arrays for name in read):
        return
    if any(scope.types[name].elements > FOLD_LIMIT for name in outputs):
        return
    if scope.folded_bytes[0] > FOLD_BUDGET_BYTES:
        return
    _evaluate(node, read, scope)


def _evaluate(node: onnx.NodeProto, read: list[str], scope: Scope) -> None:
    from onnx.reference import ReferenceEvaluator

    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            session = ReferenceEvaluator(node, opsets={domain: scope.opsets.get(domain, 1)})
            results = session.run(None, {name: scope.arrays[name] for name in read})
    except Exception as error:  # noqa: BLE001 - the evaluator raises whatever numpy raises
        # Not every old operator version is implemented. The tensor keeps its type; where a shape
        # depends on its value, that shape is refused by name.
        logger.info("%s: %s is not folded: %s", scope.where, label_of(node), error)
        return
    for name, result in zip(node.output, results, strict=False):
        array = np.asarray(result)
        if not name or array.dtype == object:
            continue
        scope.arrays[name] = array
        scope.folded_bytes[0] += array.nbytes
        old = scope.types[name]
        # Data decides some shapes (NonZero): the value knows better than inference.
        scope.types[name] = TensorType(old.dtype, array.shape, is_upper_bound=False)
