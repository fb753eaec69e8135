"""What was read of a function so far, and the values that an operation names."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from ullage.compiler.common.errors import ModelError
from ullage.compiler.common.visible import visible
from ullage.compiler.integrations.mlir_text.memref_type import SHOWN, MemrefType, memref_type
from ullage.compiler.integrations.mlir_text.text import at_types, split_list
from ullage.compiler.lowering.from_lists import Op, TensorKind

NAME = re.compile(r"%[\w$.\-]+(?:#\d+)?")


@dataclass
class Function:
    """What was read so far.

    Attributes:
        name: without the @.
        globals: name of a global memref of the module -> its type.
        buffers: memref -> its type, of allocations, globals and arguments.
        types: memref -> its type, of these and views.
        roots: memref -> that whose bytes it shares.
        scalars: values that are no memrefs.
        constants: values of constant integers.
        kinds: memref -> kind of its first version.
        versions: memref -> how often it was written.
        heap: allocations of `memref.alloc`, which `memref.dealloc` may end.
        freed: memref -> where it was deallocated.
        arguments: memrefs that came as arguments.
        returned: (memref, or empty of a scalar, type) of what `return` names; None before it.
        written: tensors that an operator has written.
        operators: in their order.
    """

    name: str
    globals: dict[str, MemrefType] = field(default_factory=dict)
    buffers: dict[str, MemrefType] = field(default_factory=dict)
    types: dict[str, MemrefType] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    scalars: set[str] = field(default_factory=set)
    constants: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, TensorKind] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    heap: set[str] = field(default_factory=set)
    freed: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    returned: list[tuple[str, str]] | None = None
    written: set[str] = field(default_factory=set)
    operators: list[Op] = field(default_factory=list)

    def place(self, line: int, text: str) -> str:
        """What begins a message about a line."""
        return f"@{self.name}, line {line}: {visible(text[:SHOWN])!r}"

    def known(self, name: str, where: str) -> None:
        """Check that a value is defined, and not deallocated.

        Raises:
            ModelError: nothing defines it, or it was deallocated.
        """
        if name not in self.types and name not in self.scalars:
            raise ModelError(
                f"{where}: {name} is no memref that an operation before it defines, nor another "
                "value; list allocations before their uses"
            )
        if name in self.types and self.roots[name] in self.freed:
            raise ModelError(
                f"{where}: {name} is used after its deallocation at {self.freed[self.roots[name]]}"
            )

    def used(self, name: str, type_text: str, where: str) -> MemrefType | None:
        """The type of an operand, which its definition and the operation give; None of a scalar.

        Raises:
            ModelError: nothing defines it, it was deallocated, or the types differ.
        """
        if type_text.startswith(("tensor<", "vector<")):
            raise ModelError(f"{where}: {name} is no memref but {type_text}: bufferise tensors")
        self.known(name, where)
        if name in self.scalars:
            if "memref<" in type_text:
                raise ModelError(f"{where}: {name} is no memref by its definition")
            return None
        defined = self.types[name]
        if memref_type(type_text, where) != defined:
            raise ModelError(
                f"{where}: {name} is a {defined.text} by its definition, not a {type_text}"
            )
        return defined

    def new(self, name: str, where: str) -> str:
        """A name that is defined here.

        Raises:
            ModelError: it was defined before.
        """
        if name in self.types or name in self.scalars:
            raise ModelError(f"{where}: {name} is defined twice")
        return name

    def define(self, name: str, buffer: MemrefType, kind: TensorKind, where: str) -> None:
        """Note a memref with bytes of its own."""
        self.types[self.new(name, where)] = self.buffers[name] = buffer
        self.roots[name] = name
        self.kinds[name] = kind
        self.versions[name] = 0

    def current(self, root: str) -> str:
        """The name of the tensor that lies there now."""
        version = self.versions[root]
        return root if version == 0 else f"{root}@{version}"


def typed(found: Function, text: str, where: str) -> list[tuple[str, MemrefType | None]]:
    """The values of a list `%a, %b : type, type` with their types, None of scalars."""
    if not text.strip():
        return []
    names, types = at_types(text, where)
    return pairs_of(found, names, split_list(types), where)


def pairs_of(
    found: Function, names: str, types: Sequence[str], where: str
) -> list[tuple[str, MemrefType | None]]:
    """Values with their types, as many of these as of those.

    Raises:
        ModelError: something else is among them, or the numbers differ.
    """
    values = [name.strip() for name in split_list(names)]
    for value in values:
        if not NAME.fullmatch(value):
            raise ModelError(f"{where}: {visible(value[:SHOWN])!r} is no name of a value")
    if len(values) != len(types):
        raise ModelError(f"{where}: it has {len(values)} operands and {len(types)} types")
    return [
        (value, found.used(value, type_.strip(), where))
        for value, type_ in zip(values, types, strict=True)
    ]
