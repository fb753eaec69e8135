"""Writes networks that the public set lacks as ONNX files, with random weights.

    densenet121    Huang, Liu, van der Maaten, Weinberger, CVPR 2017, table 1, 224 x 224 pixels
    mobilenet_v1   Howard et al., arXiv 1704.04861, table 1, 224 x 224 pixels
    alexnet_convs  Krizhevsky, Sutskever, Hinton, NIPS 2012: the five convolutions, two groups in
                   three of them, with their pools (227 x 227 pixels)
    vgg16_convs    Simonyan, Zisserman, ICLR 2015, configuration D: the thirteen convolutions
    mlp0_like      five fully connected layers of 2000 x 2000: as many layers and weights (20
                   million) as MLP0 of the TPU's paper (Jouppi et al., ISCA 2017, table 1), whose
                   shapes are not public
    lstm0_like     24 fully connected layers of 1472 x 1472 with a Sigmoid or a Tanh behind each:
                   as many layers and weights (52 million) as LSTM0 there

As an exporter leaves them: normalisations behind a convolution are folded into it, those in front
of one are operators.

Run: python benchmarks/networks.py FOLDER [NAME ...]
"""

import argparse
from collections.abc import Sequence
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
# Channels and stride of the separable convolutions of MobileNet v1.
MOBILE_LAYERS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)
# Channels and number of convolutions of each block of VGG-16.
VGG_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


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

    def conv(
        self,
        x: str,
        given: int,
        made: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        pad: int | None = None,
    ) -> str:
        """A convolution with bias that keeps the map's size, or divides it by the stride."""
        name = f"conv_{len(self.nodes)}"
        return self.node(
            "Conv",
            x,
            self.weight(f"{name}.weight", made, given // groups, kernel, kernel),
            self.weight(f"{name}.bias", made),
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2 if pad is None else pad] * 4,
            group=groups,
        )

    def dense(self, x: str, given: int, made: int) -> str:
        """A fully connected layer with bias."""
        name = f"fc_{len(self.nodes)}"
        terms = (self.weight(f"{name}.weight", made, given), self.weight(f"{name}.bias", made))
        return self.node("Gemm", x, *terms, transB=1)

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
    x = net.dense(x, channels, CLASSES)
    return finished(net, "densenet121", [1, 3, PIXELS, PIXELS], x)


def mobilenet_v1() -> onnx.ModelProto:
    """MobileNet v1, width 1."""
    net = Network()
    channels = 32
    x = net.node("Relu", net.conv("image", 3, channels, 3, stride=2))
    for made, stride in MOBILE_LAYERS:
        x = net.node("Relu", net.conv(x, channels, channels, 3, stride, groups=channels))
        x = net.node("Relu", net.conv(x, channels, made, 1))
        channels = made
    x = net.node("Flatten", net.node("GlobalAveragePool", x))
    x = net.dense(x, channels, CLASSES)
    return finished(net, "mobilenet_v1", [1, 3, PIXELS, PIXELS], x)


def alexnet_convs() -> onnx.ModelProto:
    """The convolutions of AlexNet."""
    net = Network()
    pool = {"kernel_shape": [3, 3], "strides": [2, 2]}
    x = net.node("Relu", net.conv("image", 3, 96, 11, stride=4, pad=0))
    x = net.node("MaxPool", x, **pool)
    x = net.node("Relu", net.conv(x, 96, 256, 5, groups=2))
    x = net.node("MaxPool", x, **pool)
    x = net.node("Relu", net.conv(x, 256, 384, 3))
    x = net.node("Relu", net.conv(x, 384, 384, 3, groups=2))
    x = net.node("Relu", net.conv(x, 384, 256, 3, groups=2))
    return finished(net, "alexnet_convs", ["N", 3, 227, 227], x)


def vgg16_convs() -> onnx.ModelProto:
    """The convolutions of VGG-16."""
    net = Network()
    x, channels = "image", 3
    for number, (made, layers) in enumerate(VGG_BLOCKS):
        if number:
            x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        for _ in range(layers):
            x = net.node("Relu", net.conv(x, channels, made, 3))
            channels = made
    return finished(net, "vgg16_convs", ["N", 3, PIXELS, PIXELS], x)


def mlp0_like() -> onnx.ModelProto:
    """A perceptron as large as MLP0."""
    net = Network()
    x, width = "image", 2000
    for _ in range(5):
        x = net.node("Relu", net.dense(x, width, width))
    return finished(net, "mlp0_like", ["N", width], x)


def lstm0_like() -> onnx.ModelProto:
    """Matrix products and activations as many as those of LSTM0."""
    net = Network()
    x, width = "image", 1472
    for layer in range(24):
        x = net.node("Tanh" if layer % 4 == 3 else "Sigmoid", net.dense(x, width, width))
    return finished(net, "lstm0_like", ["N", width], x)


def finished(net: Network, name: str, shape: Sequence[int | str], result: str) -> onnx.ModelProto:
    """The model of a network with one input, whose result nobody said the shape of."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    scores = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    graph = helper.make_graph(net.nodes, name, [image], [scores], net.weights)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(graph, opset_imports=opsets, producer_name="ullage")
    model.ir_version = 8
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


# Networks by name.
NETWORKS = {
    build.__name__: build
    for build in (densenet121, mobilenet_v1, alexnet_convs, vgg16_convs, mlp0_like, lstm0_like)
}


def write(name: str, folder: Path) -> Path:
    """Write a network into a folder; returns its file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.onnx"
    onnx.save(NETWORKS[name](), file)
    return file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    given = parser.parse_args()
    for name in given.names:
        print(write(name, given.folder))


if __name__ == "__main__":
    main()
