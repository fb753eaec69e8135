"""What is known inside one graph while it is read, and how a node is read and named.

Each graph and each subgraph (of If, Loop, Scan) has a `Scope`: types, values of small constants,
and names of tensors that follow from constants alone. `attributes` decodes a node; `blaming` turns
whatever goes wrong with it into an error that names it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ullage.compiler.common.errors import ModelError, UllageError
from ullage.compiler.importer.load import checked_elements, element_name


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type, shape, and whether the shape is an upper bound."""

    dtype: str
    shape: tuple[int, ...]
    is_upper_bound: bool = False

    @property
    def elements(self) -> int:
        """Number of elements."""
        count = 1
        for dim in self.shape:
            count *= dim
        return count


@dataclass
class Scope:
    """What is known inside one graph (or subgraph) while the pass walks it.

    Attributes:
        where: model and subgraph, for messages.
        opsets: version of each operator domain.
        types: known tensor types.
        arrays: values of small constants.
        constants: names of tensors that follow from constants alone, small or not.
        declared: types from the file's `value_info`, used where inference gives none.
        symbols: values of symbolic dimensions.
        subscopes: (node position, attribute name) -> scope of that subgraph.
        folded_bytes: bytes of folded constants so far; all nested scopes share this list.
    """

    where: str
    opsets: Mapping[str, int]
    types: dict[str, TensorType] = field(default_factory=dict)
    arrays: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    declared: dict[str, onnx.TypeProto] = field(default_factory=dict)
    symbols: Mapping[str, int] = field(default_factory=dict)
    subscopes: dict[tuple[int, str], "Scope"] = field(default_factory=dict)
    folded_bytes: list[int] = field(default_factory=lambda: [0])


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
        if dim.HasField("dim_value"):
            shape.append(dim.dim_value)
        elif dim.dim_param in scope.symbols:
            shape.append(scope.symbols[dim.dim_param])
        else:
            return None
    assert dtype is not None  # noqa: S101 - narrowed above, for the type checker
    checked_elements(tuple(shape), dtype, name, scope.where)
    return TensorType(dtype, tuple(shape))


def to_proto(tensor_type: TensorType) -> onnx.TypeProto:
    """A type in onnx's form."""
    number = onnx.TensorProto.DataType.Value(
        {"float32": "FLOAT", "float64": "DOUBLE"}.get(tensor_type.dtype, tensor_type.dtype.upper())
    )
    return onnx.helper.make_tensor_type_proto(number, tensor_type.shape)


def label_of(node: onnx.NodeProto) -> str:
    """Name of a node for messages."""
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} (unnamed)"


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
