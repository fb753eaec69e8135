"""Files of tools that explore hardware: attributes and element types beside ONNX, no values."""

import onnx
import pytest

from tests.support.onnx_models import const, imported, info, model, node, weight
from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.operators.undefined import undefined_note


def conv(dtypes: tuple[str, str, str], **attributes: object) -> onnx.ModelProto:
    """A 3x3 convolution of 4 channels with a bias; element types of data, kernel and bias."""
    shapes = {"x": (1, 4, 8, 8), "w": (4, 4, 3, 3), "b": (4,)}
    inputs = [info(n, shapes[n], d) for n, d in zip("xwb", dtypes, strict=True)]
    return model([node("Conv", "x w b", "y", **attributes)], inputs, "y")


def test_attributes_that_onnx_does_not_define_are_ignored_with_a_note() -> None:
    plain = imported(conv(("float32",) * 3, pads=[1, 1, 1, 1]))
    graph = imported(conv(("float32",) * 3, pads=[1, 1, 1, 1], act_size=8, weight_size=4))
    assert graph.values["y"] == plain.values["y"]
    assert graph.operators[0].macs == plain.operators[0].macs > 0
    (note,) = graph.notes
    assert (
        note == "ignored attributes that ONNX does not define for Conv: act_size, weight_size (y)"
    )
    assert not plain.notes


@pytest.mark.parametrize(
    ("dtypes", "result"),
    [
        (("int8", "int8", "int32"), "int8"),
        (("uint8", "int8", "int32"), "uint8"),
        (("int4", "int4", "int4"), "int4"),
    ],
)
def test_quantised_operators_may_be_written_as_the_plain_ones(
    dtypes: tuple[str, str, str], result: str
) -> None:
    graph = imported(conv(dtypes))
    assert (graph.values["y"].dtype, graph.values["y"].shape) == (result, (1, 4, 6, 6))
    assert graph.operators[0].macs == 4 * 36 * 4 * 9
    assert any("planned Conv of" in note for note in graph.notes)


def test_short_floats_may_be_newer_than_the_model() -> None:
    proto = model([node("Relu", "x", "y")], [info("x", (2, 3), "bfloat16")], "y", opset=12)
    graph = imported(proto)
    assert graph.values["y"].dtype == "bfloat16"
    assert len(graph.notes) == 1


@pytest.mark.parametrize(
    "dtypes",
    [("float32", "int8", "float32"), ("int64", "int64", "int64"), ("bool", "bool", "bool")],
)
def test_operands_that_no_quantised_operator_has_are_refused(dtypes: tuple[str, str, str]) -> None:
    with pytest.raises(ModelError, match=r"Conv .* is malformed"):
        imported(conv(dtypes))


def test_weights_without_values_have_a_shape() -> None:
    """Values are stripped to make a file small; a shape that depends on them is bounded."""
    small = onnx.TensorProto(name="w", dims=[4, 4], data_type=onnx.TensorProto.FLOAT)
    graph = imported(model([node("MatMul", "x w", "y")], {"x": (2, 4)}, "y", [small]))
    assert graph.values["w"].size_bytes == 64
    shape = onnx.TensorProto(name="s", dims=[2], data_type=onnx.TensorProto.INT64)
    bounded = imported(model([node("Reshape", "x s", "y")], {"x": (2, 4)}, "y", [shape]))
    assert bounded.values["y"].is_upper_bound


def test_no_elements_need_no_values() -> None:
    empty = const("s", [])
    graph = imported(model([node("Reshape", "x s", "y")], {"x": (1,)}, "y", [empty]))
    assert graph.values["y"].shape == ()
    weights = [weight("w", (4,))]
    assert imported(model([node("Add", "x w", "y")], {"x": (4,)}, "y", weights)).values


def test_notes_name_a_few_nodes() -> None:
    assert undefined_note("odd", ["a"]) == "odd (a)"
    assert undefined_note("odd", list("abcde")) == "odd (a, b, c and 2 more)"
