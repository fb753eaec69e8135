"""Dependences of operators, and what networkx says about them.

`operator_dag` has the operators' indices as nodes, so networkx can be asked directly:
`nx.topological_generations`, `nx.ancestors`, `nx.descendants`, `nx.has_path`,
`nx.transitive_reduction`, `nx.articulation_points(dag.to_undirected(as_view=True))`. The functions
here are the questions that need more than one call.

Searches that ask millions of times keep sets as bit masks (`solvers.scheduling`, `solvers.cosma`);
this module is their oracle in tests.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.states.flow import state_edges

if TYPE_CHECKING:
    import networkx as nx


def operator_dag(graph: Graph) -> "nx.DiGraph":
    """Which operator must run before which: it makes what the other one reads.

    Returns:
        A `networkx.DiGraph` over operator indices 0..N-1, in this order. An edge's `size_bytes`
        (int) is the sum of the values that pass along it; 0 where one operator reads the data of a
        state that the other one overwrites.
    """
    import networkx as nx

    maker: dict[str, int] = {}
    passed: dict[tuple[int, int], int] = {}
    for index, operator in enumerate(graph.operators):
        for name in operator.inputs:
            if name in maker:
                edge = (maker[name], index)
                passed[edge] = passed.get(edge, 0) + graph.values[name].size_bytes
        maker.update(dict.fromkeys(operator.outputs, index))
    for reader, writer, _ in state_edges(graph):
        passed.setdefault((reader, writer), 0)
    dag = nx.DiGraph()
    dag.add_nodes_from(range(len(graph.operators)))
    dag.add_edges_from((*edge, {"size_bytes": size}) for edge, size in passed.items())
    return dag


def find_cycle(net: "nx.DiGraph") -> list[Any]:
    """The nodes of some cycle in the order in which it runs; empty if there is none.

    It takes time linear in the number of edges.
    """
    import networkx as nx

    # nx.find_cycle alone starts from one node after another, which takes quadratic time.
    for component in nx.strongly_connected_components(net):
        start = next(iter(component))
        if len(component) > 1 or net.has_edge(start, start):
            start = next(node for node in net if node in component)
            return [node for node, _ in nx.find_cycle(net, start)]
    return []


def is_order(dag: "nx.DiGraph", order: Sequence[int]) -> bool:
    """Whether an order has every operator once, each after those whose results it reads."""
    place = {operator: at for at, operator in enumerate(order)}
    if len(place) != len(order) or place.keys() != set(dag):
        return False
    return all(place[early] < place[late] for early, late in dag.edges)


def convex_hull(dag: "nx.DiGraph", operators: Iterable[int]) -> set[int]:
    """The given operators, and all that lie on a path from one of them to another.

    They can run as one unit: nothing outside has to run between two of them.
    """
    import networkx as nx

    inside = set(operators)
    behind, before = (
        {node for layer in nx.bfs_layers(net, inside) for node in layer}
        for net in (dag, dag.reverse(copy=False))
    )
    return behind & before


def is_convex(dag: "nx.DiGraph", operators: Iterable[int]) -> bool:
    """Whether no path leads out of a set of operators and back into it."""
    inside = set(operators)
    return convex_hull(dag, inside) == inside


def dominators(dag: "nx.DiGraph") -> Mapping[int, int | None]:
    """For each operator the last other operator that every path to it goes through.

    Paths begin at operators that read no result of another one. The value is None where the paths
    have no operator in common. With `dag.reverse(copy=False)` it is the same for paths onwards: the
    first operator at which all that follows comes together again.
    """
    import networkx as nx

    start = -1
    rooted = nx.DiGraph(dag.edges)
    rooted.add_edges_from((start, node) for node, degree in dag.in_degree if not degree)
    dominator = nx.immediate_dominators(rooted, start)
    return {node: None if dominator[node] == start else dominator[node] for node in dag}


@dataclass(frozen=True, slots=True)
class NarrowCut:
    """An operator that splits every order in the same two parts: its ancestors and its descendants.

    Whatever the order, exactly its ancestors have run before it and exactly its descendants run
    after it, so it is a natural place to divide the model.

    Attributes:
        operator: its index.
        live_bytes: bytes of inputs, activations and outputs that exist after it and are read later
            or kept as outputs; values that could share bytes are counted apart.
    """

    operator: int
    live_bytes: int


def narrow_cuts(graph: Graph) -> tuple[NarrowCut, ...]:
    """All narrow cuts of a graph, in file order; `min` by `live_bytes` is the narrowest."""
    dag, count = operator_dag(graph), len(graph.operators)
    # All before v lead to it if each of them has a successor no later than v: follow the first
    # successors. The same for all behind it and last predecessors, in any topological order.
    first = [min(dag.successors(v), default=count) for v in dag]
    last = [max(dag.predecessors(v), default=-1) for v in dag]
    furthest = list(accumulate(first, max, initial=-1))
    nearest = list(accumulate(reversed(last), min, initial=count))[::-1]
    live = _live_after(graph)
    return tuple(NarrowCut(v, live[v]) for v in range(count) if furthest[v] <= v <= nearest[v + 1])


def _live_after(graph: Graph) -> list[int]:
    """Bytes alive after each operator in file order, weights left out."""
    count = len(graph.operators)
    begin = {name: 0 for name, value in graph.values.items() if value.kind == "input"}
    end = dict.fromkeys(graph.outputs, count)
    for index, operator in enumerate(graph.operators):
        begin.update(dict.fromkeys(operator.outputs, index))
        for name in operator.inputs:
            end[name] = max(index, end.get(name, 0))
    change = [0] * (count + 1)
    for name, start in begin.items():
        change[start] += graph.values[name].size_bytes
        change[max(start, end.get(name, start))] -= graph.values[name].size_bytes
    return list(accumulate(change))[:count]
