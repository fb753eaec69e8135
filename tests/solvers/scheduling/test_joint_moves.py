"""Moves of a window against what networkx says about the whole graph."""

from random import Random

import networkx as nx
import numpy as np
from hypothesis import given, settings

from tests.support.graphs import random_graph, random_order, seeds
from ullage.compiler.ir.dag import is_order, operator_dag
from ullage.solvers.scheduling import joint_moves


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_one_operator_goes_with_all_that_it_needs_or_that_needs_it(seed: int) -> None:
    graph = random_graph(Random(seed), 14)
    dag = operator_dag(graph)
    before = joint_moves.precedence_of(graph)
    order = random_order(graph, Random(seed))
    low = seed % len(order)
    window = order[low : low + 8]
    for move, kin, at_front in (
        (joint_moves.ancestors_first, nx.ancestors, True),
        (joint_moves.descendants_last, nx.descendants, False),
    ):
        rng, same = np.random.default_rng(seed), np.random.default_rng(seed)
        chosen = int(same.choice(np.asarray(window)))
        group = {chosen} | kin(dag, chosen)
        found = move(window, before, rng)
        assert found == sorted(window, key=lambda o: ((o in group) != at_front, window.index(o)))
        assert is_order(dag, [*order[:low], *found, *order[low + 8 :]])
