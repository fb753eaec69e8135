"""Padding of transposed convolutions and pools: every shape against a run of onnxruntime."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.support.onnx_models import imported
from ullage.compiler.execute.kernels import open_session
from ullage.compiler.importer.operators.padding import conv_transpose_shape
from ullage.compiler.importer.scope import TensorType

F = onnx.TensorProto.FLOAT
SAME = ("SAME_UPPER", "SAME_LOWER")
# Length of the input per spatial axis, kernel [C, M/group, *K], and attributes.
Case = tuple[Sequence[int], Sequence[int], Mapping[str, Any]]
PADDED: tuple[Case, ...] = (
    ((4, 4), (1, 2, 3, 3), {"strides": [2, 2], "output_padding": [1, 1]}),
    ((4, 4), (1, 2, 3, 3), {"strides": [2, 2]}),
    ((5,), (1, 2, 2), {"strides": [4]}),  # a kernel smaller than the stride
    ((5,), (1, 2, 2), {"strides": [4], "output_padding": [3]}),
    ((5,), (1, 2, 2), {"strides": [4], "output_padding": [1]}),
    ((3, 5), (4, 3, 3, 2), {"strides": [3, 2], "dilations": [2, 3], "group": 2}),
    ((3, 2, 4), (1, 1, 1, 4, 3), {"strides": [2, 2, 1], "output_padding": [1, 1, 0]}),
)
ASKED: tuple[Case, ...] = (
    ((4, 4), (1, 2, 3, 3), {"strides": [2, 2], "output_shape": [9, 8]}),
    ((5, 5), (1, 2, 3, 3), {"output_shape": [6, 4]}),  # shorter than the input on one axis
    ((6,), (1, 2, 1), {"output_shape": [4]}),
)
CASES = [
    *((auto, case) for auto in SAME for case in PADDED),
    *((auto, case) for auto in (*SAME, "VALID", "NOTSET") for case in ASKED),
    ("VALID", PADDED[0]),
    ("NOTSET", PADDED[3]),
]


def _model(auto: str, case: Case) -> onnx.ModelProto:
    spatial, kernel, attributes = case
    entering = [
        helper.make_tensor_value_info("x", F, [2, kernel[0], *spatial]),
        helper.make_tensor_value_info("w", F, list(kernel)),
    ]
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], auto_pad=auto, **attributes)
    leaving = onnx.ValueInfoProto(name="y")
    leaving.type.tensor_type.elem_type = F
    graph = helper.make_graph([node], "g", entering, [leaving])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _shape_of_a_run(model: onnx.ModelProto) -> tuple[int, ...]:
    session = open_session(model)
    feeds = {
        value.name: np.ones([d.dim_value for d in value.type.tensor_type.shape.dim], np.float32)
        for value in model.graph.input
    }
    (made,) = session.run(["y"], feeds)
    return tuple(made.shape)


@pytest.mark.parametrize(("auto", "case"), CASES)
def test_the_shape_is_that_of_a_run(auto: str, case: Case) -> None:
    model = _model(auto, case)
    assert imported(model).values["y"].shape == _shape_of_a_run(model)


@pytest.mark.parametrize("auto", [*SAME, "VALID", "NOTSET"])
@pytest.mark.parametrize("pool", ["MaxPool", "AveragePool", "LpPool"])
def test_pads_beside_an_automatic_padding_count_for_nothing(pool: str, auto: str) -> None:
    node = helper.make_node(
        pool, ["x"], ["y"], auto_pad=auto, kernel_shape=[3, 4], strides=[1, 2], pads=[1, 2, 2, 1]
    )
    leaving = onnx.ValueInfoProto(name="y")
    leaving.type.tensor_type.elem_type = F
    entering = helper.make_tensor_value_info("x", F, [1, 2, 7, 6])
    graph = helper.make_graph([node], "g", [entering], [leaving])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    assert imported(model).values["y"].shape == _shape_of_a_run(model)


def test_the_example_with_output_padding_has_stride_times_length() -> None:
    assert imported(_model("SAME_UPPER", PADDED[0])).values["y"].shape == (2, 2, 8, 8)


def test_operands_that_do_not_fit_are_left_to_the_inference() -> None:
    data, kernel = TensorType("float32", (1, 2, 4)), TensorType("float32", (2, 1, 3, 3))
    same = {"auto_pad": b"SAME_UPPER"}
    assert conv_transpose_shape(same, [data, kernel]) is None
    assert conv_transpose_shape(same, [data]) is None
    assert conv_transpose_shape({"auto_pad": b"NOTSET"}, [data, data]) is None
