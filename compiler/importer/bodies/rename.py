"""Names in graphs and subgraphs: which are defined how often, and giving tensors other names."""

from collections import Counter
from collections.abc import Iterator, Mapping

import onnx


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The subgraphs of a node."""
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def defined_names(graph: onnx.GraphProto) -> Counter[str]:
    """How often each name is defined in a graph and in its subgraphs, at all depths."""
    found: Counter[str] = Counter()
    waiting = [graph]
    while waiting:
        current = waiting.pop()
        found.update(_defined_in(current))
        for node in current.node:
            waiting.extend(subgraphs(node))
    return found


def _defined_in(graph: onnx.GraphProto) -> set[str]:
    """Names that a graph defines, those of its subgraphs left out."""
    names = {value.name for value in graph.input}
    names.update(tensor.name for tensor in graph.initializer)
    names.update(name for node in graph.node for name in node.output if name)
    return names


def fresh_name(wanted: str, taken: Counter[str], mark: str = "/") -> str:
    """The name, with a mark and a number where it is taken; it counts as taken from then on."""
    name = wanted
    while taken[name]:
        taken[wanted] += 1
        name = f"{wanted}{mark}{taken[wanted]}"
    taken[name] = 1
    return name


def rename_node(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Give other names to what a node reads and writes, in its subgraphs too."""
    for place in (node.input, node.output):
        for position, name in enumerate(place):
            if name in names:
                place[position] = names[name]
    for graph in subgraphs(node):
        rename_outer(graph, names)


def rename_outer(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    """Give other names to the outer tensors that a subgraph reads; its own keep theirs."""
    own = _defined_in(graph)
    outer = {old: new for old, new in names.items() if old not in own}
    if not outer:
        return
    for node in graph.node:
        rename_node(node, outer)
    for value in graph.output:
        value.name = outer.get(value.name, value.name)
