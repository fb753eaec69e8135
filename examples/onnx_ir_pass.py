"""Memory planning as one pass of an onnx-ir pipeline, beside a standard pass."""

import json

import onnx_ir as ir
from onnx_ir.passes import PassManager
from onnx_ir.passes.common import RemoveUnusedNodesPass

from ullage.compiler import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.integrations.onnx_ir import KEY, PlanMemoryPass

model = ir.load(find_model("squeezenet"))
plan_memory = PlanMemoryPass(CompileOptions(target="edge-npu", dtype="int8"))
result = PassManager([RemoveUnusedNodesPass(), plan_memory])(model)

summary = json.loads(result.model.metadata_props[KEY])
print(f"{summary['model']}: {summary['latency_s'] * 1e3:.3f} ms, gap {summary['gap']:.1%}")
for node in list(result.model.graph)[:6]:
    for value in node.outputs:
        if KEY in value.metadata_props:
            place = json.loads(value.metadata_props[KEY])
            where = [(r["tier"], r["offset"], r["start"], r["end"]) for r in place["residencies"]]
            print(f"{value.name}: {where}")
