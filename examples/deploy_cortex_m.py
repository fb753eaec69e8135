"""A quantised model as firmware for a Cortex-M55, built with make and run in QEMU.

Needs make.
Needs arm-none-eabi-gcc.
Needs qemu-system-arm.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ullage.compiler import CompileOptions, compile_model
from ullage.compiler.emit import emit_plan

for tool in ("make", "arm-none-eabi-gcc", "qemu-system-arm"):
    if shutil.which(tool) is None:
        raise SystemExit(f"this example needs {tool}: see docs/deployment.md")
drawn = np.random.default_rng(0).integers(-127, 128, (8, 3, 3, 3)).astype(np.int8)
numbers = {"w": drawn, "s": np.float32(0.02), "z": np.int8(0)}
nodes = [
    helper.make_node("DequantizeLinear", ["x", "s", "z"], ["xf"]),
    helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wf"]),
    helper.make_node("Conv", ["xf", "wf"], ["yf"], kernel_shape=[3, 3]),
    helper.make_node("QuantizeLinear", ["yf", "s", "z"], ["y"]),
]
ends = [
    helper.make_tensor_value_info(name, TensorProto.INT8, shape)
    for name, shape in (("x", [1, 3, 16, 16]), ("y", [1, 8, 14, 14]))
]
weights = [numpy_helper.from_array(np.asarray(a), name) for name, a in numbers.items()]
graph = helper.make_graph(nodes, "conv", ends[:1], ends[1:], weights)
with tempfile.TemporaryDirectory() as name:
    path = Path(name) / "conv.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    options = CompileOptions("mps3-an547", fast_memory_bytes=4096, schedule="whole")
    compiled = compile_model(path, options)
    emit_plan(compiled, Path(name) / "firmware", "c")
    command = ["make", "-s", "-C", f"{name}/firmware", "run"]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
print(f"bytes by memory: {compiled.score.peak_bytes}; the chip says:\n{ran.stdout}{ran.stderr}")
