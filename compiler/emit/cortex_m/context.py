"""What kernels of an operator are chosen from: its nodes, types, constants and addresses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    """A call as a statement, wrapped like the rest."""
    return f"  {function}({', '.join(map(str, arguments))});"
