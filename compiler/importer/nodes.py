"""ONNX nodes with all that a plan needs to know of them: operands in memory, work, storage."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import onnx

from ullage.compiler.common.dtypes import BITS, resized, storage_bytes
from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.bodies.rename import fresh_name
from ullage.compiler.importer.costs import OperatorWork, work_of
from ullage.compiler.importer.load import captures
from ullage.compiler.importer.nests import nests_of
from ullage.compiler.importer.operators.identity import attributes, operator_key
from ullage.compiler.importer.optypes import (
    BIAS_INPUTS,
    CONTROL_FLOW,
    MATRIX,
    PARAMETER_INPUTS,
    PARTIALLY_READ,
    VIEWS,
)
from ullage.compiler.importer.scope import Scope, blaming, is_standard
from ullage.compiler.importer.storage import elementwise_operands, sharings_of
from ullage.compiler.ir.graph import Fallback, LoopNest, Sharing


@dataclass(frozen=True)
class ImportedNode:
    """One ONNX node that runs at inference.

    Attributes:
        index: position in the model.
        op: which operator it is, as `identity.operator_key` says it.
        kind: operator type for plans and reports.
        label: unique name.
        activations: tensors read that are inputs or computed by inference, distinct.
        weights: constants read, each resolved to the stored tensor it derives from, distinct.
        outputs: tensors written.
        work: cost.
        nests: the same work as loop nests.
        mac_dtype: data type of its multiplications.
        accessed: bytes really read of operands that are read in part.
        looked_up: those of them of which whole rows are read that an operand names (`_looks_up`).
        body_bytes: peak of the intermediate tensors of its subgraphs (If, Loop, Scan).
        sharings: which outputs may share the bytes of which inputs.
        elementwise: activations read element by element, each once (`elementwise_operands`).
    """

    index: int
    op: str
    kind: str
    label: str
    activations: tuple[str, ...]
    weights: tuple[str, ...]
    outputs: tuple[str, ...]
    work: OperatorWork
    mac_dtype: str
    nests: tuple[LoopNest, ...] = ()
    accessed: Mapping[str, int] = field(default_factory=dict)
    looked_up: frozenset[str] = frozenset()
    body_bytes: int = 0
    sharings: tuple[Sharing, ...] = ()
    elementwise: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeList:
    """The nodes of a model in file order, the sizes of their tensors, and cost fallbacks."""

    nodes: tuple[ImportedNode, ...]
    sizes: Mapping[str, int]
    fallbacks: tuple[Fallback, ...]


# A body of If, Loop or Scan, its scope and its nodes.
Body = tuple[onnx.GraphProto, Scope, NodeList]


def collect_nodes(graph: onnx.GraphProto, scope: Scope, policy: str | None) -> NodeList:
    """All nodes that run at inference: those whose results do not follow from constants alone.

    Args:
        graph: the graph, or the body of an operator, in topological order.
        scope: its types and constants.
        policy: data type that floating-point tensors are planned with, None for their own.

    Raises:
        ModelError: a tensor has a type without a place in memory (strings).
        TimeLimitError: time is over.
    """
    roots = _weight_roots(graph.node, scope)
    named = {n for p in graph.node for n in (*p.input, *p.output, *captures(p))}
    named.update(value.name for value in graph.input)
    sizes = planned_sizes(scope, policy, named)
    fallbacks: list[Fallback] = []
    nodes: list[ImportedNode] = []
    labels: Counter[str] = Counter()
    for index, proto in enumerate(graph.node):
        scope.work.visit(scope.where)
        outputs = [name for name in proto.output if name]
        if not outputs or all(name in scope.constants for name in outputs):
            continue
        for name in (*proto.input, *outputs):
            if name and name not in sizes:
                raise ModelError(
                    f"{scope.where}: tensor {name!r} holds {scope.types[name].dtype}, which has no "
                    "fixed size in memory; cut the model before it",
                    {"tensor": name, "operator": proto.op_type},
                )
        label = fresh_name(proto.name or f"{proto.op_type}:{outputs[0]}", labels, mark="#")
        with blaming(proto, scope.where):
            node = _node(index, label, proto, scope, roots, sizes, policy)
        if node.work.fallback:
            fallbacks.append(Fallback(label, node.kind, node.work.fallback))
        bounded = [name for name in outputs if scope.types[name].is_upper_bound]
        if bounded and not any(scope.types[name].is_upper_bound for name in proto.input if name):
            fallbacks.append(
                Fallback(
                    label,
                    node.kind,
                    f"the shape of {bounded[0]} depends on data: planned with its upper bound "
                    f"{list(scope.types[bounded[0]].shape)}",
                )
            )
        nodes.append(node)
    return NodeList(tuple(nodes), sizes, tuple(fallbacks))


def planned_sizes(scope: Scope, policy: str | None, names: Iterable[str]) -> dict[str, int]:
    """Planned size in bytes of those of the tensors that can be in memory."""
    known = {name: scope.types[name] for name in names if name in scope.types}
    return {
        name: storage_bytes(resized(tensor_type.dtype, policy), tensor_type.elements)
        for name, tensor_type in known.items()
        if tensor_type.dtype in BITS
    }


def _weight_roots(protos: Iterable[onnx.NodeProto], scope: Scope) -> dict[str, tuple[str, ...]]:
    """For constants that are a stored tensor in another form: that tensor.

    Other forms are views, transposed and dequantised ones; a dequantised tensor also needs its
    scales and zero points, which follow it where they are more than one number.
    """
    roots: dict[str, tuple[str, ...]] = {}
    for name, proto in stored_forms(protos, scope).items():
        stored = dict.fromkeys(_stored(proto.input[0], roots))
        if operator_key(proto, scope.opsets) == "DequantizeLinear":
            several = [n for n in _scaling(proto, scope) if scope.types[n].elements > 1]
            stored.update(dict.fromkeys(root for n in several for root in _stored(n, roots)))
        roots[name] = tuple(stored)
    return roots


def _scaling(proto: onnx.NodeProto, scope: Scope) -> Iterator[str]:
    """The scale and the zero point of a DequantizeLinear, where kernels need them in memory.

    The scale of a bias (32 bits) is the product of those of what is multiplied, and symmetric
    weights have no zero points: theirs are all 0.
    """
    data, *rest = proto.input
    scale = rest[0] if rest else ""
    zero = rest[1] if len(rest) > 1 else ""
    if scale and scope.types[data].dtype != "int32":
        yield scale
    if zero and not (zero in scope.arrays and not scope.arrays[zero].any()):
        yield zero


def bias_names(graph: onnx.GraphProto, scope: Scope) -> frozenset[str]:
    """Constants that are added once to each output channel of a convolution or matrix product.

    They are an operand of it, or of an Add behind it.
    """
    made: dict[str, str] = {}
    found: set[str] = set()
    for proto in graph.node:
        key = operator_key(proto, scope.opsets)
        made.update((name, key) for name in proto.output if name)
        if key in BIAS_INPUTS and len(proto.input) > BIAS_INPUTS[key]:
            found.add(proto.input[BIAS_INPUTS[key]])
        elif key == "Add" and any(made.get(name) in MATRIX for name in proto.input):
            found.update(name for name in proto.input if len(scope.types[name].shape) <= 1)
    return frozenset(name for name in found if name in scope.constants)


def stored_forms(protos: Iterable[onnx.NodeProto], scope: Scope) -> dict[str, onnx.NodeProto]:
    """The nodes by whose results constants are a stored tensor in another form, by result.

    In file order; a form of a form stands behind it.
    """
    forms: dict[str, onnx.NodeProto] = {}
    for proto in protos:
        if not proto.input or not proto.output or proto.output[0] not in scope.constants:
            continue
        key = operator_key(proto, scope.opsets)
        if proto.input[0] and (key in VIEWS or key in ("DequantizeLinear", "Transpose")):
            forms[proto.output[0]] = proto
    return forms


def _stored(name: str, roots: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """The tensors that are in memory for a constant, the one with its elements first."""
    return roots.get(name, (name,))


def _node(
    index: int,
    label: str,
    proto: onnx.NodeProto,
    scope: Scope,
    roots: Mapping[str, tuple[str, ...]],
    sizes: Mapping[str, int],
    policy: str | None,
) -> ImportedNode:
    node_attributes = attributes(proto, scope.opsets)
    key = operator_key(proto, scope.opsets)
    parameters = PARAMETER_INPUTS.get(key, frozenset())
    activations: dict[str, None] = {}
    weights: dict[str, None] = {}
    for position, name in enumerate(proto.input):
        if not name:
            continue
        if name not in scope.constants:
            activations[name] = None
        elif position not in parameters and scope.types[name].elements > 1:
            weights.update(dict.fromkeys(_stored(name, roots)))
    activations.update((n, None) for n in captures(proto) if n not in scope.constants)
    inputs = [scope.types[name] if name else None for name in proto.input]
    outputs = [scope.types[name] if name else None for name in proto.output]
    body_bytes = 0
    if proto.op_type in CONTROL_FLOW and is_standard(proto):
        bodies = _bodies(index, proto, scope, policy)
        work, nests, body_bytes = _control_flow_work(proto, scope.iterations.get(index, 1), bodies)
        for graph, inner, body in bodies:
            outer = _outer_weights(graph, inner, body)
            weights.update(dict.fromkeys(root for n in outer for root in _stored(n, roots)))
    else:
        work = work_of(key, node_attributes, inputs, outputs)
        nests = nests_of(key, node_attributes, inputs, outputs, work)
    accessed: dict[str, int] = {}
    looked_up: frozenset[str] = frozenset()
    if key in PARTIALLY_READ and proto.input[0]:
        data = proto.input[0]
        stored = _stored(data, roots)[0]
        whole, part = sizes[stored], sum(t.elements for t in outputs if t is not None)
        read = -(-whole * part // max(1, scope.types[data].elements))
        if read < whole:
            accessed[stored] = read
            if _looks_up(key, proto, node_attributes, scope, stored):
                looked_up = frozenset({stored})
    return ImportedNode(
        index=index,
        op=key,
        kind=proto.op_type,
        label=label,
        activations=tuple(activations),
        weights=tuple(weights),
        outputs=tuple(name for name in proto.output if name),
        work=work,
        mac_dtype=_mac_dtype(proto, scope, policy),
        nests=nests,
        accessed=accessed,
        looked_up=looked_up,
        body_bytes=body_bytes,
        sharings=tuple(
            s
            for s in sharings_of(key, proto, node_attributes, scope.types, scope.arrays, sizes)
            if s.input in activations
        ),
        elementwise=tuple(
            name
            for name in (elementwise_operands(key, proto, scope.types) if proto.output[0] else ())
            if name in activations
        ),
    )


def _looks_up(
    key: str, proto: onnx.NodeProto, values: Mapping[str, Any], scope: Scope, stored: str
) -> bool:
    """Whether a node reads rows of its data, each in one piece, that inference names.

    It is a Gather along the outermost axis longer than 1 of a constant that lies in memory as it
    is; what constant indices name is known, and counts as any other operand.
    """
    data, indices = proto.input[0], proto.input[1] if len(proto.input) > 1 else ""
    if key != "Gather" or data not in scope.constants or indices in scope.constants:
        return False
    shape = scope.types[data].shape
    axis = int(values.get("axis", 0)) % max(1, len(shape))
    in_order = stored == data or len(set(shape)) == len(shape)  # a square one may be transposed
    return in_order and prod(shape[:axis]) == 1 and scope.types[stored].shape == shape


def _mac_dtype(proto: onnx.NodeProto, scope: Scope, policy: str | None) -> str:
    first = next((name for name in proto.input if name), None)
    return resized(scope.types[first].dtype, policy) if first else "float32"


def _bodies(index: int, proto: onnx.NodeProto, scope: Scope, policy: str | None) -> list[Body]:
    """The bodies of If, Loop or Scan that may run, with their nodes."""
    scopes = scope.subscopes.get(index, {})
    return [
        (a.g, scopes[a.name], collect_nodes(a.g, scopes[a.name], policy))
        for a in proto.attribute
        if a.type == onnx.AttributeProto.GRAPH and a.name in scopes
    ]


def _outer_weights(graph: onnx.GraphProto, inner: Scope, body: NodeList) -> dict[str, None]:
    """Stored tensors that a body reads or returns; what is computed from them is traced to them."""
    producers = {name: node for node in graph.node for name in node.output if name}
    waiting = [value.name for value in graph.output if value.name in inner.constants]
    waiting += [name for node in reversed(body.nodes) for name in reversed(node.weights)]
    found: dict[str, None] = {}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name not in inner.constants:
            continue  # only its shape is read
        if name in producers:
            waiting += [n for n in producers[name].input if n]
        elif inner.types[name].elements > 1:
            found[name] = None
    return found


def _control_flow_work(
    proto: onnx.NodeProto, trips: int | None, bodies: Sequence[Body]
) -> tuple[OperatorWork, tuple[LoopNest, ...], int]:
    """Cost of If (the dearer branch), Loop and Scan (body times iterations), and bodies' peak."""
    works = [(_sum_work(body.nodes), body) for _, _, body in bodies]
    reasons = [f.reason for _, _, body in bodies for f in body.fallbacks]
    peak = max((body_peak_bytes(body, graph, body.sizes) for graph, _, body in bodies), default=0)
    dearest, body = max(
        works,
        key=lambda pair: (pair[0].macs, pair[0].vector_elements),
        default=(OperatorWork(), NodeList((), {}, ())),
    )
    if trips is None:
        reasons.append(f"the trip count of {proto.op_type} depends on data: costed as one pass")
        trips = 1
    return (
        replace(
            dearest,
            gemms=tuple(replace(g, count=g.count * trips) for g in dearest.gemms),
            vector_elements=dearest.vector_elements * trips,
            extra_macs=dearest.extra_macs * trips,
            fallback="; ".join(dict.fromkeys(reasons)),
        ),
        tuple(
            replace(nest, count=nest.count * trips) for node in body.nodes for nest in node.nests
        ),
        peak,
    )


def _sum_work(nodes: Iterable[ImportedNode]) -> OperatorWork:
    node_list = list(nodes)
    return OperatorWork(
        gemms=tuple(g for n in node_list for g in n.work.gemms),
        vector_elements=sum(n.work.vector_elements for n in node_list),
        extra_macs=sum(n.work.extra_macs for n in node_list),
    )


def body_peak_bytes(body: NodeList, graph: onnx.GraphProto, sizes: Mapping[str, int]) -> int:
    """Largest sum of live bytes while a subgraph runs in file order, captured tensors excluded.

    Constants that are computed inside take bytes all the while.
    """
    last: dict[str, int] = {value.name: len(body.nodes) for value in graph.output}
    for position, node in enumerate(body.nodes):
        for name in node.activations:
            last[name] = max(last.get(name, 0), position)
    own = {v.name for v in graph.input} | {n for node in body.nodes for n in node.outputs}
    made = {name for node in graph.node for name in node.output if name}
    live = sum(sizes[v.name] for v in graph.input if v.name in last)
    live += sum(sizes[n] for n in {n for node in body.nodes for n in node.weights if n in made})
    peak = live
    for position, node in enumerate(body.nodes):
        live += sum(sizes[name] for name in node.outputs)
        peak = max(peak, live + node.body_bytes)
        ended = {*node.activations, *node.outputs} & own
        live -= sum(sizes[name] for name in ended if last.get(name, position) == position)
    return peak
