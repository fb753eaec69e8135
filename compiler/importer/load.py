"""Read an ONNX file into a flat, checked ModelProto: functions inlined, nodes in order."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import onnx

from ullage.compiler.common.clock import check_time, timed
from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import ModelError
from ullage.compiler.common.files import is_file, read_file
from ullage.compiler.common.ranges import MAX_COUNT
from ullage.compiler.importer.functions import inline_functions
from ullage.compiler.ir.dag import find_cycle
from ullage.compiler.ir.graph import Graph

# Size in bytes of the largest file: protobuf's own limit.
MAX_FILE_BYTES = 2**31
# Size in bytes (64 TiB) beyond which a tensor's dimensions are taken for a mistake.
MAX_TENSOR_BYTES = 2**46
# Nodes beyond which a model is refused.
MAX_NODES = 1_000_000
# Largest version of an operator set that onnx's schema registry takes.
MAX_OPSET = 2**31 - 1
# Nodes of a cycle that an error names.
MAX_SHOWN = 5

# Number of an ONNX element type -> its name, as `common.dtypes` spells it.
ELEMENT_NAMES: dict[int, str] = {
    number: {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())
    for name, number in onnx.TensorProto.DataType.items()
}
ELEMENT_NUMBERS = {name: number for number, name in ELEMENT_NAMES.items()}
# Fields of a tensor that may hold its values.
VALUE_FIELDS = (
    "raw_data",
    *(f"{kind}_data" for kind in ("float", "double", "int32", "int64", "uint64", "string")),
)


def load_model(path: Path, deadline: float | None = None) -> onnx.ModelProto:
    """Read a model file; external weight data is never opened.

    Args:
        path: the file.
        deadline: `time.monotonic()` value at which reading ends, None for never.

    Raises:
        ModelError: the file is missing, too large, not ONNX, or its graph is malformed.
    """
    if is_file(path) and path.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(
            f"{path}: {path.stat().st_size} bytes, but a protobuf file holds at most "
            f"{MAX_FILE_BYTES}; store the weights as external data"
        )
    data = read_file(path, MAX_FILE_BYTES, ModelError)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except Exception as error:
        raise ModelError(
            f"{path}: not an ONNX file ({len(data)} bytes do not parse as one); "
            "export the model again"
        ) from error
    check_time(deadline, str(path))
    return check_model(model, str(path), deadline)


def check_model(
    model: onnx.ModelProto, where: str, deadline: float | None = None
) -> onnx.ModelProto:
    """Expand local functions and refuse models that later stages could not make sense of.

    Args:
        model: the model; it is changed.
        where: its name, for messages.
        deadline: `time.monotonic()` value at which reading ends, None for never.

    Raises:
        ModelError: no graph, cyclic or missing definitions, duplicate names, absurd sizes.
        TimeLimitError: the deadline passed.
    """
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise ModelError(f"{where}: the file holds no graph; export the model again")
    if not model.opset_import:
        raise ModelError(f"{where}: the model names no operator set; export it again")
    operator_sets(model, where)
    if len(model.graph.node) > MAX_NODES:
        raise ModelError(f"{where}: {len(model.graph.node)} nodes; at most {MAX_NODES} are read")
    if model.functions:
        inline_functions(model, where, deadline)
    _check_graph(model.graph, where, deadline)
    return model


def operator_sets(model: onnx.ModelProto, where: str) -> dict[str, int]:
    """Version of each operator domain; the standard domain has the empty name.

    Raises:
        ModelError: a version does not exist, or a domain has two.
    """
    versions: dict[str, int] = {}
    for entry in model.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        least = 0 if domain else 1
        contradicts = versions.get(domain, entry.version) != entry.version
        if contradicts or not least <= entry.version <= MAX_OPSET:
            fault = f"contradicts version {versions[domain]}" if contradicts else "does not exist"
            raise ModelError(
                f"{where}: version {entry.version} of operator set {domain or 'ai.onnx'} {fault}; "
                "export the model again"
            )
        versions[domain] = entry.version
    return versions


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterable[onnx.NodeProto]:
    """The nodes and those of their subgraphs, outer first."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from all_nodes(attribute.g.node)
            for graph in attribute.graphs:
                yield from all_nodes(graph.node)


def _check_graph(graph: onnx.GraphProto, where: str, deadline: float | None) -> None:
    """Check that names are defined once, and, in some order of the nodes, before they are used."""
    defined: dict[str, str] = {}
    for tensor in timed(graph.initializer, deadline, where):
        _define(defined, tensor.name, "an initializer", where)
        _check_initializer(tensor, where)
    for sparse in graph.sparse_initializer:
        raise ModelError(
            f"{where}: sparse initializer {sparse.values.name!r} is not supported; "
            "store it as a dense tensor"
        )
    for value in graph.input:
        if defined.get(value.name) != "an initializer":  # IR 3 lists weights as inputs too
            _define(defined, value.name, "an input", where)
    for node in timed(graph.node, deadline, where):
        if not node.op_type:
            raise ModelError(f"{where}: node {node.name!r} has no operator type")
        for output in node.output:
            if output:
                _define(defined, output, f"{node.op_type} {node.name!r}", where)
    _refuse_shadowing(graph, where, deadline)
    for node in timed(graph.node, deadline, where):
        for name in node.input:
            if name and name not in defined:
                raise ModelError(
                    f"{where}: {node.op_type} {node.name!r} reads {name!r}, which nothing produces"
                )
    for value in graph.output:
        if value.name not in defined:
            raise ModelError(f"{where}: output {value.name!r} is produced by nothing")
    _sort_nodes(graph, where, deadline)


def _refuse_shadowing(
    graph: onnx.GraphProto,
    where: str,
    deadline: float | None = None,
    around: Sequence[set[str]] = (),
    owner: str = "",
) -> None:
    """Refuse results inside a subgraph that bear the name of a tensor that is known around it.

    Names of a subgraph's inputs and initializers may: they hide the outer tensor.

    Args:
        graph: the graph.
        where: model, for messages.
        deadline: `time.monotonic()` value at which reading ends, None for never.
        around: names known so far in each of the graphs around it.
        owner: the node that it belongs to, empty for the main graph.
    """
    known = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    for node in timed(graph.node, deadline, where):
        for attribute in node.attribute:
            for inside in (attribute.g, *attribute.graphs):
                if inside.node:
                    label = f"{node.op_type} {node.name!r}"
                    _refuse_shadowing(inside, where, deadline, (*around, known), label)
        for name in node.output:
            if name and any(name in names for names in around):
                raise ModelError(
                    f"{where}: {node.op_type} {node.name!r} inside {owner} writes {name!r}, "
                    "which is the name of a tensor outside; rename one of them"
                )
        known.update(name for name in node.output if name)


def _define(defined: dict[str, str], name: str, by: str, where: str) -> None:
    if name in defined:
        raise ModelError(
            f"{where}: the name {name!r} is defined twice: by {defined[name]} and {by}"
        )
    defined[name] = by


def _sort_nodes(graph: onnx.GraphProto, where: str, deadline: float | None) -> None:
    """Put nodes into a topological order, the file's own where it is one already."""
    nodes = list(graph.node)
    producer = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    needs = [
        {producer[name] for name in (*node.input, *captures(node)) if name in producer}
        for node in timed(nodes, deadline, where)
    ]
    if all(max(earlier, default=-1) < index for index, earlier in enumerate(needs)):
        return
    import networkx as nx

    dag = nx.DiGraph()
    dag.add_nodes_from(range(len(nodes)))
    dag.add_edges_from((early, index) for index, earlier in enumerate(needs) for early in earlier)
    try:
        order = list(timed(nx.lexicographical_topological_sort(dag), deadline, where))
    except nx.NetworkXUnfeasible:
        cycle = _described([nodes[index] for index in find_cycle(dag)])
        raise ModelError(f"{where}: the graph has a cycle through {cycle}") from None
    del graph.node[:]
    graph.node.extend([nodes[index] for index in order])


def _described(cycle: Sequence[onnx.NodeProto]) -> str:
    """The nodes of a cycle in words, at most `MAX_SHOWN` of them."""
    shown = ", ".join(
        f"{node.op_type} {node.name!r} (output {next(iter(node.output), '')!r})"
        for node in cycle[:MAX_SHOWN]
    )
    more = len(cycle) - MAX_SHOWN
    return f"{shown} and {more} more nodes" if more > 0 else shown


def captures(node: onnx.NodeProto) -> tuple[str, ...]:
    """Outer names that the subgraphs of a node (If, Loop, Scan) read, in order of first use."""
    captured: dict[str, None] = {}
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []
        for graph in [*graphs, *attribute.graphs]:
            _collect_captures(graph, captured)
    return tuple(captured)


def _collect_captures(graph: onnx.GraphProto, captured: dict[str, None]) -> None:
    inner = {v.name for v in graph.input} | {t.name for t in graph.initializer} | {""}
    for node in graph.node:
        for name in (*node.input, *captures(node)):
            if name not in inner:
                captured[name] = None
        inner.update(node.output)
    for value in graph.output:
        if value.name not in inner:
            captured[value.name] = None


def _check_initializer(tensor: onnx.TensorProto, where: str) -> None:
    """Check that dimensions make sense and, where the data is in the file, agree with it."""
    dtype = element_name(tensor.data_type)
    elements = checked_elements(tuple(tensor.dims), dtype or "uint8", tensor.name, where)
    if tensor.data_location == onnx.TensorProto.EXTERNAL or dtype not in BITS:
        return
    if tensor.raw_data:
        expected = (elements * BITS[dtype] + 7) // 8
        if len(tensor.raw_data) != expected:
            raise ModelError(
                f"{where}: initializer {tensor.name!r} {list(tensor.dims)} {dtype} needs "
                f"{expected} bytes, the file has {len(tensor.raw_data)}"
            )


def has_values(tensor: onnx.TensorProto) -> bool:
    """Whether a tensor's values are in the file.

    Those of external data are not, nor those that were stripped to make the file small: nothing is
    stored of them, though they have elements.
    """
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return False
    return not all(tensor.dims) or any(len(getattr(tensor, field)) for field in VALUE_FIELDS)


def element_number(dtype: str) -> int:
    """ONNX's number of an element type."""
    return ELEMENT_NUMBERS[dtype]


def element_name(element: int) -> str | None:
    """Name of an ONNX element type by its number; None for numbers that stand for nothing."""
    return ELEMENT_NAMES.get(element)


def checked_elements(shape: tuple[int, ...], dtype: str, name: str, where: str) -> int:
    """Number of elements of a tensor.

    Raises:
        ModelError: a negative dimension, or more bytes than any model has.
    """
    elements = 1
    for dim in shape:
        if dim < 0:
            raise ModelError(f"{where}: tensor {name!r} has a negative dimension: {list(shape)}")
        elements *= dim
    if elements * BITS.get(dtype, 8) > 8 * MAX_TENSOR_BYTES:
        raise ModelError(
            f"{where}: tensor {name!r} {list(shape)} {dtype} is larger than "
            f"{MAX_TENSOR_BYTES} bytes; the dimensions are damaged"
        )
    return elements


def check_work(graph: Graph, where: str) -> None:
    """Check that work and bytes of a whole graph are figures that can be computed with.

    Tensors of sensible size may be multiplied to work without end.

    Raises:
        ModelError: more than 2**62 MACs, elements of the vector unit or bytes in all; names the
            operator or tensor with the most.
    """
    work = [(o.macs, f"operator {o.name!r}") for o in graph.operators]
    elements = [(o.vector_elements, f"operator {o.name!r}") for o in graph.operators]
    sides = [
        (max(g.m, g.k, g.n, g.count), f"operator {o.name!r}")
        for o in graph.operators
        for g in o.gemms
    ]
    stored = [(v.size_bytes, f"tensor {v.name!r}") for v in graph.values.values()]
    accessed = [
        (
            sum(graph.values[name].size_bytes for name in o.inputs + o.outputs),
            f"operator {o.name!r}",
        )
        for o in graph.operators
    ]
    for what, figures, total in (
        ("MACs", work, sum(n for n, _ in work)),
        ("elements of the vector unit", elements, sum(n for n, _ in elements)),
        ("rows or columns of a product", sides, max((n for n, _ in sides), default=0)),
        ("bytes of tensors", stored, sum(n for n, _ in stored)),
        ("bytes read and written", accessed, sum(n for n, _ in accessed)),
    ):
        if total > MAX_COUNT:
            most, name = max(figures)
            raise ModelError(
                f"{where}: {total} {what}, at most 2**62 can be planned; the most has {name} "
                f"({most}); check its dimensions"
            )
