"""Dependences of operators: what `ir.dag` adds to networkx, against plain enumeration."""

from itertools import pairwise
from random import Random

import networkx as nx
import pytest
from hypothesis import given, settings

from tests.support.graphs import Builder, all_orders, graphs, random_graph, random_order, seeds
from ullage.compiler.ir.dag import (
    convex_hull,
    dominators,
    find_cycle,
    is_convex,
    is_order,
    narrow_cuts,
    operator_dag,
)
from ullage.compiler.ir.graph import Graph


@settings(max_examples=60, deadline=None, derandomize=True)
@given(graph=graphs(20))
def test_dependences_are_the_projection_of_the_whole_graph(graph: Graph) -> None:
    dag = operator_dag(graph)
    whole = graph.to_networkx()
    projected = nx.bipartite.projected_graph(whole, range(len(graph.operators)))
    assert list(dag) == list(range(len(graph.operators)))
    assert set(dag.edges) == set(projected.edges)
    for early, late, size in dag.edges(data="size_bytes"):
        between = set(whole.successors(early)) & set(whole.predecessors(late))
        assert size == sum(graph.values[name].size_bytes for name in between)


def test_cycles_are_named_in_their_order() -> None:
    net = nx.DiGraph([(0, 1), (1, 2), (2, 3), (3, 1), (4, 0)])
    assert find_cycle(net) == [1, 2, 3]
    net.remove_edge(3, 1)
    assert find_cycle(net) == []
    net.add_edge(4, 4)
    assert find_cycle(net) == [4]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=seeds)
def test_a_cycle_is_found_where_there_is_one(seed: int) -> None:
    net = nx.gnp_random_graph(9, 0.16, seed=seed, directed=True)
    cycle = find_cycle(net)
    assert bool(cycle) != nx.is_directed_acyclic_graph(net)
    assert all(net.has_edge(a, b) for a, b in zip(cycle, [*cycle[1:], *cycle[:1]], strict=True))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_orders_are_told_from_what_is_none(seed: int) -> None:
    rng = Random(seed)
    graph = random_graph(rng, 12)
    dag = operator_dag(graph)
    order = list(random_order(graph, rng))
    assert is_order(dag, order)
    for early, late in dag.edges:
        wrong = list(order)
        a, b = order.index(early), order.index(late)
        wrong[a], wrong[b] = late, early
        assert not is_order(dag, wrong)
    assert not is_order(dag, order[:-1])
    assert not is_order(dag, [*order, order[0]])


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=seeds)
def test_convex_sets_are_those_without_a_detour(seed: int) -> None:
    rng = Random(seed)
    dag = operator_dag(random_graph(rng, 10))
    chosen = {o for o in dag if rng.random() < 0.4}
    between = {
        node
        for node in dag
        if nx.ancestors(dag, node) & chosen and nx.descendants(dag, node) & chosen
    }
    assert convex_hull(dag, chosen) == chosen | between
    assert is_convex(dag, chosen) == (between <= chosen)
    # One unit: merged into one node, the graph still has no cycle.
    merged = nx.DiGraph(
        ("all" if a in chosen else a, "all" if b in chosen else b) for a, b in dag.edges
    )
    merged.remove_edges_from([("all", "all")])
    assert is_convex(dag, chosen) == nx.is_directed_acyclic_graph(merged)


def diamond() -> Graph:
    """Operators 0 and 4 with two branches, 1 and 2-3, between them; 5 behind."""
    build = Builder()
    build.value("x", 80, "input")
    build.op(["x"], [("a", 8)])
    build.op(["a"], [("b", 16)])
    build.op(["a"], [("c", 32)])
    build.op(["c"], [("d", 64)])
    build.op(["b", "d"], [("e", 24)])
    build.op(["e", "x"], [("y", 40)])
    return build.graph(["y"])


def test_dominators_of_a_diamond() -> None:
    dag = operator_dag(diamond())
    assert dominators(dag) == {0: None, 1: 0, 2: 0, 3: 2, 4: 0, 5: 4}
    assert dominators(dag.reverse(copy=False)) == {0: 4, 1: 4, 2: 3, 3: 4, 4: 5, 5: None}


@settings(max_examples=80, deadline=None, derandomize=True)
@given(graph=graphs(9))
def test_dominators_are_on_every_path(graph: Graph) -> None:
    dag = operator_dag(graph)
    found = dominators(dag)
    roots = [node for node in dag if not dag.in_degree(node)]
    for node in dag:
        common = set(dag) - {node}
        for root in roots:
            for path in nx.all_simple_paths(dag, root, node):
                common &= set(path)
            if root == node:
                common = set()
        last = max(common, key=lambda other: len(nx.ancestors(dag, other)), default=None)
        assert found[node] == last


@settings(max_examples=80, deadline=None, derandomize=True)
@given(graph=graphs(9))
def test_narrow_cuts_are_moments_that_every_order_has(graph: Graph) -> None:
    dag = operator_dag(graph)
    found = {cut.operator: cut.live_bytes for cut in narrow_cuts(graph)}
    everything = set(dag)
    for node in dag:
        before, after = nx.ancestors(dag, node), nx.descendants(dag, node)
        assert (node in found) == (before | after | {node} == everything)
        if node not in found:
            continue
        made = {n for i in before | {node} for n in graph.operators[i].outputs}
        made |= {n for n, v in graph.values.items() if v.kind == "input"}
        needed = {n for i in after for n in graph.operators[i].inputs} | set(graph.outputs)
        assert found[node] == sum(graph.values[name].size_bytes for name in made & needed)


def test_narrow_cuts_of_a_diamond() -> None:
    cuts = narrow_cuts(diamond())
    assert [(c.operator, c.live_bytes) for c in cuts] == [(0, 88), (4, 104), (5, 40)]


def test_a_cut_has_the_same_place_in_all_orders() -> None:
    for seed in range(40):
        graph = random_graph(Random(seed), 6)
        orders = all_orders(graph)
        fixed = {o for o in range(len(graph.operators)) if len({r.index(o) for r in orders}) == 1}
        assert {cut.operator for cut in narrow_cuts(graph)} == fixed


@pytest.mark.parametrize("count", [1, 2, 5])
def test_in_a_chain_every_operator_is_a_cut(count: int) -> None:
    build = Builder()
    build.value("v0", 8, "input")
    for i in range(count):
        build.op([f"v{i}"], [(f"v{i + 1}", 8 * (i + 1))])
    graph = build.graph([f"v{count}"])
    assert [cut.live_bytes for cut in narrow_cuts(graph)] == [8 * (i + 1) for i in range(count)]
    dag = operator_dag(graph)
    assert all(dominators(dag)[b] == a for a, b in pairwise(range(count)))
