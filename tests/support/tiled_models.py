"""ONNX models whose operators can be cut, small enough to be run many times."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from tests.support.onnx_models import info, model, node


def _weights(rng: np.random.Generator, name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)


def residual_network(seed: int = 0, size: int = 16) -> onnx.ModelProto:
    """Convolutions of several strides, a residual, a concatenation, pools and a product."""
    rng = np.random.default_rng(seed)
    nodes = [
        node("Conv", "x w0", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", "a", "b"),
        node("Conv", "b w1", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8),
        node("Conv", "c w2", "d", kernel_shape=[1, 1]),
        node("Add", "b d", "e"),
        node("Conv", "e w3", "f", kernel_shape=[1, 1]),
        node("MaxPool", "e", "g", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Concat", "f g", "h", axis=1),
        node("AveragePool", "h", "i", kernel_shape=[2, 2], strides=[2, 2]),
        node("Conv", "i w4", "j", kernel_shape=[3, 3], dilations=[2, 2], pads=[2, 2, 2, 2]),
        node("GlobalAveragePool", "j", "k"),
        node("Flatten", "k", "l"),
        node("Gemm", "l w5", "y"),
    ]
    initializers = [
        _weights(rng, "w0", 8, 3, 3, 3),
        _weights(rng, "w1", 8, 1, 3, 3),
        _weights(rng, "w2", 8, 8, 1, 1),
        _weights(rng, "w3", 8, 8, 1, 1),
        _weights(rng, "w4", 8, 16, 3, 3),
        _weights(rng, "w5", 8, 10),
    ]
    return model(nodes, [info("x", [1, 3, size, size])], [info("y", [1, 10])], initializers)


def gated_network(size: int = 48) -> onnx.ModelProto:
    """Squeeze and excite: a depthwise convolution times a gate made of its mean."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", "x w0", "e", kernel_shape=[1, 1]),
        node("Conv", "e w1", "d", kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=16),
        node("GlobalAveragePool", "d", "k"),
        node("Conv", "k w2", "g", kernel_shape=[1, 1]),
        node("Mul", "d g", "m"),
        node("Conv", "m w3", "y", kernel_shape=[1, 1]),
    ]
    shapes = {"w0": (16, 4, 1, 1), "w1": (16, 1, 3, 3), "w2": (16, 16, 1, 1), "w3": (4, 16, 1, 1)}
    weights = [_weights(rng, name, *shape) for name, shape in shapes.items()]
    given, results = [info("x", [1, 4, size, size])], [info("y", [1, 4, size, size])]
    return model(nodes, given, results, weights)


def repeated_blocks(count: int, size: int = 32) -> onnx.ModelProto:
    """Blocks of a wide, a depthwise and a narrow convolution, one like the other."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for block in range(count):
        names = [f"{letter}{block}" for letter in "abc"]
        shapes = ((32, 8, 1, 1), (32, 1, 3, 3), (8, 32, 1, 1))
        for place, (name, shape) in enumerate(zip(names, shapes, strict=True)):
            weights.append(_weights(rng, f"w{name}", *shape))
            group, pads = (32, [1] * 4) if place == 1 else (1, [0] * 4)
            nodes.append(node("Conv", f"{last} w{name}", name, group=group, pads=pads))
            last = name
    results = [info(last, [1, 8, size, size])]
    return model(nodes, [info("x", [1, 8, size, size])], results, weights)


def heavy_end(size: int = 32) -> onnx.ModelProto:
    """Convolutions that take long, and behind them a product whose weights must come meanwhile."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for name in ("a", "b", "c", "d"):
        weights.append(_weights(rng, f"w{name}", 16, 1 if name == "a" else 16, 3, 3))
        ends = f"{last} w{name}"
        nodes.append(node("Conv", ends, name, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        last = name
    nodes += [node("GlobalAveragePool", last, "p"), node("Flatten", "p", "f")]
    nodes += [node("Softmax", "f", "s"), node("Gemm", "s we", "y")]
    weights.append(_weights(rng, "we", 16, 4096))
    given, results = [info("x", [1, 1, size, size])], [info("y", [1, 4096])]
    return model(nodes, given, results, weights)


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    """The model in a file."""
    path = folder / "tiled.onnx"
    onnx.save(proto, path)
    return path
