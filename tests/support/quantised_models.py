"""Small quantised (QDQ) models, built as converters of frameworks do, for runs on a processor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx

from tests.support.onnx_models import const, info, model, node


class Qdq:
    """Builds a QDQ model layer by layer: each result is quantised, each operand dequantised.

    Attributes:
        dtype: of activations, `int8` or `uint8`.
        scales: name of a quantised tensor -> its (scale, zero point).
    """

    def __init__(self, dtype: str = "int8", seed: int = 0) -> None:
        self.dtype = dtype
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.scales: dict[str, tuple[float, int]] = {}

    def scale(self, name: str, scale: Any, zero: Any, dtype: str) -> str:
        """Constants of a quantisation; returns the two names."""
        self.constants += [const(f"{name}_s", scale, "float32"), const(f"{name}_z", zero, dtype)]
        return f"{name}_s {name}_z"

    def given(self, name: str, scale: float, zero: int) -> str:
        """A tensor that is quantised already (an input)."""
        self.scales[name] = scale, zero
        self.scale(name, scale, zero, self.dtype)
        return name

    def real(self, name: str) -> str:
        """The dequantised form of a tensor."""
        real = f"{name}_d{len(self.nodes)}"  # a node of its own for each reader
        self.nodes.append(node("DequantizeLinear", f"{name} {name}_s {name}_z", real))
        return real

    def weights(self, name: str, shape: Sequence[int], *, channels: int | None = None) -> str:
        """Dequantised int8 weights; with `channels` an axis with a scale for each channel."""
        drawn = self.random.integers(-127, 128, shape)
        self.constants.append(const(name, drawn, "int8"))
        if channels is None:
            pair = self.scale(name, 0.007, 0, "int8")
            self.scales[name] = 0.007, 0
            self.nodes.append(node("DequantizeLinear", f"{name} {pair}", f"{name}_d"))
        else:
            count = shape[channels]
            numbers = self.random.uniform(0.002, 0.01, count).astype(np.float32)
            pair = self.scale(name, numbers, np.zeros(count), "int8")
            self.nodes.append(
                node("DequantizeLinear", f"{name} {pair}", f"{name}_d", axis=channels)
            )
            self.scales[name] = numbers, 0  # type: ignore[assignment]
        return f"{name}_d"

    def bias(self, name: str, size: int, x: str, w: str) -> str:
        """A dequantised int32 bias for the sums of products of `x` and `w`."""
        product = np.float32(self.scales[x][0]) * np.asarray(self.scales[w][0], dtype=np.float32)
        self.constants.append(const(name, self.random.integers(-3000, 3000, size), "int32"))
        zeros = np.zeros(product.shape)
        pair = self.scale(name, product, zeros, "int32")
        axis = {"axis": 0} if product.shape else {}
        self.nodes.append(node("DequantizeLinear", f"{name} {pair}", f"{name}_d", **axis))
        return f"{name}_d"

    def layer(
        self, op: str, inputs: str, name: str, scale: float, zero: int, **attributes: Any
    ) -> str:
        """An operator on dequantised tensors, its result quantised.

        Args:
            op: type of the node; with `+Relu` a Relu follows.
            inputs: names as the node reads them.
            name: of the quantised result.
            scale: of the result.
            zero: zero point of the result.
            attributes: of the node.
        """
        kind, _, activation = op.partition("+")
        self.nodes.append(node(kind, inputs, f"{name}_f", name=f"{kind} {name}", **attributes))
        last = f"{name}_f"
        if activation:
            self.nodes.append(node(activation, last, f"{name}_r"))
            last = f"{name}_r"
        pair = self.scale(name, scale, zero, self.dtype)
        self.nodes.append(node("QuantizeLinear", f"{last} {pair}", name))
        self.scales[name] = scale, zero
        return name

    def model(
        self, inputs: dict[str, Sequence[int]], outputs: str, dtype: str | None = None
    ) -> onnx.ModelProto:
        """The model; its inputs are quantised, or of another type."""
        given = [info(name, shape, dtype or self.dtype) for name, shape in inputs.items()]
        return model(self.nodes, given, outputs, self.constants, opset=17)


def keyword(dtype: str = "int8") -> onnx.ModelProto:
    """Conv, depthwise and pointwise Conv, AveragePool, dense layer, Softmax: a small kws."""
    q = Qdq(dtype)
    least = -128 if dtype == "int8" else 0
    x = q.real(q.given("x", 0.05, least + 70))
    w = q.weights("w1", (8, 2, 3, 3), channels=0)
    b = q.bias("b1", 8, "x", "w1")
    c1 = q.layer(
        "Conv+Relu",
        f"{x} {w} {b}",
        "c1",
        0.04,
        least,
        kernel_shape=[3, 3],
        strides=[2, 1],
        pads=[1] * 4,
    )
    w = q.weights("w2", (8, 1, 3, 3), channels=0)
    d = q.real(c1)
    c2 = q.layer(
        "Conv+Relu", f"{d} {w}", "c2", 0.03, least, kernel_shape=[3, 3], pads=[0, 1, 1, 0], group=8
    )
    w = q.weights("w3", (6, 8, 1, 1))
    b = q.bias("b3", 6, "c2", "w3")
    c3 = q.layer("Conv", f"{q.real(c2)} {w} {b}", "c3", 0.06, least + 131, kernel_shape=[1, 1])
    p = q.layer(
        "AveragePool", q.real(c3), "p", 0.06, least + 131, kernel_shape=[2, 2], strides=[2, 2]
    )
    q.constants.append(const("flat", [1, 36]))
    q.nodes.append(node("Reshape", f"{p} flat", "v"))
    q.scale("v", 0.06, least + 131, dtype)
    q.scales["v"] = 0.06, least + 131
    w = q.weights("w4", (36, 5))
    b = q.bias("b4", 5, "v", "w4")
    q.nodes.append(node("MatMul", f"{q.real('v')} {w}", "m"))
    h = q.layer("Add", f"m {b}", "h", 0.09, least + 120)
    q.layer("Softmax", q.real(h), "y", 1 / 256, least)
    return q.model({"x": (1, 2, 10, 7)}, "y")


def gallery(dtype: str = "int8") -> onnx.ModelProto:
    """Every other 8-bit kernel once: sums, products, pools, moves, tables, Gemm."""
    q = Qdq(dtype, seed=1)
    least = -128 if dtype == "int8" else 0
    middle = least + 128
    x = q.given("x", 0.05, middle + 3)
    a = q.layer("MaxPool", q.real(x), "a", 0.05, middle + 3, kernel_shape=[3, 3], pads=[1] * 4)
    s = q.layer("Sigmoid", q.real(a), "s", 1 / 256, least)
    m = q.layer("Mul", f"{q.real(x)} {q.real(s)}", "m", 0.04, middle - 7)
    t = q.layer("Sub", f"{q.real(m)} {q.real(a)}", "t", 0.06, middle + 11)
    e = q.layer("Add+Relu", f"{q.real(t)} {q.real(x)}", "e", 0.03, least)
    q.constants.append(const("around", [0, 0, 1, 0, 0, 0, 2, 1]))
    f = q.layer("Pad", f"{q.real(e)} around", "f", 0.03, least)
    g = q.layer("Transpose", q.real(f), "g", 0.03, least, perm=[0, 2, 3, 1])
    q.layer("GlobalAveragePool", q.real(e), "u", 0.02, least + 5)
    q.layer(
        "AveragePool",
        q.real(e),
        "k",
        0.02,
        least + 40,
        kernel_shape=[3, 2],
        pads=[1, 0, 1, 1],
        count_include_pad=1,
    )
    c = q.layer("Concat", f"{q.real(x)} {q.real(a)}", "c", 0.05, middle + 3, axis=1)
    q.constants.append(const("rows", [2, 54]))
    q.nodes.append(node("Reshape", f"{c} rows", "r"))
    q.scale("r", 0.05, middle + 3, dtype)
    q.scales["r"] = 0.05, middle + 3
    w = q.weights("w", (7, 54), channels=0)
    b = q.bias("b", 7, "r", "w")
    q.layer("Gemm", f"{q.real('r')} {w} {b}", "h", 0.11, middle - 1, transB=1)
    q.nodes.append(node("DequantizeLinear", "h h_s h_z", "y"))
    return q.model({"x": (1, 3, 6, 3)}, f"y {g} u k")
