"""Training steps of convolutional networks as ONNX graphs: forward, backward and update.

A tape notes each layer as it is added, with what its gradient takes; `Tape.model` then runs it
backwards. Gradients are made of ONNX operators that are executable everywhere:

    convolution     data: ConvTranspose of the gradient; weights: a convolution of the data with the
                    gradient, both with samples and channels exchanged, dilated by the stride
    Relu            Sign of what it made, times the gradient
    MaxPool         MaxUnpool of the gradient by the indices of the forward pass
    average pool    the gradient over the positions, expanded
    dense           products with the transposed operand

Parameters are inputs, their new values (w - rate x gradient) outputs. Networks: ResNet-8 as in
MLPerf Tiny, and those of POET's evaluation (Patil et al. 2022): VGG16 and ResNet18 for CIFAR.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RATE = 0.01
OPSET = 17
Shape = tuple[int, ...]


class Tape:
    """A network in the making; tensors are known by their names."""

    def __init__(self, batch: int, shape: Shape) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.shapes: dict[str, Shape] = {"x": (batch, *shape)}
        self.parameters: list[str] = []
        self.constants: list[onnx.TensorProto] = []
        self._back: list[tuple[str, Callable[[str], Mapping[str, str]]]] = []

    def conv(self, x: str, channels: int, kernel: int = 3, stride: int = 1) -> str:
        """A convolution without bias, padded so that stride 1 keeps the size."""
        n, c, h, w = self.shapes[x]
        pad = kernel // 2
        out = tuple((size + 2 * pad - kernel) // stride + 1 for size in (h, w))
        weight = self._parameter((channels, c, kernel, kernel))
        how = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        y = self._node("Conv", [x, weight], (n, channels, *out), **how)

        def back(dy: str) -> Mapping[str, str]:
            left = [
                size - ((o - 1) * stride + kernel - 2 * pad)
                for size, o in zip((h, w), out, strict=True)
            ]
            dx = self._node("ConvTranspose", [dy, weight], (n, c, h, w), output_padding=left, **how)
            xt = self._transposed(x, (1, 0, 2, 3))
            dyt = self._transposed(dy, (1, 0, 2, 3))
            spans = tuple(s + 2 * pad - (o - 1) * stride for s, o in zip((h, w), out, strict=True))
            taps = self._node(
                "Conv",
                [xt, dyt],
                (c, channels, *spans),
                kernel_shape=list(out),
                dilations=[stride] * 2,
                pads=[pad] * 4,
            )
            if spans != (kernel, kernel):
                cut = [self._constant([0, 0]), self._constant([kernel] * 2), self._constant([2, 3])]
                taps = self._node("Slice", [taps, *cut], (c, channels, kernel, kernel))
            return {x: dx, weight: self._transposed(taps, (1, 0, 2, 3))}

        self._back.append((y, back))
        return y

    def relu(self, x: str) -> str:
        """The positive part."""
        y = self._node("Relu", [x], self.shapes[x])

        def back(dy: str) -> Mapping[str, str]:
            sign = self._node("Sign", [y], self.shapes[y])
            return {x: self._node("Mul", [dy, sign], self.shapes[y])}

        self._back.append((y, back))
        return y

    def add(self, a: str, b: str) -> str:
        """The sum."""
        y = self._node("Add", [a, b], self.shapes[a])
        self._back.append((y, lambda dy: {a: dy, b: dy}))
        return y

    def max_pool(self, x: str) -> str:
        """The largest of each 2 x 2 elements."""
        n, c, h, w = self.shapes[x]
        how = {"kernel_shape": [2, 2], "strides": [2, 2]}
        y, at = f"{len(self.shapes)}_pooled", f"{len(self.shapes)}_at"
        self.nodes.append(helper.make_node("MaxPool", [x], [y, at], **how))
        self.shapes[y] = self.shapes[at] = (n, c, h // 2, w // 2)

        def back(dy: str) -> Mapping[str, str]:
            return {x: self._node("MaxUnpool", [dy, at], (n, c, h, w), **how)}

        self._back.append((y, back))
        return y

    def flat_mean(self, x: str) -> str:
        """The mean over positions, [N, C]."""
        n, c, h, w = self.shapes[x]
        mean = self._node("GlobalAveragePool", [x], (n, c, 1, 1))
        y = self._node("Reshape", [mean, self._constant([n, c])], (n, c))

        def back(dy: str) -> Mapping[str, str]:
            share = self._constant(1.0 / (h * w))
            small = self._node("Mul", [dy, share], (n, c))
            four = self._node("Reshape", [small, self._constant([n, c, 1, 1])], (n, c, 1, 1))
            size = self._constant([n, c, h, w])
            return {x: self._node("Expand", [four, size], (n, c, h, w))}

        self._back.append((y, back))
        return y

    def dense(self, x: str, channels: int) -> str:
        """A product with a matrix of parameters."""
        n, c = self.shapes[x]
        weight = self._parameter((c, channels))
        y = self._node("MatMul", [x, weight], (n, channels))

        def back(dy: str) -> Mapping[str, str]:
            dx = self._node("MatMul", [dy, self._transposed(weight, (1, 0))], (n, c))
            dw = self._node("MatMul", [self._transposed(x, (1, 0)), dy], (c, channels))
            return {x: dx, weight: dw}

        self._back.append((y, back))
        return y

    def model(self, y: str, name: str) -> onnx.ModelProto:
        """The step: the gradient of half the squared distance to `wanted`, and the update."""
        self.shapes["wanted"] = self.shapes[y]
        gradients = {y: self._node("Sub", [y, "wanted"], self.shapes[y])}
        for made, back in reversed(self._back):
            for operand, gradient in back(gradients[made]).items():
                if operand == "x":
                    continue
                known = gradients.get(operand)
                gradients[operand] = (
                    gradient
                    if known is None
                    else self._node("Add", [known, gradient], self.shapes[operand])
                )
                if operand in self.parameters:
                    self._update(operand, gradient)
        self._drop_unread()
        outputs = [f"new_{parameter}" for parameter in self.parameters]
        graph = helper.make_graph(
            self.nodes,
            name,
            [self._info(tensor) for tensor in ("x", "wanted", *self.parameters)],
            [self._info(tensor) for tensor in outputs],
            self.constants,
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        proto.ir_version = 8
        return proto

    def _update(self, parameter: str, gradient: str) -> None:
        step = self._node("Mul", [gradient, self._constant(RATE)], self.shapes[parameter])
        self.nodes.append(helper.make_node("Sub", [parameter, step], [f"new_{parameter}"]))
        self.shapes[f"new_{parameter}"] = self.shapes[parameter]

    def _drop_unread(self) -> None:
        """Leave out what no output needs: the gradient of the network's own input."""
        wanted = {f"new_{parameter}" for parameter in self.parameters}
        kept: list[onnx.NodeProto] = []
        for node in reversed(self.nodes):
            if not wanted.isdisjoint(node.output):
                wanted.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]

    def _parameter(self, shape: Shape) -> str:
        name = f"w{len(self.parameters)}"
        self.parameters.append(name)
        self.shapes[name] = shape
        return name

    def _constant(self, value: float | Sequence[int]) -> str:
        name = f"c{len(self.constants)}"
        dtype = np.float32 if isinstance(value, float) else np.int64
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def _transposed(self, x: str, axes: Shape) -> str:
        shape = tuple(self.shapes[x][axis] for axis in axes)
        return self._node("Transpose", [x], shape, perm=list(axes))

    def _node(self, op: str, inputs: Sequence[str], shape: Shape, **how: object) -> str:
        name = f"{len(self.shapes)}_{op.lower()}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **how))
        self.shapes[name] = shape
        return name

    def _info(self, name: str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shapes[name])


def resnet8(batch: int = 32) -> onnx.ModelProto:
    """MLPerf Tiny's ResNet-8 for CIFAR: three blocks of 16, 32 and 64 channels."""
    tape = Tape(batch, (3, 32, 32))
    y = tape.relu(tape.conv("x", 16))
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = _block(tape, y, channels, stride)
    return tape.model(tape.dense(tape.flat_mean(y), 10), "resnet8_train")


def resnet18_cifar(batch: int = 1) -> onnx.ModelProto:
    """ResNet-18 for CIFAR: four stages of two blocks, 64 to 512 channels."""
    tape = Tape(batch, (3, 32, 32))
    y = tape.relu(tape.conv("x", 64))
    for channels, first in ((64, 1), (128, 2), (256, 2), (512, 2)):
        for stride in (first, 1):
            y = _block(tape, y, channels, stride)
    return tape.model(tape.dense(tape.flat_mean(y), 10), "resnet18_cifar_train")


def vgg16_cifar(batch: int = 1) -> onnx.ModelProto:
    """VGG-16 for CIFAR: 13 convolutions, five pools, one dense layer."""
    tape = Tape(batch, (3, 32, 32))
    y = "x"
    for channels, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            y = tape.relu(tape.conv(y, channels))
        y = tape.max_pool(y)
    return tape.model(tape.dense(tape.flat_mean(y), 10), "vgg16_cifar_train")


def _block(tape: Tape, x: str, channels: int, stride: int) -> str:
    """A residual block; its shortcut is a convolution where the size changes."""
    y = tape.conv(tape.relu(tape.conv(x, channels, stride=stride)), channels)
    same = stride == 1 and tape.shapes[x][1] == channels
    return tape.relu(tape.add(y, x if same else tape.conv(x, channels, 1, stride)))


GRAPHS: Mapping[str, Callable[[], onnx.ModelProto]] = {
    "resnet8": resnet8,
    "resnet18-cifar": resnet18_cifar,
    "vgg16-cifar": vgg16_cifar,
}
