"""Operators that run whole, with reasons."""

import pytest

from tests.support.onnx_models import const, imported, info, model, node
from ullage.compiler.importer.reach.barriers import Barrier, barriers
from ullage.compiler.ir.graph import Graph


def reasons(graph: Graph) -> dict[str, str]:
    return {barrier.kind: barrier.reason for barrier in barriers(graph)}


def test_operators_that_can_be_cut_are_none() -> None:
    nodes = [node("Relu", "x", "a"), node("Softmax", "a", "b"), node("MatMul", "b v", "y")]
    assert barriers(imported(model(nodes, {"x": (3, 4), "v": (4,)}, "y"))) == ()


def test_each_reason_is_told() -> None:
    nodes = [
        node("Det", "s", "d", name="det"),
        node("NonZero", "x", "z", name="zeros"),
        node("Softmax", "x", "p", axis=0, name="all"),
        node("Compress", "x k", "c", axis=0, name="some"),
        node("ReduceSum", "x", "r", name="one"),
        node("GRU", "g w u", "h l", hidden_size=2, name="both"),
    ]
    entering = {"s": (2, 3, 3), "x": (4,), "g": (5, 1, 3)}
    keep = const("k", [True, False, True, False], "bool")
    matrices = [
        const("w", [[[0.5] * 3] * 6], "float32"),
        const("u", [[[0.5] * 2] * 6], "float32"),
    ]
    found = barriers(imported(model(nodes, entering, "d z p c r h l", [keep, *matrices])))
    assert found == (
        Barrier("det", "Det", "no rule for Det"),
        Barrier("zeros", "NonZero", "the length of an axis depends on data"),
        Barrier("all", "Softmax", "every part of its result needs all of its input"),
        Barrier("some", "Compress", "the length of an axis depends on data"),
        Barrier("both", "GRU", "no rule for GRU with such operands, attributes or results"),
    )


@pytest.mark.parametrize("training", [True, False])
def test_a_dropout_that_trains_is_one(training: bool) -> None:
    nodes = [node("Dropout", "x r t", "y")]
    constants = [const("r", 0.5, "float32"), const("t", training, "bool")]
    graph = imported(model(nodes, [info("x", (3, 4))], "y", constants))
    assert bool(barriers(graph)) is training


def test_an_empty_tensor_is_told() -> None:
    graph = imported(model([node("Relu", "x", "y")], {"x": (0, 4)}, "y"))
    assert reasons(graph) == {"Relu": "a tensor is empty"}
