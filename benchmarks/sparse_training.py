"""A training step in 256 KiB of SRAM and 1 MiB of flash: MobileNetV2 with a sparse update.

The scheme is that of Lin et al., On-Device Training Under 256KB Memory (2022): of a pretrained
network (here MobileNetV2 of width 0.35 for images of 112 x 112, batch 1, ten classes, batch norms
folded into biases), the biases of the last 22 layers are updated, and of six pointwise convolutions
the weights, in part: ratios 1, 1, 1, 1, 1/8, 1/4, the share of the input channels. Which six the
paper leaves to a search; here they are the first convolutions of the last six blocks, in the order
of the network. What is frozen lies in flash, all else in SRAM: activations, gradients, and the
parameters that are updated, old and new.

The step is an ONNX graph in float32; `--dtype int8` plans it with one byte an element, and that
plan is verified. What has no int8 numbers cannot be executed in int8: executed is the plan of the
same step in float32, in memories four times as large, beside onnxruntime.

Run: python benchmarks/sparse_training.py [--width 0.35] [--image 112] [--seconds 60]
"""

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from common import write_table
from onnx import numpy_helper
from training_graphs import Shape, Tape

from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.runner import run_plan

# Expansion, channels, blocks and first stride of each stage of MobileNetV2.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
HEAD_CHANNELS = 1280
CLASSES = 10
BIASES = 22
RATIOS = (1.0, 1.0, 1.0, 1.0, 1 / 8, 1 / 4)
# Everything that changes is at home in SRAM, so that no plan uses memory beside SRAM and flash.
TARGET = "mlperf-tiny-mcu"
HOMES = {f"homes.{kind}": "sram" for kind in ("input", "activation", "output")}
# The same memories for four bytes an element.
FLOAT = {"tiers.sram.capacity_bytes": "1MiB", "tiers.iflash.capacity_bytes": "4MiB"}
COLUMNS = (
    "image",
    "new biases",
    "new weights",
    "operators",
    "SRAM KiB",
    "flash KiB",
    "other KiB",
    "latency ms",
    "verified",
    "executed in float32",
)


class SparseTape(Tape):
    """A network of which some biases, and parts of some weights, are updated."""

    def __init__(self, batch: int, shape: Shape) -> None:
        super().__init__(batch, shape)
        self.rng = np.random.default_rng(0)

    def layer(
        self,
        x: str,
        channels: int,
        *,
        kernel: int = 1,
        stride: int = 1,
        is_depthwise: bool = False,
        has_new_bias: bool = False,
        ratio: float = 0.0,
    ) -> str:
        """A convolution with bias; its weights are frozen but for a share of the input channels.

        Args:
            x: what it reads.
            channels: of its result.
            kernel: height and width of its kernel.
            stride: along both axes.
            is_depthwise: each channel by itself.
            has_new_bias: the bias is updated.
            ratio: share of the input channels whose weights are updated; pointwise, stride 1.
        """
        n, c, h, w = self.shapes[x]
        pad = kernel // 2
        out = tuple((size + 2 * pad - kernel) // stride + 1 for size in (h, w))
        how = {
            "kernel_shape": [kernel] * 2,
            "strides": [stride] * 2,
            "pads": [pad] * 4,
            "group": c if is_depthwise else 1,
        }
        inner = 1 if is_depthwise else c
        part = max(1, round(ratio * c)) if ratio else 0
        weight = self._frozen((channels, inner - part, kernel, kernel)) if part < inner else ""
        learned = self._parameter((channels, part, kernel, kernel)) if part else ""
        whole = weight or learned
        if weight and learned:
            shape = (channels, inner, kernel, kernel)
            whole = self._node("Concat", [learned, weight], shape, axis=1)
        bias = self._parameter((channels,)) if has_new_bias else self._frozen((channels,))
        y = self._node("Conv", [x, whole, bias], (n, channels, *out), **how)

        def back(dy: str) -> Mapping[str, str]:
            left = [
                size - ((o - 1) * stride + kernel - 2 * pad)
                for size, o in zip((h, w), out, strict=True)
            ]
            dx = self._node("ConvTranspose", [dy, whole], (n, c, h, w), output_padding=left, **how)
            found = {x: dx}
            if has_new_bias:
                axes = self._constant([0, 2, 3])
                found[bias] = self._node("ReduceSum", [dy, axes], (channels,), keepdims=0)
            if learned:
                found[learned] = self._pointwise_gradient(x, dy, part)
            return found

        self._back.append((y, back))
        return y

    def _pointwise_gradient(self, x: str, dy: str, part: int) -> str:
        """Gradient of the weights of the first channels of a pointwise convolution, batch 1."""
        _, c, h, w = self.shapes[x]
        channels = self.shapes[dy][1]
        data = x
        if part < c:
            bounds = [self._constant([0]), self._constant([part]), self._constant([1])]
            data = self._node("Slice", [x, *bounds], (1, part, h, w))
        rows = self._node("Reshape", [data, self._constant([part, h * w])], (part, h * w))
        columns = self._transposed(rows, (1, 0))
        flat = self._node("Reshape", [dy, self._constant([channels, h * w])], (channels, h * w))
        product = self._node("MatMul", [flat, columns], (channels, part))
        shape = self._constant([channels, part, 1, 1])
        return self._node("Reshape", [product, shape], (channels, part, 1, 1))

    def frozen_dense(self, x: str, channels: int) -> str:
        """A product with a frozen matrix, and a bias that is updated."""
        n, c = self.shapes[x]
        matrix, bias = self._frozen((c, channels)), self._parameter((channels,))
        product = self._node("MatMul", [x, matrix], (n, channels))
        y = self._node("Add", [product, bias], (n, channels))
        turned = self._transposed(matrix, (1, 0))

        def back(dy: str) -> Mapping[str, str]:
            gradient = self._node("Reshape", [dy, self._constant([channels])], (channels,))
            return {x: self._node("MatMul", [dy, turned], (n, c)), bias: gradient}

        self._back.append((y, back))
        return y

    def _frozen(self, shape: Shape) -> str:
        name = f"f{len(self.constants)}"
        self.shapes[name] = shape
        data = self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:] or (1,)))
        self.constants.append(numpy_helper.from_array(data.astype(np.float32), name))
        return name


def mobilenet_step(image: int = 112, width: float = 0.35) -> onnx.ModelProto:
    """A training step of MobileNetV2 with the sparse update.

    Args:
        image: height and width of the image.
        width: factor of the channels, rounded to multiples of 8.
    """
    tape = SparseTape(1, (3, image, image))
    blocks = sum(count for _, _, count, _ in STAGES)
    layers = 1 + 2 + 3 * (blocks - 1) + 1 + 1
    first_new = layers - BIASES
    ratio_of = dict(zip(range(blocks - len(RATIOS), blocks), RATIOS, strict=True))
    number = 0

    def layer(
        x: str, channels: int, *, kernel: int = 1, stride: int = 1, ratio: float = 0.0
    ) -> str:
        nonlocal number
        y = tape.layer(
            x,
            channels,
            kernel=kernel,
            stride=stride,
            is_depthwise=kernel > 1 and x != "x",
            has_new_bias=number >= first_new,
            ratio=ratio,
        )
        number += 1
        return y

    y = tape.relu(layer("x", _channels(32, width), kernel=3, stride=2))
    block = 0
    for expansion, channels, count, first_stride in STAGES:
        for index in range(count):
            x, stride = y, first_stride if index == 0 else 1
            inner = tape.shapes[x][1] * expansion
            if expansion > 1:
                y = tape.relu(layer(x, inner, ratio=ratio_of.get(block, 0.0)))
            y = tape.relu(layer(y, inner, kernel=3, stride=stride))
            y = layer(y, _channels(channels, width))
            if tape.shapes[x] == tape.shapes[y]:
                y = tape.add(y, x)
            block += 1
    y = tape.relu(layer(y, HEAD_CHANNELS))
    return tape.model(tape.frozen_dense(tape.flat_mean(y), CLASSES), "mobilenet_v2_sparse_train")


def _channels(count: int, width: float) -> int:
    """Channels of a layer, a multiple of 8, at most a tenth fewer than asked (as MobileNetV2)."""
    rounded = max(8, int(count * width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * count * width else rounded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.35)
    parser.add_argument("--image", type=int, default=112)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        step = mobilenet_step(given.image, given.width)
        onnx.save(step, path)
        options = CompileOptions(
            target=TARGET,
            dtype="int8",
            overrides=HOMES,
            states=("auto",),
            solver="fluid",
            schedule="whole",
            time_limit_s=given.seconds,
        )
        compiled = compile_model(path, options)
        wide = replace(options, dtype=None, overrides={**HOMES, **FLOAT})
        execution = run_plan(path, compile_model(path, wide).plan)
    peak = compiled.score.peak_bytes
    learned = [v for v in step.graph.input if v.name.startswith("w") and v.name != "wanted"]
    biases = sum(len(value.type.tensor_type.shape.dim) == 1 for value in learned)
    row = [
        str(given.image),
        str(biases),
        str(len(learned) - biases),
        str(compiled.plan.program.operators),
        *(f"{peak[tier] / 1024:.1f}" for tier in ("sram", "iflash")),
        f"{sum(b for tier, b in peak.items() if tier not in {'sram', 'iflash'}) / 1024:.1f}",
        f"{1e3 * compiled.score.latency_s:.1f}",
        "yes",
        "equal" if execution.passed else "differs",
    ]
    print(row)
    title = f"A training step of MobileNetV2 (width {given.width:g}) with a sparse update, int8"
    write_table("sparse_training", title, COLUMNS, [row])


if __name__ == "__main__":
    main()
