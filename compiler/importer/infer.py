"""One forward pass over a graph: types of every tensor, constants folded on the way.

Node by node, with onnx's own per-node inference, so that a shape computed from constants is known
before the node that needs it is reached; a single pass completes what whole-model inference
leaves open. Where a shape depends on data, the largest possible one is used and marked.
"""

import logging
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from ullage.compiler.errors import ModelError
from ullage.compiler.importer import bounds
from ullage.compiler.importer.contrib import contrib_output_types
from ullage.compiler.importer.load import (
    attributes,
    blaming,
    checked_elements,
    element_name,
    input_dims,
    operator_sets,
)
from ullage.compiler.importer.optypes import ELEMENTWISE, RANDOM, REDUCTION, VIEWS

logger = logging.getLogger(__name__)

FOLD_LIMIT = 65_536  # elements; larger constants keep their type only
FOLD_BUDGET_BYTES = 256 << 20  # of all folded constants together
STORED_LIMIT = 4_096  # elements of an initializer that may be the argument of a shape operator
FOLDABLE = (
    ELEMENTWISE
    | REDUCTION
    | VIEWS
    | frozenset(
        """Concat Gather GatherElements GatherND Slice Split Transpose Range ConstantOfShape Expand
        Tile Shape Size NonZero Pad OneHot Trilu EyeLike ScatterElements ScatterND TopK""".split()
    )
)


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type, shape, and whether the shape is an upper bound."""

    dtype: str
    shape: tuple[int, ...]
    is_upper_bound: bool = False

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count


@dataclass
class Scope:
    """What is known inside one graph (or subgraph) while the pass walks it.

    Attributes:
        where: model and subgraph, for messages.
        opsets: version of each operator domain.
        types: known tensor types.
        arrays: values of small constants.
        constants: names derived from constants alone, small or not.
        declared: types from the file's `value_info`, used where inference finds none.
        symbols: values of symbolic dimensions.
        subscopes: (node position, attribute name) -> scope of that subgraph.
        folded_bytes: bytes of folded constants so far, one number for all nested scopes.
    """

    where: str
    opsets: Mapping[str, int]
    types: dict[str, TensorType] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    declared: dict[str, onnx.TypeProto] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    subscopes: dict[tuple[int, str], "Scope"] = field(default_factory=dict)
    folded_bytes: list[int] = field(default_factory=lambda: [0])


def infer_model(model: onnx.ModelProto, symbols: Mapping[str, int], where: str) -> Scope:
    """Types of all tensors of a model.

    Raises:
        ModelError: a tensor's type cannot be known; it is named, with the reason.
    """
    scope = Scope(
        where=where,
        opsets=operator_sets(model, where),
        symbols=symbols,
    )
    _enter_graph(model.graph, scope)
    initializers = {t.name for t in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in initializers:
            scope.types[value.name] = _input_type(value, scope)
    _walk(model.graph.node, scope)
    return scope


def _enter_graph(graph: onnx.GraphProto, scope: Scope) -> None:
    for tensor in graph.initializer:
        dtype = element_name(tensor.data_type)
        if dtype is None:
            raise ModelError(f"{scope.where}: initializer {tensor.name!r} has no element type")
        shape = tuple(tensor.dims)
        elements = checked_elements(shape, dtype, tensor.name, scope.where)
        scope.types[tensor.name] = TensorType(dtype, shape)
        scope.constants.add(tensor.name)
        if elements <= STORED_LIMIT and tensor.data_location != onnx.TensorProto.EXTERNAL:
            _store_array(tensor, scope)
    scope.declared.update({v.name: v.type for v in (*graph.value_info, *graph.output)})


def _store_array(tensor: onnx.TensorProto, scope: Scope) -> None:
    """Keep the value of a small constant; one that cannot be decoded keeps its type only."""
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


def _from_proto(proto: onnx.TypeProto | None, name: str, scope: Scope) -> TensorType | None:
    """A type with every dimension known, or None."""
    if proto is None or proto.WhichOneof("value") != "tensor_type":
        return None
    tensor = proto.tensor_type
    dtype = element_name(tensor.elem_type)
    if not tensor.HasField("shape") or dtype in (None, "undefined"):
        return None
    shape: list[int] = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value"):
            shape.append(dim.dim_value)
        elif dim.dim_param in scope.symbols:
            shape.append(scope.symbols[dim.dim_param])
        else:
            return None
    assert dtype is not None  # noqa: S101 - narrowed above, for the type checker
    checked_elements(tuple(shape), dtype, name, scope.where)
    return TensorType(dtype, tuple(shape))


def _to_proto(found: TensorType) -> onnx.TypeProto:
    number = onnx.TensorProto.DataType.Value(
        {"float32": "FLOAT", "float64": "DOUBLE"}.get(found.dtype, found.dtype.upper())
    )
    return onnx.helper.make_tensor_type_proto(number, found.shape)


def _walk(nodes: Iterable[onnx.NodeProto], scope: Scope) -> None:
    for position, node in enumerate(nodes):
        with blaming(node, scope.where):
            _visit(position, node, scope)


def _visit(position: int, node: onnx.NodeProto, scope: Scope) -> None:
    read = [name for name in node.input if name]
    for name in read:
        if name not in scope.types:
            raise ModelError(
                f"{scope.where}: {_label(node)} reads {name!r} before it is known; "
                "the graph is not in order"
            )
    found = _special(position, node, scope)
    if found is None:
        found = _standard(node, scope)
    bounded = any(scope.types[name].is_upper_bound for name in read)
    for name in node.output:
        if not name:
            continue
        known = found.get(name) or _from_proto(scope.declared.get(name), name, scope)
        if known is None:
            raise _refusal(name, node, scope)
        scope.types[name] = replace(known, is_upper_bound=known.is_upper_bound or bounded)
    _fold(node, read, scope)


def _label(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} (unnamed)"


def _refusal(name: str, node: onnx.NodeProto, scope: Scope) -> ModelError:
    """The error for a tensor without a knowable type."""
    proto = scope.declared.get(name)
    kind = proto.WhichOneof("value") if proto is not None else None
    if kind not in (None, "tensor_type"):
        return ModelError(
            f"{scope.where}: {name!r}, a result of {_label(node)}, is a {kind}; only tensors have "
            "a place in memory",
            {"tensor": name, "operator": node.op_type},
        )
    dynamic = [i for i in node.input if i and i not in scope.constants]
    return ModelError(
        f"{scope.where}: the shape of {name!r}, a result of {_label(node)}, cannot be known before "
        f"the model runs (it depends on {', '.join(map(repr, dynamic[:4])) or 'no input'}), and no "
        "upper bound follows from the operator; export the model with fixed shapes, or cut it "
        "before this operator",
        {"tensor": name, "operator": node.op_type},
    )


def _special(position: int, node: onnx.NodeProto, scope: Scope) -> dict[str, TensorType] | None:
    """Operators that onnx's per-node inference does not cover."""
    if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
        return _constant(node, scope)
    if node.op_type in ("If", "Loop", "Scan") and node.domain in ("", "ai.onnx"):
        return _control_flow(position, node, scope)
    return None


def _constant(node: onnx.NodeProto, scope: Scope) -> dict[str, TensorType]:
    name = node.output[0]
    given = attributes(node)
    if "value" in given and isinstance(given["value"], onnx.TensorProto):
        tensor = onnx.TensorProto()
        tensor.CopyFrom(given["value"])
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
        if key in given:
            array = np.asarray(given[key], dtype=dtype)
            scope.arrays[name] = array
            return {name: TensorType(dtype, array.shape if shape is None else ())}
    raise ModelError(
        f"{scope.where}: Constant {name!r} holds {', '.join(given) or 'nothing'}, which is no "
        "tensor of numbers",
        {"tensor": name, "operator": "Constant"},
    )


def _standard(node: onnx.NodeProto, scope: Scope) -> dict[str, TensorType]:
    """Types by onnx's schema, then by contrib rules, then by bounds for data-dependent shapes."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    found: dict[str, TensorType] = {}
    try:
        schema = onnx.defs.get_schema(node.op_type, scope.opsets.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        schema = None
    if schema is not None:
        _check_tile(node, scope)
        protos = _schema_types(schema, node, scope)
        for name, proto in protos.items():
            if proto.WhichOneof("value") not in (None, "tensor_type"):
                scope.declared[name] = proto  # a sequence or an optional: refused by that name
        found = {
            name: known
            for name, proto in protos.items()
            if (known := _from_proto(proto, name, scope)) is not None
        }
    if all(name in found for name in node.output if name):
        return found
    inputs = [scope.types[name] if name else None for name in node.input]
    given = attributes(node)
    for types in (
        contrib_output_types(node, given, inputs),
        bounds.bounded_output_types(node, given, inputs, scope.arrays),
    ):
        for name, triple in zip(node.output, types, strict=False):
            if name and name not in found and triple is not None:
                dtype, shape, is_bound = triple
                checked_elements(shape, dtype, name, scope.where)
                declared = _from_proto(scope.declared.get(name), name, scope)
                found[name] = declared or TensorType(dtype, shape, is_bound)
    return found


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
    schema: onnx.defs.OpSchema, node: onnx.NodeProto, scope: Scope
) -> dict[str, onnx.TypeProto]:
    types = {name: _to_proto(scope.types[name]) for name in node.input if name}
    data = {
        name: onnx.numpy_helper.from_array(np.array(scope.arrays[name], order="C"), name)
        for name in node.input
        if name in scope.arrays and scope.arrays[name].size <= STORED_LIMIT
    }
    try:
        return onnx.shape_inference.infer_node_outputs(
            schema,
            node,
            types,
            data,
            opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in scope.opsets.items()],
        )
    except Exception as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
        raise ModelError(
            f"{scope.where}: {_label(node)} is malformed (output "
            f"{next(iter(node.output), '')!r}): {reason}",
            {"operator": node.op_type},
        ) from error


def _fold(node: onnx.NodeProto, read: list[str], scope: Scope) -> None:
    """Mark constant-derived outputs and compute the small ones."""
    outputs = [name for name in node.output if name]
    if node.op_type in ("Shape", "Size") and read:
        source = scope.types[read[0]]
        if node.op_type == "Shape":
            given = attributes(node)
            rank = len(source.shape)
            start, end, _ = slice(given.get("start", 0), given.get("end", rank)).indices(rank)
            scope.arrays[outputs[0]] = np.asarray(source.shape[start:end], dtype=np.int64)
        else:
            scope.arrays[outputs[0]] = np.asarray(source.elements, dtype=np.int64)
        scope.constants.update(outputs)
        return
    if node.op_type in RANDOM or node.op_type in ("If", "Loop", "Scan"):
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
        logger.info("%s: %s is not folded: %s", scope.where, _label(node), error)
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


def _check_bodies(node: onnx.NodeProto, given: Mapping[str, onnx.GraphProto], scope: Scope) -> None:
    """The bodies of If, Loop and Scan are there and take and return as many tensors as they must.

    Raises:
        ModelError: says what is missing.
    """
    op = node.op_type
    wanted = {"If": {"then_branch", "else_branch"}}.get(op, {"body"})
    if set(given) != wanted:
        raise ModelError(
            f"{scope.where}: {_label(node)} needs subgraphs {', '.join(sorted(wanted))} and has "
            f"{', '.join(sorted(given)) or 'none'}"
        )
    takes, least = 0, len(node.output)
    if op == "Loop":
        takes, least = max(2, len(node.input)), 1 + len(node.output)
        least = max(least, takes - 1)
    elif op == "Scan":
        scanned = int(attributes(node).get("num_scan_inputs", 0))
        if scope.opsets.get("", 1) < 9:
            raise ModelError(
                f"{scope.where}: {_label(node)} of operator set 8 is not supported; convert the "
                "model to operator set 9 or later"
            )
        if not 1 <= scanned <= len(node.input) or "" in node.input:
            raise ModelError(
                f"{scope.where}: {_label(node)} has {len(node.input)} inputs and scans {scanned}"
            )
        takes, least = len(node.input), max(least, len(node.input) - scanned)
    for attribute, graph in given.items():
        if len(graph.input) != takes or len(graph.output) < least:
            raise ModelError(
                f"{scope.where}: {_label(node)}.{attribute} takes {len(graph.input)} tensors and "
                f"returns {len(graph.output)}; {takes} and at least {least} are needed"
            )


def _control_flow(position: int, node: onnx.NodeProto, scope: Scope) -> dict[str, TensorType]:
    """If, Loop and Scan: walk the bodies in scopes of their own."""
    given = {a.name: a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH}
    inputs = [scope.types[name] if name else None for name in node.input]
    bodies: list[list[TensorType]] = []
    _check_bodies(node, given, scope)
    for attribute, graph in given.items():
        inner = Scope(
            where=f"{scope.where}: {_label(node)}.{attribute}",
            opsets=scope.opsets,
            types=dict(scope.types),
            arrays=dict(scope.arrays),
            constants=set(scope.constants),
            symbols=scope.symbols,
            folded_bytes=scope.folded_bytes,
        )
        for value, known in zip(
            graph.input, bounds.body_input_types(node, attributes(node), inputs), strict=True
        ):
            if known is None:
                raise ModelError(f"{scope.where}: {_label(node)} passes nothing for {value.name!r}")
            dtype, shape, is_bound = known
            inner.types[value.name] = TensorType(dtype, shape, is_bound)
            inner.arrays.pop(value.name, None)
            inner.constants.discard(value.name)
        _enter_graph(graph, inner)
        _walk(graph.node, inner)
        scope.subscopes[(position, attribute)] = inner
        for value in graph.output:
            if value.name not in inner.types:
                raise ModelError(f"{inner.where}: result {value.name!r} is produced by nothing")
        bodies.append([inner.types[value.name] for value in graph.output])
    if len({len(body) for body in bodies}) > 1:
        raise ModelError(f"{scope.where}: the branches of {_label(node)} return different counts")
    results = bounds.control_flow_output_types(
        node,
        attributes(node),
        [[(t.dtype, t.shape, t.is_upper_bound) for t in body] for body in bodies],
        inputs,
        scope.arrays,
    )
    found: dict[str, TensorType] = {}
    for name, known in zip(node.output, results, strict=False):
        if name and known is not None:
            dtype, shape, is_bound = known
            checked_elements(shape, dtype, name, scope.where)
            found[name] = TensorType(dtype, shape, is_bound)
    return found
