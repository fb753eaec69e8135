"""A function as a problem: its head, its operations in their order, and the tensors they leave."""

import re

from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.integrations.mlir_text.allocations import take_argument
from ullage.compiler.integrations.mlir_text.function import Function
from ullage.compiler.integrations.mlir_text.memref_type import memref_type
from ullage.compiler.integrations.mlir_text.operations import take_operation
from ullage.compiler.integrations.mlir_text.text import MEMREF, function_of
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Tensor, TensorKind, problem_from_lists

_GLOBAL = re.compile(
    r"memref\.global\s+(?:\"\w+\"\s+)?(?:constant\s+)?@([\w$.\-]+)\s*:\s*(" + MEMREF.pattern + ")"
)


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
    function = function_of(text)
    begin = f"@{function.name}, line {function.line}"
    found = Function(function.name)
    for match in _GLOBAL.finditer(function.module):
        found.globals[match[1]] = memref_type(match[2], f"memref.global @{match[1]}")
    for number, argument in enumerate(function.arguments):
        take_argument(found, argument, f"{begin}, argument {number}")
    results = [
        memref_type(result, f"{begin}, result {number}").text if "memref<" in result else result
        for number, result in enumerate(function.results)
    ]
    for operation in function.operations:
        where = found.place(operation.line, operation.text)
        if found.returned is not None:
            raise ModelError(f"{where}: an operation behind return is never reached: remove it")
        take_operation(found, operation, where)
    if not found.operators:
        raise ModelError(f"@{function.name} has no operation on memrefs that computes anything")
    if found.returned is None:
        raise ModelError(f"{begin}: it has no return at its end")
    if [type_ for _, type_ in found.returned] != results:
        given = ", ".join(type_ for _, type_ in found.returned) or "nothing"
        raise ModelError(
            f"{where}: it returns {given}, and line {function.line} says "
            f"{', '.join(results) or 'nothing'}: make the two agree"
        )
    return problem_from_lists(
        name or function.name, _tensors(found), found.operators, target, objective
    )


def _tensors(found: Function) -> list[Tensor]:
    """All versions of all buffers; the last one of an output is the output.

    Raises:
        ModelError: nothing is returned, nor written of an argument.
    """
    touched = {tensor for op in found.operators for tensor in (*op.reads, *op.writes)}
    written = [a for a in found.arguments if found.versions[a]]
    returned = [root for root, _ in found.returned or () if root]
    outputs = {found.current(root) for root in (*returned, *written)}
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
            f"@{found.name} returns no memref and writes none of its arguments: name its results"
        )
    return tensors
