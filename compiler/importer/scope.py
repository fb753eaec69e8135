"""What is known inside one graph while it is read, and how a node is read and named.

Each graph and each subgraph (of If, Loop, Scan) has a `Scope`: types, values of small constants,
and names of tensors that follow from constants alone. `attributes` decodes a node; `blaming` turns
whatever goes wrong with it into an error that names it.
"""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ullage.compiler.common.errors import ModelError, TimeLimitError, UllageError
from ullage.compiler.common.layers import Layers, Names
from ullage.compiler.importer.load import checked_elements, element_name, element_number
from ullage.compiler.importer.symbols import ANY_LENGTH

# Nodes after which the clock is looked at.
CHECKED_EVERY = 64
# Lowest and highest value of each element of a tensor, in float64; infinite where none is known.
Interval = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type and shape of a tensor; where the shape depends on data, what bounds it.

    The rank is always exact, and no axis of the tensor is ever longer than `shape` says.

    Attributes:
        dtype: element type, as `common.dtypes` spells it.
        shape: length of each axis, or the largest that it may have.
        is_upper_bound: whether some axis may be shorter.
        exact_axes: where the shape is a bound, the axes that are never shorter.
        most_elements: bound on the number of elements where that is less than the product of the
            axes; None where it is not.
    """

    dtype: str
    shape: tuple[int, ...]
    is_upper_bound: bool = False
    exact_axes: frozenset[int] = frozenset()
    most_elements: int | None = None

    @property
    def elements(self) -> int:
        """Number of elements, at most."""
        count = math.prod(self.shape)
        return count if self.most_elements is None else min(count, self.most_elements)

    def is_exact(self, axis: int) -> bool:
        """Whether an axis has the length that `shape` says, whatever the data."""
        return not self.is_upper_bound or axis in self.exact_axes


@dataclass
class Work:
    """What reading a model has cost so far, and may cost; all scopes of a model share it.

    Attributes:
        deadline: `time.monotonic()` value at which reading ends, None for never.
        folded_bytes: bytes of constants computed so far.
        folded_elements: elements read and written to compute them.
        visited: nodes visited so far, those of bodies once for each visit.
        repeated: those that were visited again because the shapes of a loop changed.
        skipped: (If, reason) for branches that cannot run and were left out, each once.
        undefined: what ONNX does not define and was read all the same -> nodes, each once.
    """

    deadline: float | None = None
    folded_bytes: int = 0
    folded_elements: int = 0
    visited: int = 0
    repeated: int = 0
    skipped: dict[tuple[str, str], None] = field(default_factory=dict)
    undefined: dict[str, dict[str, None]] = field(default_factory=dict)

    def visit(self, where: str) -> None:
        """Count a node.

        Raises:
            TimeLimitError: time is over.
        """
        self.visited += 1
        if self.deadline is not None and self.visited % CHECKED_EVERY == 0:
            self.check(where)

    def check(self, where: str) -> None:
        """Look at the clock.

        Raises:
            TimeLimitError: time is over.
        """
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeLimitError(
                f"{where}: the time limit was over before the model was read "
                f"({self.visited} nodes so far); give more time (--time-limit)"
            )


@dataclass
class Scope:
    """What is known inside one graph (or subgraph) while the pass walks it.

    The scope of a subgraph sees what the graph around it knows (`inside`) and keeps its own facts
    apart, so that a thousand subgraphs cost no thousand copies.

    Attributes:
        where: model and subgraph, for messages.
        opsets: version of each operator domain.
        types: known tensor types.
        arrays: values of small constants.
        ranges: lowest and highest value of each element, for small tensors computed from shapes
            that depend on data.
        constants: names of tensors that follow from constants alone, small or not.
        declared: types from the file's `value_info`, used where inference gives none.
        implied: types that follow backwards from declared ones, the last resort.
        symbols: values of symbolic dimensions.
        subscopes: node position -> attribute name -> scope of that subgraph; of an If whose
            condition is a constant only the branch that runs.
        iterations: node position of a Loop or Scan -> most iterations, None where unknown.
        work: what reading has cost.
    """

    where: str
    opsets: Mapping[str, int]
    types: Layers[TensorType] = field(default_factory=Layers)
    arrays: Layers[NDArray[np.generic]] = field(default_factory=Layers)
    ranges: Layers[Interval] = field(default_factory=Layers)
    constants: Names = field(default_factory=Names)
    declared: dict[str, onnx.TypeProto] = field(default_factory=dict)
    implied: Mapping[str, TensorType] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    subscopes: dict[int, dict[str, "Scope"]] = field(default_factory=dict)
    iterations: dict[int, int | None] = field(default_factory=dict)
    work: Work = field(default_factory=Work)

    def inside(self, where: str) -> "Scope":
        """A scope for a subgraph."""
        return Scope(
            where=f"{self.where}: {where}",
            opsets=self.opsets,
            types=Layers(self.types),
            arrays=Layers(self.arrays),
            ranges=Layers(self.ranges),
            constants=Names(self.constants),
            symbols=self.symbols,
            work=self.work,
        )

    def forget(self, name: str) -> None:
        """Let a name stand for nothing here, whatever it is in the graphs around."""
        del self.types[name]
        del self.arrays[name]
        del self.ranges[name]
        self.constants.discard(name)


def from_proto(proto: onnx.TypeProto | None, name: str, scope: Scope) -> TensorType | None:
    """The type that a file states, if every dimension is known; else None.

    Raises:
        ModelError: the dimensions are absurd.
    """
    if proto is None or proto.WhichOneof("value") != "tensor_type":
        return None
    tensor = proto.tensor_type
    dtype = element_name(tensor.elem_type)
    if not tensor.HasField("shape") or dtype in (None, "undefined"):
        return None
    shape: list[int] = []
    for dim in tensor.shape.dim:
        if dim.HasField("dim_value") and dim.dim_value != ANY_LENGTH:
            shape.append(dim.dim_value)
        elif dim.dim_param in scope.symbols:
            shape.append(scope.symbols[dim.dim_param])
        else:
            return None
    assert dtype is not None  # noqa: S101 - narrowed above, for the type checker
    checked_elements(tuple(shape), dtype, name, scope.where)
    return TensorType(dtype, tuple(shape))


def to_proto(tensor_type: TensorType) -> onnx.TypeProto:
    """A type in onnx's form; axes that may be shorter have no length."""
    shape = [d if tensor_type.is_exact(axis) else None for axis, d in enumerate(tensor_type.shape)]
    return onnx.helper.make_tensor_type_proto(element_number(tensor_type.dtype), shape)


def is_standard(node: onnx.NodeProto) -> bool:
    """Whether a node is of ONNX's own domain; other domains have operators of the same names."""
    return node.domain in ("", "ai.onnx")


def label_of(node: onnx.NodeProto) -> str:
    """Name of a node for messages."""
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} (unnamed)"


def name_of(node: onnx.NodeProto) -> str:
    """Name of a node beside its kind: that of its first result where it has none."""
    return node.name or next(iter(node.output), "")


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node as Python values.

    Raises:
        ValueError: an attribute cannot be decoded; `blaming` names model and node.
    """
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


@contextmanager
def blaming(node: onnx.NodeProto, where: str) -> Iterator[None]:
    """While the context is open, any exception becomes an error that names the node.

    Nobody checks attributes of operators without a schema, and those of others are checked in part
    only: a rule may meet any type and any value.

    Raises:
        ModelError: with the node, its attributes and the original message.
    """
    try:
        yield
    except (UllageError, MemoryError):
        raise
    except Exception as error:
        shown = ", ".join(
            f"{a.name} ({onnx.AttributeProto.AttributeType.Name(a.type)})"
            if a.type in onnx.AttributeProto.AttributeType.values()
            else a.name
            for a in node.attribute
        )
        reason = (str(error).strip().splitlines() or [""])[0][:200]
        raise ModelError(
            f"{where}: {node.op_type} {node.name!r} (output {next(iter(node.output), '')!r}) is "
            f"malformed: {type(error).__name__} {reason}; {len(node.input)} inputs, "
            f"attributes: {shown or 'none'}",
            {"operator": node.op_type},
        ) from error
