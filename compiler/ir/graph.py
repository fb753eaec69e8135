"""The graph: values (tensors) and the operators that read and write them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["input", "weight", "activation", "output"]
SharingKind = Literal["view", "in_place", "concat", "split"]


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor.

    Attributes:
        name: unique name in the graph.
        kind: `input`, `weight`, `activation` or `output`.
        dtype: element type in ONNX spelling, lower case (`float32`, `int4` ...).
        shape: dimensions; a scalar has none.
        size_bytes: storage; sub-byte types are packed.
        is_upper_bound: the shape depends on data and this is its largest possible size.
    """

    name: str
    kind: Kind
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int
    is_upper_bound: bool = False


@dataclass(frozen=True, slots=True)
class Gemm:
    """`count` matrix products [m, k] x [k, n], the form in which a systolic array sees work.

    Weight stationary: k and n are the dimensions that the array holds, m is streamed.
    """

    m: int
    k: int
    n: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Sharing:
    """An output that *may* share the bytes of an input; lifetimes decide whether it does.

    Attributes:
        kind: `view` (same bytes, no work), `in_place` (the output overwrites the input),
            `concat` (the input is a part of the output) or `split` (the output is a part of
            the input).
        output: name of the output value.
        input: name of the input value.
        offset_bytes: where the part begins inside the whole (`concat`, `split`).
    """

    kind: SharingKind
    output: str
    input: str
    offset_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Operator:
    """One unit of execution: an ONNX node or a fusion group of them.

    Attributes:
        name: unique name in the graph.
        kind: operator type of the node that does the work, `Conv` for Conv+BatchNorm+Relu.
        inputs: distinct values read, weights included.
        outputs: values written.
        macs: multiply-accumulates.
        mac_dtype: data type of the multiplications, selects the target's rate.
        vector_elements: elements that the vector unit processes.
        gemms: the MACs as matrix products.
        workspace_bytes: scratch memory needed while it runs.
        accessed_bytes: (input name, bytes really read) where less than the whole is touched.
        sharings: storage that outputs may share with inputs.
        nodes: indices of its nodes in the prepared ONNX model.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int = 0
    mac_dtype: str = "float32"
    vector_elements: int = 0
    gemms: tuple[Gemm, ...] = ()
    workspace_bytes: int = 0
    accessed_bytes: tuple[tuple[str, int], ...] = ()
    sharings: tuple[Sharing, ...] = ()
    nodes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Fallback:
    """An operator (or value) that is costed by a fallback, and why."""

    operator: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Graph:
    """Values and operators of a model; operators stand in a topological order (the file's).

    Attributes:
        name: name of the model.
        values: every value by name.
        operators: in file order.
        inputs: names of the graph's inputs, weights excluded.
        outputs: names of the graph's outputs.
        fallbacks: what is costed by a fallback, with reasons; nothing is dropped silently.
    """

    name: str
    values: Mapping[str, Value]
    operators: tuple[Operator, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fallbacks: tuple[Fallback, ...] = ()
