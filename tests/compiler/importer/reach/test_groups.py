"""Reach of fusion groups: what is read when, and axes that not all results have."""

import numpy as np
import pytest

from tests.support.onnx_models import const, imported, info, model, node, weight
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.reach import REDUCTION


def norm_with_mean(first: tuple[int, ...], second: tuple[int, ...]) -> Operator:
    """A LayerNormalization whose mean nobody reads, and an Add behind it."""
    nodes = [node("LayerNormalization", "x s", "n m", axis=-1), node("Add", "n z", "y")]
    graph = imported(
        model(nodes, {"x": first, "z": second}, "y", [weight("s", first[-1:])]), fuse=True
    )
    (operator,) = graph.operators
    assert len(operator.outputs) == 2
    return operator


def test_axes_are_cut_where_all_results_have_them() -> None:
    reach = norm_with_mean((3, 4, 6), (3, 4, 6)).reach
    assert reach is not None
    assert reach.axes == ("elements", "elements", "none")


@pytest.mark.parametrize(
    ("dtype", "shape", "axes"),
    [
        ("int4", (5, 3), ("none", "none")),
        ("int4", (5, 4), ("elements", "none")),
        ("int4", (2, 6, 8), ("elements", "elements", "elements")),
        ("int2", (3, 5, 2), ("none", "none", "none")),
        ("int8", (5, 3), ("elements", "elements")),
    ],
)
def test_packed_results_are_cut_at_whole_bytes(
    dtype: str, shape: tuple[int, ...], axes: tuple[str, ...]
) -> None:
    proto = model(
        [node("Identity", "x", "q"), node("Identity", "q", "y")],
        [info("x", shape, dtype)],
        "y",
        opset=25,
    )
    assert {operator.reach.axes for operator in imported(proto).operators if operator.reach} == {
        axes
    }


def test_nothing_is_cut_where_results_have_axes_at_other_places() -> None:
    reach = norm_with_mean((3, 4, 6), (1, 3, 4, 6)).reach
    assert reach is not None
    assert reach.axes == ("none",) * 4


def test_what_fused_operators_read_waits_for_the_last_part_of_a_reduction() -> None:
    nodes = [
        node("MatMul", "x w", "c"),
        node("Add", "c b", "d"),
        node("Add", "d x", "y"),
    ]
    constants = [weight("w", (6, 6)), weight("b", (6,))]
    (operator,) = imported(model(nodes, {"x": (5, 6)}, "y", constants), fuse=True).operators
    reach = operator.reach
    assert reach is not None
    assert reach.reduction == 6
    shapes = {"x": (5, 6), "w": (6, 6), "b": (6,)}
    assert reach.boxes({REDUCTION: (0, 4), 1: (2, 3)}, shapes) == {
        "x": [((0, 5), (0, 4))],
        "w": [((0, 4), (2, 3))],
    }
    assert reach.boxes({REDUCTION: (4, 6), 1: (2, 3)}, shapes) == {
        "x": [((0, 5), (2, 3)), ((0, 5), (4, 6))],
        "w": [((4, 6), (2, 3))],
        "b": [((2, 3),)],
    }


@pytest.mark.parametrize("zero", [0, 3])
def test_a_dequantised_weight_is_cut_with_its_scales(zero: int) -> None:
    nodes = [
        node("DequantizeLinear", "w s z", "f", axis=0),
        node("Transpose", "f", "t", perm=[1, 0]),
        node("MatMul", "x t", "y"),
    ]
    constants = [
        const("w", np.ones((7, 6)), "int8"),
        const("s", np.ones(7), "float32"),
        const("z", np.full(7, zero), "int8"),
    ]
    (operator,) = imported(model(nodes, {"x": (5, 6)}, "y", constants), fuse=True).operators
    reach = operator.reach
    assert reach is not None
    shapes = {"x": (5, 6), "w": (7, 6), "s": (7,)} | ({"z": (7,)} if zero else {})
    assert set(operator.inputs) == set(shapes)
    assert reach.boxes({1: (2, 5), REDUCTION: (0, 3)}, shapes) == {
        "x": [((0, 5), (0, 3))],
        "w": [((2, 5), (0, 3))],
        "s": [((2, 5),)],
    } | ({"z": [((2, 5),)]} if zero else {})
