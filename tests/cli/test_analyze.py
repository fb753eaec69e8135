"""`ullage analyze` and `--order memory`: the smallest peak, its proof, and plans that keep it."""

import json
from pathlib import Path

import networkx as nx
import onnx
import pytest
from onnx import TensorProto, helper

from ullage.cli.main import run


@pytest.fixture
def branches(tmp_path: Path) -> Path:
    """Two branches that blow up and shrink; the file runs them side by side."""
    wide, narrow = [1, 64, 16], [1, 1, 16]
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["a"], name="a"),
        helper.make_node("Expand", ["x", "shape"], ["b"], name="b"),
        helper.make_node("ReduceSum", ["a", "axes"], ["p"], name="p"),
        helper.make_node("ReduceMax", ["b", "axes"], ["q"], name="q"),
        helper.make_node("Add", ["p", "q"], ["y"], name="y"),
    ]
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, narrow)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, narrow)],
        [
            helper.make_tensor("shape", TensorProto.INT64, [3], wide),
            helper.make_tensor("axes", TensorProto.INT64, [1], [1]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path = tmp_path / "branches.onnx"
    onnx.save(model, path)
    return path


def test_analyze_tells_the_smallest_peak_and_its_proof(
    branches: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["analyze", str(branches), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    wide, narrow = 64 * 16 * 4, 16 * 4
    assert found["peak_live_bytes"] == 2 * wide + narrow
    assert found["max_operator_bytes"] == wide + 2 * narrow  # the sum is fused
    assert found["min_peak_bytes"] == wide + 2 * narrow
    assert found["min_peak_lower_bound_bytes"] == found["min_peak_bytes"]
    assert (found["min_peak_proven"], found["min_peak_order"]) == (True, "memory")
    assert sum(r["bytes"] for r in found["peak_residents"]) == found["min_peak_bytes"]
    assert run(["analyze", str(branches)]) == 0
    assert "no order needs less (proven by" in " ".join(capsys.readouterr().out.split())


def test_a_plan_in_memory_order_is_verified_against_its_model(
    branches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["compile", str(branches), "--order", "memory", "-o", str(tmp_path / "out"), "--json"]
    assert run(asked) == 0
    plan = Path(json.loads(capsys.readouterr().out)["plan"])
    order = json.loads(plan.read_text(encoding="utf-8"))["model"]["operator_order"]
    assert order != sorted(order)
    assert run(["verify", str(plan), "--model", str(branches), "--json"]) == 0
    assert run(["run", str(branches), str(plan), "--json"]) == 0


def test_the_graph_is_drawn(
    branches: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "new" / "folder"
    asked = ["analyze", str(branches), "--emit", "dot,graphml", "-o", str(folder)]
    assert run([*asked, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["written"]
    assert written == {
        "dot": str(folder / "branches.dot"),
        "graphml": str(folder / "branches.graphml"),
    }
    assert len(nx.read_graphml(written["graphml"])) == 4 + 5  # the last sum is fused
    assert run(asked) == 0
    assert f"written: {written['dot']}" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    assert run(["analyze", str(branches), "--emit", "dot", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == {"dot": "branches.dot"}
    assert (tmp_path / "branches.dot").read_bytes() == Path(written["dot"]).read_bytes()


def test_graphs_that_cannot_be_drawn_are_refused(
    branches: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["analyze", str(branches), "--json", "--emit"]
    assert run([*asked, "dot,svg"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["message"] == "nothing emits 'svg'; there are: dot, graphml"
    (tmp_path / "file").write_text("in the way")
    assert run([*asked, "dot", "-o", str(tmp_path / "file")]) == 2
    assert "cannot be written" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert run(["analyze", str(branches), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["written"] == {}
