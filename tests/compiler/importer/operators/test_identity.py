"""Operators are told apart by domain, type and version; defaults are those of the version."""

from typing import Any

import pytest

from tests.support.onnx_models import MICROSOFT, imported, info, model, node, only
from ullage.compiler.importer.operators.identity import attributes, is_pure, operator_key
from ullage.compiler.importer.optypes import (
    BINARY,
    CONTROL_FLOW,
    DATA_MOVEMENT,
    NORMALIZATION,
    POOLING,
    RANDOM,
    REDUCTION,
    UNARY,
    VIEWS,
)
from ullage.compiler.ir.graph import Graph

NAMES = sorted(UNARY | BINARY | DATA_MOVEMENT | NORMALIZATION | POOLING | REDUCTION | VIEWS)


def theirs(op: str, *, fuse: bool, **given: Any) -> Graph:
    """An operator of another domain between two of ONNX's."""
    proto = model(
        [
            node("Relu", "x", "r"),
            node(op, "r", "t", domain="acme.npu", name="theirs", **given),
            node("Sigmoid", "t", "y"),
        ],
        {"x": (4, 64)},
        "y",
        domains=["acme.npu"],
    )
    proto.graph.value_info.append(info("t", (4, 64)))
    return imported(proto, fuse=fuse)


@pytest.mark.parametrize("op", [*NAMES, *sorted(CONTROL_FLOW | RANDOM), "Conv", "Gemm", "Shape"])
@pytest.mark.parametrize("fuse", [False, True])
def test_an_operator_of_another_domain_is_none_of_onnxs(op: str, *, fuse: bool) -> None:
    graph = theirs(op, fuse=fuse, perm=[0, 1])
    assert [o.name for o in graph.operators][1] == "theirs"
    assert len(graph.operators) == 3
    operator = graph.operators[1]
    assert not operator.sharings
    assert operator.inputs == ("r",)
    assert operator.macs == 0
    assert [(f.operator, f.kind) for f in graph.fallbacks] == [("theirs", op)]
    assert f"no cost rule for {op} of acme.npu" in graph.fallbacks[0].reason


@pytest.mark.parametrize("op", ["Identity", "Add", "Shape", "Constant"])
def test_results_of_unknown_operators_are_no_constants(op: str) -> None:
    proto = model(
        [node(op, "k k" if op == "Add" else "k", "t", domain="acme"), node("Add", "x t", "y")],
        {"x": (2, 2), "k": (2, 2)},
        "y",
        domains=["acme"],
    )
    proto.graph.value_info.append(info("t", (2, 2)))
    graph = imported(proto)
    assert [o.kind for o in graph.operators] == [op, "Add"]
    assert graph.values["t"].kind == "activation"


@pytest.mark.parametrize(
    ("op", "domain", "version", "key"),
    [
        ("Relu", "", 20, "Relu"),
        ("Relu", "ai.onnx", 20, "Relu"),
        ("Gelu", "", 20, "Gelu"),
        ("Gelu", "", 19, "ai.onnx.Gelu"),  # ONNX had none before operator set 20
        ("Gelu", MICROSOFT, 1, "Gelu"),
        ("Attention", "", 23, "Attention"),
        ("Attention", MICROSOFT, 1, "com.microsoft.Attention"),
        ("RotaryEmbedding", MICROSOFT, 1, "com.microsoft.RotaryEmbedding"),
        ("QuickGelu", MICROSOFT, 1, "QuickGelu"),
        ("QuickGelu", "", 20, "ai.onnx.QuickGelu"),
        ("SimplifiedLayerNormalization", "", 20, "SimplifiedLayerNormalization"),
        ("Transpose", "acme.npu", 1, "acme.npu.Transpose"),
        ("Scaler", "ai.onnx.ml", 3, "ai.onnx.ml.Scaler"),
    ],
)
def test_keys(op: str, domain: str, version: int, key: str) -> None:
    opsets = {"" if domain == "ai.onnx" else domain: version}
    assert operator_key(node(op, "x", "y", domain=domain), opsets) == key


@pytest.mark.parametrize(
    ("given", "outputs", "version", "trains"),
    [
        ({}, "y", 9, False),
        ({}, "y m v", 9, True),
        ({"training_mode": 0}, "y", 15, False),
        ({"training_mode": 1}, "y m v", 15, True),
        ({"is_test": 1}, "y", 6, False),
        ({}, "y", 6, True),
    ],
)
def test_a_normalisation_that_trains_is_another_operator(
    given: dict[str, Any], outputs: str, version: int, *, trains: bool
) -> None:
    made = node("BatchNormalization", "x s b m v", outputs, **given)
    expected = "TrainingBatchNormalization" if trains else "BatchNormalization"
    assert operator_key(made, {"": version}) == expected


def test_purity() -> None:
    assert is_pure(node("Relu", "x", "y"), {"": 20})
    assert is_pure(node("QuickGelu", "x", "y", domain=MICROSOFT), {"": 20})
    assert is_pure(node("Scaler", "x", "y", domain="ai.onnx.ml"), {"": 20, "ai.onnx.ml": 3})
    assert not is_pure(node("Relu", "x", "y", domain="acme"), {"": 20})
    assert not is_pure(node("Mystery", "x", "y"), {"": 20})


@pytest.mark.parametrize(
    ("op", "version", "expected"),
    [
        ("Concat", 1, {"axis": 1}),
        ("Concat", 3, {"axis": 1}),
        ("Concat", 4, {}),
        ("Softmax", 11, {"axis": 1}),
        ("Softmax", 13, {"axis": -1}),
        ("LogSoftmax", 1, {"axis": 1}),
        ("Hardmax", 12, {"axis": 1}),
        ("Flatten", 1, {"axis": 1}),
        ("Gather", 1, {"axis": 0}),
        ("Split", 1, {}),
        ("Split", 2, {"axis": 0}),
    ],
)
def test_defaults_are_those_of_the_version(op: str, version: int, expected: dict[str, int]) -> None:
    assert attributes(node(op, "x", "y"), {"": version}).items() >= expected.items()
    assert ("axis" in attributes(node(op, "x", "y"), {"": version})) == bool(expected)
    assert attributes(node(op, "x", "y", axis=2), {"": version})["axis"] == 2


def joined(version: int, shape: tuple[int, ...], **given: int) -> Graph:
    """Two tensors that a Concat joins."""
    proto = model(
        [
            node("Relu", "a", "ra"),
            node("Sigmoid", "b", "rb"),
            node("Concat", "ra rb", "y", **given),
        ],
        {"a": shape, "b": shape},
        "y",
        opset=version,
    )
    return imported(proto)


def test_concat_of_the_first_operator_set_joins_axis_1() -> None:
    graph = joined(1, (2, 64))
    assert graph.values["y"].shape == (2, 128)
    assert not only(graph, "Concat").sharings
    assert len(only(joined(1, (1, 64)), "Concat").sharings) == 2  # rows of one: contiguous
    assert len(only(joined(1, (2, 64), axis=0), "Concat").sharings) == 2
    assert len(only(joined(13, (2, 64), axis=0), "Concat").sharings) == 2


def test_split_of_the_first_operator_set_without_an_axis_shares_nothing() -> None:
    proto = model(
        [node("Split", "x", "a b", split=[2, 2])],
        {"x": (4, 4)},
        [info("a", (2, 4)), info("b", (2, 4))],
        opset=1,
    )
    assert not only(imported(proto)).sharings
    proto.graph.node[0].attribute.add(name="axis", type=2, i=0)
    assert len(only(imported(proto)).sharings) == 2
