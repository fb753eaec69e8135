"""Writes networks that the public set lacks as ONNX files, with random weights: DenseNet-121.

DenseNet-121: Huang, Liu, van der Maaten, Weinberger, "Densely Connected Convolutional Networks",
CVPR 2017, table 1 (growth rate 32, blocks of 6, 12, 24 and 16 layers), for 224 x 224 pixels and
1,000 classes. As an exporter leaves it: normalisations behind a convolution are folded into it,
those in front of one are operators.

Run: python benchmarks/networks.py FOLDER
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

GROWTH = 32
BOTTLENECK = 4  # channels of a layer's first convolution, in growth rates
BLOCKS = (6, 12, 24, 16)
STEM = 64
CLASSES = 1000
PIXELS = 224
OPSET = 17


class Network:
    """Nodes and weights of a network in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(0)

    def weight(self, name: str, *shape: int) -> str:
        """A weight of random values, scaled as He et al. do (ICCV 2015)."""
        spread = np.sqrt(2 / max(1, int(np.prod(shape[1:]))))
        values = (spread * self._rng.standard_normal(shape)).astype(np.float32)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: object) -> str:
        """An operator; returns the name of its result."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def conv(self, x: str, given: int, made: int, kernel: int, stride: int = 1) -> str:
        """A convolution with bias that keeps the map's size, or halves it."""
        name = f"conv_{len(self.nodes)}"
        return self.node(
            "Conv",
            x,
            self.weight(f"{name}.weight", made, given, kernel, kernel),
            self.weight(f"{name}.bias", made),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
        )

    def normalised(self, x: str, channels: int) -> str:
        """Batch normalisation and ReLU."""
        name = f"norm_{len(self.nodes)}"
        terms = [self.weight(f"{name}.{term}", channels) for term in ("scale", "bias", "mean")]
        ones = numpy_helper.from_array(np.ones(channels, dtype=np.float32), f"{name}.variance")
        self.weights.append(ones)
        return self.node("Relu", self.node("BatchNormalization", x, *terms, f"{name}.variance"))


def densenet121() -> onnx.ModelProto:
    """DenseNet-121."""
    net = Network()
    x = net.node("Relu", net.conv("image", 3, STEM, 7, stride=2))
    x = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = STEM
    for number, layers in enumerate(BLOCKS):
        for _ in range(layers):
            y = net.normalised(x, channels)
            y = net.node("Relu", net.conv(y, channels, BOTTLENECK * GROWTH, 1))
            y = net.conv(y, BOTTLENECK * GROWTH, GROWTH, 3)
            x = net.node("Concat", x, y, axis=1)
            channels += GROWTH
        x = net.normalised(x, channels)
        if number + 1 < len(BLOCKS):
            x = net.conv(x, channels, channels // 2, 1)
            x = net.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            channels //= 2
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    terms = (net.weight("fc.weight", CLASSES, channels), net.weight("fc.bias", CLASSES))
    x = net.node("Gemm", x, *terms, transB=1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, PIXELS, PIXELS])
    scores = helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, CLASSES])
    graph = helper.make_graph(net.nodes, "densenet121", [image], [scores], net.weights)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="ullage")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "densenet121.onnx"
    onnx.save(densenet121(), file)
    print(file)


if __name__ == "__main__":
    main()
