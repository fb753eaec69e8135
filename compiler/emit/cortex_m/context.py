"""What kernels of an operator are chosen from: its nodes, types, constants and addresses."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

import numpy as np
import onnx

from ullage.compiler.common.errors import ModelError
from ullage.compiler.emit.program import FlatProgram, Span
from ullage.compiler.execute.element_types import Array
from ullage.compiler.execute.kernels import Kernels
from ullage.compiler.importer.scope import TensorType
from ullage.compiler.ir.graph import Operator
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import Layout, PlacedValue

# Columns of generated C.
_COLUMNS = 100
_C_TYPES = {
    "float32": "float",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int32": "int32_t",
    "int64": "int64_t",
}


@dataclass(frozen=True)
class Quantised:
    """A DequantizeLinear that is read: a tensor of small integers and what its numbers stand for.

    Attributes:
        raw: name of the tensor of integers.
        scale: one number, or one per channel.
        zero: zero points, as many as scales, or none.
        scale_name: name of the tensor of scales.
        zero_name: name of the tensor of zero points, empty where there is none.
        axis: the axis of channels.
    """

    raw: str
    scale: Array
    zero: Array
    scale_name: str
    zero_name: str
    axis: int


@dataclass(frozen=True)
class Cell:
    """Elements of a tensor that lie together.

    Attributes:
        low: first index of each axis.
        high: one past the last.
        start: number of the element at `low`, counted in the tensor's bytes.
        strides: elements from one index of each axis to the next.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    start: int
    strides: tuple[int, ...]

    def place(self, index: Sequence[int]) -> int:
        """Number of the element at an index, which need not be inside."""
        steps = zip(index, self.low, self.strides, strict=True)
        return self.start + sum((i - low) * stride for i, low, stride in steps)

    def clip(self, box: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The part of a box that lies in the cell; an axis may be empty."""
        return [
            (max(a, low), min(b, high))
            for (a, b), low, high in zip(box, self.low, self.high, strict=True)
        ]


@dataclass
class Context:
    """One operator of a plan, in one step.

    Attributes:
        plan: the plan.
        program: its addresses.
        kernels: constants of the model; runs operators in onnxruntime.
        operator: the operator.
        step: the step in which it runs.
        absorbed: inputs of a Concat that lie in the result already.
        arrays: C texts of constant arrays that the operator needs.
        placed: C addresses of tensors that are no operands of the plan: they lie in a result.
    """

    plan: Plan
    program: FlatProgram
    kernels: Kernels
    operator: Operator
    step: int
    absorbed: frozenset[str] = frozenset()
    arrays: list[str] = field(default_factory=list)
    placed: dict[str, str] = field(default_factory=dict)

    @property
    def nodes(self) -> list[onnx.NodeProto]:
        """The operator's nodes, in the model's order."""
        return [self.kernels.proto.graph.node[i] for i in self.operator.nodes]

    def refuse(self, reason: str) -> ModelError:
        """An error that names the operator: nothing is written."""
        kinds = ", ".join(dict.fromkeys(node.op_type for node in self.nodes))
        return ModelError(
            f"no kernel for {self.operator.kind} {self.operator.name!r} ({kinds}): {reason}",
            {"operator": self.operator.name, "kind": self.operator.kind},
        )

    def type_of(self, name: str) -> TensorType:
        """Shape and element type of a tensor."""
        tensor_type = self.kernels.scope.types[name]
        if tensor_type.is_upper_bound:
            raise self.refuse(f"the shape of {name!r} depends on data")
        return tensor_type

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tuple(self.type_of(name).shape)

    def dtype(self, name: str) -> str:
        """The element type of a tensor."""
        return self.type_of(name).dtype

    def constant(self, name: str) -> Array | None:
        """The numbers of a tensor that does not depend on inputs; None for others."""
        if name not in self.kernels.constants and name in self.kernels.scope.constants:
            self.kernels.constant([name])
        return self.kernels.constants.get(name)

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that computes a tensor within this operator, or from its constants."""
        index = self.kernels.producer.get(name)
        if index is None or name in self.operator.inputs:
            return None
        if index in self.operator.nodes or name in self.kernels.scope.constants:
            node: onnx.NodeProto = self.kernels.proto.graph.node[index]
            return node
        return None

    def dequantised(self, name: str) -> Quantised | None:
        """What a DequantizeLinear makes `name` from; None where another node makes it."""
        node = self.producer(name)
        if node is None or node.op_type != "DequantizeLinear":
            return None
        scale = self.constant(node.input[1])
        if scale is None:
            raise self.refuse(f"the scale of {node.input[0]!r} is computed")
        zero: Array | None = np.zeros(0, dtype=np.int32)
        zero_name = node.input[2] if len(node.input) > 2 else ""
        if zero_name:
            zero = self.constant(zero_name)
        if zero is None:
            raise self.refuse(f"the zero point of {node.input[0]!r} is computed")
        rank = len(self.shape(node.input[0]))
        axis = attributes(node).get("axis", 1)
        return Quantised(
            raw=node.input[0],
            scale=scale.reshape(-1),
            zero=zero.reshape(-1),
            scale_name=node.input[1],
            zero_name=zero_name,
            axis=axis + rank if axis < 0 else axis,
        )

    # -- C expressions -----------------------------------------------------------------------

    @property
    def is_part(self) -> bool:
        """Whether the step makes a part of the operator's result."""
        return bool(self.plan.problem.steps[self.step].ranges)

    def box(self, shape: Sequence[int]) -> list[tuple[int, int]]:
        """By axis the range of a result of this shape that the step makes."""
        cut = {r.axis: (r.start, r.end) for r in self.plan.problem.steps[self.step].ranges}
        if any(axis not in range(len(shape)) for axis in cut):
            raise self.refuse("it adds up in several parts, and kernels keep no sums between steps")
        return [cut.get(axis, (0, size)) for axis, size in enumerate(shape)]

    def cells(self, name: str, shape: Sequence[int]) -> list[Cell]:
        """Where the elements of a tensor lie: in one cell, or, if it is made in parts, in several.

        Args:
            name: the tensor, as it lies in memory.
            shape: its shape, or another of as many elements by which a node sees it.
        """
        layout = self._layout(name)
        if layout is None:
            return [Cell((0,) * len(shape), tuple(shape), 0, _strides(shape))]
        cells, start = [], 0
        spans = [list(zip(c.ends, c.ends[1:], strict=False)) for c in layout.cuts]
        for intervals in product(*spans):
            low, high = [0] * len(shape), list(shape)
            for cuts, (begin, end) in zip(layout.cuts, intervals, strict=True):
                low[cuts.axis], high[cuts.axis] = begin, end
            extents = [b - a for a, b in zip(low, high, strict=True)]
            strides = _strides(extents, layout.axis)
            cells.append(Cell(tuple(low), tuple(high), start, strides))
            start += prod(extents)
        return cells

    def strides(self, name: str, shape: Sequence[int]) -> list[int]:
        """Elements from one index of each axis to the next, of a tensor in one cell."""
        cells = self.cells(name, shape)
        if len(cells) > 1:
            raise self.refuse(f"no kernel for parts: {name!r} lies in {len(cells)} cells")
        return list(cells[0].strides)

    def whole(self) -> None:
        """Refuse a step that makes a part, or works on tensors that are laid out for parts."""
        if self.is_part:
            raise self.refuse("no kernel for parts of it; compile with --schedule whole")
        for operand in self.program.operands[self.step]:
            if operand.name in self.kernels.scope.types:
                self.row_major(operand.name)

    def row_major(self, name: str) -> None:
        """Refuse a tensor that is laid out in another order than ONNX's, row-major."""
        shape = self.shape(name)
        if self.strides(name, shape) != self.strides("", shape):
            raise self.refuse(f"no kernel for parts: {name!r} is laid out for them")

    def _layout(self, name: str) -> Layout | None:
        """The layout of a tensor that is not row-major.

        A view lies as the tensor whose bytes it has: only row-major ones can be seen otherwise.
        """
        for operand in self.program.operands[self.step]:
            if operand.name != name:
                continue
            values = self.plan.problem.buffers[operand.buffer].values
            own = next(value for value in values if value.name == name)
            if self._is_laid_out(own):
                return own.layout
            shared = [v for v in values if v.start_byte < own.end_byte]
            if any(self._is_laid_out(v) for v in shared if own.start_byte < v.end_byte):
                raise self.refuse(f"{name!r} is a view of a tensor that is laid out for parts")
        return None

    def _is_laid_out(self, value: PlacedValue) -> bool:
        """Whether elements of a value lie in another order than row-major."""
        layout = value.layout
        if layout is None:
            return False
        before = self.kernels.scope.types[value.name].shape[: layout.axis]
        return bool(layout.cuts) or prod(before) != 1

    def read(self, name: str, c_type: str = "") -> str:
        """Address of a tensor that is read: an operand of the plan, or a constant array."""
        expression = self._operand(name, write=False)
        if expression is None:
            array = self.constant(name)
            if array is None:
                raise self.refuse(f"{name!r} is not among the operands of step {self.step}")
            return self.array(array)
        return f"(const {c_type or 'void'} *){expression}"

    def write(self, name: str, c_type: str = "") -> str:
        """Address of a tensor that is written."""
        if name in self.placed:
            return self.placed[name]
        expression = self._operand(name, write=True)
        if expression is None:
            raise self.refuse(f"{name!r} is not written in step {self.step}")
        return f"({c_type or 'void'} *){expression}"

    def overlaps(self, first: str, second: str) -> bool:
        """Whether bytes of a tensor that is read are bytes of a tensor that is written."""
        return any(
            a.tier == b.tier
            and a.address < b.address + b.size_bytes
            and b.address < a.address + a.size_bytes
            for a in self._spans(first, write=False)
            for b in self._spans(second, write=True)
        )

    def array(self, numbers: Array) -> str:
        """Name of a constant array with these numbers."""
        name = f"constant_{self.step}_{len(self.arrays)}"
        c_type = _C_TYPES.get(str(numbers.dtype))
        if c_type is None:
            raise self.refuse(f"a constant of type {numbers.dtype}")
        flat = numbers.reshape(-1)
        texts = [c_float(v) if c_type == "float" else str(int(v)) for v in flat]
        rows = [", ".join(texts[i : i + 8]) for i in range(0, len(texts), 8)] or ["0"]
        body = ",\n  ".join(rows)
        self.arrays.append(f"static const {c_type} {name}[] = {{\n  {body},\n}};")
        return name

    def _spans(self, name: str, *, write: bool) -> Sequence[Span]:
        operands = self.program.operands[self.step]
        return [s for o in operands if o.name == name and o.write == write for s in o.spans]

    def _operand(self, name: str, *, write: bool) -> str | None:
        """The address of a tensor's first byte, from the first of its operands in this step."""
        first = sum(map(len, self.program.operands[: self.step]))
        operands = self.program.operands[self.step]
        chosen = [k for k, o in enumerate(operands) if o.name == name and o.write == write]
        spans = self._spans(name, write=write)
        if not spans:
            return None
        shifts = {(s.tier, s.address - s.start_byte) for s in spans}
        if len(shifts) > 1:
            raise self.refuse(
                f"the plan has {name!r} in {len(spans)} pieces; kernels take one address per "
                "tensor (--set split_operands=false)"
            )
        operand = operands[chosen[0]]
        buffer = self.plan.problem.buffers[operand.buffer]
        begin = next(v.start_byte for v in buffer.values if v.name == name)
        before = operand.spans[0].start_byte - begin
        at = f"ullage_at({first + chosen[0]})"
        return f"({at} - {before})" if before else at

    def written_ranges(self, name: str) -> list[tuple[int, int]]:
        """(first byte, number of bytes) of each range that the step writes of a tensor."""
        buffer = next(
            self.plan.problem.buffers[o.buffer]
            for o in self.program.operands[self.step]
            if o.name == name and o.write
        )
        begin = next(v.start_byte for v in buffer.values if v.name == name)
        return [(s.start_byte - begin, s.size_bytes) for s in self._spans(name, write=True)]


def _strides(shape: Sequence[int], outermost: int = 0) -> tuple[int, ...]:
    """Strides in elements of a tensor without gaps; one axis outermost, the others ascending."""
    order = sorted(range(len(shape)), key=lambda d: (d != outermost, d))
    strides = [0] * len(shape)
    for position, d in enumerate(order):
        strides[d] = prod(shape[inner] for inner in order[position + 1 :])
    return tuple(strides)


def is_empty(box: Sequence[tuple[int, int]]) -> bool:
    """Whether a box holds no element."""
    return any(low >= high for low, high in box)


def attributes(node: onnx.NodeProto) -> Mapping[str, Any]:
    """The attributes of a node by name."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def c_float(number: Any) -> str:  # noqa: ANN401 - a number of Python or numpy
    """A float32 literal that C reads as the same number."""
    value = np.float32(number)
    if np.isnan(value):
        return "NAN"
    if np.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    text = f"{float(value):.9g}"
    return text + ("f" if any(c in text for c in ".e") else ".0f")


def struct(c_type: str, **fields: object) -> str:
    """A compound literal; sequences are arrays."""
    parts = []
    for name, value in fields.items():
        text = str(value)
        if isinstance(value, (list, tuple)):
            text = "{" + ", ".join(map(str, value)) + "}"
        parts.append(f".{name} = {text}")
    return f"({c_type}){{{', '.join(parts)}}}"


def reference(c_type: str, **fields: object) -> str:
    """The address of a constant compound literal."""
    return "&" + struct(f"const {c_type}", **fields)


def call(function: str, *arguments: object) -> str:
    """A call as a statement; a long one has a line for each argument, broken after commas."""
    texts = [str(argument) for argument in arguments]
    line = f"  {function}({', '.join(texts)});"
    if len(line) <= _COLUMNS:
        return line
    fixed = "\N{NO-BREAK SPACE}"
    wrapped = [
        textwrap.fill(
            re.sub(r"(?<!,) ", fixed, text),
            _COLUMNS - 2,
            initial_indent=" " * 6,
            subsequent_indent=" " * 10,
            break_long_words=False,
            break_on_hyphens=False,
        ).replace(fixed, " ")
        for text in texts
    ]
    return f"  {function}(\n" + ",\n".join(wrapped) + ");"
