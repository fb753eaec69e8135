"""Small random ONNX models of operators that can be cut, with random attributes, and random tiles.

`shapes` are ONNX's own; a node whose result onnx cannot type, or that is large, is left out.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
import onnx

from tests.support.onnx_models import const, model, node
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.reach import REDUCTION

OPSET = 19
MOST_ELEMENTS = 4000
Shape = tuple[int, ...]


class RandomModel:
    """A model in the making.

    Attributes:
        rng: source of everything.
        shapes: by tensor its shape.
        last: the tensor made last.
    """

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        image = (
            rng.choice((1, 1, 2)),
            rng.choice((2, 4, 6)),
            rng.randint(5, 13),
            rng.randint(4, 9),
        )
        self.shapes: dict[str, Shape] = {"x": image}
        self.last = "x"
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        makers: tuple[Callable[[Shape, str], onnx.NodeProto | None], ...] = (
            self._conv, self._conv, self._conv, self._transposed, self._pool, self._resize,
            self._pad, self._slice, self._concat, self._pointwise, self._binary, self._transpose,
            self._reshape, self._depth_to_space, self._normal, self._mean, self._product,
            self._split, self._running, self._gather, self._per_channel, self._repeat,
        )  # fmt: skip
        for _ in range(rng.randint(2, 5)):
            self._try(rng.choice(makers))

    def proto(self) -> onnx.ModelProto:
        """The model; its last tensor is an output, others may be."""
        others = [t for t in self.shapes if t not in ("x", self.last) and self.rng.random() < 0.15]
        return self._model([self.last, *others])

    def tiles(self, operator: Operator) -> dict[int, int]:
        """Random tiles of an operator's output; none where it cannot be cut."""
        reach = operator.reach
        if reach is None:
            return {}
        shape = self.shapes[self.last]
        sizes = {a: n for a, n in enumerate(shape) if reach.axes[a] != "none" and n > 1}
        if reach.reduction > 1:
            sizes[REDUCTION] = reach.reduction
        chosen = self.rng.sample(sorted(sizes), min(len(sizes), self.rng.choice((1, 1, 2))))
        return {axis: self.rng.randint(1, sizes[axis] - 1) for axis in chosen}

    def _model(self, outputs: Sequence[str]) -> onnx.ModelProto:
        read = {name for made in self.nodes for name in made.input}
        constants = [c for c in self.constants if c.name in read]
        return model(self.nodes, {"x": self.shapes["x"]}, " ".join(outputs), constants, opset=OPSET)

    def _try(self, maker: Callable[[Shape, str], onnx.NodeProto | None]) -> None:
        """Add a node, where its result has a shape."""
        name = f"t{len(self.nodes)}"
        made = maker(self.shapes[self.last], name)
        if made is None:
            return
        self.nodes.append(made)
        try:
            typed = onnx.shape_inference.infer_shapes(
                self._model([name]), strict_mode=True, data_prop=True
            )
        except onnx.shape_inference.InferenceError:
            self.nodes.pop()
            return
        (value,) = [v for v in typed.graph.output if v.name == name]
        shape = tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        if not shape or not 0 < np.prod(shape) <= MOST_ELEMENTS:
            self.nodes.pop()
            return
        self.shapes[name], self.last = shape, name

    def _weight(self, *shape: int) -> str:
        drawn = np.random.default_rng(len(self.constants)).standard_normal(shape)
        return self._constant(drawn, "float32")

    def _constant(self, values: Any, dtype: str = "int64") -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(const(name, values, dtype))
        return name

    def _conv(self, shape: Shape, name: str) -> onnx.NodeProto | None:
        if len(shape) != 4:
            return None
        rng, channels = self.rng, shape[1]
        group = rng.choice([1, 1, channels, 2] if channels % 2 == 0 else [1, 1, channels])
        kernel = rng.randint(1, min(4, shape[2])), rng.randint(1, min(3, shape[3]))
        out = group * rng.randint(1, 3)
        operands = [self.last, self._weight(out, channels // group, *kernel)]
        if rng.random() < 0.5:
            operands.append(self._weight(out))
        strides = [rng.randint(1, 3), rng.randint(1, 2)]
        attributes: dict[str, Any] = {"group": group, "strides": strides}
        if rng.random() < 0.3:
            attributes["auto_pad"] = rng.choice(("SAME_UPPER", "SAME_LOWER"))
        else:
            attributes["dilations"] = [rng.randint(1, 3), 1]
            # onnxruntime refuses windows that are longer than the padded input.
            least = max(0, (kernel[0] - 1) * attributes["dilations"][0] + 1 - shape[2])
            attributes["pads"] = [
                max(least, rng.randint(0, 3)),
                *(rng.randint(0, 3) for _ in "abc"),
            ]
        return node("Conv", " ".join(operands), name, **attributes)

    def _transposed(self, shape: Shape, name: str) -> onnx.NodeProto | None:
        if len(shape) != 4:
            return None
        rng = self.rng
        group = rng.choice((1, 1, 2)) if shape[1] % 2 == 0 else 1
        kernel = self._weight(shape[1], 2, rng.randint(1, 4), rng.randint(1, 3))
        return node(
            "ConvTranspose", f"{self.last} {kernel}", name, group=group,
            strides=[rng.randint(1, 3), rng.randint(1, 2)], dilations=[rng.randint(1, 2), 1],
            pads=[rng.randint(0, 1) for _ in range(4)],
        )  # fmt: skip

    def _pool(self, shape: Shape, name: str) -> onnx.NodeProto | None:
        if len(shape) != 4:
            return None
        rng = self.rng
        kernel = [rng.randint(1, 3), rng.randint(1, 3)]
        attributes: dict[str, Any] = {
            "kernel_shape": kernel,
            "strides": [rng.randint(1, 3), rng.randint(1, 2)],
            "pads": [rng.randint(0, k - 1) for k in (*kernel, *kernel)],
        }
        kind = rng.choice(("MaxPool", "AveragePool"))
        if kind == "AveragePool":
            attributes["count_include_pad"] = rng.randint(0, 1)
        return node(kind, self.last, name, **attributes)

    def _resize(self, shape: Shape, name: str) -> onnx.NodeProto | None:
        if len(shape) != 4:
            return None
        rng = self.rng
        scales = [1.0, 1.0, rng.choice((2.0, 1.5, 0.6, 0.5, 3.0)), rng.choice((1.0, 2.0))]
        ways = ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")
        attributes = {
            "mode": rng.choice(("nearest", "linear", "cubic")),
            "coordinate_transformation_mode": rng.choice(ways),
        }
        if attributes["mode"] == "nearest":
            roundings = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
            attributes["nearest_mode"] = rng.choice(roundings)
        operands = f"{self.last} _ {self._constant(scales, 'float32')}"
        return node("Resize", operands, name, **attributes)

    def _pad(self, shape: Shape, name: str) -> onnx.NodeProto | None:
        axis = self.rng.randrange(len(shape))
        if shape[axis] < 5:
            return None
        pads = [0] * (2 * len(shape))
        pads[axis], pads[axis + len(shape)] = self.rng.randint(-1, 2), self.rng.randint(-1, 3)
        mode = self.rng.choice(("constant", "reflect", "edge", "wrap"))
        return node("Pad", f"{self.last} {self._constant(pads)}", name, mode=mode)

    def _slice(self, shape: Shape, name: str) -> onnx.NodeProto:
        rng = self.rng
        axis, step = rng.randrange(len(shape)), rng.choice((1, 2, -1, -2))
        if step > 0:
            start, end = rng.randint(0, shape[axis] // 2), shape[axis] - rng.randint(0, 1)
        else:
            start, end = -1 - rng.randint(0, 1), -shape[axis] - 1
        given = [self._constant([value]) for value in (start, end, axis, step)]
        return node("Slice", " ".join([self.last, *given]), name)

    def _concat(self, shape: Shape, name: str) -> onnx.NodeProto:
        axis = self.rng.randrange(len(shape))
        fitting = [
            other
            for other, its in self.shapes.items()
            if len(its) == len(shape)
            and all(a == b or i == axis for i, (a, b) in enumerate(zip(its, shape, strict=True)))
        ]
        pair = [self.last, self.rng.choice(fitting)]
        self.rng.shuffle(pair)
        return node("Concat", " ".join(pair), name, axis=axis)

    def _pointwise(self, _shape: Shape, name: str) -> onnx.NodeProto:
        return node(self.rng.choice(("Relu", "Sigmoid", "Neg")), self.last, name)

    def _binary(self, shape: Shape, name: str) -> onnx.NodeProto:
        alike = [other for other, its in self.shapes.items() if its == shape]
        other = self.rng.choice(alike)
        if self.rng.random() < 0.3:
            other = self._weight(*(n if self.rng.random() < 0.5 else 1 for n in shape))
        return node(self.rng.choice(("Add", "Mul")), f"{self.last} {other}", name)

    def _transpose(self, shape: Shape, name: str) -> onnx.NodeProto:
        perm = self.rng.sample(range(len(shape)), len(shape))
        return node("Transpose", self.last, name, perm=perm)

    def _reshape(self, shape: Shape, name: str) -> onnx.NodeProto | None:
        if len(shape) == 4:
            n, c, h, w = shape
            wanted = self.rng.choice(((n, c, h * w), (n, c * h, w), (n, c, h, w, 1)))
        elif len(shape) == 3:
            wanted = (*shape, 1)
        else:
            return None
        return node("Reshape", f"{self.last} {self._constant(wanted)}", name)

    def _depth_to_space(self, shape: Shape, name: str) -> onnx.NodeProto | None:
        if len(shape) != 4 or shape[1] % 4:
            return None
        mode = self.rng.choice(("DCR", "CRD"))
        return node("DepthToSpace", self.last, name, blocksize=2, mode=mode)

    def _normal(self, shape: Shape, name: str) -> onnx.NodeProto:
        if self.rng.random() < 0.5:
            return node("Softmax", self.last, name, axis=self.rng.randrange(len(shape)))
        operands = f"{self.last} {self._weight(shape[-1])}"
        return node("LayerNormalization", operands, name, axis=-1)

    def _mean(self, shape: Shape, name: str) -> onnx.NodeProto:
        axes = self._constant([self.rng.randrange(len(shape))])
        keep = self.rng.randint(0, 1)
        return node("ReduceMean", f"{self.last} {axes}", name, keepdims=keep)

    def _product(self, shape: Shape, name: str) -> onnx.NodeProto:
        right = self._weight(shape[-1], self.rng.randint(2, 6))
        return node("MatMul", f"{self.last} {right}", name)

    def _split(self, shape: Shape, name: str) -> onnx.NodeProto | None:
        axis = self.rng.randrange(len(shape))
        if shape[axis] < 2:
            return None
        first = self.rng.randint(1, shape[axis] - 1)
        sizes = self._constant([first, shape[axis] - first])
        return node("Split", f"{self.last} {sizes}", f"{name} {name}b", axis=axis)

    def _running(self, shape: Shape, name: str) -> onnx.NodeProto:
        axis = self._constant(self.rng.randrange(len(shape)))
        exclusive, reverse = self.rng.randint(0, 1), self.rng.randint(0, 1)
        return node("CumSum", f"{self.last} {axis}", name, exclusive=exclusive, reverse=reverse)

    def _gather(self, shape: Shape, name: str) -> onnx.NodeProto:
        axis = self.rng.randrange(len(shape))
        rows = [self.rng.randrange(shape[axis]) for _ in range(self.rng.randint(1, 6))]
        return node("Gather", f"{self.last} {self._constant(rows)}", name, axis=axis)

    def _per_channel(self, shape: Shape, name: str) -> onnx.NodeProto | None:
        if len(shape) != 4:
            return None
        operands = f"{self.last} {self._weight(shape[1])} {self._weight(shape[1])}"
        return node("InstanceNormalization", operands, name)

    def _repeat(self, shape: Shape, name: str) -> onnx.NodeProto:
        times = [1] * len(shape)
        times[self.rng.randrange(len(shape))] = 2
        return node("Tile", f"{self.last} {self._constant(times)}", name)
