"""The bit masks of ordering problems, against networkx."""

from random import Random

import networkx as nx
from hypothesis import given, settings

from tests.support.graphs import Builder, graphs, random_graph, seeds
from ullage.compiler.ir.dag import operator_dag
from ullage.compiler.ir.graph import Graph
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.solvers.scheduling.order_items import bits, order_items
from ullage.solvers.scheduling.order_moves import moves_of


@settings(max_examples=100, deadline=None, derandomize=True)
@given(graph=graphs(20))
def test_predecessors_reach_through_operators_that_do_nothing(graph: Graph) -> None:
    items, _ = order_items(graph, AliasOptions())
    dag = operator_dag(graph)
    idle = set(dag) - set(items.operators)
    for number, operator in enumerate(items.operators):
        direct = {
            earlier
            for earlier in set(items.operators) - {operator}
            if nx.has_path(dag.subgraph({earlier, operator} | idle), earlier, operator)
        }
        assert {items.operators[i] for i in bits(items.before[number])} == direct


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_moves_follow_the_dependences(seed: int) -> None:
    rng = Random(seed)
    moves = moves_of(order_items(random_graph(rng, 14), AliasOptions())[0])
    dag = nx.DiGraph()
    dag.add_nodes_from(range(moves.count))
    dag.add_edges_from(
        (early, o) for o, before in enumerate(moves.before) for early in bits(before)
    )
    assert all(set(moves.after[o]) == set(dag.successors(o)) for o in dag)
    generations = list(nx.topological_generations(dag))
    assert set(bits(moves.first_ready())) == set(next(iter(generations), ()))
    done = 0
    order = [o for generation in generations for o in rng.sample(generation, len(generation))]
    for operator in order:
        done |= 1 << operator
        ran = set(bits(done))
        ready = {o for o in dag.successors(operator) if ran >= set(dag.predecessors(o))}
        assert set(bits(moves.ready_after(done, operator))) == ready


def test_a_part_is_disputed_where_neither_concat_needs_the_other() -> None:
    def joined_twice(*, one_after_the_other: bool) -> Graph:
        build = Builder()
        build.value("x", 64, "input")
        build.op(["x"], [("p", 64)])
        build.op(["x"], [("q", 64)])
        build.concat(["p", "q"], "first")
        other = "q"
        if one_after_the_other:
            build.op(["first"], [("r", 64)])
            other = "r"
        build.concat(["p", other], "second")
        return build.graph(["first", "second"])

    for settled in (False, True):
        graph = joined_twice(one_after_the_other=settled)
        searched, bounding = order_items(graph, AliasOptions())
        assert (bounding is searched) == settled
        plain = order_items(graph, AliasOptions(parts=False))
        assert plain[0] is plain[1]
