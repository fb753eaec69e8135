"""Minimum cuts by OR-Tools, against those of networkx."""

from random import Random

import networkx as nx
from hypothesis import given, settings

from tests.support.graphs import random_graph, seeds
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.solvers.scheduling.cut_bound import CutNetwork
from ullage.solvers.scheduling.order_items import GIVEN, Items, bits, order_items


def least_live_bytes(items: Items, inside: set[int], outside: set[int]) -> int | None:
    """Arcs without a capacity are infinite: a writer is in the set if a reader is."""
    net = nx.DiGraph()
    net.add_nodes_from(["source", "sink"])
    for index, item in enumerate(items.items):
        writer = "source" if item.writer == GIVEN else item.writer
        net.add_edge(writer, ("item", index), capacity=item.size_bytes)
        net.add_edges_from((("item", index), reader) for reader in bits(item.readers))
        if item.kept:
            net.add_edge(("item", index), "sink")
    for operator, before in enumerate(items.before):
        net.add_edges_from((operator, earlier) for earlier in bits(before))
    net.add_edges_from(("source", operator) for operator in inside)
    net.add_edges_from((operator, "sink") for operator in outside)
    try:
        return int(nx.minimum_cut_value(net, "source", "sink"))
    except nx.NetworkXUnbounded:
        return None


@settings(max_examples=120, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_least_live_bytes_are_those_of_networkx(seed: int) -> None:
    rng = Random(seed)
    items, _ = order_items(random_graph(rng, 14), AliasOptions())
    network = CutNetwork(items)
    operators = range(len(items.operators))
    for _ in range(4):
        inside = {o for o in operators if rng.random() < 0.2}
        outside = {o for o in operators if rng.random() < 0.2} - inside
        found = network.least_live_bytes(sum(1 << o for o in inside), sum(1 << o for o in outside))
        assert found == least_live_bytes(items, inside, outside)
