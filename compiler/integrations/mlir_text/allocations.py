"""Memory of a function: arguments, allocations, global memrefs, and where allocations end."""

from ullage.compiler.common.errors import ModelError
from ullage.compiler.integrations.mlir_text.function import NAME, Function, typed
from ullage.compiler.integrations.mlir_text.memref_type import memref_type
from ullage.compiler.integrations.mlir_text.text import MEMREF
from ullage.compiler.lowering.from_lists import TensorKind


def take_argument(found: Function, text: str, where: str) -> None:
    """Note an argument; those that are no memrefs are values without bytes here."""
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon or not NAME.fullmatch(name):
        raise ModelError(f"{where}: it is not written as %name: type")
    if "memref<" not in rest:
        found.scalars.add(found.new(name, where))
        return
    match = MEMREF.match(rest)
    kind: TensorKind = "weight" if "ullage.weight" in rest else "input"
    found.define(name, memref_type(match[0] if match else rest, where), kind, where)
    found.arguments.append(name)


def take_allocation(found: Function, kind: str, body: str, result: str, where: str) -> None:
    """Note an allocation, or a global memref, which must be defined in the module.

    Raises:
        ModelError: its size is dynamic, its bytes are not dense, or no such global is defined.
    """
    head, colon, types = body.partition(" : ")
    buffer = memref_type(types if colon else body, where)
    if kind == "memref.get_global":
        name = head[len(kind) :].strip().removeprefix("@")
        if found.globals.get(name) != buffer:
            raise ModelError(
                f"{where}: the module has no memref.global @{name} of the type {buffer.text}: "
                "give the text of the whole module"
            )
        found.define(result, buffer, "weight", where)
        return
    if NAME.search(head):
        raise ModelError(f"{where}: a length or symbol is dynamic; shapes must be known")
    if not buffer.dense:
        raise ModelError(
            f"{where}: bytes of an allocation with a layout are not known; allocate"
            " what is dense and view it"
        )
    found.define(result, buffer, "activation", where)
    if kind == "memref.alloc":
        found.heap.add(result)


def take_dealloc(found: Function, text: str, where: str) -> None:
    """Note where an allocation ends.

    Raises:
        ModelError: it is no allocation of `memref.alloc`, or a part of one, or ended before.
    """
    for name, buffer in typed(found, text, where):
        root = found.roots.get(name, name)
        if (
            root not in found.heap
            or buffer is None
            or buffer.elements != found.types[root].elements
        ):
            raise ModelError(
                f"{where}: {name} is no allocation of memref.alloc: it has no end here"
            )
        found.freed[root] = where
