"""Feature maps in the bytes in which a target stores them."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.onnx_models import const, imported, model, node, weight
from ullage.compiler import CompileOptions, compile_model
from ullage.compiler.common.errors import UsageError
from ullage.compiler.execute.runner import run_plan
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.ir.target import Padding

BY_16 = Padding(channels_multiple=16)
PADS = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}


def chain(channels: int, size: int = 64, layers: int = 4) -> onnx.ModelProto:
    """3x3 convolutions one after the other, of 3 channels in the first."""
    names = ["x", *(f"m{i}" for i in range(1, layers)), "y"]
    nodes = [node("Conv", f"{names[i]} w{i} b{i}", names[i + 1], **PADS) for i in range(layers)]
    stored = [weight(f"w{i}", (channels, channels if i else 3, 3, 3)) for i in range(layers)]
    stored += [weight(f"b{i}", (channels,)) for i in range(layers)]
    return model(nodes, {"x": (1, 3, size, size)}, "y", stored)


def sizes(graph: Graph) -> dict[str, int]:
    return {name: value.size_bytes for name, value in graph.values.items()}


@pytest.mark.parametrize(("channels", "stored"), [(16, 16), (17, 32), (33, 48)])
def test_maps_inside_a_graph_have_padded_channels(channels: int, stored: int) -> None:
    found = sizes(imported(chain(channels), dtype="int8", padding=BY_16))
    assert [found[f"m{i}"] for i in (1, 2, 3)] == [64 * 64 * stored] * 3
    assert (found["x"], found["y"]) == (64 * 64 * 3, 64 * 64 * channels)
    assert found["w1"] == 9 * channels**2


def test_rows_have_a_pitch() -> None:
    graph = imported(chain(17, size=10), dtype="int8", padding=Padding(4, 8))
    assert graph.values["m1"].stored_shape == (1, 20, 10, 16)
    assert graph.values["m1"].shape == (1, 17, 10, 10)


@pytest.mark.parametrize("target", ["ethos-u55-128", "ethos-u65-512"])
@pytest.mark.parametrize(("channels", "maps_kib"), [(16, 128), (17, 256), (33, 384)])
def test_two_maps_of_a_chain_are_its_peak(channels: int, maps_kib: int, target: str) -> None:
    """Vela, with its buffers of weights: 139, 272 and 417 KiB."""
    options = CompileOptions(target=target, objective="peak", dtype="int8", schedule="whole")
    result = compile_model(chain(channels), options)
    assert result.score.peak_bytes["sram"] == pytest.approx(maps_kib * 1024, rel=0.05)
    biases = [b for b in result.plan.problem.buffers if b.name in {f"b{i}" for i in range(4)}]
    assert [b.size_bytes for b in biases] == [4 * channels] * 4


def test_an_add_of_two_maps_is_an_operation_of_its_own_on_ethos() -> None:
    nodes = [
        node("Conv", "x w0", "a", **PADS),
        node("Conv", "a w1", "b", **PADS),
        node("Add", "a b", "c"),
        node("Relu", "c", "y"),
    ]
    stored = [weight("w0", (8, 3, 3, 3)), weight("w1", (8, 8, 3, 3))]
    proto = model(nodes, {"x": (1, 3, 16, 16)}, "y", stored)
    for target, kinds in (
        ("ethos-u55-128", ["Conv", "Conv", "Add"]),
        ("ethos-u65-512", ["Conv", "Conv", "Add"]),
        ("edge-npu", ["Conv", "Conv"]),
    ):
        options = CompileOptions(target=target, dtype="int8", schedule="whole", solver="greedy")
        steps = compile_model(proto, options).plan.problem.steps
        assert [step.kind for step in steps if step.kind != DMA_STEP] == kinds


def test_what_is_reshaped_stays_dense() -> None:
    nodes = [
        node("Conv", "x w", "a", **PADS),
        node("Relu", "a", "b"),
        node("GlobalAveragePool", "b", "p"),
        node("Flatten", "p", "f"),
        node("Gemm", "f v", "y"),
    ]
    stored = [weight("w", (5, 5, 3, 3)), weight("v", (5, 7))]
    graph = imported(model(nodes, {"x": (1, 5, 8, 8)}, "y", stored), dtype="int8", padding=BY_16)
    assert {name: sizes(graph)[name] for name in "abpf"} == {"a": 1024, "b": 1024, "p": 5, "f": 5}


@pytest.mark.parametrize(("split", "stored"), [((16, 20), (16, 32, 48)), ((8, 28), (8, 28, 36))])
def test_parts_of_a_concat_are_padded_where_they_begin_at_a_multiple(
    split: tuple[int, int], stored: tuple[int, int, int]
) -> None:
    nodes = [
        node("Conv", "x w0", "a", **PADS),
        node("Conv", "x w1", "b", **PADS),
        node("Concat", "a b", "c", axis=1),
        node("Conv", "c w2", "y", **PADS),
    ]
    weights = [weight(f"w{i}", (n, 4, 3, 3)) for i, n in enumerate(split)]
    proto = model(nodes, {"x": (1, 4, 8, 8)}, "y", [*weights, weight("w2", (3, 36, 3, 3))])
    graph = imported(proto, dtype="int8", padding=BY_16)
    assert tuple(sizes(graph)[name] // 64 for name in "abc") == stored
    (joined,) = [operator for operator in graph.operators if operator.kind == "Concat"]
    assert [s.offset_bytes for s in joined.sharings] == [0, 64 * stored[0]]


def test_what_is_no_feature_map_stays_dense() -> None:
    nodes = [node("MatMul", "x w", "a"), node("Relu", "a", "b"), node("MatMul", "b v", "y")]
    stored = [weight("w", (5, 6)), weight("v", (6, 7))]
    proto = model(nodes, {"x": (2, 3, 4, 5)}, "y", stored)
    assert imported(proto, padding=BY_16) == imported(proto)


def test_a_multiple_beyond_all_counts_is_refused() -> None:
    with pytest.raises(UsageError, match=r"storage\.channels_multiple"):
        imported(chain(17, size=2**14), padding=Padding(10**9 - 1, 10**9 - 1))


def test_plans_of_padded_maps_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shapes = ((17, 3), (17, 17), (5, 17))
    stored = [
        const(f"w{i}", rng.standard_normal((*s, 3, 3)), "float32") for i, s in enumerate(shapes)
    ]
    nodes = [
        node("Conv", "x w0", "a", **PADS),
        node("Conv", "a w1", "b", **PADS),
        node("Add", "a b", "c"),
        node("Conv", "c w2", "y", **PADS),
    ]
    path = tmp_path / "maps.onnx"
    onnx.save(model(nodes, {"x": (1, 3, 20, 20)}, "y", stored), path)
    multiples = {"storage.channels_multiple": "16", "storage.columns_multiple": "8"}
    options = CompileOptions(fast_memory_bytes=96 * 1024, overrides=multiples)
    result = compile_model(path, options)
    (kept,) = [b for b in result.plan.problem.buffers if b.name == "a"]
    assert kept.size_bytes == 4 * 32 * 20 * 24
    assert all(check.passed for check in run_plan(path, result.plan).outputs)
