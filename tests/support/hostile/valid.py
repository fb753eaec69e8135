"""The small sound models that are damaged: one per corner of the format."""

from functools import cache

import numpy as np
import onnx
from onnx import helper

from tests.support.onnx_models import (
    MICROSOFT,
    const,
    info,
    model,
    node,
    subgraph,
    weight,
)


@cache
def valid_models() -> tuple[bytes, ...]:
    """Small models that import, one per corner of the format."""
    return tuple(m.SerializeToString() for m in (*_straight_models(), *_nested_models()))


def _straight_models() -> list[onnx.ModelProto]:
    convolutional = model(
        [
            node("Conv", "x w b", "c", pads=[1, 1, 1, 1], strides=[2, 2], kernel_shape=[3, 3]),
            node("BatchNormalization", "c s s s s", "n"),
            node("Relu", "n", "r"),
            node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
            node("Shape", "p", "shape"),
            node("Gather", "shape zero", "batch"),
            node("Unsqueeze", "batch zeros", "batches"),
            node("Concat", "batches rest", "target", axis=0),
            node("Reshape", "p target", "f"),
            node("Gemm", "f g", "y", transB=1),
        ],
        {"x": (1, 3, 8, 8)},
        "y",
        [
            const("w", np.zeros((4, 3, 3, 3)), "float32"),
            const("b", [0, 0, 0, 0], "float32"),
            const("s", [1, 1, 1, 1], "float32"),
            const("zero", 0),
            const("zeros", [0]),
            const("rest", [-1]),
            weight("g", (5, 16)),
        ],
    )
    moving = model(
        [
            node("Split", "x", "a b", axis=0, num_outputs=2),
            node("Transpose", "a", "t", perm=[1, 0]),
            node("MatMul", "b t", "m"),
            node("Slice", "m starts ends", "s"),
            node("Concat", "s b", "c", axis=1),
            node("Pad", "c pads", "p"),
            node("Resize", "p _ scales", "z", mode="nearest"),
            node("Tile", "z repeats", "l"),
            node("TopK", "l k", "v i"),
            node("Softmax", "v", "y", axis=-1),
        ],
        {"x": (8, 6)},
        "y i",
        [
            const("starts", [0, 0]),
            const("ends", [4, 2]),
            const("pads", [0, 1, 0, 1]),
            const("scales", [1.0, 2.0], "float32"),
            const("repeats", [2, 1]),
            const("k", [3]),
        ],
    )
    quantised = model(
        [
            node("QuantizeLinear", "x s z", "q"),
            node("QLinearConv", "q s z w s z s z", "c"),
            node("QLinearAdd", "c s z c s z s z", "a", domain=MICROSOFT),
            node("DequantizeLinear", "a s z", "d"),
            node("Einsum", "d v", "y", equation="nchw,cf->nfhw"),
        ],
        {"x": (1, 2, 4, 4)},
        "y",
        [
            const("s", 0.5, "float32"),
            const("z", 0, "uint8"),
            const("w", np.zeros((2, 2, 1, 1)), "uint8"),
            weight("v", (2, 3)),
        ],
    )
    recurrent = model(
        [node("LSTM", "x w r", "y h c", hidden_size=4), node("NonZero", "h", "n")],
        {"x": (5, "batch", 3)},
        "y n",
        [weight("w", (1, 16, 3)), weight("r", (1, 16, 4))],
    )
    return [convolutional, moving, quantised, recurrent]


def _nested_models() -> list[onnx.ModelProto]:
    body = subgraph(
        [
            node("Identity", "going", "going_on"),
            node("MatMul", "state w", "next"),
            node("Add", "next x", "kept"),
        ],
        [info("i", (), "int64"), info("going", (), "bool"), info("state", (2, 4))],
        [info("going_on", (), "bool"), info("kept", (2, 4)), info("next", (2, 4))],
    )
    looping = model(
        [node("Loop", "trips _ x", "final every", body=body)],
        {"x": (2, 4)},
        "final every",
        [const("trips", 3), weight("w", (4, 4))],
    )
    then = subgraph([node("Relu", "x", "a")], (), [info("a", (2, 4))])
    otherwise = subgraph([node("Add", "x x", "b")], (), [info("b", (2, 4))])
    choosing = model(
        [node("If", "c", "y", then_branch=then, else_branch=otherwise)],
        [info("c", (), "bool"), info("x", (2, 4))],
        "y",
    )
    inner = helper.make_function(
        "local", "Inner", ["a"], ["b"], [node("Relu", "a", "b")], [helper.make_opsetid("", 20)]
    )
    calling = model(
        [node("Inner", "x", "h", domain="local"), node("Sigmoid", "h", "y")],
        {"x": (2, 4)},
        "y",
        functions=[inner],
        domains=["local"],
    )
    return [looping, choosing, calling]
