"""Small models that cover what plans can do with storage, and short ways to plan and run them."""

import atexit
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import numpy_helper

from tests.support.onnx_models import const, info, model, node, subgraph
from tests.support.solving import Asked, solve_with
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.runner import Execution, Executor, RunOptions
from ullage.compiler.frontend import Prepared
from ullage.compiler.importer.build import ImportOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.plan import Plan, Residency, Transfer

SOLVERS = ("all-slow", "greedy", "msa", "no-spill")
TARGETS: dict[str, tuple[str, dict[str, str]]] = {
    "split": ("edge-npu", {}),
    "whole": ("edge-npu", {"split_operands": "false"}),
    "fastest": ("cosma", {}),
    "fastest-weights": ("cosma", {"weights_in_fastest": "true"}),
}
Make = Callable[[], onnx.ModelProto]
MODELS: dict[str, Make] = {}


def _register(make: Make) -> Make:
    MODELS[make.__name__.removeprefix("_").replace("_", "-")] = make
    return make


def numbers(name: str, shape: Sequence[int], scale: float = 0.3) -> onnx.TensorProto:
    """A weight with numbers of its own."""
    drawn = np.random.default_rng(list(name.encode())).standard_normal(shape)
    return const(name, scale * drawn, "float32")


MAP = (1, 4, 8, 8)  # 1 KiB


@_register
def _residual() -> onnx.ModelProto:
    """Two convolutions round a skip, element-wise work in place, weights fetched or not."""
    return model(
        [
            node("Relu", "x", "a"),
            node("Conv", "a w1 b1", "b", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Relu", "b", "c"),
            node("Conv", "c w2", "d", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Add", "d a", "e"),
            node("MaxPool", "e", "f", kernel_shape=[2, 2], strides=[2, 2]),
            node("Tanh", "f", "g"),
            node("Mul", "g f", "y"),
        ],
        {"x": MAP},
        "y",
        [numbers("w1", (4, 4, 3, 3)), numbers("b1", (4,)), numbers("w2", (4, 4, 3, 3))],
    )


@_register
def _concat() -> onnx.ModelProto:
    """Concat in Concat, and one with a graph input as a part: absorbed but for that part."""
    return model(
        [
            node("Relu", "x", "a"),
            node("Conv", "a w", "b", kernel_shape=[1, 1]),
            node("Concat", "a b", "ab", axis=1),
            node("Softmax", "b", "t"),
            node("GlobalAveragePool", "t", "s"),
            node("MaxPool", "b", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Concat", "ab c", "abc", axis=1),
            node("Concat", "abc x", "all", axis=1),
            node("Conv", "all v", "y", kernel_shape=[1, 1]),
            node("GlobalAveragePool", "all", "z"),
        ],
        {"x": MAP},
        "y z s",
        [numbers("w", (4, 4, 1, 1)), numbers("v", (4, 16, 1, 1))],
    )


@_register
def _slices() -> onnx.ModelProto:
    """Split, Slice and Gather of one row as views; parts read at different times."""
    return model(
        [
            node("Relu", "x", "a"),
            node("Split", "a parts", "p q r", axis=0, name="parts"),
            node("Slice", "a two five zero", "s", name="cut"),
            node("Gather", "a row", "t", axis=0),
            node("MatMul", "p w", "pw"),
            node("MatMul", "q w", "qw"),
            node("Sub", "pw qw", "u"),
            node("ReduceSum", "s zero", "v", keepdims=1),
            node("Add", "u v", "m"),
            node("Mul", "m t", "n"),
            node("Softmax", "r", "o"),
            node("ReduceMax", "o zero", "top", keepdims=1),
            node("Add", "n top", "y"),
        ],
        {"x": (8, 64)},
        "y",
        [
            const("parts", [2, 2, 4]),
            const("two", [2]),
            const("five", [5]),
            const("zero", [0]),
            const("row", 3),
            numbers("w", (64, 64), 0.1),
        ],
    )


@_register
def _rows() -> onnx.ModelProto:
    """An embedding: few rows of a table are read, at places that are data."""
    return model(
        [
            node("Gather", "table ids", "e"),
            node("MatMul", "e w", "h"),
            node("LayerNormalization", "h scale shift", "n"),
            node("Add", "n e", "y"),
        ],
        [info("ids", (1, 6), "int64")],
        "y",
        [
            numbers("table", (40, 16)),
            numbers("w", (16, 16)),
            numbers("scale", (16,)),
            numbers("shift", (16,)),
        ],
    )


@_register
def _quantised() -> onnx.ModelProto:
    """QDQ: planned as int8; the dequantised forms of weights are the stored weights."""
    drawn = np.random.default_rng(3).integers(-100, 100, (4, 4, 3, 3))
    return model(
        [
            node("QuantizeLinear", "x sx zx", "xq"),
            node("DequantizeLinear", "xq sx zx", "xd"),
            node("DequantizeLinear", "w sw zw", "wd"),
            node("Conv", "xd wd", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Relu", "c", "r"),
            node("QuantizeLinear", "r sy zy", "rq"),
            node("DequantizeLinear", "rq sy zy", "rd"),
            node("MaxPool", "rd", "p", kernel_shape=[2, 2], strides=[2, 2]),
            node("QuantizeLinear", "p sy zy", "pq"),
            node("DequantizeLinear", "pq sy zy", "y"),
        ],
        {"x": MAP},
        "y",
        [
            const("sx", 0.02, "float32"),
            const("zx", 3, "int8"),
            const("sw", 0.01, "float32"),
            const("zw", 0, "int8"),
            const("sy", 0.03, "float32"),
            const("zy", -5, "int8"),
            const("w", drawn, "int8"),
        ],
    )


@_register
def _swish() -> onnx.ModelProto:
    """BatchNormalization fused, and x * sigmoid(x), a diamond inside one operator."""
    return model(
        [
            node("Conv", "x w", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("BatchNormalization", "c scale shift mean var", "b"),
            node("Sigmoid", "b", "s"),
            node("Mul", "b s", "m"),
            node("Conv", "m w", "d", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Add", "d m", "y"),
        ],
        {"x": MAP},
        "y",
        [
            numbers("w", (4, 4, 3, 3)),
            numbers("scale", (4,)),
            numbers("shift", (4,)),
            numbers("mean", (4,)),
            const("var", [0.5, 1.0, 1.5, 2.0], "float32"),
        ],
    )


@_register
def _branch() -> onnx.ModelProto:
    """If: its bodies read tensors from outside."""
    then = subgraph([node("Mul", "a b", "t")], (), [info("t", (8, 32))])
    other = subgraph(
        [node("Add", "a b", "f1"), node("MatMul", "f1 w", "f")], (), [info("f", (8, 32))]
    )
    return model(
        [
            node("Relu", "x", "a"),
            node("Tanh", "x", "b"),
            node("If", "flag", "c", then_branch=then, else_branch=other),
            node("Add", "c b", "y"),
        ],
        [info("x", (8, 32)), info("flag", (), "bool")],
        "y",
        [numbers("w", (32, 32))],
    )


@_register
def _lstm() -> onnx.ModelProto:
    """Recurrent: absent operands, results that nobody reads."""
    return model(
        [
            node("LSTM", "x w r b", "h last _", hidden_size=8),
            node("Squeeze", "h one", "s"),
            node("MatMul", "s v", "m"),
            node("Add", "m last", "y"),
        ],
        {"x": (5, 1, 8)},
        "y",
        [
            const("one", [1]),
            numbers("w", (1, 32, 8)),
            numbers("r", (1, 32, 8)),
            numbers("b", (1, 64)),
            numbers("v", (8, 8)),
        ],
    )


@_register
def _weights() -> onnx.ModelProto:
    """Operators read transposed, reshaped and dequantised forms of what is stored."""
    drawn = np.random.default_rng(4).integers(-100, 100, (32, 48))
    return model(
        [
            node("Transpose", "w", "wt", perm=[1, 0]),
            node("MatMul", "x wt", "a"),
            node("DequantizeLinear", "q scale zero", "d", axis=1),
            node("MatMul", "a d", "b"),
            node("Reshape", "v shape", "v2"),
            node("Add", "b v2", "y"),
        ],
        {"x": (6, 16)},
        "y",
        [
            numbers("w", (32, 16)),
            const("q", drawn, "int8"),
            const("scale", 0.01 + 0.001 * np.arange(48), "float32"),
            const("zero", np.arange(48) % 5, "int8"),
            numbers("v", (2, 24)),
            const("shape", [1, 48]),
        ],
    )


@_register
def _outputs() -> onnx.ModelProto:
    """Outputs that are read later, a view of one, a part of one, results that nobody wants."""
    return model(
        [
            node("Relu", "x", "a"),
            node("Split", "a", "p q", axis=0, num_outputs=2),
            node("Reshape", "p flat", "y2"),
            node("Tanh", "a", "y1"),
            node("Exp", "y1", "b"),
            node("TopK", "b two", "k indices", axis=1),
            node("MatMul", "y1 w", "c"),
            node("Add", "c b", "d"),
            node("Concat", "k d", "y3", axis=1),
            node("Sub", "q p", "y4"),
        ],
        {"x": (8, 32)},
        "y1 y2 y3 y4",
        [const("flat", [-1]), const("two", [2]), numbers("w", (32, 32))],
    )


@_register
def _types() -> onnx.ModelProto:
    """Tensors of int64, bool, uint8, float16 and float64."""
    return model(
        [
            node("Greater", "x half", "g"),
            node("Not", "g", "n"),
            node("Where", "n x half", "w"),
            node("Cast", "w", "h", to=onnx.TensorProto.FLOAT16),
            node("Mul", "h h", "h2"),
            node("Add", "h2 h", "h3"),
            node("Cast", "h3", "d", to=onnx.TensorProto.DOUBLE),
            node("ReduceSum", "d one", "y1", keepdims=0),
            node("Cast", "n", "u", to=onnx.TensorProto.UINT8),
            node("Add", "i i", "i2"),
            node("Mul", "i2 i", "y2"),
            node("Concat", "u u", "y3", axis=0),
            node("Identity", "h3", "y4"),
        ],
        [info("x", (9, 33)), info("i", (50,), "int64")],
        "y1 y2 y3 y4 g",
        [const("half", 0.5, "float32"), const("one", [1])],
    )


@_register
def _empty() -> onnx.ModelProto:
    """Tensors without elements: a part of a Concat, a slice, an output."""
    return model(
        [
            node("Slice", "x five five2 zero", "e"),
            node("Concat", "e x", "c", axis=0),
            node("Relu", "c", "r"),
            node("MatMul", "r w", "y"),
            node("Exp", "e", "nothing"),
        ],
        {"x": (8, 16)},
        "y nothing",
        [const("five", [5]), const("five2", [5]), const("zero", [0]), numbers("w", (16, 16))],
    )


@_register
def _views() -> onnx.ModelProto:
    """Reshape, Flatten and Squeeze of one buffer, read at different times; a true Transpose."""
    return model(
        [
            node("Relu", "x", "a"),
            node("Reshape", "a shape", "b"),
            node("Transpose", "b", "t", perm=[1, 0]),
            node("Unsqueeze", "b zero", "c"),
            node("Softmax", "c", "s"),
            node("MatMul", "t b", "m"),
            node("Flatten", "a", "f"),
            node("ReduceMean", "f one", "r", keepdims=1),
            node("Add", "m r", "n"),
            node("ReduceSum", "s one", "k", keepdims=0),
            node("Add", "n k", "y"),
        ],
        {"x": (16, 4, 4)},
        "y",
        [const("shape", [16, 16]), const("zero", [0]), const("one", [1])],
    )


@_register
def _late() -> onnx.ModelProto:
    """A tensor that waits, is then overwritten in place, and read again."""
    return model(
        [
            node("MatMul", "x w", "a"),
            node("MatMul", "x v", "b"),
            node("Softmax", "b", "c"),
            node("MatMul", "c w", "d"),
            node("Add", "d a", "e"),
            node("MatMul", "e v", "f"),
            node("MatMul", "f w", "y"),
        ],
        {"x": (16, 16)},
        "y",
        [numbers("w", (16, 16)), numbers("v", (16, 16))],
    )


def with_numbers(proto: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    """The model with numbers instead of weights that are all the same.

    The wheel's models make their weights with ConstantOfShape, so that their results are the same
    number everywhere, and wrong data would go unnoticed by comparing numbers.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    shapes = {t.name: numpy_helper.to_array(t) for t in copy.graph.initializer}
    generator = np.random.default_rng(seed)
    kept: list[onnx.NodeProto] = []
    variances = {n.input[4] for n in copy.graph.node if n.op_type == "BatchNormalization"}
    for item in copy.graph.node:
        if item.op_type != "ConstantOfShape" or item.input[0] not in shapes:
            kept.append(item)
            continue
        shape = shapes[item.input[0]]
        fan_in = max(1, int(np.prod(shape[1:]))) if len(shape) > 1 else 1
        drawn = generator.standard_normal(shape) * (2.0 / fan_in) ** 0.5
        if len(shape) == 1:  # scales, shifts, means; variances are positive
            centre = 1.0 if item.output[0] in variances else 0.5
            drawn = centre + 0.1 * np.abs(drawn)
        copy.graph.initializer.append(const(item.output[0], drawn, "float32"))
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    return copy


WHEEL = ("squeezenet", "shufflenet")


_FOLDER = TemporaryDirectory(prefix="ullage-models-")
atexit.register(_FOLDER.cleanup)


@cache
def model_file(name: str) -> Path:
    """The file of a model of this module, or of one of the wheel's with numbers of its own."""
    path = Path(_FOLDER.name) / f"{name}.onnx"
    proto = MODELS[name]() if name in MODELS else with_numbers(onnx.load(find_model(name)))
    onnx.save(proto, path)
    return path


def solved(name: str, target: str, solver: str, fast_bytes: int, *, fuse: bool = True) -> Plan:
    """A plan, not verified; raises InfeasibleError where there is none."""
    prepared = prepared_model(name, target, fuse)
    objective = "peak" if solver == "no-spill" else "latency"
    chip = prepared.target.with_fast_memory(fast_bytes)
    found = solve_with(solver, prepared.problem.on(chip), Asked(objective=objective))
    return replace(found, model=prepared.model)


@cache
def prepared_model(name: str, target: str, fuse: bool, steady_state: bool = False) -> Prepared:
    chip, overrides = TARGETS[target]
    options = CompileOptions(target=chip, overrides=overrides, fuse=fuse, steady_state=steady_state)
    return prepare(model_file(name), options)


def steady(name: str, target: str, fast_bytes: int = 1 << 16) -> Plan:
    """A plan in steady state whose weights are in fast memory: most of them for ever.

    The weights of the first operators that are used no more during the last three steps are
    dropped after their last use and fetched for the next inference while the last operator runs.
    """
    prepared = prepared_model(name, target, fuse=True, steady_state=True)
    chip = prepared.target.with_fast_memory(fast_bytes)
    base = solve_with("all-slow", prepared.problem.on(chip))
    problem, last = base.problem, len(base.problem.steps)
    held, moved, offset = list(base.residencies), [], 0
    for index, buffer in enumerate(problem.buffers):
        steps = [t for t, _ in problem.uses_of[index]]
        if buffer.kind != "weight" or not steps:
            continue
        whole, size = (index, 0, buffer.size_bytes), buffer.size_bytes
        if steps[-1] < last - 3:
            half = size // 2
            held.append(Residency(*whole, "sram", offset, 0, 0, steps[-1] + 1))
            held.append(Residency(*whole, "sram", offset, last - 3, last - 1, last))
            moves = ((last - 3, half), (last - 2, size - half))
            moved.append(Transfer(*whole, "dram", "sram", moves))
        else:
            held.append(Residency(*whole, "sram", offset, 0, 0, last))
        offset += -(-size // 256) * 256
    return replace(base, residencies=tuple(held), transfers=tuple(moved), model=prepared.model)


def executor(name: str, plan: Plan) -> Executor:
    """The executor for plans of a model; sessions of its operators are kept between runs."""
    return _executor(name, bool(plan.model["fuse"]))


@cache
def _executor(name: str, fuse: bool) -> Executor:
    return Executor(model_file(name), ImportOptions(fuse=fuse), name=name)


def executed(name: str, plan: Plan, options: RunOptions | None = None) -> Execution:
    """A plan run."""
    return executor(name, plan).run(plan, options)


@dataclass(frozen=True)
class Case:
    """A model planned by a solver for a target.

    Attributes:
        model: name of a model.
        target: key of `TARGETS`.
        solver: name of a solver.
        fast_bytes: capacity of the fastest tier.
    """

    model: str
    target: str = "split"
    solver: str = "greedy"
    fast_bytes: int = 4096

    def __str__(self) -> str:
        return f"{self.model}-{self.target}-{self.solver}-{self.fast_bytes}"

    @property
    def file(self) -> Path:
        """The model's file."""
        return model_file(self.model)

    def solve(self) -> Plan:
        """The plan."""
        return solved(self.model, self.target, self.solver, self.fast_bytes)
