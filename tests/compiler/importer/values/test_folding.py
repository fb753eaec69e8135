"""Shapes that old exporters compute are known, and folding is bounded by work."""

from typing import Any

import onnx
import pytest

from tests.support.onnx_models import const, imported, info, model, node, only, weight
from ullage.compiler.importer.values import folding

WIDTH, HEADS, LENGTH = 64, 4, 128


def attention(opset: int) -> onnx.ModelProto:
    """Self-attention that reads batch and length from shapes, as exporters wrote it."""

    def unsqueezed(source: str, name: str) -> onnx.NodeProto:
        if opset < 13:
            return node("Unsqueeze", source, name, axes=[0])
        return node("Unsqueeze", f"{source} axis", name)

    nodes: list[onnx.NodeProto] = []
    for part, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        nodes += [
            node("MatMul", f"x w{part}", part),
            node("Shape", part, f"{part}s"),
            node("Gather", f"{part}s zero", f"{part}b", axis=0),
            node("Gather", f"{part}s one", f"{part}l", axis=0),
            unsqueezed(f"{part}b", f"{part}b1"),
            unsqueezed(f"{part}l", f"{part}l1"),
            node("Concat", f"{part}b1 {part}l1 heads each", f"{part}t", axis=0),
            node("Reshape", f"{part} {part}t", f"{part}4"),
            node("Transpose", f"{part}4", f"{part}p", perm=order),
        ]
    nodes += [
        node("MatMul", "qp kp", "scores"),
        node("Softmax", "scores", "shares", axis=3),
        node("MatMul", "shares vp", "y"),
    ]
    weights = [weight(f"w{part}", (WIDTH, WIDTH)) for part in "qkv"]
    constants = [
        const("zero", 0),
        const("one", 1),
        const("axis", [0]),
        const("heads", [HEADS]),
        const("each", [WIDTH // HEADS]),
    ]
    return model(nodes, {"x": (1, LENGTH, WIDTH)}, "y", [*weights, *constants], opset=opset)


@pytest.mark.parametrize("opset", [9, 11, 12, 13, 21])
def test_attention_of_every_operator_set_has_its_heads(opset: int) -> None:
    graph = imported(attention(opset))
    assert graph.values["scores"].shape == (1, HEADS, LENGTH, LENGTH)
    assert not any(value.is_upper_bound for value in graph.values.values())
    projections = 3 * LENGTH * WIDTH * WIDTH
    assert sum(o.macs for o in graph.operators) == projections + 2 * LENGTH * LENGTH * WIDTH


@pytest.mark.parametrize(
    ("opset", "chain", "arguments"),
    [
        (12, [node("Clip", "s low high", "t")], [const("low", 1), const("high", 3)]),
        (9, [node("Scatter", "s at new", "t", axis=0)], [const("at", [1]), const("new", [3])]),
        (10, [node("Cast", "s", "f", to=1), node("TopK", "f two", "u i", axis=0),
              node("Cast", "u", "t", to=7)], [const("two", [2])]),
        (9, [node("Slice", "s", "h", starts=[0], ends=[1]), node("Concat", "h h", "t", axis=0)],
         []),
        (11, [node("Pad", "s pads one", "t0"), node("Squeeze", "t0", "t1"),
              node("Slice", "t1 zero two", "t")],
         [const("pads", [0, 1]), const("one", 1), const("two", [2]), const("zero", [0])]),
        (6, [node("Mul", "s one", "t", broadcast=1)], [const("one", [1])]),
        (9, [node("Cast", "s", "f", to=1), node("Dropout", "f", "d"),
             node("Cast", "d", "t", to=7)], []),
    ],
)  # fmt: skip
def test_target_shapes_of_old_operators_are_computed(
    opset: int, chain: list[onnx.NodeProto], arguments: list[onnx.TensorProto]
) -> None:
    """A tensor [3, 3] is reshaped to what a chain makes of its shape."""
    proto = model(
        [
            node("Shape", "x", "s"),
            *chain,
            node("ConstantOfShape", "t", "made") if opset >= 9 else node("Cast", "t", "made", to=1),
            node("Add", "one_f made", "y"),
        ],
        [info("x", (3, 3)), info("one_f", (1,))],
        "y",
        arguments,
        opset=opset,
    )
    graph = imported(proto)
    assert not graph.values["y"].is_upper_bound
    if opset >= 9:
        assert graph.values["y"].shape == (3, 3)
    assert only(graph).kind == "Add"  # all else is constant


def test_old_softmax_works_on_a_matrix() -> None:
    """Before version 13 the axis cut the input into a matrix; the largest is of all, not of two."""
    proto = model(
        [
            node("Softmax", "k", "p"),
            node("Mul", "p hundred", "h"),
            node("Cast", "h", "c", to=7),
            node("ReduceMax", "c", "m", keepdims=0),
            node("Unsqueeze", "m", "n", axes=[0]),
            node("ConstantOfShape", "n", "z"),
            node("Add", "x z", "y"),
        ],
        {"x": (1,)},
        "y",
        [const("k", [[[0, 0], [0, 0]]], "float32"), const("hundred", 100.0, "float32")],
        opset=11,
    )
    assert imported(proto).values["y"].shape == (25,)


def test_work_is_bounded_as_well_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond the budget keeps its type, and costs nothing."""
    computed: list[str] = []
    evaluate = folding.evaluate

    def counting(made: onnx.NodeProto, *arguments: Any) -> Any:
        computed.append(made.output[0])
        return evaluate(made, *arguments)

    monkeypatch.setattr(folding, "evaluate", counting)
    monkeypatch.setattr(folding, "FOLD_BUDGET_ELEMENTS", 300_000)
    nodes = [node("ConstantOfShape", "n", "v0")]
    nodes += [node("Add", f"v{i} v{i}", f"v{i + 1}") for i in range(20)]
    proto = model([*nodes, node("Add", "x v20", "y")], {"x": (1,)}, "y", [const("n", [20_000])])
    graph = imported(proto)
    assert graph.values["y"].shape == (20_000,)
    assert graph.values["v20"].kind == "weight"
    assert computed == ["v0", "v1", "v2", "v3", "v4"]
