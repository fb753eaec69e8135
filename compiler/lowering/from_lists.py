"""Problems without ONNX, for compilers that know their operators, tensors and uses themselves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Gemm, Graph, Kind, Operator, Sharing, Value
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions, alias_options
from ullage.compiler.lowering.lower import build_program

TensorKind = Literal["input", "weight", "activation", "output"]


@dataclass(frozen=True)
class Tensor:
    """A tensor of a foreign compiler: its size and kind."""

    name: str
    size_bytes: int
    kind: TensorKind = "activation"


@dataclass(frozen=True)
class Op:
    """An operator of a foreign compiler.

    Attributes:
        name: unique name.
        reads: names of the tensors it reads.
        writes: names of the tensors it writes.
        macs: multiply-accumulates.
        dtype: data type of the multiplications.
        vector_elements: elements for the vector unit.
        gemms: (m, k, n) of its matrix products, for systolic targets.
        workspace_bytes: scratch memory in the fastest tier.
        in_place: output -> input that it may overwrite.
        views: output -> input of which it is another view (the same bytes).
    """

    name: str
    reads: Sequence[str]
    writes: Sequence[str]
    macs: int = 0
    dtype: str = "int8"
    vector_elements: int = 0
    gemms: Sequence[tuple[int, int, int]] = ()
    workspace_bytes: int = 0
    in_place: Mapping[str, str] | None = None
    views: Mapping[str, str] | None = None


def problem_from_lists(
    name: str,
    tensors: Sequence[Tensor],
    operators: Sequence[Op],
    target: Target,
    objective: str = "latency",
) -> Problem:
    """A problem from tensors and operators in execution order.

    Args:
        name: of the model.
        tensors: all tensors.
        operators: in execution order.
        target: the chip.
        objective: `latency`, `traffic`, `energy` or `peak`.

    Raises:
        UsageError: a name is unknown or given twice, a tensor is read before it is written, or
            written though it is an input or a weight.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    if len(by_name) != len(tensors):
        raise UsageError(f"{name}: two tensors have the same name")
    if len({op.name for op in operators}) != len(operators):
        raise UsageError(f"{name}: two operators have the same name")
    _check(name, by_name, operators)
    kinds: dict[str, Kind] = {tensor.name: tensor.kind for tensor in tensors}
    graph = Graph(
        name=name,
        values={
            t.name: Value(t.name, kinds[t.name], "uint8", (t.size_bytes,), t.size_bytes)
            for t in tensors
        },
        operators=tuple(_operator(op) for op in operators),
        inputs=tuple(t.name for t in tensors if t.kind == "input"),
        outputs=tuple(t.name for t in tensors if t.kind == "output"),
    )
    aliases: AliasOptions = alias_options(target)
    program = build_program(
        graph, range(len(operators)), aliases=aliases, dma_steps=target.needs_dma_steps
    )
    return Problem(program, target, objective)


def _operator(op: Op) -> Operator:
    shared = [Sharing("in_place", o, i) for o, i in (op.in_place or {}).items()]
    shared += [Sharing("view", o, i) for o, i in (op.views or {}).items()]
    return Operator(
        name=op.name,
        kind=op.name.split(":", maxsplit=1)[0],
        inputs=tuple(dict.fromkeys(op.reads)),
        outputs=tuple(dict.fromkeys(op.writes)),
        macs=op.macs,
        mac_dtype=op.dtype,
        vector_elements=op.vector_elements,
        gemms=tuple(Gemm(m, k, n) for m, k, n in op.gemms),
        workspace_bytes=op.workspace_bytes,
        sharings=tuple(shared),
    )


def _check(name: str, tensors: Mapping[str, Tensor], operators: Sequence[Op]) -> None:
    """Check names, sizes and data types, and that tensors are written once, before they are read.

    Raises:
        UsageError: says what is wrong.
    """
    known = {t.name for t in tensors.values() if t.kind in ("input", "weight")}
    initial = set(known)
    for tensor in tensors.values():
        if tensor.size_bytes < 0:
            raise UsageError(f"{name}: tensor {tensor.name!r} has {tensor.size_bytes} bytes")
    for op in operators:
        if op.dtype not in BITS:
            raise UsageError(f"{name}: operator {op.name!r} has unknown data type {op.dtype!r}")
        for read in op.reads:
            if read not in tensors:
                raise UsageError(f"{name}: operator {op.name!r} reads unknown tensor {read!r}")
            if read not in known:
                raise UsageError(
                    f"{name}: operator {op.name!r} reads {read!r} before anything writes it; "
                    "list operators in execution order"
                )
        for written in op.writes:
            if written not in tensors:
                raise UsageError(f"{name}: operator {op.name!r} writes unknown tensor {written!r}")
            if written in known:
                what = "an input or a weight" if written in initial else "written already"
                raise UsageError(
                    f"{name}: operator {op.name!r} writes {written!r}, which is {what}; "
                    "a tensor is written once (name an in-place result anew)"
                )
            known.add(written)
    for tensor in tensors.values():
        if tensor.kind == "output" and tensor.name not in known:
            raise UsageError(f"{name}: output {tensor.name!r} is written by nothing")
