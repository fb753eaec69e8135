"""A training step of a perceptron as an ONNX model: forward, backward, and update."""

from functools import cache
from pathlib import Path

import onnx

from tests.support.onnx_models import info, model, node
from ullage.compiler.ir.target import Target
from ullage.hwmodels.catalog.registry import load_target


@cache
def training_step(layers: int = 6, batch: int = 256, width: int = 32) -> onnx.ModelProto:
    """A step whose activations are much larger than its parameters.

    Each layer is a MatMul and a Relu; the backward pass reads what each Relu made, last layer
    first, for its own mask and for the gradient of the next layer's parameters.
    """
    nodes = []
    inputs = [info("x0", [batch, width]), info("wanted", [batch, width])]
    outputs = []
    for i in range(layers):
        inputs.append(info(f"w{i}", [width, width]))
        nodes += [node("MatMul", f"x{i} w{i}", f"z{i}"), node("Relu", f"z{i}", f"x{i + 1}")]
    nodes.append(node("Sub", f"x{layers} wanted", f"d{layers}"))
    for i in reversed(range(layers)):
        nodes += [
            node("Sign", f"x{i + 1}", f"mask{i}"),
            node("Mul", f"d{i + 1} mask{i}", f"e{i}"),
            node("Transpose", f"x{i}", f"xt{i}", perm=[1, 0]),
            node("MatMul", f"xt{i} e{i}", f"g{i}"),
            node("Sub", f"w{i} g{i}", f"new{i}"),
            node("Transpose", f"w{i}", f"wt{i}", perm=[1, 0]),
            node("MatMul", f"e{i} wt{i}", f"d{i}"),
        ]
        outputs.append(info(f"new{i}", [width, width]))
    outputs.append(info("d0", [batch, width]))
    return model(nodes, inputs, outputs)


def saved_step(folder: Path, **sizes: int) -> Path:
    """The file of such a step."""
    path = folder / "training_step.onnx"
    onnx.save(training_step(**sizes), path)
    return path


def chip(fast_memory_bytes: int, bytes_per_s: float) -> Target:
    """A chip with so much fast memory, and slow memory of a bandwidth."""
    fields = [f"tiers.dram.{way}_bytes_per_s" for way in ("read", "write")]
    fields += [f"links.{link}.bandwidth_bytes_per_s" for link in ("dram->sram", "sram->dram")]
    overrides = dict.fromkeys(fields, str(bytes_per_s))
    return load_target("edge-npu", overrides).with_fast_memory(fast_memory_bytes)


def slow_chip(fast_memory_bytes: int) -> Target:
    """A chip that computes much faster than it moves data."""
    return chip(fast_memory_bytes, 5e8)
