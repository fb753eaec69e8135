"""Local functions: each call is replaced by the nodes of the function that it calls.

Bodies are copied with names of their own, from the model down, on a stack instead of by recursion:
functions may call each other to any depth. Constants of a function are stored once, however often
it is called.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx

from ullage.compiler.common.errors import ModelError, TimeLimitError
from ullage.compiler.importer.operators.identity import schema_of, standard_domain
from ullage.compiler.ir.dag import find_cycle

# Nodes that a model may have once its functions are expanded.
MAX_INLINED_NODES = 100_000
# Subgraphs (of If, Loop, Scan) inside one another that expansion may make.
MAX_NESTED_GRAPHS = 30
# Nodes copied between two looks at the clock.
CHECKED_EVERY = 1_000

# Domain, name and overload of a local function.
Call = tuple[str, str, str]
# The model itself among the callers.
MODEL: Call = ("", "", "")


@dataclass
class _Frame:
    """A list of nodes that is being copied.

    Attributes:
        nodes: what is left of it.
        target: where copies go.
        names: name inside -> name in the flat model; names that are not in it get the prefix.
        prefix: of names that are new; empty for the model's own, which keep theirs.
        attributes: what the call passed, for nodes that refer to it.
        depth: subgraphs around it.
        ending: nodes that follow when all is copied.
    """

    nodes: Iterator[onnx.NodeProto]
    target: "list[onnx.NodeProto] | onnx.GraphProto"
    names: dict[str, str]
    prefix: str
    attributes: Mapping[str, onnx.AttributeProto]
    depth: int = 0
    ending: list[onnx.NodeProto] = field(default_factory=list)

    def renamed(self, name: str) -> str:
        """The name of a tensor in the flat model."""
        if not self.prefix or not name:
            return name
        return self.names.setdefault(name, self.prefix + name)

    def add(self, node: onnx.NodeProto) -> None:
        """Put a node into the flat model."""
        if isinstance(self.target, list):
            self.target.append(node)
        else:
            self.target.node.append(node)


def inline_functions(
    model: onnx.ModelProto, where: str, deadline: float | None = None
) -> onnx.ModelProto:
    """The model, its local functions expanded.

    Args:
        model: the model; it is changed.
        where: its name, for messages.
        deadline: `time.monotonic()` value at which expansion ends, None for never.

    Raises:
        ModelError: functions call each other in a circle, there are too many nodes, or a body does
            not fit the model's operator sets.
        TimeLimitError: the deadline passed.
    """
    functions: dict[Call, onnx.FunctionProto] = {}
    for function in model.functions:
        call = (standard_domain(function.domain), function.name, function.overload)
        if call in functions:
            raise ModelError(f"{where}: the local function {function.name!r} is defined twice")
        functions[call] = function
    called = _calls(model, functions)
    _refuse_circles(called, where)
    _refuse_too_many(called, where)
    _join_operator_sets(model, [functions[c] for c in called if c != MODEL])
    bodies = {call: _body_for(functions[call], model, where) for call in called if call != MODEL}
    _Expansion(functions, bodies, where, deadline).expand(model.graph)
    del model.functions[:]
    return model


def call_of(node: onnx.NodeProto) -> Call:
    """What a node calls, if there is a function of that name."""
    return (standard_domain(node.domain), node.op_type, node.overload)


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """The nodes and those of their subgraphs, at any depth."""
    waiting = [iter(nodes)]
    while waiting:
        for node in waiting.pop():
            yield node
            waiting += [iter(g.node) for a in node.attribute for g in _graphs(a)]


def _inside(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """The nodes of a node's subgraphs, at any depth."""
    return _all_nodes(n for a in node.attribute for g in _graphs(a) for n in g.node)


def _graphs(attribute: onnx.AttributeProto) -> list[onnx.GraphProto]:
    single = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else []
    return [*single, *attribute.graphs]


def _calls(
    model: onnx.ModelProto, functions: Mapping[Call, onnx.FunctionProto]
) -> dict[Call, list[Call | None]]:
    """For the model and each function in use: what each of its nodes calls, None for nothing."""
    called: dict[Call, list[Call | None]] = {}
    waiting: list[Call] = [MODEL]
    while waiting:
        caller = waiting.pop()
        if caller in called:
            continue
        nodes = model.graph.node if caller == MODEL else functions[caller].node
        called[caller] = [
            call if (call := call_of(node)) in functions else None for node in _all_nodes(nodes)
        ]
        waiting += [call for call in called[caller] if call is not None]
    return called


def _refuse_circles(called: Mapping[Call, list[Call | None]], where: str) -> None:
    import networkx as nx

    calls = nx.DiGraph((a, b) for a, callees in called.items() for b in callees if b is not None)
    circle = find_cycle(calls)
    if circle:
        chain = " -> ".join(call[1] for call in (*circle, circle[0]))
        raise ModelError(f"{where}: local functions call each other in a circle: {chain}")


def _refuse_too_many(called: Mapping[Call, list[Call | None]], where: str) -> None:
    """Count the nodes before any is copied."""
    import networkx as nx

    calls = nx.DiGraph((a, b) for a, callees in called.items() for b in callees if b is not None)
    calls.add_node(MODEL)
    sizes: dict[Call | None, int] = {None: 1}
    for caller in nx.dfs_postorder_nodes(calls, MODEL):  # what is called before who calls
        sizes[caller] = sum(sizes[call] for call in called[caller])
    if sizes[MODEL] > MAX_INLINED_NODES:
        most = max((c for c in called if c != MODEL), key=lambda c: sizes[c])
        raise ModelError(
            f"{where}: {sizes[MODEL]} nodes once local functions are inlined ({most[1]!r} alone "
            f"stands for {sizes[most]}); at most {MAX_INLINED_NODES}"
        )


def _join_operator_sets(flat: onnx.ModelProto, functions: Iterable[onnx.FunctionProto]) -> None:
    """Operator sets that only functions name become the model's."""
    known = {standard_domain(entry.domain) for entry in flat.opset_import}
    for function in functions:
        for entry in function.opset_import:
            if standard_domain(entry.domain) not in known:
                known.add(standard_domain(entry.domain))
                flat.opset_import.add(domain=entry.domain, version=entry.version)


def _body_for(
    function: onnx.FunctionProto, flat: onnx.ModelProto, where: str
) -> list[onnx.NodeProto]:
    """The nodes of a function in the model's operator sets.

    Raises:
        ModelError: an operator changed between the versions, and onnx cannot convert it.
    """
    versions = {standard_domain(e.domain): e.version for e in flat.opset_import}
    own = {standard_domain(e.domain): e.version for e in function.opset_import}
    changed = [
        node.op_type
        for node in _all_nodes(function.node)
        if not _same(node, own.get(standard_domain(node.domain)), versions)
    ]
    if not changed:
        return list(function.node)
    graph = onnx.helper.make_graph(
        list(function.node),
        function.name,
        [onnx.ValueInfoProto(name=name) for name in function.input],
        [onnx.ValueInfoProto(name=name) for name in function.output],
    )
    sets = [onnx.helper.make_opsetid(d, v) for d, v in {**versions, **own}.items()]
    try:
        converted = onnx.version_converter.convert_version(
            onnx.helper.make_model(graph, opset_imports=sets), versions[""]
        )
    except Exception as error:
        raise ModelError(
            f"{where}: the local function {function.name!r} is of operator set {own.get('')}, the "
            f"model of {versions.get('')}; {', '.join(dict.fromkeys(changed))} changed between "
            "them and cannot be converted; export both for one operator set"
        ) from error
    return list(converted.graph.node)


def _same(node: onnx.NodeProto, own: int | None, versions: Mapping[str, int]) -> bool:
    """Whether a node means the same in a function's operator set and in the model's.

    It does where both are one version of the operator, or differ in the types that they take alone.
    """
    domain = standard_domain(node.domain)
    version = versions.get(domain, own)
    if own is None or version is None or own == version:
        return True
    before, after = (schema_of(node.op_type, v, domain) for v in (own, version))
    if before is None or after is None:
        return before is after
    return before.since_version == after.since_version or _signature(before) == _signature(after)


def _signature(schema: onnx.defs.OpSchema) -> tuple[object, ...]:
    """What an operator takes and returns, but for its types."""
    return (
        [(p.name, p.option) for p in schema.inputs],
        [(p.name, p.option) for p in schema.outputs],
        sorted(
            (name, a.required, a.default_value.SerializeToString())
            for name, a in schema.attributes.items()
        ),
    )


def _names_in(graph: onnx.GraphProto) -> set[str]:
    """All names of tensors of a graph and its subgraphs."""
    names: set[str] = set()
    waiting = [graph]
    while waiting:
        inside = waiting.pop()
        names.update(value.name for value in (*inside.input, *inside.output))
        names.update(tensor.name for tensor in inside.initializer)
        for node in inside.node:
            names.update((*node.input, *node.output))
            waiting += [g for a in node.attribute for g in _graphs(a)]
    return names


class _Expansion:
    """Copies nodes into a flat graph, calls replaced by what they call."""

    def __init__(
        self,
        functions: Mapping[Call, onnx.FunctionProto],
        bodies: Mapping[Call, list[onnx.NodeProto]],
        where: str,
        deadline: float | None,
    ) -> None:
        self.functions, self.bodies = functions, bodies
        self.where, self.deadline = where, deadline
        self.stack: list[_Frame] = []
        self.taken: set[str] = set()
        self.calls = self.copied = 0
        # Function -> name inside -> name of a constant in the flat model, and the nodes of those.
        self.shared: dict[Call, dict[str, str]] = {}
        self.constants: list[onnx.NodeProto] = []

    def expand(self, graph: onnx.GraphProto) -> None:
        """Replace the calls in a graph."""
        self.taken = {
            name[: end + 1]
            for name in _names_in(graph)
            if "#" in name
            for end, letter in enumerate(name)
            if letter == "/"
        }
        flat: list[onnx.NodeProto] = []
        self.stack.append(_Frame(iter(list(graph.node)), flat, {}, "", {}))
        while self.stack:
            frame = self.stack[-1]
            node = next(frame.nodes, None)
            if node is None:
                for last in frame.ending:
                    frame.add(last)
                self.stack.pop()
            elif call_of(node) in self.functions:
                self._enter(frame, node)
            else:
                self._copy(frame, node)
        del graph.node[:]
        graph.node.extend([*self.constants, *flat])

    def _copy(self, frame: _Frame, node: onnx.NodeProto) -> None:
        """Copy a node that is no call; its subgraphs become frames of their own."""
        self._count()
        if not frame.prefix and not any(call_of(n) in self.functions for n in _inside(node)):
            frame.add(node)
            return
        copy = onnx.NodeProto(op_type=node.op_type, domain=node.domain)
        copy.name = frame.prefix + node.name if node.name else ""
        copy.input.extend([frame.renamed(name) for name in node.input])
        copy.output.extend([frame.renamed(name) for name in node.output])
        resolved = self._resolved(frame, node)
        for attribute in resolved:
            if _graphs(attribute):
                copy.attribute.append(self._without_nodes(frame, attribute))
            else:
                copy.attribute.append(attribute)
        frame.add(copy)
        placed = frame.target[-1] if isinstance(frame.target, list) else frame.target.node[-1]
        sources = [g for a in resolved for g in _graphs(a)]
        targets = [g for a in placed.attribute for g in _graphs(a)]
        for source, target in zip(sources, targets, strict=True):
            if frame.depth >= MAX_NESTED_GRAPHS:
                raise ModelError(
                    f"{self.where}: subgraphs are nested more than {MAX_NESTED_GRAPHS} deep once "
                    "local functions are expanded"
                )
            self.stack.append(
                _Frame(
                    iter(source.node),
                    target,
                    frame.names,
                    frame.prefix,
                    frame.attributes,
                    frame.depth + 1,
                )
            )

    def _count(self) -> None:
        self.copied += 1
        due = self.copied % CHECKED_EVERY == 0
        if due and self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeLimitError(
                f"{self.where}: the time limit passed while local functions were expanded "
                f"({self.copied} nodes so far)"
            )

    @staticmethod
    def _without_nodes(frame: _Frame, attribute: onnx.AttributeProto) -> onnx.AttributeProto:
        """A subgraph's inputs, initializers and outputs under their new names, nodes left out."""
        copy = onnx.AttributeProto()
        copy.CopyFrom(attribute)
        for graph in _graphs(copy):
            del graph.node[:]
            for named in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
                named.name = frame.renamed(named.name)
        return copy

    @staticmethod
    def _resolved(frame: _Frame, node: onnx.NodeProto) -> list[onnx.AttributeProto]:
        """Attributes of a node, references to a function's own replaced by what was passed."""
        resolved: list[onnx.AttributeProto] = []
        for attribute in node.attribute:
            if not attribute.ref_attr_name:
                resolved.append(attribute)
            elif attribute.ref_attr_name in frame.attributes:
                copy = onnx.AttributeProto()
                copy.CopyFrom(frame.attributes[attribute.ref_attr_name])
                copy.name = attribute.name
                resolved.append(copy)
        return resolved

    def _enter(self, frame: _Frame, node: onnx.NodeProto) -> None:
        """Begin with the body of the function that a node calls."""
        call = call_of(node)
        function = self.functions[call]
        given = {a.name: a for a in self._resolved(frame, node)}
        if any(_graphs(attribute) for attribute in given.values()):
            raise ModelError(
                f"{self.where}: {node.name or node.op_type!r} passes a subgraph to the local "
                f"function {function.name!r}; export the model without it"
            )
        if len(node.input) > len(function.input) or len(node.output) > len(function.output):
            raise ModelError(
                f"{self.where}: {node.name or node.op_type!r} passes {len(node.input)} tensors to "
                f"the local function {function.name!r} and takes {len(node.output)}; it has "
                f"{len(function.input)} and {len(function.output)}"
            )
        prefix = self._new_prefix(function.name)
        names = dict.fromkeys(function.input, "")
        names.update(zip(function.input, map(frame.renamed, node.input), strict=False))
        self._share_constants(call, names)
        ending: list[onnx.NodeProto] = []
        for inner, outer in zip(function.output, map(frame.renamed, node.output), strict=False):
            if not outer:
                continue
            if inner in names:  # an operand, a shared constant, or a result that is named twice
                ending.append(onnx.helper.make_node("Identity", [names[inner]], [outer]))
            else:
                names[inner] = outer
        defaults = {a.name: a for a in function.attribute_proto}
        shared = self.shared.get(call, {})
        body = (n for n in self.bodies[call] if not (n.output and n.output[0] in shared))
        self.stack.append(
            _Frame(body, frame.target, names, prefix, {**defaults, **given}, frame.depth, ending)
        )

    def _new_prefix(self, function: str) -> str:
        """A beginning of names that no name of the model has; `taken` are beginnings to a slash."""
        while True:
            self.calls += 1
            prefix = f"{function}#{self.calls}/"
            if prefix not in self.taken:
                return prefix

    def _share_constants(self, call: Call, names: dict[str, str]) -> None:
        """Constants of a function that depend on no attribute of its call: one node for all."""
        shared = self.shared.setdefault(call, {})
        for node in self.bodies[call]:
            if node.op_type != "Constant" or standard_domain(node.domain) or not node.output:
                continue
            if any(attribute.ref_attr_name for attribute in node.attribute):
                continue
            name = node.output[0]
            if name not in shared:
                shared[name] = self._new_prefix(call[1]) + name
                copy = onnx.NodeProto()
                copy.CopyFrom(node)
                copy.output[0] = shared[name]
                copy.name = ""
                self.constants.append(copy)
            names[name] = shared[name]
