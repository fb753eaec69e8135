"""Two plans side by side."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.support.decode_models import Decoder, growing_decoder
from tests.support.training import training_step
from ullage.compiler.common.errors import UsageError, VerificationError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.emit import emit_plan
from ullage.compiler.importer.build import import_model
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.lowering.tiling.cut import cut_output
from ullage.compiler.studies.diff import diff_plans

SLOW_DRAM = {
    "tiers.dram.read_bytes_per_s": "5e8",
    "tiers.dram.write_bytes_per_s": "5e8",
    "links.dram->sram.bandwidth_bytes_per_s": "5e8",
    "links.sram->dram.bandwidth_bytes_per_s": "5e8",
}


def planned(folder: Path, name: str, model: str = "squeezenet", **options: Any) -> Path:
    chosen = {"dtype": "int8", "fast_memory_bytes": 256 * 1024, "solver": "greedy"} | options
    return Path(emit_plan(compile_model(model, CompileOptions(**chosen)), folder / name)["json"])


def test_a_plan_is_the_same_as_itself(tmp_path: Path) -> None:
    found = diff_plans(planned(tmp_path, "one"), planned(tmp_path, "two"), 0.0)
    assert found["same"] is True
    assert found["passed"] is True
    assert found["slower"] == 0.0
    assert set(found["change"].values()) == {0.0}
    assert not found["differences"]
    assert not found["operators"]
    assert not found["buffers"]
    assert found["transfers"] == {"only_before": [], "only_after": []}


def test_what_changed_is_told_and_adds_up(tmp_path: Path) -> None:
    one, other = planned(tmp_path, "one"), planned(tmp_path, "other", solver="all-slow")
    found = diff_plans(one, other, 0.01)
    before, after = found["before"], found["after"]
    assert (before["solver"], after["solver"]) == ("greedy", "all-slow")
    assert found["slower"] == pytest.approx(after["latency_s"] / before["latency_s"] - 1)
    assert found["slower"] > 0.01
    assert found["passed"] is False
    assert diff_plans(other, one, 0.0)["passed"] is True
    assert diff_plans(one, other)["passed"] is True
    changed = sum(row["after_s"] - row["before_s"] for row in found["operators"])
    assert changed == pytest.approx(after["latency_s"] - before["latency_s"], rel=1e-6)
    assert not found["transfers"]["only_after"]
    assert len(found["transfers"]["only_before"]) == before["transfers"] - after["transfers"]
    moved = sum(row["transferred_bytes"][0] for row in found["buffers"])
    described = found["transfers"]["only_before"]
    assert moved == sum(t["end_byte"] - t["start_byte"] for t in described)
    assert not found["differences"]


def test_parts_are_compared_with_whole_operators(tmp_path: Path) -> None:
    model = find_model("squeezenet")
    graph = import_model(model)
    pool = next(o.outputs[0] for o in graph.operators if o.kind == "MaxPool")
    schedule = cut_output(graph, pool, {2: 14})
    found = diff_plans(planned(tmp_path, "whole"), planned(tmp_path, "cut", schedule=schedule))
    (parts,) = found["differences"]
    assert (parts["what"], parts["before"]) == ("parts", {})
    assert parts["after"] == {"n0": 4, "n2": 4}
    changed = sum(row["after_s"] - row["before_s"] for row in found["operators"])
    gained = found["after"]["latency_s"] - found["before"]["latency_s"]
    assert changed == pytest.approx(gained, rel=1e-6)
    assert {row["operator"] for row in found["operators"]} <= {o.name for o in graph.operators}


def test_plans_of_other_targets_and_problems_are_compared_and_told(tmp_path: Path) -> None:
    one = planned(tmp_path, "one")
    smaller = planned(tmp_path, "smaller", fast_memory_bytes=128 * 1024)
    (difference,) = diff_plans(one, smaller)["differences"]
    assert difference["what"] == "target.tiers.sram.capacity_bytes"
    assert (difference["before"], difference["after"]) == (256 * 1024, 128 * 1024)
    wider = diff_plans(one, planned(tmp_path, "wider", dtype=None))
    kinds = {difference["what"] for difference in wider["differences"]}
    assert {"model.dtype", "buffers"} <= kinds
    traffic = diff_plans(one, planned(tmp_path, "traffic", objective="traffic"))
    assert {"what": "objective", "before": "latency", "after": "traffic"} in traffic["differences"]
    chip = diff_plans(one, planned(tmp_path, "chip", target="phone-npu-flash", solver="fluid"))
    assert any(d["what"].startswith("target.tiers.flash") for d in chip["differences"])
    for document in (wider, chip):
        json.dumps(document, allow_nan=False)


def test_what_is_kept_updated_or_run_again_is_told(tmp_path: Path) -> None:
    decoder, step = tmp_path / "decoder.onnx", tmp_path / "step.onnx"
    onnx.save(growing_decoder(Decoder(layers=1)), decoder)
    onnx.save(training_step(), step)

    def differs(model: Path, first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = {"dtype": None, "schedule": "whole"}
        one = planned(tmp_path, "one", str(model), **(plain | first))
        other = planned(tmp_path, "other", str(model), **(plain | second))
        told = diff_plans(one, other)["differences"]
        return {row["what"]: (row["before"], row["after"]) for row in told}

    kept = differs(decoder, {}, {"states": ("auto",)})
    assert kept["model.state"] == ([], ["past_k0=present_k0", "past_v0=present_v0"])
    assert "model.updates" not in kept
    assert differs(step, {}, {"update": "last:4"})["model.updates"] == (None, 4)
    tight = {"fast_memory_bytes": 160 * 1024, "overrides": SLOW_DRAM, "solver": "fluid"}
    again = {"recompute": "auto", "schedule": None}
    before, after = differs(step, tight, tight | again)["recomputed operators"]
    assert before == {}
    assert after
    assert min(after.values()) >= 1


def test_plans_of_different_models_are_refused(tmp_path: Path) -> None:
    one, other = planned(tmp_path, "one"), planned(tmp_path, "other", "shufflenet")
    with pytest.raises(UsageError, match="different models"):
        diff_plans(one, other)
    with pytest.raises(UsageError, match="cannot be read"):
        diff_plans(one, tmp_path / "nothing.json")


def test_an_illegal_plan_is_not_compared(tmp_path: Path) -> None:
    one = planned(tmp_path, "one")
    document = json.loads(one.read_text())
    document["residencies"] = document["residencies"][1:]
    (tmp_path / "bad.json").write_text(json.dumps(document))
    with pytest.raises(VerificationError, match="illegal"):
        diff_plans(one, tmp_path / "bad.json")
    document = json.loads(one.read_text()) | {"lower_bound": 1e9}
    (tmp_path / "proud.json").write_text(json.dumps(document))
    with pytest.raises(VerificationError, match="illegal: its lower bound is"):
        diff_plans(one, tmp_path / "proud.json")
