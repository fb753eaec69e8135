"""Regions inside of operations (the body of `linalg.generic`): the memrefs that they load from."""

import re

from ullage.compiler.common.errors import ModelError
from ullage.compiler.integrations.mlir_text.function import NAME, Function
from ullage.compiler.integrations.mlir_text.memref_type import MemrefType
from ullage.compiler.integrations.mlir_text.text import (
    MEMREF,
    Operation,
    in_parentheses,
    split_list,
)

# Names of files in quotes, and places in them: neither is a name of a value.
_QUOTED = re.compile(r'"[^"]*"')
_PLACE = re.compile(r"\bloc\((?:[^()]|\([^()]*\))*\)")
# `%in: f32` of a block's or a region's arguments, and `%m = ...`, `%m:2 = ...`.
_ARGUMENT = re.compile(r"(%[\w$.\-]+)\s*:")
_RESULT = re.compile(r"(%[\w$.\-]+)(?::\d{1,3})?\s*=")
_BLOCK = re.compile(r"\^[\w$.\-]+\s*\(([^()]*)\)")
_LOAD = re.compile(
    r"memref\.load\s+(%[\w$.\-]+(?:#\d+)?)\s*\[([^\[\]]*)\]\s*:\s*(" + MEMREF.pattern + ")"
)
_MEMORY = re.compile(r"(?<![\w.#!])(?:memref\.\w+|(?:func\.)?call(?=\s*@))")


def loads_of(found: Function, operation: Operation) -> list[tuple[str, MemrefType]]:
    """The memrefs from which an operation's region loads elements, beside its operands.

    Raises:
        ModelError: the region does something else with memory, or names what nothing defines; says
            in which line.
    """
    lines = [(line, _PLACE.sub("", _QUOTED.sub('""', text))) for line, text in operation.region]
    behind = operation.text.rpartition(in_parentheses(operation.text, "outs"))[2]
    inside = set(_ARGUMENT.findall(behind))
    for _, text in lines:
        inside.update(_RESULT.findall(text))
        for block in _BLOCK.findall(text):
            inside.update(_ARGUMENT.findall(block))
    loads: dict[str, MemrefType] = {}
    for line, text in lines:
        where = found.place(line, text.strip(" {}\n"))
        for name, places, type_ in _LOAD.findall(text):
            buffer = found.used(name, type_, where)
            if buffer is None:
                raise ModelError(f"{where}: {name} is no memref")
            if len(split_list(places)) != len(buffer.lengths):
                raise ModelError(
                    f"{where}: it needs {len(buffer.lengths)} indices, and names "
                    f"{len(split_list(places))}"
                )
            loads[name] = buffer
        rest = _LOAD.sub(r"\2", text)
        if memory := _MEMORY.search(rest):
            raise ModelError(
                f"{where}: {memory[0]} inside of an operation is not read, but memref.load alone: "
                "write through outs, and allocate before the operation"
            )
        for name in NAME.findall(rest):
            if name.partition("#")[0] in inside:
                continue
            found.known(name, where)
            if name in found.types:
                raise ModelError(
                    f"{where}: the body names the memref {name}: name it in ins or outs, or load "
                    "from it with memref.load"
                )
    return list(loads.items())
