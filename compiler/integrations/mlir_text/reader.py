"""A function as a problem: its head, its operations in their order, and the tensors they leave."""

import re

from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.common.visible import visible
from ullage.compiler.integrations.mlir_text.allocations import take_argument
from ullage.compiler.integrations.mlir_text.function import Function
from ullage.compiler.integrations.mlir_text.memref_type import MEMREF, SHOWN, memref_type
from ullage.compiler.integrations.mlir_text.operations import take_operation
from ullage.compiler.integrations.mlir_text.text import function_of
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Tensor, TensorKind, problem_from_lists

_GLOBAL = re.compile(
    r"memref\.global\s+(?:\"\w+\"\s+)?(?:constant\s+)?@([\w$.\-]+)\s*:\s*(" + MEMREF.pattern + ")"
)
_LOCATION = re.compile(r"\sloc\(.*$")


def problem_from_mlir(
    text: str, target: Target, *, name: str = "", objective: str = "latency"
) -> Problem:
    """The problem of a function, operations in the order of the text.

    Args:
        text: a module, or a function, in MLIR's textual form.
        target: chip to plan for.
        name: of the problem; empty: that of the function.
        objective: `latency`, `traffic`, `energy` or `peak`.

    Raises:
        ModelError: there is not one function, or an operation is none of those that are read; says
            which, and what to do.
        ModelError: names, types or shapes contradict each other; says in which line.
        UsageError: the text is no `str`.
    """
    if not isinstance(text, str):
        raise UsageError(
            f"MLIR is read from a text (str), and this is of type {type(text).__name__}"
        )
    function_name, head, arguments, operations = function_of(text)
    found = Function()
    for match in _GLOBAL.finditer(re.sub(r"//[^\n]*", "", text)):
        found.globals[match[1]] = memref_type(match[2], f"memref.global @{match[1]}")
    for number, argument in enumerate(arguments):
        take_argument(found, argument, f"@{function_name}, line {head}, argument {number}")
    for line, operation in operations:
        where = f"@{function_name}, line {line}: {visible(operation[:SHOWN])!r}"
        if found.returned is not None:
            raise ModelError(f"{where}: an operation behind return is never reached: remove it")
        take_operation(found, _LOCATION.sub("", operation), where)
    if not found.operators:
        raise ModelError(f"@{function_name} has no operation on memrefs that computes anything")
    if found.returned is None:
        raise ModelError(f"@{function_name}, line {head}: it has no return at its end")
    return problem_from_lists(
        name or function_name, _tensors(found, function_name), found.operators, target, objective
    )


def _tensors(found: Function, name: str) -> list[Tensor]:
    """All versions of all buffers; the last one of an output is the output.

    Raises:
        ModelError: nothing is returned, nor written of an argument.
    """
    touched = {tensor for op in found.operators for tensor in (*op.reads, *op.writes)}
    written = [a for a in found.arguments if found.versions[a]]
    outputs = {found.current(root) for root in (*(found.returned or ()), *written)}
    tensors: list[Tensor] = []
    for root, buffer in found.buffers.items():
        for version in range(found.versions[root] + 1):
            tensor = root if version == 0 else f"{root}@{version}"
            kind: TensorKind = found.kinds[root] if version == 0 else "activation"
            if tensor in outputs and kind == "activation":
                kind = "output"
            if tensor in touched:
                tensors.append(Tensor(tensor, buffer.size_bytes, kind))
    if not any(tensor.kind == "output" for tensor in tensors):
        raise ModelError(
            f"@{name} returns no memref and writes none of its arguments: name its results"
        )
    return tensors
