"""Branches that never run are taken out: an If with a constant condition becomes its branch."""

from collections import Counter
from collections.abc import Iterator

import onnx

from ullage.compiler.importer.bodies.rename import defined_names, fresh_name, rename_node
from ullage.compiler.importer.scope import Scope, is_standard

# A node, and the scopes of its subgraphs with the number of its iterations.
Placed = tuple[onnx.NodeProto, dict[str, Scope] | None, int | None]


def prune_branches(graph: onnx.GraphProto, scope: Scope) -> None:
    """Put the nodes of branches that always run in the place of their If, at all depths.

    Args:
        graph: the main graph, in which inference has walked only what may run; it is changed.
        scope: its scope; receives the facts of the branches, under new names where a name is
            defined more than once.
    """
    _prune(graph, scope, _Taken(graph))


class _Taken:
    """The names of a model, counted when the first is needed."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self._names: Counter[str] | None = None

    @property
    def names(self) -> Counter[str]:
        if self._names is None:
            self._names = defined_names(self.graph)
        return self._names


def _prune(graph: onnx.GraphProto, scope: Scope, taken: _Taken) -> None:
    if not scope.subscopes:
        return
    for position, scopes in scope.subscopes.items():
        for attribute in graph.node[position].attribute:
            if attribute.name in scopes:
                _prune(attribute.g, scopes[attribute.name], taken)
    if not any(_always_one(graph.node[p], s) for p, s in scope.subscopes.items()):
        return
    placed = list(_placed(graph, scope, taken))
    changed = onnx.GraphProto(node=[node for node, _, _ in placed])
    del graph.node[:]
    graph.node.extend(changed.node)
    scope.subscopes = {i: scopes for i, (_, scopes, _) in enumerate(placed) if scopes is not None}
    scope.iterations = {i: most for i, (_, scopes, most) in enumerate(placed) if scopes is not None}


def _always_one(node: onnx.NodeProto, scopes: dict[str, Scope]) -> bool:
    """Whether a node is an If of which one branch always runs."""
    return node.op_type == "If" and is_standard(node) and len(scopes) == 1


def _placed(graph: onnx.GraphProto, scope: Scope, taken: _Taken) -> Iterator[Placed]:
    """The nodes of a graph, branches that always run in the place of their If."""
    for position, node in enumerate(graph.node):
        scopes = scope.subscopes.get(position)
        if scopes is None or not _always_one(node, scopes):
            yield node, scopes, scope.iterations.get(position)
            continue
        ((attribute, inner),) = scopes.items()
        body = next(a.g for a in node.attribute if a.name == attribute)
        yield from _inlined(node, body, inner, scope, taken)


def _inlined(
    node: onnx.NodeProto, body: onnx.GraphProto, inner: Scope, scope: Scope, taken: _Taken
) -> Iterator[Placed]:
    """The nodes of a branch, with names and facts as they are to be in the graph around it."""
    made = {name for n in body.node for name in n.output if name}
    names: dict[str, str] = {}
    copies: list[tuple[str, str]] = []
    for result, value in zip(node.output, body.output, strict=False):
        if not result:
            continue
        if value.name in made and value.name not in names:
            names[value.name] = result
        else:
            copies.append((value.name, result))
    for name in made - set(names):
        if taken.names[name] > 1:
            names[name] = fresh_name(name, taken.names)
    for name in made:
        _move_facts(name, names.get(name, name), inner, scope)
    for position, source in enumerate(body.node):
        moved = onnx.NodeProto()
        moved.CopyFrom(source)
        rename_node(moved, names)
        yield moved, inner.subscopes.get(position), inner.iterations.get(position)
    for name, result in copies:
        yield onnx.helper.make_node("Identity", [names.get(name, name)], [result]), None, None


def _move_facts(old: str, new: str, inner: Scope, scope: Scope) -> None:
    """Enter what is known of a tensor of a branch in the scope of the graph around it."""
    scope.types[new] = inner.types[old]
    if old in inner.constants:
        scope.constants.add(new)
    if old in inner.arrays:
        scope.arrays[new] = inner.arrays[old]
    if old in inner.ranges:
        scope.ranges[new] = inner.ranges[old]
