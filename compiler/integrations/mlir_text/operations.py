"""Operations of a function, each handed to what reads its kind."""

import re

from ullage.compiler.common.errors import ModelError
from ullage.compiler.integrations.mlir_text.allocations import take_allocation, take_dealloc
from ullage.compiler.integrations.mlir_text.function import NAME, Function, pairs_of, typed
from ullage.compiler.integrations.mlir_text.memref_type import integer_of
from ullage.compiler.integrations.mlir_text.operators import operate
from ullage.compiler.integrations.mlir_text.region import loads_of
from ullage.compiler.integrations.mlir_text.text import (
    Operation,
    at_types,
    in_parentheses,
    split_list,
)
from ullage.compiler.integrations.mlir_text.views import RULES, take_view

# Operations without an effect on what is planned; `arith` is another.
IGNORED = ("memref.dim", "tensor.empty")

_RESULT = re.compile(r"^(%[\w$.\-]+)(?::(\d{1,3}))?\s*=\s*")
_KIND = re.compile(r"[\w.]*")
_LOCATION = re.compile(r"\sloc\(.*$")


def take_operation(found: Function, operation: Operation, where: str) -> None:
    """Note what an operation does.

    Raises:
        ModelError: it is none that is read, or contradicts what is before it.
    """
    text = _LOCATION.sub("", operation.text)
    match = _RESULT.match(text)
    result, count = (match[1], match[2]) if match else ("", None)
    body = text[match.end() :] if match else text
    kind = body[: _KIND.match(body).end()]  # type: ignore[union-attr]
    dialect, _, short = kind.partition(".")
    if (dialect == "arith" or kind in IGNORED) and result:
        _take_scalars(found, body, where)
        for name in [f"{result}#{i}" for i in range(int(count))] if count else [result]:
            found.scalars.add(found.new(name, where))
        if number := re.fullmatch(r"arith\.constant\s+(\d+)\s*:\s*index", body):
            found.constants[result] = integer_of(number[1], where)
    elif kind in {"memref.alloc", "memref.alloca", "memref.get_global"} and result:
        take_allocation(found, kind, body, result, where)
    elif dialect == "memref" and short in RULES and result:
        take_view(found, short, body, result, where)
    elif kind == "memref.assume_alignment":
        names, types = at_types(re.sub(r",\s*\d+\s*(?=:)", " ", body[len(kind) :]), where)
        ((source, buffer),) = pairs_of(found, names, [types], where)
        if result and buffer:
            found.types[found.new(result, where)] = buffer
            found.roots[result] = found.roots[source]
    elif kind == "memref.dealloc" and not result:
        take_dealloc(found, body[len(kind) :], where)
    elif kind == "memref.copy" and not result:
        names, types = at_types(body[len(kind) :], where)
        pairs = pairs_of(found, names, re.split(r"\sto\s", types), where)
        operate(found, "copy", pairs[:1], pairs[1:], body, where)
    elif kind in {"return", "func.return"} and not result:
        found.returned = _returned(found, body[len(kind) :], where)
    elif dialect == "linalg" and "outs(" in body and not result:
        reads, writes = (
            typed(found, in_parentheses(body, part), where) for part in ("ins", "outs")
        )
        loads = loads_of(found, operation)
        operate(found, short, reads, writes, body, where, loads)
    else:
        raise ModelError(
            f"{where}: only allocations, views, memref.copy and linalg operations with ins and "
            "outs are read; bufferise to memrefs, and unroll loops and inline calls before"
        )


def _returned(found: Function, text: str, where: str) -> list[tuple[str, str]]:
    """The memrefs that `return` names, empty of other values, and the types of both."""
    if not text.strip():
        return []
    types = split_list(at_types(text, where)[1])
    return [
        (found.roots[name], buffer.text) if buffer else ("", "".join(type_.split()))
        for (name, buffer), type_ in zip(typed(found, text, where), types, strict=True)
    ]


def _take_scalars(found: Function, body: str, where: str) -> None:
    """Check what an operation without an effect on memory names.

    Raises:
        ModelError: it computes with tensors, or names what is not defined.
    """
    if "tensor<" in body and body.startswith("arith."):
        raise ModelError(f"{where}: it computes with tensors: bufferise them before")
    for name in NAME.findall(body):
        found.known(name, where)
