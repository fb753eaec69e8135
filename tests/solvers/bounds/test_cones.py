"""Cones, dead parts and loads, against sets of elements."""

from functools import cache
from math import prod

import pytest

from tests.support.element_graph import ElementGraph, element_graph
from tests.support.small_nets import SMALL_NETS
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.bounds.cones import Cone, Following, Layout, Preceding, layout_of
from ullage.solvers.bounds.live import Live, live_of
from ullage.solvers.bounds.network import Network, network_of

NAMES = list(SMALL_NETS)
# Shares are exact but for rounding.
NEAR = 1e-9


@cache
def small(name: str) -> tuple[Graph, ElementGraph, Network, Layout, Live]:
    graph = import_model(SMALL_NETS[name](), ImportOptions(dtype="int8"))
    network = network_of(graph, load_target("edge-npu"))
    return graph, element_graph(graph), network, layout_of(network), live_of(network)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_alive_reaches_an_output(name: str) -> None:
    graph, elements, network, _, live = small(name)
    alive = elements.alive()
    for index, node in enumerate(network.nodes):
        result = node.operator.outputs[0]
        size = prod(graph.values[result].shape)
        exact = sum((result, at) in alive for at in range(size))
        # Of queries one row is alive, of keys and values all: the union is no product.
        assert live.work[index] * size <= exact + NEAR, result
        if name != "attention":
            assert live.work[index] * size == pytest.approx(exact), result
        for place, load in enumerate(node.results[0].loads):
            value = network.values[load.value]
            used = {
                e
                for at in range(size)
                if (result, at) in alive
                for e in elements.uses[result, at]
                if e[0] == value.name
            }
            assert live.loads[index][place] <= len(used) + NEAR or load.axes is None


@pytest.mark.parametrize("name", NAMES)
def test_what_follows_an_element_is_no_more_than_its_users(name: str) -> None:
    graph, elements, network, layout, live = small(name)
    alive = elements.alive()
    follow = Following(network, layout, live)
    some = 0
    for node in network.nodes:
        for result in node.results:
            value = network.values[result.value].name
            size = prod(graph.values[value].shape)
            cones = follow.of(result.value)
            starts = [at for at in range(size) if (value, at) in alive]
            assert (cones is None) == (not starts)
            if cones is None:
                continue
            exact = [elements.following((value, at), alive) for at in starts]
            own = [{(value, at)} for at in starts]
            some += _check(network, layout, elements, cones, list(zip(exact, own, strict=True)))
    assert some  # some cone is not empty


def _check(
    network: Network,
    layout: Layout,
    elements: ElementGraph,
    cones: tuple[Cone, Cone],
    exact: list[tuple[set[tuple[str, int]], set[tuple[str, int]]]],
) -> int:
    some = 0
    for index, node in enumerate(network.nodes):
        name = node.operator.outputs[0]
        size = prod(network.values[node.results[0].value].shape)
        counts, pairs = [], []
        for found, own in exact:
            mine = [e for e in found if e[0] == name]
            counts.append(len(mine) / size)
            activations = [[u for u in elements.uses[e] if u[0] in elements.maker] for e in mine]
            met = sum(len([u for u in used if u in found or u in own]) for used in activations)
            most = max(
                len([u for u in elements.uses[name, at] if u[0] in elements.maker])
                for at in range(size)
            )
            pairs.append(met / max(1, most * size))
        free, whole = cones[0].work[index], cones[1].work[index]
        some += free > 0
        assert whole <= min(counts) + NEAR
        several = len(node.reads) > 1
        assert free <= (min(counts) if several else min(pairs)) + NEAR, name
        first = layout.first_load[index]
        for place, load in enumerate(node.results[0].loads, first):
            weight = network.values[load.value].name
            used = [
                {u for e in found if e[0] == name for u in elements.uses[e] if u[0] == weight}
                for found, _ in exact
            ]
            assert cones[1].loads[place] <= min(map(len, used)) + NEAR, (name, weight)
            assert cones[0].loads[place] <= cones[1].loads[place] + NEAR
    return some


@pytest.mark.parametrize("name", NAMES)
def test_what_precedes_an_element_is_no_more_than_it_is_made_of(name: str) -> None:
    graph, elements, network, layout, _ = small(name)
    precede = Preceding(network, layout)
    for node in network.nodes:
        for result in node.results:
            value = network.values[result.value].name
            cone = precede.of(result.value)
            size = prod(graph.values[value].shape)
            exact = [elements.preceding((value, at)) for at in range(size)]
            for index, other in enumerate(network.nodes):
                made = other.operator.outputs[0]
                whole = prod(graph.values[made].shape)
                counts = [sum(e[0] == made for e in found) for found in exact]
                assert cone.work[index] * whole <= min(counts) + NEAR, (value, made)
                first = layout.first_load[index]
                for place, load in enumerate(other.results[0].loads, first):
                    weight = network.values[load.value].name
                    used = [
                        {u for e in found if e[0] == made for u in elements.uses[e]}
                        for found in exact
                    ]
                    least = min(sum(u[0] == weight for u in found) for found in used)
                    assert cone.loads[place] <= least + NEAR, (value, weight)


def test_branches_that_are_shifted_are_not_taken_for_one_place() -> None:
    graph, elements, network, layout, live = small("branches")
    cones = Following(network, layout, live).of(network.numbers["a"])
    assert cones is not None
    concat = next(i for i, n in enumerate(network.nodes) if n.operator.kind == "Concat")
    size = prod(network.values[network.nodes[concat].results[0].value].shape)
    exact = min(
        sum(e[0] == "e" for e in elements.following(("a", at), elements.alive()))
        for at in range(prod(graph.values["a"].shape))
    )
    assert 0 < cones[0].work[concat] * size <= exact
