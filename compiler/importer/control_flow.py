"""If, Loop and Scan: their bodies, each walked in a scope of its own, and the types they return."""

from collections.abc import Callable, Mapping

import onnx

from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer import bounds
from ullage.compiler.importer.load import checked_elements
from ullage.compiler.importer.scope import Scope, TensorType, attributes, label_of

# (body, its scope): enters the body into the scope and infers the types inside.
WalkGraph = Callable[[onnx.GraphProto, Scope], None]


def control_flow_types(
    position: int, node: onnx.NodeProto, scope: Scope, walk_graph: WalkGraph
) -> dict[str, TensorType]:
    """Types of the results of If, Loop and Scan; the bodies' scopes become `scope.subscopes`.

    Args:
        position: of the node in its graph.
        node: the operator.
        scope: scope of the graph in which the node is.
        walk_graph: enters a body into its scope and infers what is inside.

    Raises:
        ModelError: a body does not fit its node, or what is inside cannot be known.
    """
    graphs = {a.name: a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH}
    inputs = [scope.types[name] if name else None for name in node.input]
    bodies: list[list[TensorType]] = []
    _check_bodies(node, graphs, scope)
    for attribute, graph in graphs.items():
        inner = Scope(
            where=f"{scope.where}: {label_of(node)}.{attribute}",
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
                raise ModelError(
                    f"{scope.where}: {label_of(node)} passes nothing for {value.name!r}"
                )
            dtype, shape, is_bound = known
            inner.types[value.name] = TensorType(dtype, shape, is_bound)
            inner.arrays.pop(value.name, None)
            inner.constants.discard(value.name)
        walk_graph(graph, inner)
        scope.subscopes[(position, attribute)] = inner
        for value in graph.output:
            if value.name not in inner.types:
                raise ModelError(f"{inner.where}: result {value.name!r} is produced by nothing")
        bodies.append([inner.types[value.name] for value in graph.output])
    if len({len(body) for body in bodies}) > 1:
        raise ModelError(f"{scope.where}: the branches of {label_of(node)} return different counts")
    results = bounds.control_flow_output_types(
        node,
        attributes(node),
        [[(t.dtype, t.shape, t.is_upper_bound) for t in body] for body in bodies],
        inputs,
        scope.arrays,
    )
    output_types: dict[str, TensorType] = {}
    for name, known in zip(node.output, results, strict=False):
        if name and known is not None:
            dtype, shape, is_bound = known
            checked_elements(shape, dtype, name, scope.where)
            output_types[name] = TensorType(dtype, shape, is_bound)
    return output_types


def _check_bodies(
    node: onnx.NodeProto, graphs: Mapping[str, onnx.GraphProto], scope: Scope
) -> None:
    """Check that If, Loop and Scan have bodies with the numbers of inputs and outputs they need.

    Raises:
        ModelError: says what is missing.
    """
    op = node.op_type
    wanted = {"If": {"then_branch", "else_branch"}}.get(op, {"body"})
    if set(graphs) != wanted:
        raise ModelError(
            f"{scope.where}: {label_of(node)} needs subgraphs {', '.join(sorted(wanted))} and has "
            f"{', '.join(sorted(graphs)) or 'none'}"
        )
    takes, least = 0, len(node.output)
    if op == "Loop":
        takes, least = max(2, len(node.input)), 1 + len(node.output)
        least = max(least, takes - 1)
    elif op == "Scan":
        scanned = int(attributes(node).get("num_scan_inputs", 0))
        if scope.opsets.get("", 1) < 9:
            raise ModelError(
                f"{scope.where}: {label_of(node)} of operator set 8 is not supported; convert the "
                "model to operator set 9 or later"
            )
        if not 1 <= scanned <= len(node.input) or "" in node.input:
            raise ModelError(
                f"{scope.where}: {label_of(node)} has {len(node.input)} inputs and scans {scanned}"
            )
        takes, least = len(node.input), max(least, len(node.input) - scanned)
    for attribute, graph in graphs.items():
        if len(graph.input) != takes or len(graph.output) < least:
            raise ModelError(
                f"{scope.where}: {label_of(node)}.{attribute} takes {len(graph.input)} tensors and "
                f"returns {len(graph.output)}; {takes} and at least {least} are needed"
            )
