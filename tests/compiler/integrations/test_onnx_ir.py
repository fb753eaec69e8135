"""The onnx-ir pass: places in metadata, beside a standard pass, through save and load."""

import json
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper
from onnx_ir.passes import PassManager
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    LiftConstantsToInitializersPass,
    RemoveUnusedNodesPass,
)

from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.integrations.onnx_ir import KEY, PlanMemoryPass


def test_places_survive_a_round_trip(tmp_path: Path) -> None:
    plan_memory = PlanMemoryPass(CompileOptions(target="edge-npu", dtype="int8", solver="greedy"))
    model = ir.load(find_model("squeezenet"))
    result = PassManager([RemoveUnusedNodesPass(), plan_memory])(model)
    assert result.modified
    ir.save(result.model, tmp_path / "planned.onnx")
    again = ir.load(tmp_path / "planned.onnx")
    summary = json.loads(again.metadata_props[KEY])
    compiled = plan_memory.compiled
    assert compiled is not None
    assert summary["latency_s"] == compiled.score.latency_s
    plan = compiled.plan
    planned = {v.name for b in plan.problem.buffers for v in b.values}
    found: dict[str, dict[str, object]] = {}
    graph = again.graph
    values = [*graph.inputs, *graph.initializers.values(), *(o for n in graph for o in n.outputs)]
    for value in values:
        if KEY in value.metadata_props:
            found[str(value.name)] = json.loads(value.metadata_props[KEY])
    assert set(found) == planned
    for index, buffer in enumerate(plan.problem.buffers):
        mine = [r for r in plan.residencies if r.buffer == index]
        for placed in buffer.values:
            place = found[placed.name]
            assert place["buffer"] == buffer.name
            assert place["buffer_offset_bytes"] == placed.start_byte
            if placed.start_byte == 0 and placed.end_byte == buffer.size_bytes:
                rows = place["residencies"]
                assert isinstance(rows, list)
                assert [(r["tier"], r["offset"], r["start"], r["end"]) for r in rows] == [
                    (r.tier, r.offset, r.start, r.end) for r in mine
                ]


def small_model(*, with_function: bool = False) -> ir.Model:
    """Two products; the second inside a local function where asked."""
    body = [helper.make_node("MatMul", ["m", "v"], ["h"]), helper.make_node("Relu", ["h"], ["o"])]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    function = helper.make_function("local", "Half", ["m", "v"], ["o"], body, opsets)
    last = helper.make_node("Half", ["a", "w"], ["y"], domain="local", name="half")
    plain = helper.make_node("MatMul", ["a", "w"], ["y"], name="plain")
    square = [helper.make_tensor("w", TensorProto.FLOAT, [32, 32], [0.5] * 1024)]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["a"]), last if with_function else plain],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [32, 32])],
        square,
    )
    made = helper.make_model(
        graph, opset_imports=opsets, functions=[function] if with_function else []
    )
    return ir.from_proto(made)


def annotated(model: ir.Model) -> dict[str, dict[str, Any]]:
    graph = model.graph
    values = [*graph.inputs, *graph.initializers.values(), *(o for n in graph for o in n.outputs)]
    return {
        str(v.name): json.loads(v.metadata_props[KEY]) for v in values if KEY in v.metadata_props
    }


def test_a_second_run_replaces_what_the_first_one_wrote() -> None:
    model = small_model()
    PassManager([PlanMemoryPass(CompileOptions(solver="all-slow"))])(model)
    slow = annotated(model)
    assert {r["tier"] for place in slow.values() for r in place["residencies"]} == {"dram"}
    model.graph.inputs[0].metadata_props["other"] = "kept"
    stale = model.graph.node(0).outputs[0]
    stale.name = "renamed"
    PassManager([PlanMemoryPass(CompileOptions(solver="greedy"))])(model)
    fast = annotated(model)
    assert set(fast) == {"x", "w", "renamed", "y"}
    assert any(r["tier"] == "sram" for r in fast["renamed"]["residencies"])
    assert model.graph.inputs[0].metadata_props["other"] == "kept"


def test_values_inside_functions_are_named_in_a_note(caplog: pytest.LogCaptureFixture) -> None:
    model = small_model(with_function=True)
    with caplog.at_level("WARNING", logger="ullage"):
        PlanMemoryPass(CompileOptions(solver="greedy", fuse=False))(model)
    notes = json.loads(model.metadata_props[KEY])["notes"]
    assert any("not in the model by name" in note for note in notes), notes
    assert "not in the model by name" in caplog.text
    assert "y" in annotated(model)


def test_it_runs_beside_standard_passes_in_any_order(tmp_path: Path) -> None:
    options = CompileOptions(solver="greedy")
    model = small_model()
    PassManager(
        [
            CommonSubexpressionEliminationPass(),
            PlanMemoryPass(options),
            LiftConstantsToInitializersPass(),
            RemoveUnusedNodesPass(),
        ]
    )(model)
    ir.save(model, tmp_path / "m.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"))
    assert annotated(ir.load(tmp_path / "m.onnx")) == annotated(model)
    assert annotated(model)["a"]["residencies"]
