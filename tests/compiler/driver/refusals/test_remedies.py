"""Remedies of a refusal: each is an option that the same command takes, and none is a dead end."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.driver.compile import CompileOptions, compile_model
from ullage.compiler.driver.options import check_consistent
from ullage.hwmodels.catalog.registry import load_target

# A chip whose data crosses two links between home and where operators reach it.
NPU_L2 = Path(__file__).parents[4] / "benchmarks" / "targets" / "npu-l2.yaml"
FIELD = "tiers.sram.capacity_bytes"


def lstm() -> onnx.ModelProto:
    """Three steps of an LSTM of 16 units: an operator that no rule cuts."""
    shapes = {"W": (1, 64, 16), "R": (1, 64, 16)}
    weights = [numpy_helper.from_array(np.zeros(s, np.float32), n) for n, s in shapes.items()]
    return model(helper.make_node("LSTM", ["x", "W", "R"], ["y"], "only", hidden_size=16), weights)


def product() -> onnx.ModelProto:
    """A product by a matrix, which rules cut by rows, columns and sums."""
    weights = [numpy_helper.from_array(np.zeros((16, 256), np.float32), "W")]
    return model(helper.make_node("MatMul", ["x", "W"], ["y"], "only"), weights)


def model(node: onnx.NodeProto, weights: list[onnx.TensorProto]) -> onnx.ModelProto:
    """A model of one operator."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 1, 16))
    graph = helper.make_graph([node], "one", [x], [onnx.ValueInfoProto(name="y")], weights)
    inferred = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    return onnx.shape_inference.infer_shapes(inferred)


def refused(source: onnx.ModelProto, **changes: object) -> InfeasibleError:
    """The refusal where there are 2 KiB of fast memory for whole operators."""
    options = CompileOptions(target="edge-npu-spm", solver="greedy", **changes)  # type: ignore[arg-type]
    with pytest.raises(InfeasibleError) as raised:
        compile_model(source, options)
    return raised.value


@pytest.mark.parametrize("allowed", ["true", "false"])
@pytest.mark.parametrize("source", [lstm(), product()], ids=["lstm", "product"])
def test_parts_are_a_remedy_only_where_the_operator_has_any(
    source: onnx.ModelProto, allowed: str
) -> None:
    error = refused(source, fast_memory_bytes=2048, overrides={"tiles.allowed": allowed})
    parts = "--schedule cascade" if allowed == "true" else "--set tiles.allowed=true"
    is_offered = source.graph.node[0].op_type == "MatMul"
    assert (parts in error.details["remedies"]) == is_offered
    assert (parts in error.message) == is_offered
    assert f"--fast-memory {error.details['needed_bytes']}" in error.details["remedies"]


@pytest.mark.parametrize("by_field", [True, False])
def test_a_capacity_is_given_by_the_option_that_gave_it(*, by_field: bool) -> None:
    given = {"overrides": {FIELD: "2KiB"}} if by_field else {"fast_memory_bytes": 2048}
    error = refused(product(), **given)
    needed = error.details["needed_bytes"]
    option = f"--set {FIELD}={needed}" if by_field else f"--fast-memory {needed}"
    assert option in error.details["remedies"]
    assert option in error.message
    assert ("--fast-memory" in error.message) != by_field
    given = {"overrides": {FIELD: str(needed)}} if by_field else {"fast_memory_bytes": needed}
    again = CompileOptions(target="edge-npu-spm", solver="greedy", **given)  # type: ignore[arg-type]
    check_consistent(again)
    assert compile_model(product(), again).plan is not None


@pytest.mark.parametrize("weights", ["true", "false"])
def test_operands_in_slower_memory_are_a_remedy_that_the_command_takes(weights: str) -> None:
    fields = {"operand_access": "fastest", "weights_in_fastest": weights}
    model, options = product(), CompileOptions(target="edge-npu", solver="greedy")
    small = replace(options, fast_memory_bytes=64)
    with pytest.raises(InfeasibleError) as raised:
        compile_model(model, replace(small, overrides=fields))
    (remedy,) = [r for r in raised.value.details["remedies"] if "operand_access" in r]
    settings = dict(word.split("=") for word in remedy.split() if "=" in word)
    assert compile_model(model, replace(small, overrides=fields | settings)).plan is not None


def test_parts_too_small_to_help_are_no_remedy() -> None:
    error = refused(product(), fast_memory_bytes=2)
    assert not [remedy for remedy in error.details["remedies"] if "schedule" in remedy]


@pytest.mark.parametrize(
    ("source", "l2"), [(lstm(), "1KiB"), (product(), "256")], ids=["lstm", "product"]
)
def test_one_remedy_names_the_capacities_of_all_memories(source: onnx.ModelProto, l2: str) -> None:
    """The same command with that remedy has a plan: no second refusal names another memory."""
    small = {"tiers.l2.capacity_bytes": l2, "tiles.allowed": "true"}
    options = CompileOptions(target=str(NPU_L2), fast_memory_bytes=1024, overrides=small)
    with pytest.raises(InfeasibleError) as raised:
        compile_model(source, options)
    sizes = raised.value.details["enough_bytes_by_tier"]
    fast, *others = (tier.name for tier in load_target(str(NPU_L2)).tiers if tier.name in sizes)
    remedy = f"--fast-memory {sizes[fast]}"
    remedy += "".join(f" --set tiers.{name}.capacity_bytes={sizes[name]}" for name in others)
    assert others
    assert remedy in raised.value.details["remedies"]
    assert f"({remedy})" in raised.value.message
    fields = {f"tiers.{name}.capacity_bytes": str(sizes[name]) for name in others}
    larger = replace(options, fast_memory_bytes=sizes[fast], overrides={**small, **fields})
    assert compile_model(source, larger).plan is not None
