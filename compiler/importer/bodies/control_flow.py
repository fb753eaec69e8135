"""If, Loop and Scan: their bodies, each walked in a scope of its own, and the types they return."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx

from ullage.compiler.common.errors import ModelError, NeverRunsError
from ullage.compiler.importer.bodies.loops import Passes, Trips, iterate
from ullage.compiler.importer.load import checked_elements, element_name, has_values
from ullage.compiler.importer.scope import Scope, TensorType, attributes, label_of
from ullage.compiler.importer.shapes.axes import Axis, axes_of, joined, type_of
from ullage.compiler.importer.shapes.implied import implied_type
from ullage.compiler.importer.shapes.rules import axis_of
from ullage.compiler.importer.values.intervals import enter_interval, interval_of

# (body, its scope): enters the body into the scope and infers the types inside.
WalkGraph = Callable[[onnx.GraphProto, Scope], None]
# More iterations than any model is meant to make: the number that exporters write for "no limit".
NO_LIMIT = 2**31 - 1
Types = list[TensorType]


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
    _check_bodies(node, graphs, scope)
    if node.op_type == "If":
        results: Sequence[TensorType | None] = _branches(position, node, graphs, scope, walk_graph)
    elif node.op_type == "Loop":
        results = _loop(position, node, graphs["body"], scope, walk_graph)
    else:
        results = _scan(position, node, graphs["body"], scope, walk_graph)
    output_types: dict[str, TensorType] = {}
    for name, known in zip(node.output, results, strict=False):
        if name and known is not None:
            checked_elements(known.shape, known.dtype, name, scope.where)
            output_types[name] = known
    return output_types


def _walked(
    graph: onnx.GraphProto, inner: Scope, takes: Sequence[TensorType], walk_graph: WalkGraph
) -> Types:
    """Types of the results of a body whose inputs have the types given."""
    for value, known in zip(graph.input, takes, strict=True):
        inner.forget(value.name)
        inner.types[value.name] = known
    walk_graph(graph, inner)
    for value in graph.output:
        if value.name not in inner.types:
            raise ModelError(f"{inner.where}: result {value.name!r} is produced by nothing")
    return [inner.types[value.name] for value in graph.output]


def _branches(
    position: int,
    node: onnx.NodeProto,
    graphs: Mapping[str, onnx.GraphProto],
    scope: Scope,
    walk_graph: WalkGraph,
) -> Types:
    """Results of an If: of the branch that runs, where that is certain, else of both.

    It is certain where the condition is a constant, and where an operator of the other branch
    contradicts its operands at the shapes that are planned.

    Raises:
        ModelError: a branch that may run cannot be typed, or none can run.
    """
    taken = _taken_branch(node, scope)
    if taken is not None:
        graphs = {taken: graphs[taken]}
    scopes: dict[str, Scope] = {}
    bodies: list[Types] = []
    broken: dict[str, NeverRunsError] = {}
    for attribute, graph in graphs.items():
        inner = scope.inside(f"{label_of(node)}.{attribute}")
        try:
            bodies.append(_walked(graph, inner, [], walk_graph))
            scopes[attribute] = inner
        except NeverRunsError as error:
            broken[attribute] = error
    if not bodies:
        raise next(iter(broken.values()))
    for attribute, fault in broken.items():
        reason = f"{attribute} is left out, it cannot run: {fault.message}"
        scope.work.skipped[label_of(node), reason] = None
    graphs = {attribute: graphs[attribute] for attribute in scopes}
    scope.subscopes[position] = scopes
    if len({len(body) for body in bodies}) > 1:
        raise ModelError(f"{scope.where}: the branches of {label_of(node)} return different counts")
    results = bodies[0]
    for body in bodies[1:]:
        both = [joined(a, b) for a, b in zip(results, body, strict=True)]
        for name, a, b, known in zip(node.output, results, body, both, strict=False):
            if known is None:
                raise ModelError(
                    f"{scope.where}: {name!r}, a result of {label_of(node)}, is "
                    f"{a.dtype}{list(a.shape)} from one branch and {b.dtype}{list(b.shape)} from "
                    "the other, and which one runs depends on data; export the model with results "
                    "of one type and rank",
                    {"tensor": name, "operator": node.op_type},
                )
        results = [known for known in both if known is not None]
    names = [[value.name for value in graph.output] for graph in graphs.values()]
    for at, name in enumerate(node.output):
        if name:
            _join_values(name, results[at], [n[at] for n in names], list(scopes.values()), scope)
    return results


def _taken_branch(node: onnx.NodeProto, scope: Scope) -> str | None:
    """The branch that an If takes whatever the data, None where that is open."""
    name = node.input[0] if node.input else ""
    chosen = scope.arrays.get(name)
    if chosen is None or chosen.size != 1:
        return None
    return "then_branch" if bool(np.asarray(chosen).reshape(-1)[0]) else "else_branch"


def _join_values(
    name: str, known: TensorType, sources: Sequence[str], scopes: Sequence[Scope], scope: Scope
) -> None:
    """What is known of the elements of a result from those of the branches' results."""
    if len(scopes) == 1 and sources[0] in scopes[0].constants:
        scope.constants.add(name)
        if sources[0] in scopes[0].arrays:
            scope.arrays[name] = scopes[0].arrays[sources[0]]
        return
    if known.is_upper_bound:
        return
    ends = [interval_of(source, inner) for source, inner in zip(sources, scopes, strict=True)]
    found = [interval for interval in ends if interval is not None]
    if len(found) == len(ends):
        scope.types[name] = known
        low = np.min([low for low, _ in found], axis=0)
        high = np.max([high for _, high in found], axis=0)
        enter_interval(name, (low, high), scope)


def _needed(position: int, node: onnx.NodeProto, scope: Scope) -> TensorType:
    name = node.input[position]
    if not name:
        raise ModelError(f"{scope.where}: {label_of(node)} passes nothing for input {position}")
    return scope.types[name]


def _loop(
    position: int,
    node: onnx.NodeProto,
    graph: onnx.GraphProto,
    scope: Scope,
    walk_graph: WalkGraph,
) -> list[TensorType | None]:
    trips = _loop_trips(node, graph, scope)
    start = [_needed(i, node, scope) for i in range(2, len(node.input))]
    count = len(start)

    def walk(states: Types) -> tuple[Types, Scope]:
        inner = scope.inside(f"{label_of(node)}.body")
        takes = [TensorType("int64", ()), TensorType("bool", ()), *states]
        return _walked(graph, inner, takes, _numbered(graph, trips, walk_graph))[1:], inner

    try:
        passes = iterate(node, graph, start, trips, scope, walk)
    except NeverRunsError as error:  # where it does not go round, what contains it runs
        raise ModelError(error.message, error.details) from error
    scope.iterations[position] = trips.most
    if passes.scope is not None:
        scope.subscopes[position] = {"body": passes.scope}
    rows = _rows(graph, passes, count)
    first = None if trips.most is None else Axis(trips.most, trips.exact)
    stacked = [None if row is None else _stacked(row, first, 0) for row in rows]
    return [
        *passes.final,
        *(
            known or _implied_rows(name, row, scope)
            for name, row, known in zip(node.output[count:], rows, stacked, strict=False)
        ),
    ]


def _numbered(graph: onnx.GraphProto, trips: Trips, walk_graph: WalkGraph) -> WalkGraph:
    """The walk of a Loop's body, of which the first input counts the iterations."""

    def walk(body: onnx.GraphProto, inner: Scope) -> None:
        last = np.inf if trips.most is None else max(0.0, trips.most - 1.0)
        if last > 0:  # in a single iteration it would be a constant, and no operand
            enter_interval(graph.input[0].name, (np.zeros(()), np.full((), last)), inner)
        walk_graph(body, inner)

    return walk


def _implied_rows(name: str, row: TensorType | None, scope: Scope) -> TensorType | None:
    """A stack of unknown length whose readers say what it is."""
    if row is None or row.is_upper_bound or not name:
        return None
    return implied_type(name, row.dtype, [None, *row.shape], scope)


def _rows(graph: onnx.GraphProto, passes: Passes, count: int) -> list[TensorType | None]:
    """Types of what one iteration adds to each stacked result; declared ones if none ever ran."""
    if passes.scope is not None:
        return list(passes.rows)
    rows: list[TensorType | None] = []
    for value in graph.output[1 + count :]:
        dims = value.type.tensor_type.shape.dim
        dtype = element_name(value.type.tensor_type.elem_type)
        lengths = tuple(d.dim_value if d.HasField("dim_value") else 0 for d in dims)
        known = value.type.tensor_type.HasField("shape") and dtype not in (None, "undefined")
        rows.append(TensorType(str(dtype), lengths) if known else None)
    return rows


def _loop_trips(node: onnx.NodeProto, graph: onnx.GraphProto, scope: Scope) -> Trips:
    """How often a Loop runs at most, and whether it runs so often whatever the data."""
    most, exact = None, False
    if node.input and node.input[0] and scope.types[node.input[0]].elements == 1:
        interval = interval_of(node.input[0], scope)
        if interval is not None:
            low, high = (float(end.reshape(-1)[0]) for end in interval)
            if high < NO_LIMIT:
                most, exact = max(0, int(high)), low == high
    begins: bool | None = True
    if len(node.input) > 1 and node.input[1]:
        value = scope.arrays.get(node.input[1])
        begins = None if value is None else bool(np.asarray(value).reshape(-1)[0])
    if begins is False:
        return Trips(0, exact=True)
    return Trips(most, exact=exact and begins is True and _goes_on(graph))


def _goes_on(graph: onnx.GraphProto) -> bool:
    """Whether a Loop's body hands its condition on as it is, or sets it to true."""
    producers = {name: node for node in graph.node for name in node.output}
    name = graph.output[0].name
    while name in producers:
        made = producers[name]
        if made.op_type == "Constant":
            value = next((a.t for a in made.attribute if a.name == "value"), None)
            return value is not None and bool(onnx.numpy_helper.to_array(value).all())
        if made.op_type not in ("Identity", "Cast") or not made.input:
            return False
        name = made.input[0]
    stored = {t.name: t for t in graph.initializer}
    if name in stored:
        return has_values(stored[name]) and bool(onnx.numpy_helper.to_array(stored[name]).all())
    return bool(name == graph.input[1].name)


def _scan(
    position: int,
    node: onnx.NodeProto,
    graph: onnx.GraphProto,
    scope: Scope,
    walk_graph: WalkGraph,
) -> list[TensorType | None]:
    """Results of a Scan; that of operator set 8 has a batch axis before everything."""
    given = attributes(node)
    batched = scope.opsets.get("", 1) < 9
    scanned = int(given["num_scan_inputs"])
    first = 1 if batched else 0  # the lengths of sequences
    states = len(node.input) - scanned
    start = [_needed(i, node, scope) for i in range(first, states)]
    batch = [axes_of(t)[0] for t in start] if batched else []
    start = [_without(t, 0) for t in start] if batched else start
    axes = list(given.get("scan_input_axes", [0] * scanned))
    elements: Types = []
    length = Axis(0)
    for i in range(scanned):
        whole = _needed(states + i, node, scope)
        if batched:
            batch.append(axes_of(whole)[0])
            whole = _without(whole, 0)
        at = 0 if batched else axis_of(axes[i], len(whole.shape))
        length = axes_of(whole)[at] if not i else min(length, axes_of(whole)[at])
        elements.append(_without(whole, at))

    def walk(carried: Types) -> tuple[Types, Scope]:
        inner = scope.inside(f"{label_of(node)}.body")
        return _walked(graph, inner, [*carried, *elements], walk_graph), inner

    trips = Trips(length.length, exact=length.exact)
    try:
        passes = iterate(node, graph, start, trips, scope, walk)
    except NeverRunsError as error:  # where it does not go round, what contains it runs
        raise ModelError(error.message, error.details) from error
    scope.iterations[position] = length.length * (batch[0].length if batch else 1)
    if passes.scope is not None:
        scope.subscopes[position] = {"body": passes.scope}
    rows = list(passes.rows) if passes.scope is not None else []
    out_axes = [*given.get("scan_output_axes", ()), *[0] * len(rows)]
    stacked = [_stacked(row, length, at) for row, at in zip(rows, out_axes, strict=False)]
    results: list[TensorType | None] = [*passes.final, *stacked]
    if batched:
        results = [None if t is None else _stacked(t, batch[0], 0) for t in results]
    return results


def _without(tensor_type: TensorType, at: int) -> TensorType:
    """A slice of a tensor across one of its axes."""
    axes = axes_of(tensor_type)
    if not axes:
        raise IndexError("a scalar has no axis that could be scanned")
    del axes[at]
    return type_of(tensor_type.dtype, axes)


def _stacked(row: TensorType, length: Axis | None, axis: int) -> TensorType | None:
    """Rows one after the other along a new axis; None where their number is unknown."""
    if length is None:
        return None
    axes = axes_of(row)
    axes.insert(axis_of(axis, len(axes) + 1), length)
    most = None if row.most_elements is None else row.elements * length.length
    return type_of(row.dtype, axes, most)


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
        lengths = 1 if scope.opsets.get("", 1) < 9 else 0
        takes = len(node.input) - lengths
        if not 1 <= scanned <= takes or "" in node.input[lengths:]:
            raise ModelError(
                f"{scope.where}: {label_of(node)} has {len(node.input)} inputs and scans {scanned}"
            )
        least = max(least, takes - scanned)
    for attribute, graph in graphs.items():
        if len(graph.input) != takes or len(graph.output) < least:
            raise ModelError(
                f"{scope.where}: {label_of(node)}.{attribute} takes {len(graph.input)} tensors and "
                f"returns {len(graph.output)}; {takes} and at least {least} are needed"
            )
