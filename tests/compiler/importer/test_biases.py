"""Biases under a policy of integers, and what is stored beside quantised weights."""

import numpy as np
import pytest
from onnx import NodeProto

from tests.support.onnx_models import const, imported, model, node, weight
from ullage.compiler.ir.graph import Graph

CONV = (node("Conv", "x w b", "y"), {"x": (1, 4, 6, 6)}, (8, 4, 3, 3))
GEMM = (node("Gemm", "x w b", "y"), {"x": (2, 4)}, (4, 8))


@pytest.mark.parametrize("case", [CONV, GEMM], ids=["conv", "gemm"])
@pytest.mark.parametrize(
    ("dtype", "bias_dtype", "planned", "size"),
    [
        ("int8", "int32", "int32", 32),
        ("int4", "int32", "int32", 32),
        ("int8", None, "int8", 8),
        ("int16", "int32", "int16", 16),  # sums are no wider than their kind
        ("float16", "int32", "float16", 16),
        (None, "int32", "float32", 32),
    ],
)
def test_biases_have_a_type_of_their_own(
    case: tuple[NodeProto, dict[str, tuple[int, ...]], tuple[int, ...]],
    dtype: str | None,
    bias_dtype: str | None,
    planned: str,
    size: int,
) -> None:
    made, inputs, shape = case
    proto = model([made], inputs, "y", [weight("w", shape), weight("b", (8,))])
    values = imported(proto, dtype=dtype, bias_dtype=bias_dtype).values
    assert (values["b"].dtype, values["b"].size_bytes) == (planned, size)
    assert values["w"].dtype == (dtype or "float32")


@pytest.mark.parametrize("case", [CONV, GEMM], ids=["conv", "gemm"])
@pytest.mark.parametrize("dtype", ["int8", "int4", "int16", None])
def test_channels_have_scales_beside_biases_of_integers(
    case: tuple[NodeProto, dict[str, tuple[int, ...]], tuple[int, ...]], dtype: str | None
) -> None:
    made, inputs, shape = case
    proto = model([made], inputs, "y", [weight("w", shape), weight("b", (8,))])
    without = imported(proto, dtype=dtype, bias_dtype="int32")
    graph = imported(proto, dtype=dtype, bias_dtype="int32", scale_dtype="uint32")
    if dtype not in ("int8", "int4"):
        assert graph == without
        return
    scales = graph.values["b#scales"]
    assert (scales.kind, scales.dtype, scales.shape, scales.size_bytes) == (
        *("weight", "uint32"),
        *((8,), 32),
    )
    assert {**without.values, "b#scales": scales} == graph.values
    (operator,) = graph.operators
    assert operator.inputs == ("x", "w", "b", "b#scales")
    assert operator.reach is not None
    read = {entry.name: entry.axes for entry in operator.reach.inputs}
    assert read["b#scales"] == read["b"]


def test_the_bias_of_a_product_is_what_is_added_behind_it() -> None:
    nodes = [node("MatMul", "x w", "p"), node("Add", "p b", "s"), node("Add", "s t", "y")]
    stored = [weight("w", (4, 8)), weight("b", (8,)), weight("t", (8,))]
    values = imported(
        model(nodes, {"x": (2, 4)}, "y", stored), dtype="int8", bias_dtype="int32"
    ).values
    assert {name: values[name].dtype for name in "wbt"} == {"w": "int8", "b": "int32", "t": "int8"}


def quantised(zero: int) -> Graph:
    """A convolution with int8 weights and an int32 bias, both with a scale for each channel."""
    nodes = [
        node("QuantizeLinear", "x one none", "q"),
        node("DequantizeLinear", "q one none", "d"),
        node("DequantizeLinear", "w scales zeros", "wf", axis=0),
        node("DequantizeLinear", "b products nulls", "bf", axis=0),
        node("Conv", "d wf bf", "c"),
        node("QuantizeLinear", "c one none", "y"),
    ]
    stored = [
        const("one", 0.5, "float32"),
        const("none", 0, "int8"),
        const("w", np.ones((8, 4, 3, 3)), "int8"),
        const("b", np.ones(8), "int32"),
        const("scales", np.full(8, 0.5), "float32"),
        const("zeros", np.full(8, zero), "int8"),
        const("products", np.full(8, 0.25), "float32"),
        const("nulls", np.zeros(8), "int32"),
    ]
    return imported(model(nodes, {"x": (1, 4, 6, 6)}, "y", stored), fuse=True)


def test_symmetric_weights_and_biases_are_stored_without_what_follows() -> None:
    (_, conv) = quantised(0).operators
    assert set(conv.inputs) == {"q", "w", "b", "scales"}
    (_, conv) = quantised(3).operators
    assert set(conv.inputs) == {"q", "w", "b", "scales", "zeros"}
