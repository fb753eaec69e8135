"""Running one node of the standard domain on arrays, by the rules of its own operator set.

onnx's reference evaluator has one implementation for most operators, that of the newest version.
What it would compute wrongly for an older node is rewritten first: here, where the difference is an
attribute, else by onnx's version converter.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

Array = NDArray[np.generic]

# Version that old nodes are converted to: new enough for every rule that changed.
CONVERTED_VERSION = 21
# Operators whose change between versions the converter overlooks, with the version of the change:
# before it, Hardmax worked on the input as a matrix.
NOT_CONVERTED = {"Hardmax": 13}
# Operators whose older versions the reference evaluator computes wrongly or not at all, with the
# first version that it computes right.
FAULTY_BEFORE = {"BatchNormalization": 14}
# Attributes that say nothing about the result.
IDLE_ATTRIBUTES = frozenset({"consumed_inputs"})
# Defaults that schemas state in words only: (operator, versions before) -> attributes.
WORDED_DEFAULTS = {("Concat", 4): {"axis": 1}}


class NotComputableError(Exception):
    """The node cannot be run; the message says why."""


def evaluate(node: onnx.NodeProto, version: int, arrays: Mapping[str, Array]) -> list[Array | None]:
    """Results of a node, None for those that are no tensors of numbers.

    Args:
        node: a node of the standard domain without subgraphs.
        version: version of the operator set that it is written in.
        arrays: values of its inputs by name.

    Raises:
        NotComputableError: nothing here can run it.
    """
    try:
        schema = onnx.defs.get_schema(node.op_type, version, "")
    except onnx.defs.SchemaError as error:
        raise NotComputableError(str(error)) from error
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            plain, values = _modern(node, schema.since_version, arrays)
            if _reference_agrees(plain, schema):
                return _run([plain], version, plain.output, values)
            return _run_converted(plain, version, values)
        except NotComputableError:
            raise
        except Exception as error:
            # Converter and evaluator raise whatever the C++ side and numpy raise.
            raise NotComputableError(f"{type(error).__name__} {str(error)[:200]}") from error


def _modern(
    node: onnx.NodeProto, since: int, arrays: Mapping[str, Array]
) -> tuple[onnx.NodeProto, dict[str, Array]]:
    """The node without those attributes of old versions that numpy's rules make superfluous.

    `broadcast` and `axis` of binary operators: the second operand is given the axes instead. `to`
    of Cast: a number instead of a name.
    """
    plain = onnx.NodeProto()
    plain.CopyFrom(node)
    plain.domain = ""
    values = {name: arrays[name] for name in node.input if name}
    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    for (op, before), defaults in WORDED_DEFAULTS.items():
        if op == node.op_type and since < before:
            given = defaults | given
    if node.op_type == "Cast" and isinstance(given.get("to"), bytes):
        given["to"] = onnx.TensorProto.DataType.Value(given["to"].decode())
    if "broadcast" in given and len(node.input) == 2:
        first, second = (values[name] for name in node.input)
        behind = first.ndim - int(given.get("axis", first.ndim - second.ndim)) - second.ndim
        if given["broadcast"] and behind > 0:
            if node.input[0] == node.input[1]:
                raise NotComputableError("an operand that is broadcast against itself")
            values[node.input[1]] = second.reshape((*second.shape, *(1,) * behind))
        given = {name: value for name, value in given.items() if name not in ("broadcast", "axis")}
    del plain.attribute[:]
    plain.attribute.extend(
        onnx.helper.make_attribute(name, value)
        for name, value in given.items()
        if name not in IDLE_ATTRIBUTES
    )
    return plain, values


@cache
def _reference_versions(op_type: str) -> tuple[int, ...] | None:
    """Versions that the reference evaluator implements apart; empty: the newest only; None: none.

    Operators that it runs as the function of their schema count as implemented.
    """
    from onnx.reference.ops import load_op

    schema = onnx.defs.get_schema(op_type)
    found: set[int] = set()
    for version in range(1, schema.since_version + 1):
        try:
            name = load_op("", op_type, version).__name__
        except Exception:  # noqa: BLE001, S112 - not implemented; raised in several types
            continue
        suffix = name.rpartition("_")[2]
        if not suffix.isdigit():
            return ()
        found.add(int(suffix))
    if found:
        return tuple(sorted(found))
    runs_as_function = schema.has_function or schema.has_context_dependent_function  # type: ignore[attr-defined]
    return () if runs_as_function else None


def _reference_agrees(node: onnx.NodeProto, schema: onnx.defs.OpSchema) -> bool:
    """Whether the reference evaluator's implementation follows the rules of the node's version.

    It does if nothing that the node says, or leaves to a default, has changed between the two.
    """
    versions = _reference_versions(node.op_type)
    if versions is None or schema.since_version < FAULTY_BEFORE.get(node.op_type, 0):
        return False
    eligible = [v for v in versions if v <= schema.since_version]
    if versions and not eligible:
        return False
    newest = onnx.defs.get_schema(node.op_type).since_version
    followed = onnx.defs.get_schema(node.op_type, max(eligible) if eligible else newest, "")
    given = {a.name: a for a in node.attribute}
    for name, attribute in given.items():
        if name not in followed.attributes:
            return False
        if attribute.type != onnx.AttributeProto.UNDEFINED and (
            _type_number(followed.attributes[name]) != attribute.type and node.op_type != "Cast"
        ):
            return False
    return len(node.input) <= followed.max_input and all(
        name in given or name not in followed.attributes or _same_default(old, followed, name)
        for name, old in schema.attributes.items()
    )


def _type_number(attribute: onnx.defs.OpSchema.Attribute) -> int:
    """Number of an attribute's type, as nodes state it."""
    return int(onnx.AttributeProto.AttributeType.Value(str(attribute.type).rpartition(".")[2]))


def _same_default(
    old: onnx.defs.OpSchema.Attribute, followed: onnx.defs.OpSchema, name: str
) -> bool:
    new = followed.attributes[name]
    return bool(old.default_value == new.default_value)


def _run(
    nodes: Sequence[onnx.NodeProto],
    version: int,
    outputs: Sequence[str],
    values: Mapping[str, Array],
) -> list[Array | None]:
    from onnx.reference import ReferenceEvaluator

    wanted = [name for name in outputs if name]
    graph = onnx.GraphProto(
        node=nodes,
        input=[onnx.ValueInfoProto(name=name) for name in values],
        output=[onnx.ValueInfoProto(name=name) for name in wanted],
    )
    session: Any = ReferenceEvaluator(graph, opsets={"": version})
    results = iter(session.run(None, dict(values)))
    return [_array(next(results)) if name else None for name in outputs]


def _array(result: object) -> Array | None:
    """A result as an array; None for sequences, optionals and strings."""
    if not isinstance(result, np.ndarray | np.generic | int | float | bool):
        return None
    array = np.asarray(result)
    return None if array.dtype == object or array.dtype.kind in "US" else array


def _run_converted(
    node: onnx.NodeProto, version: int, values: Mapping[str, Array]
) -> list[Array | None]:
    from onnx import version_converter

    op = node.op_type
    if version >= CONVERTED_VERSION:
        raise NotComputableError(f"{op} of version {version} has no reference implementation")
    if version < NOT_CONVERTED.get(op, 0):
        raise NotComputableError(f"{op} has changed since version {version}")
    graph = onnx.helper.make_graph(
        [node],
        "node",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )
            for name, array in values.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in node.output if name],
        [onnx.numpy_helper.from_array(np.array(a, order="C"), n) for n, a in values.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", version)])
    converted = version_converter.convert_version(model, CONVERTED_VERSION)
    for made in converted.graph.node:
        schema = onnx.defs.get_schema(made.op_type, CONVERTED_VERSION, "")
        if not _reference_agrees(made, schema):
            raise NotComputableError(f"{op} of version {version} cannot be converted")
    initial = {t.name: onnx.numpy_helper.to_array(t) for t in converted.graph.initializer}
    return _run(converted.graph.node, CONVERTED_VERSION, node.output, {**initial, **values})
