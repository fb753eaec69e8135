"""One forward pass over a graph: types of every tensor, constants folded on the way.

Nodes are visited one by one with onnx's own inference for single nodes, so that a shape computed
from constants is known before the node that needs it is reached. Thus one pass completes what
inference for whole models leaves open. Where a shape depends on data, the largest possible one is
used and marked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import onnx

from ullage.compiler.common.clock import timed
from ullage.compiler.common.errors import ModelError, NeverRunsError
from ullage.compiler.importer.bodies.control_flow import control_flow_types
from ullage.compiler.importer.bounds import Triple
from ullage.compiler.importer.load import (
    checked_elements,
    element_name,
    element_number,
    has_values,
    operator_sets,
)
from ullage.compiler.importer.operators.contrib import contrib_output_types
from ullage.compiler.importer.operators.convolution import check_convolution
from ullage.compiler.importer.operators.einsum import check_equation
from ullage.compiler.importer.operators.identity import (
    MICROSOFT,
    attributes,
    operator_key,
    schema_of,
    standard_domain,
    version_of,
)
from ullage.compiler.importer.operators.legacy import legacy_output_types
from ullage.compiler.importer.operators.onnxruntime_types import onnxruntime_output_types
from ullage.compiler.importer.operators.padding import conv_transpose_shape, without_ignored_pads
from ullage.compiler.importer.operators.undefined import as_defined
from ullage.compiler.importer.optypes import CONTROL_FLOW
from ullage.compiler.importer.scope import (
    Scope,
    TensorType,
    Work,
    blaming,
    from_proto,
    is_standard,
    label_of,
    name_of,
    to_proto,
)
from ullage.compiler.importer.shapes.bounded import (
    Found,
    InferAt,
    bounded_types,
    loosened,
    refusal_reason,
)
from ullage.compiler.importer.shapes.implied import implied_shapes, implied_type
from ullage.compiler.importer.symbols import input_dims
from ullage.compiler.importer.values.folding import fold
from ullage.compiler.importer.values.intervals import bound_values

# Elements of an initializer up to which its value is kept: it may be the argument of an operator
# that computes shapes.
STORED_LIMIT = 4_096


def infer_model(
    model: onnx.ModelProto, symbols: Mapping[str, int], where: str, deadline: float | None = None
) -> Scope:
    """Types of all tensors of a model.

    Args:
        model: the flat model.
        symbols: values of symbolic dimensions.
        where: model, for messages.
        deadline: `time.monotonic()` value at which reading ends.

    Raises:
        ModelError: a tensor's type cannot be known; it is named, with the reason.
        TimeLimitError: time is over.
    """
    scope = Scope(
        where=where,
        opsets=operator_sets(model, where),
        symbols=symbols,
        work=Work(deadline),
    )
    _enter_graph(model.graph, scope)
    initializers = {t.name for t in model.graph.initializer}
    for value in timed(model.graph.input, deadline, where):
        if value.name not in initializers:
            scope.types[value.name] = _input_type(value, scope)
    scope.work.check(where)
    scope.implied = implied_shapes(model.graph.node, scope)
    scope.work.check(where)
    _walk(model.graph.node, scope)
    return scope


def _enter_graph(graph: onnx.GraphProto, scope: Scope) -> None:
    for tensor in timed(graph.initializer, scope.work.deadline, scope.where):
        dtype = element_name(tensor.data_type)
        if dtype is None:
            raise ModelError(f"{scope.where}: initializer {tensor.name!r} has no element type")
        shape = tuple(tensor.dims)
        elements = checked_elements(shape, dtype, tensor.name, scope.where)
        scope.types[tensor.name] = TensorType(dtype, shape)
        scope.constants.add(tensor.name)
        if elements <= STORED_LIMIT and has_values(tensor):
            _store_array(tensor, scope)
    scope.declared.update({v.name: v.type for v in (*graph.value_info, *graph.output)})


def _store_array(tensor: onnx.TensorProto, scope: Scope) -> None:
    """Keep the value of a small constant; one that cannot be decoded has a type only."""
    try:
        array = onnx.numpy_helper.to_array(tensor)
    except Exception as error:
        raise ModelError(
            f"{scope.where}: initializer {tensor.name!r} cannot be decoded: {error}"
        ) from error
    scope.arrays[tensor.name] = array


def _input_type(value: onnx.ValueInfoProto, scope: Scope) -> TensorType:
    if value.type.WhichOneof("value") != "tensor_type":
        raise ModelError(
            f"{scope.where}: input {value.name!r} is a {value.type.WhichOneof('value')}, "
            "and only tensors have a place in memory; export the model with tensor inputs"
        )
    dims = input_dims(value)
    if dims is None:
        raise ModelError(
            f"{scope.where}: the shape of input {value.name!r} is unknown; export it with a shape"
        )
    dtype = element_name(value.type.tensor_type.elem_type)
    if dtype in (None, "undefined"):
        raise ModelError(f"{scope.where}: input {value.name!r} has no element type")
    assert dtype is not None  # noqa: S101 - narrowed above, for the type checker
    shape = tuple(dim if isinstance(dim, int) else scope.symbols[dim] for dim in dims)
    checked_elements(shape, dtype, value.name, scope.where)
    return TensorType(dtype, shape)


def _walk_graph(graph: onnx.GraphProto, scope: Scope) -> None:
    _enter_graph(graph, scope)
    _walk(graph.node, scope)


def _walk(nodes: Sequence[onnx.NodeProto], scope: Scope) -> None:
    for position, node in enumerate(nodes):
        scope.work.visit(scope.where)
        with blaming(node, scope.where):
            _visit(position, node, scope)


def _visit(position: int, node: onnx.NodeProto, scope: Scope) -> None:
    read = [name for name in node.input if name]
    for name in read:
        if name not in scope.types:
            raise ModelError(
                f"{scope.where}: {label_of(node)} reads {name!r} before it is known; "
                "the graph is not in order"
            )
    for name in node.output:
        if name in scope.types:
            scope.forget(name)  # an outer tensor of that name
    output_types, reason = _special(position, node, scope), ""
    if output_types is None:
        output_types, reason = _standard(node, scope)
    for name in node.output:
        if not name:
            continue
        known = output_types.get(name) or _declared(name, read, scope)
        if known is None:
            raise _refusal(name, node, scope, reason)
        scope.types[name] = known
    fold(node, read, scope)
    bound_values(node, scope)


def _declared(name: str, read: Sequence[str], scope: Scope) -> TensorType | None:
    """The type that the file declares; no more than a bound where an input has no more."""
    known = from_proto(scope.declared.get(name), name, scope)
    if known is None or not any(scope.types[i].is_upper_bound for i in read):
        return known
    return loosened(known)


def _refusal(name: str, node: onnx.NodeProto, scope: Scope, reason: str) -> ModelError:
    """The error for a tensor without a knowable type."""
    proto = scope.declared.get(name)
    kind = proto.WhichOneof("value") if proto is not None else None
    if kind not in (None, "tensor_type"):
        return ModelError(
            f"{scope.where}: {name!r}, a result of {label_of(node)}, is a {kind}; only tensors "
            "have a place in memory",
            {"tensor": name, "operator": node.op_type},
        )
    remedy = "export the model with fixed shapes, or cut it before this operator"
    if not is_standard(node):
        remedy = (
            f"declare the type and shape of {name!r} in the model's value_info "
            "(onnx.helper.make_tensor_value_info), or cut the model before this operator"
        )
    dynamic = [i for i in node.input if i and i not in scope.constants]
    return ModelError(
        f"{scope.where}: the shape of {name!r}, a result of {label_of(node)}, cannot be known "
        f"before the model runs (it depends on {', '.join(map(repr, dynamic[:4])) or 'no input'}), "
        f"and no upper bound follows from the operator{refusal_reason(node, reason)}; {remedy}",
        {"tensor": name, "operator": node.op_type},
    )


def _special(position: int, node: onnx.NodeProto, scope: Scope) -> dict[str, TensorType] | None:
    """Types of operators that onnx's inference for single nodes does not cover, else None."""
    if node.op_type == "Constant" and is_standard(node):
        return _constant(node, scope)
    if node.op_type in CONTROL_FLOW and is_standard(node):
        return control_flow_types(position, node, scope, _walk_graph)
    return None


def _constant(node: onnx.NodeProto, scope: Scope) -> dict[str, TensorType]:
    name = node.output[0]
    node_attributes = attributes(node, scope.opsets)
    if "value" in node_attributes and isinstance(node_attributes["value"], onnx.TensorProto):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(node_attributes["value"])
        tensor.name = name
        graph = onnx.GraphProto(initializer=[tensor])
        _enter_graph(graph, scope)
        return {name: scope.types[name]}
    kinds = {
        "value_int": ("int64", ()),
        "value_ints": ("int64", None),
        "value_float": ("float32", ()),
        "value_floats": ("float32", None),
    }
    for key, (dtype, shape) in kinds.items():
        if key in node_attributes:
            array = np.asarray(node_attributes[key], dtype=dtype)
            scope.arrays[name] = array
            return {name: TensorType(dtype, array.shape if shape is None else ())}
    raise ModelError(
        f"{scope.where}: Constant {name!r} holds {', '.join(node_attributes) or 'nothing'}, which "
        "is no tensor of numbers",
        {"tensor": name, "operator": "Constant"},
    )


def _standard(node: onnx.NodeProto, scope: Scope) -> tuple[dict[str, TensorType], str]:
    """Types by onnx's schema, then by bounds for data-dependent shapes, or by contrib rules.

    Returns:
        The types by name, and what would have to be known for those that are missing.
    """
    domain = standard_domain(node.domain)
    output_types: dict[str, TensorType] = {}
    schema = schema_of(node.op_type, version_of(node, scope.opsets), domain)
    inputs = [scope.types[name] if name else None for name in node.input]
    protos: Mapping[str, onnx.TypeProto] = {}
    if schema is not None:
        _check_tile(node, scope)
        if node.op_type == "Einsum":
            check_equation(node, f"{scope.where}: {label_of(node)}")
        if not domain:
            label = f"{scope.where}: {label_of(node)}"
            check_convolution(node.op_type, attributes(node, scope.opsets), inputs, label)
        protos = _schema_types(schema, node, inputs, scope)
        for name, proto in protos.items():
            if proto.WhichOneof("value") not in (None, "tensor_type"):
                scope.declared[name] = proto  # a sequence or an optional: refused by that name
        output_types = {
            name: known
            for name, proto in protos.items()
            if (known := from_proto(proto, name, scope)) is not None
        }
        output_types.update(_corrected(node, inputs, output_types, scope))
    missing = {name for name in node.output if name and name not in output_types}
    if not missing:
        return output_types, ""
    by_rule = _by_rule(schema, node, inputs, scope)
    if by_rule:
        types, reason, found = by_rule, "", []
    elif not domain:
        found = [_found(protos.get(name)) for name in node.output]
        types, reason = bounded_types(node, found, scope, _inference(schema, node, scope))
    else:
        types, reason, found = [], "", []
    for position, name in enumerate(node.output):
        known = types[position] if position < len(types) else None
        if name not in missing:
            continue
        if known is None and position < len(found):
            dtype, lengths = found[position]
            if dtype is not None and lengths is not None:
                known = implied_type(name, dtype, lengths, scope)
        if known is not None:
            checked_elements(known.shape, known.dtype, name, scope.where)
            declared = from_proto(scope.declared.get(name), name, scope)
            output_types[name] = _better(declared, known)
    return output_types, reason


def _corrected(
    node: onnx.NodeProto,
    inputs: Sequence[TensorType | None],
    inferred: Mapping[str, TensorType],
    scope: Scope,
) -> dict[str, TensorType]:
    """Types of results of which onnx's inference is known to be wrong."""
    name = next(iter(node.output), "")
    if node.op_type != "ConvTranspose" or not is_standard(node) or name not in inferred:
        return {}
    shape = conv_transpose_shape(attributes(node, scope.opsets), inputs)
    if shape is None:
        return {}
    checked_elements(shape, inferred[name].dtype, name, scope.where)
    return {name: replace(inferred[name], shape=shape)}


def _better(declared: TensorType | None, known: TensorType) -> TensorType:
    """What the file declares of a bounded tensor if it has as many elements, else the bound.

    A declared shape of fewer elements may stem from the run that made the file.
    """
    possible = (
        declared is not None
        and known.is_upper_bound
        and declared.dtype == known.dtype
        and len(declared.shape) == len(known.shape)
        and all(a <= b for a, b in zip(declared.shape, known.shape, strict=True))
        and declared.elements == known.elements
    )
    return declared if possible and declared is not None else known


def _by_rule(
    schema: onnx.defs.OpSchema | None,
    node: onnx.NodeProto,
    inputs: Sequence[TensorType | None],
    scope: Scope,
) -> list[TensorType | None]:
    """Types of operators for which onnx has no inference; bounds where an input has no more.

    These are onnxruntime's, by our rules or by its own inference where neither these nor the file
    say anything, and ONNX's oldest.
    """
    key = operator_key(node, scope.opsets)
    given = attributes(node, scope.opsets)
    triples: Sequence[Triple | None] = []
    if schema is not None and not schema.has_type_and_shape_inference_function:
        triples = legacy_output_types(key, given, inputs)
    elif schema is None:
        triples = contrib_output_types(key, node, given, inputs, scope.arrays)
    open_names = [
        name
        for position, name in enumerate(node.output)
        if name
        and (position >= len(triples) or triples[position] is None)
        and from_proto(scope.declared.get(name), name, scope) is None
    ]
    if open_names and node.domain == MICROSOFT:
        asked = onnxruntime_output_types(node, inputs, scope.arrays, scope.opsets)
        triples = [
            ours if ours is not None else theirs
            for ours, theirs in zip_longest(triples[: len(node.output)], asked)
        ]
    known = [None if t is None else TensorType(*t) for t in triples]
    loose = any(t is not None and t.is_upper_bound for t in inputs)
    return [loosened(t) if t is not None and loose else t for t in known]


def _found(proto: onnx.TypeProto | None) -> Found:
    """Element type and lengths of axes, as far as inference has found them."""
    if proto is None or proto.WhichOneof("value") != "tensor_type":
        return None, None
    tensor = proto.tensor_type
    dtype = element_name(tensor.elem_type)
    if not tensor.HasField("shape"):
        return (None if dtype == "undefined" else dtype), None
    lengths = [
        d.dim_value if d.HasField("dim_value") and d.dim_value >= 0 else None
        for d in tensor.shape.dim
    ]
    return (None if dtype == "undefined" else dtype), lengths


def _inference(schema: onnx.defs.OpSchema | None, node: onnx.NodeProto, scope: Scope) -> InferAt:
    """Inference of a node's types for other types of its inputs; nothing where these do not fit."""

    def infer_at(inputs: Sequence[TensorType | None]) -> Mapping[str, TensorType]:
        if schema is None:
            return {}
        try:
            protos = _schema_types(schema, node, inputs, scope)
        except ModelError:
            return {}  # largest lengths that no run has together
        types = {name: from_proto(proto, name, scope) for name, proto in protos.items()}
        found = {name: known for name, known in types.items() if known is not None}
        return found | _corrected(node, inputs, found, scope)

    return infer_at


def _check_tile(node: onnx.NodeProto, scope: Scope) -> None:
    """Refuse a Tile of which onnx would compute the size modulo 2**64."""
    repeats = scope.arrays.get(node.input[1]) if len(node.input) == 2 else None
    if node.op_type != "Tile" or repeats is None:
        return
    tiled = scope.types[node.input[0]]
    pairs = zip(tiled.shape, np.atleast_1d(repeats).tolist(), strict=False)
    shape = tuple(dim * int(times) for dim, times in pairs)
    checked_elements(shape, tiled.dtype, next(iter(node.output), ""), scope.where)


def _schema_types(
    schema: onnx.defs.OpSchema,
    node: onnx.NodeProto,
    inputs: Sequence[TensorType | None],
    scope: Scope,
) -> dict[str, onnx.TypeProto]:
    defined = as_defined(schema, node, inputs)
    for remark in defined.remarks:
        scope.work.undefined.setdefault(remark, {})[name_of(node)] = None
    types = {
        name: to_proto(replace(known, dtype=dtype))
        for name, known, dtype in zip(node.input, inputs, defined.dtypes, strict=True)
        if known is not None and dtype is not None
    }
    data = {
        name: onnx.numpy_helper.from_array(np.array(scope.arrays[name], order="C"), name)
        for name in node.input
        if name in scope.arrays and scope.arrays[name].size <= STORED_LIMIT
    }
    try:
        found = onnx.shape_inference.infer_node_outputs(
            schema,
            without_ignored_pads(defined.node),
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in scope.opsets.items()],
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        raise NeverRunsError(
            f"{scope.where}: {label_of(node)} is malformed (output "
            f"{next(iter(node.output), '')!r}): {reason}",
            {"operator": node.op_type},
        ) from error
    for name in defined.stands_for.keys() & found.keys():
        found[name].tensor_type.elem_type = element_number(defined.stands_for[name])
    return found
