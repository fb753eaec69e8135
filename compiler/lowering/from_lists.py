"""Problems without ONNX, for compilers that know their operators, tensors and uses themselves."""

from collections.abc import Mapping, Sequence
from typing import get_args

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Gemm, Graph, Kind, Operator, Sharing, Value
from ullage.compiler.ir.problem import Objective, Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions, alias_options
from ullage.compiler.lowering.lists import (
    Op,
    Tensor,
    TensorKind,
    check_operators,
    check_pairs,
    check_tensors,
    check_unicode,
)
from ullage.compiler.lowering.lower import build_program

__all__ = ["Op", "Tensor", "TensorKind", "problem_from_lists"]


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
        UsageError: an entry has a wrong type, size or name, a name is unknown or given twice, a
            tensor is read before it is written, or written though it is an input or a weight, or
            an output shares bytes with what its operator does not read or what has another size;
            says which.
    """
    if not isinstance(name, str):
        raise UsageError(f"the model's name is {name!r}; it is a text")
    check_unicode("the model", name)
    if not isinstance(target, Target):
        raise UsageError(f"{name}: the target is {target!r}; load one: load_target('edge-npu')")
    if objective not in get_args(Objective):
        raise UsageError(
            f"{name}: unknown objective {objective!r}; there are: {', '.join(get_args(Objective))}"
        )
    check_tensors(name, tensors)
    check_operators(name, operators)
    by_name = {tensor.name: tensor for tensor in tensors}
    _check_order(name, by_name, operators)
    check_pairs(name, operators, by_name)
    kinds: dict[str, Kind] = {tensor.name: tensor.kind for tensor in tensors}
    graph = Graph(
        name=name,
        values={
            t.name: Value(t.name, kinds[t.name], "uint8", (int(t.size_bytes),), int(t.size_bytes))
            for t in tensors
        },
        operators=tuple(_operator(op) for op in operators),
        inputs=tuple(t.name for t in tensors if t.kind == "input"),
        outputs=tuple(t.name for t in tensors if t.kind == "output"),
    )
    aliases: AliasOptions = alias_options(target)
    program = build_program(
        graph, range(len(operators)), aliases=aliases, dma_steps=target.dma_steps
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
        macs=int(op.macs),
        mac_dtype=op.dtype,
        vector_elements=int(op.vector_elements),
        gemms=tuple(Gemm(*map(int, gemm)) for gemm in op.gemms),
        workspace_bytes=int(op.workspace_bytes),
        sharings=tuple(shared),
    )


def _check_order(name: str, tensors: Mapping[str, Tensor], operators: Sequence[Op]) -> None:
    """Check that names are known, and that tensors are written once, before they are read.

    Raises:
        UsageError: says what is wrong.
    """
    known = {t.name for t in tensors.values() if t.kind in ("input", "weight")}
    initial = set(known)
    for op in operators:
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
