"""The onnx-ir pass: places in metadata, beside a standard pass, through save and load."""

import json
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes import PassManager
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ullage.compiler.models import find_model
from ullage.compiler.passes import KEY, PlanMemoryPass
from ullage.compiler.pipeline import CompileOptions


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
