"""Standard operators with attributes or element types that ONNX does not define for them.

Tools that explore hardware write such files: Stream puts the bits of operands into attributes of
its own (`act_size`), and has convolutions of int8. What an operator reads, writes and computes is
known all the same, so that it can be planned; onnxruntime refuses to run it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx

from ullage.compiler.common.units import listed
from ullage.compiler.importer.bounds import Typed
from ullage.compiler.importer.operators.identity import without_attributes

# Integers of quantised operators, whose biases are wider, and floats that old versions of an
# operator do not have: element types that are taken where a definition has float32.
INTEGERS = frozenset({"int2", "uint2", "int4", "uint4", "int8", "uint8", "int16", "int32"})
SHORT_FLOATS = ("float16", "bfloat16")
# What stands in for them while types are inferred.
STANDING_IN = "float32"
# Nodes that a note names.
SHOWN = 3


@dataclass(frozen=True)
class Defined:
    """A node as ONNX defines its operator.

    Attributes:
        node: it, without attributes that the operator does not have.
        dtypes: element types of its operands, float32 for those that it does not take; None for
            absent operands.
        stands_for: name of a result -> element type that stands for float32.
        remarks: what is different, for people; empty for a node that ONNX defines.
    """

    node: onnx.NodeProto
    dtypes: tuple[str | None, ...]
    stands_for: dict[str, str]
    remarks: tuple[str, ...]


def as_defined(
    schema: onnx.defs.OpSchema, node: onnx.NodeProto, inputs: Sequence[Typed | None]
) -> Defined:
    """The node with nothing that its operator does not have.

    Args:
        schema: the operator in the version of the model.
        node: the node.
        inputs: types of its operands, None for absent ones.
    """
    unknown = sorted({a.name for a in node.attribute if a.name not in schema.attributes})
    remarks = []
    if unknown:
        node = without_attributes(node, unknown)
        shown = ", ".join(unknown)
        remarks.append(f"ignored attributes that ONNX does not define for {node.op_type}: {shown}")
    others = _others(schema, inputs)
    if others:
        shown = ", ".join(sorted(set(others.values())))
        remarks.append(f"planned {node.op_type} of {shown}, which ONNX does not define")
    return Defined(
        node,
        tuple(
            None
            if known is None
            else STANDING_IN
            if _parameter(schema.inputs, position) in others
            else known.dtype
            for position, known in enumerate(inputs)
        ),
        {
            name: others[parameter]
            for position, name in enumerate(node.output)
            if name and (parameter := _parameter(schema.outputs, position)) in others
        },
        tuple(remarks),
    )


def undefined_note(remark: str, nodes: Collection[str]) -> str:
    """A remark with the nodes that it is about, for people."""
    return f"{remark} ({listed(nodes, SHOWN)})"


def _others(schema: onnx.defs.OpSchema, inputs: Sequence[Typed | None]) -> dict[str, str]:
    """Type parameter of an operator -> the element type that all its operands have against it.

    One that takes float32 is meant, so that this can stand in; integers may differ in width, the
    first operand's counts.
    """
    given: dict[str, list[str]] = {}
    for position, known in enumerate(inputs):
        if known is not None:
            given.setdefault(_parameter(schema.inputs, position), []).append(known.dtype)
    found: dict[str, str] = {}
    for constraint in schema.type_constraints:
        dtypes = given.get(constraint.type_param_str, [])
        allowed = constraint.allowed_type_strs
        if not dtypes or "tensor(float)" not in allowed:
            continue
        if any(f"tensor({dtype})" in allowed for dtype in dtypes):
            continue
        if set(dtypes) <= INTEGERS or (len(set(dtypes)) == 1 and dtypes[0] in SHORT_FLOATS):
            found[constraint.type_param_str] = dtypes[0]
    return found


def _parameter(formal: Sequence[onnx.defs.OpSchema.FormalParameter], position: int) -> str:
    """Name of the type of an operand or result; the last one stands for all that follow."""
    return formal[min(position, len(formal) - 1)].type_str if formal else ""
