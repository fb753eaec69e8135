"""`ullage analyze` and `--order memory`: the smallest peak, its proof, and plans that keep it."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.cli import ANALYZE_KEYS, Json, has_types
from ullage.cli.main import run
from ullage.compiler.common.units import format_size


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


def test_analyze_prints_what_a_model_needs(
    ask: Json, say: Callable[..., tuple[str, str]], tiny: Path
) -> None:
    found = ask("analyze", tiny, "--dim", "n=8")
    has_types(found, ANALYZE_KEYS)
    assert found["weights_bytes"] == 2 * 64 * 64 * 4
    assert found["largest_tensor_bytes"] == 64 * 64 * 4
    assert found["max_operator_bytes"] == 3 * 8 * 64 * 4
    assert found["macs"] == 2 * 8 * 64 * 64
    assert found["min_peak_bytes"] <= found["peak_live_bytes"]
    assert sum(r["bytes"] for r in found["peak_residents"]) == found["min_peak_bytes"]
    assert found["unsupported"] == []
    assert [t["tier"] for t in found["tiers"]] == ["sram", "dram"]
    assert found["tiers"][1]["home_bytes"] > found["weights_bytes"]
    out, _ = say("analyze", tiny, "--dim", "n=8")
    assert format_size(found["weights_bytes"]) in out
    assert format_size(found["min_peak_bytes"]) in out


def test_analyze_lists_operators_that_run_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [
        helper.make_node("Det", ["x"], [f"d{place}"], name=f"det {place}") for place in range(3)
    ]
    nodes.append(helper.make_node("Sum", [f"d{place}" for place in range(3)], ["y"], name="sum"))
    graph = helper.make_graph(
        nodes,
        "whole",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 3, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
    )
    path = tmp_path / "whole.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    assert run(["analyze", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["barriers"]
    assert found == [
        {"operator": f"det {place}", "kind": "Det", "reason": "no rule for Det"}
        for place in range(3)
    ]
    assert run(["analyze", str(path)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "runs whole, never in parts: Det det 0 and 2 more: no rule for Det" in shown


def test_operators_are_listed_as_schedules_name_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["analyze", "squeezenet", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    found = document["operators_detail"]
    assert [operator["operator"] for operator in found] == list(range(len(found)))
    assert len(found) > document["operators"]  # views are no steps, but have their index
    conv = found[0]
    assert conv["kind"] == "Conv"
    assert conv["axes"] == [1, 2, 3]
    assert conv["k"] == 3
    rows = conv["outputs"][0]["shape"][2]
    halves = [[0, rows // 2], [rows // 2, rows]]
    parts = [{"operator": 0, "name": conv["name"], "ranges": {"2": half}} for half in halves]
    whole = [{"operator": o["operator"], "name": o["name"]} for o in found[1:]]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"schedule": [*parts, *whole]}))
    assert run(["compile", "squeezenet", "--schedule", str(path), "--solver", "greedy"]) == 0
