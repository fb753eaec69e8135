"""The graph as DOT and GraphML: sizes and costs are in it, and no name breaks out of its quotes."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import networkx as nx
import pytest

from tests.support.graphs import Builder
from ullage.compiler.common.palette import LIGHT
from ullage.compiler.emit.graph_files import costed, dot_text, emit_graph, graphml_text
from ullage.compiler.frontend import FrontendOptions, Ordering, Prepared, in_order
from ullage.compiler.ir.graph import Graph
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import compute_seconds

QUOTED = r'"(?:[^"\\]|\\.)*"'
LINE = re.compile(
    rf"digraph {QUOTED} \{{|\}}|  \w+ -> \w+;"
    rf"|  \w+ \[\w+=(?:{QUOTED}|[\w.]+)(?:, \w+=(?:{QUOTED}|[\w.]+))*\];"
)
HOSTILE = [
    'quote" ]; evil [label="x',
    "back\\slash\\",
    "line\nfeed\r\ttab",
    "null\x00bell\x07",
    "<script>&amp;&#34;]]>",
    "\ud7ff\ufffe\U0001f40c ünïcode",
    "../../etc/passwd",
    "",
]


def prepared(graph: Graph) -> Prepared:
    order = Ordering(tuple(range(len(graph.operators))))
    target = load_target("edge-npu", {})
    return in_order(graph, target, order, FrontendOptions(), path=None, started=0.0)


def small(name: str = "small") -> Graph:
    build = Builder(name)
    build.value("x", 64, "input")
    build.value("w", 32, "weight")
    build.op(["x", "w"], [("a", 2048)], macs=9_000_000, accessed=[("w", 8)])
    build.view("a", "b")
    build.op(["b"], [("y", 16)], kind="Softmax")
    graph = build.graph(["y"])
    fused = replace(graph.operators[0], nodes=(0, 1))
    return replace(graph, operators=(fused, *graph.operators[1:]))


def test_costs_are_those_of_the_steps() -> None:
    case = prepared(small())
    net = costed(case)
    seconds, _ = compute_seconds(case.problem)
    by_step = {s.operator: x for s, x in zip(case.problem.steps, seconds, strict=True)}
    assert net.nodes[1]["compute_s"] == 0.0  # a view: no step
    assert 1 not in by_step
    for operator in (0, 2):
        assert net.nodes[operator]["compute_s"] == by_step[operator] > 0


def test_a_picture_shows_kinds_sizes_and_costs() -> None:
    text = dot_text(costed(prepared(small())))
    assert all(LINE.fullmatch(line) for line in text.splitlines())
    assert r'label="Conv0\nConv and 1 fused\n9 M MAC\n' in text
    assert r'label="Reshape1\nReshape\nno compute time"' in text
    assert r'label="a\nint8 256x8\n2 KiB"' in text
    weight = rf'shape=note, color="{LIGHT["weight"]}", label="w\nint8 4x8\n32 B"'
    assert weight in text
    assert text.count("peripheries=2") == 1
    assert text.count(" -> ") == 7
    fills = set(re.findall(r'fillcolor="(#\w+)"', text))
    assert len(fills) == 3


def test_graphml_is_read_back_by_networkx() -> None:
    case = prepared(small())
    text = graphml_text(costed(case))
    again = nx.parse_graphml(text)
    assert again.nodes["operator0"]["macs"] == 9_000_000
    assert again.nodes["operator0"]["fused_nodes"] == 2
    assert again.nodes["operator0"]["compute_s"] == costed(case).nodes[0]["compute_s"]
    value = again.nodes["value1"]
    assert (value["name"], value["shape"], value["size_bytes"]) == ("w", "4x8", 32)
    assert value["is_upper_bound"] == "false"
    assert again.edges["value1", "operator0"] == {"position": 1, "size_bytes": 8}
    assert nx.utils.graphs_equal(again, nx.parse_graphml(graphml_text(costed(case))))


@pytest.mark.parametrize("name", HOSTILE)
def test_names_stay_inside_their_quotes(name: str, tmp_path: Path) -> None:
    build = Builder(name)
    build.value(name, 64, "input")
    build.op([name], [(f"{name}2", 16)], kind=f"Kind{name}")
    written = emit_graph(prepared(build.graph([f"{name}2"])), tmp_path, ("dot", "graphml"))
    assert sorted(path.parent for path in map(Path, written.values())) == [tmp_path, tmp_path]
    dot = Path(written["dot"]).read_text("utf-8")
    assert all(LINE.fullmatch(line) for line in dot.removesuffix("\n").split("\n"))
    again = nx.read_graphml(written["graphml"])
    assert set(again) == {"value0", "value1", "operator0"}
    if name.isprintable():
        assert again.nodes["value0"].get("name", "") == name
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tplain", written["dot"]], capture_output=True, check=True)


def test_long_names_are_shortened_in_pictures_alone() -> None:
    build = Builder()
    long = "block/" * 40 + "weight"
    build.value(long, 64, "input")
    build.op([long], [("y", 16)])
    net = costed(prepared(build.graph(["y"])))
    assert long not in dot_text(net)
    assert "..." + long[-45:] in dot_text(net)
    assert long in graphml_text(net)


def test_many_kinds_share_one_colour() -> None:
    build = Builder()
    build.value("v0", 64, "input")
    for i in range(12):
        build.op([f"v{i}"], [(f"v{i + 1}", 64)], kind=f"Kind{i}")
    text = dot_text(costed(prepared(build.graph(["v12"]))))
    assert len(set(re.findall(r'fillcolor="(#\w+)"', text))) == 9
