"""A compiler without ONNX: operators, tensors and uses in a dozen lines, a verified plan out."""

from ullage.compiler import compile_problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.hwmodels.catalog.registry import load_target

target = load_target("edge-npu").with_fast_memory(64 * 1024)
tensors = [
    Tensor("image", 48_000, "input"),
    Tensor("filters", 4_608, "weight"),
    Tensor("features", 32_000),
    Tensor("activated", 32_000),
    Tensor("classes", 100, "output"),
]
operators = [
    Op("conv", ["image", "filters"], ["features"], macs=36_000_000),
    Op(
        "relu",
        ["features"],
        ["activated"],
        vector_elements=32_000,
        in_place={"activated": "features"},
    ),
    Op("pool", ["activated"], ["classes"], vector_elements=32_000),
]
result = compile_problem(problem_from_lists("mine", tensors, operators, target))
print(f"latency {result.score.latency_s:.3e} s, bound {result.bound.value:.3e} s")
for r in result.plan.residencies:
    name = result.plan.problem.buffers[r.buffer].name
    print(f"{name:10} {r.tier:5} at {r.offset:7} during steps [{r.start}, {r.end})")
