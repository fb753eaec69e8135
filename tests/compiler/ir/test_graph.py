"""`Graph.to_networkx` and back: nothing is lost, and what has not that form is refused by name."""

import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import networkx as nx
import pytest
from hypothesis import given, settings

from tests.support.graphs import Builder, graphs, random_graph, seeds
from ullage.compiler.common.errors import UsageError
from ullage.compiler.importer.build import import_model
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.graph import Graph


@settings(max_examples=150, deadline=None, derandomize=True)
@given(graph=graphs(20))
def test_there_and_back(graph: Graph) -> None:
    net = graph.to_networkx()
    assert nx.is_directed_acyclic_graph(net)
    assert nx.is_bipartite(net)
    again = Graph.from_networkx(net)
    assert again == graph
    assert list(again.values) == list(graph.values)


@pytest.mark.parametrize("name", ["squeezenet", "inception_v1", "shufflenet"])
def test_models_there_and_back(name: str) -> None:
    graph = import_model(find_model(name))
    assert Graph.from_networkx(graph.to_networkx()) == graph


def test_nodes_and_edges_say_what_they_are() -> None:
    build = Builder("small")
    build.value("x", 64, "input")
    build.value("w", 32, "weight")
    build.op(["x", "w"], [("y", 16)], macs=7, accessed=[("w", 8)])
    net = build.graph(["y"]).to_networkx()
    assert (net.name, net.graph["inputs"], net.graph["outputs"]) == ("small", ("x",), ("y",))
    assert net.nodes["x"] == {
        "role": "value",
        "name": "x",
        "kind": "input",
        "dtype": "int8",
        "shape": (8, 8),
        "size_bytes": 64,
        "is_upper_bound": False,
        "padded_shape": None,
    }
    assert net.nodes[0]["role"] == "operator"
    assert (net.nodes[0]["kind"], net.nodes[0]["macs"]) == ("Conv", 7)
    assert net.edges["x", 0] == {"position": 0, "size_bytes": 64}
    assert net.edges["w", 0] == {"position": 1, "size_bytes": 8}
    assert net.edges[0, "y"] == {"position": 0, "size_bytes": 16}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=seeds)
def test_keys_of_operators_and_order_of_nodes_do_not_matter(seed: int) -> None:
    """Only which operator comes first among equals follows the order in which nodes stand."""
    rng = Random(seed)
    graph = random_graph(rng, 12)
    net = graph.to_networkx()
    mixed = nx.DiGraph(**net.graph)
    nodes = list(net.nodes(data=True))
    edges = list(net.edges(data=True))
    rng.shuffle(nodes)
    rng.shuffle(edges)
    mixed.add_nodes_from(nodes)
    mixed.add_edges_from(edges)
    named = nx.relabel_nodes(mixed, {i: ("op", i) for i in range(len(graph.operators))})
    again = Graph.from_networkx(named)
    assert again.values == graph.values
    assert sorted(again.operators, key=str) == sorted(graph.operators, key=str)
    made = {name: at for at, o in enumerate(again.operators) for name in o.outputs}
    assert all(made.get(n, -1) < at for at, o in enumerate(again.operators) for n in o.inputs)


def test_a_graph_made_by_hand_needs_little() -> None:
    net = nx.DiGraph()
    tensor = {"role": "value", "dtype": "int8", "shape": [4], "size_bytes": 4}
    net.add_node("x", kind="input", **tensor)
    net.add_node("y", kind="output", **tensor)
    net.add_node("relu", role="operator", name="relu", kind="Relu")
    net.add_edges_from([("x", "relu"), ("relu", "y")])
    graph = Graph.from_networkx(net)
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))
    assert graph.values["x"].shape == (4,)
    assert graph.operators[0].inputs == ("x",)


def _without(node: object, attribute: str) -> Callable[[Any], Any]:
    return lambda net: net.nodes[node].pop(attribute)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_without("x", "role"), "node 'x' has the role None"),
        (_without("x", "dtype"), "value 'x' needs the attribute dtype"),
        (_without(1, "kind"), "operator 1 needs the attribute kind"),
        (lambda net: net.add_edge("y", "x"), "'y' -> 'x' joins two values"),
        (lambda net: net.add_edge(0, 1), "0 -> 1 joins two operators"),
        (lambda net: net.add_edge(1, "y"), "'y' is written by 2 operators"),
        (lambda net: net.add_edge("z", 0), "cycle: "),
        (lambda net: net.nodes[1].update(name="\udcff"), "is no Unicode text; rename it"),
        (lambda net: net.add_node("\udcff", **net.nodes["x"]), "is no Unicode text; rename it"),
        (lambda net: net.add_node(7, **net.nodes["x"]), "value 7 needs a text"),
        (lambda net: net.nodes[1].update(name=net.nodes[0]["name"]), "two operators have the name"),
        (lambda net: net.nodes[1].update(accessed_bytes=(("v", 1),)), "'v' is named in the graph"),
        (lambda net: net.graph.update(outputs=("q",)), "'q' is named in the graph"),
    ],
)
def test_what_is_no_graph_is_refused_by_name(spoil: Callable[[Any], Any], complaint: str) -> None:
    build = Builder()
    build.value("x", 8, "input")
    build.relu("x", "y")
    build.relu("y", "z")
    net = build.graph(["z"]).to_networkx()
    spoil(net)
    with pytest.raises(UsageError) as caught:
        Graph.from_networkx(net)
    assert complaint in caught.value.message


def test_only_directed_graphs_without_parallel_edges_are_read() -> None:
    for wrong in (nx.Graph(), nx.MultiDiGraph()):
        with pytest.raises(UsageError, match=r"made from a networkx\.DiGraph"):
            Graph.from_networkx(wrong)


def test_the_example_of_the_documentation_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[3] / "docs" / "graphs.md").read_text(encoding="utf-8")
    for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        exec(compile(code, "docs/graphs.md", "exec"), {})  # noqa: S102 - our own documentation
    assert "can run as one unit: True" in capsys.readouterr().out
