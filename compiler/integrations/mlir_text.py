"""Functions of MLIR on memrefs as problems: allocations, and who reads and writes them.

Reads the textual form of one `func.func` after bufferisation, straight-line code:

    %c = memref.alloc() : memref<64x64xf32>
    linalg.matmul ins(%a, %b : memref<64x32xf32>, memref<32x64xf32>) outs(%c : memref<64x64xf32>)
    memref.dealloc %c : memref<64x64xf32>

Allocations are tensors, arguments are inputs (weights where they have the attribute
`ullage.weight`), `memref.get_global` gives a weight, and what `return` names or is written of the
arguments is an output. Operators are those of `linalg` with `ins` and `outs`, and `memref.copy`. An
operator on a buffer that was written before reads it and writes it anew in its bytes, since `outs`
may be accumulated into. Views (`memref.subview`, `cast`, `expand_shape` ...) stand for the whole
buffer. Names, types and shapes that contradict each other are refused with their line. Loops, calls
and dynamic shapes are refused by name: MLIR's own passes outline or unroll them before.

Syntax: the MLIR language reference (mlir.llvm.org/docs/LangRef), dialects memref and linalg.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.common.visible import visible
from ullage.compiler.integrations.linalg_shapes import ELEMENTWISE, work_of
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Op, Tensor, TensorKind, problem_from_lists

# Bits of elements without their number in the name.
BITS = {"index": 64, "bf16": 16, "tf32": 32}
# Data types of multiplications, by the element type.
DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16"}
# Operations that give another name to bytes of their first operand.
VIEWS = (
    "subview",
    "cast",
    "reinterpret_cast",
    "collapse_shape",
    "expand_shape",
    "view",
    "transpose",
)
# Operations of `linalg` that write all of their output whatever was there; others may add to it.
OVERWRITE = {*ELEMENTWISE, "broadcast", "fill", "transpose"}
# Operations without an effect on what is planned; `arith` is another.
IGNORED = ("memref.dim", "tensor.empty")
# Bits of the longest integer of MLIR, and the longest number that is read.
MAX_INTEGER_BITS = 2**24 - 1
MAX_NUMBER = 2**63 - 1
# Characters of an operation that a message shows.
SHOWN = 70

_MEMREF = re.compile(r"memref<[^<>]*(?:<[^<>]*>[^<>]*)*>")
_INSIDE = re.compile(r"memref<((?:[0-9?]+x)*)([a-z]+[0-9]*[A-Z0-9a-z]*)\s*[,>]")
_ELEMENT = re.compile(
    r"[su]?i([1-9][0-9]{0,8})|f(16|32|64|80|128)|f([468])E[0-9]+M[0-9]+[A-Z0-9]*|bf16|tf32|index"
)
_GLOBAL = re.compile(
    r"memref\.global\s+(?:\"\w+\"\s+)?(?:constant\s+)?@([\w$.\-]+)\s*:\s*(" + _MEMREF.pattern + ")"
)
_RESULT = re.compile(r"^(%[\w$.\-]+)(?::(\d{1,3}))?\s*=\s*")
_KIND = re.compile(r"[\w.]*")
_LOCATION = re.compile(r"\sloc\(.*$")
_TYPED = re.compile(r":\s*(?=[a-z!])")
_NAME = re.compile(r"%[\w$.\-]+(?:#\d+)?")
_CONTINUED = re.compile(r"(?:ins|outs|into|to|dimensions|permutation|attrs)\b|[:(]")
_BODY = re.compile(r"\{[^\S\n]*\n")
_FUNCTION = re.compile(r"func\.func\s+(?:private\s+|public\s+|nested\s+)?@([\w$.\-]+)\s*\(")


@dataclass(frozen=True)
class _Buffer:
    """The type of a memref: its text, its lengths, and the bits of an element."""

    text: str
    lengths: tuple[int, ...]
    element: str
    bits: int

    @property
    def elements(self) -> int:
        return math.prod(self.lengths)

    @property
    def size_bytes(self) -> int:
        return -(-self.elements * self.bits // 8)


@dataclass
class _Function:
    """What was read so far.

    Attributes:
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
        returned: memrefs that `return` names; None before it.
        written: tensors that an operator has written.
        operators: in their order.
    """

    globals: dict[str, _Buffer] = field(default_factory=dict)
    buffers: dict[str, _Buffer] = field(default_factory=dict)
    types: dict[str, _Buffer] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    scalars: set[str] = field(default_factory=set)
    constants: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, TensorKind] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    heap: set[str] = field(default_factory=set)
    freed: dict[str, str] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    returned: list[str] | None = None
    written: set[str] = field(default_factory=set)
    operators: list[Op] = field(default_factory=list)

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

    def used(self, name: str, type_text: str, where: str) -> _Buffer | None:
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
        if _type(type_text, where) != defined:
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

    def define(self, name: str, buffer: _Buffer, kind: TensorKind, where: str) -> None:
        """Note a memref with bytes of its own."""
        self.types[self.new(name, where)] = self.buffers[name] = buffer
        self.roots[name] = name
        self.kinds[name] = kind
        self.versions[name] = 0

    def current(self, root: str) -> str:
        """The name of the tensor that lies there now."""
        version = self.versions[root]
        return root if version == 0 else f"{root}@{version}"


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
    function_name, head, arguments, operations = _function_of(text)
    found = _Function()
    for match in _GLOBAL.finditer(re.sub(r"//[^\n]*", "", text)):
        found.globals[match[1]] = _type(match[2], f"memref.global @{match[1]}")
    for number, argument in enumerate(arguments):
        _take_argument(found, argument, f"@{function_name}, line {head}, argument {number}")
    for line, operation in operations:
        where = f"@{function_name}, line {line}: {visible(operation[:SHOWN])!r}"
        if found.returned is not None:
            raise ModelError(f"{where}: an operation behind return is never reached: remove it")
        _take(found, _LOCATION.sub("", operation), where)
    if not found.operators:
        raise ModelError(f"@{function_name} has no operation on memrefs that computes anything")
    if found.returned is None:
        raise ModelError(f"@{function_name}, line {head}: it has no return at its end")
    return problem_from_lists(
        name or function_name, _tensors(found, function_name), found.operators, target, objective
    )


def _tensors(found: _Function, name: str) -> list[Tensor]:
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


def _take_argument(found: _Function, text: str, where: str) -> None:
    """Note an argument; those that are no memrefs are values without bytes here."""
    name, colon, rest = (part.strip() for part in text.partition(":"))
    if not colon or not _NAME.fullmatch(name):
        raise ModelError(f"{where}: it is not written as %name: type")
    if "memref<" not in rest:
        found.scalars.add(found.new(name, where))
        return
    match = _MEMREF.match(rest)
    kind: TensorKind = "weight" if "ullage.weight" in rest else "input"
    found.define(name, _type(match[0] if match else rest, where), kind, where)
    found.arguments.append(name)


def _take(found: _Function, operation: str, where: str) -> None:
    """Note what an operation does.

    Raises:
        ModelError: it is none that is read, or contradicts what is before it.
    """
    match = _RESULT.match(operation)
    result, count = (match[1], match[2]) if match else ("", None)
    body = operation[match.end() :] if match else operation
    kind = body[: _KIND.match(body).end()]  # type: ignore[union-attr]
    dialect, _, short = kind.partition(".")
    if (dialect == "arith" or kind in IGNORED) and result:
        _take_scalars(found, body, where)
        for name in [f"{result}#{i}" for i in range(int(count))] if count else [result]:
            found.scalars.add(found.new(name, where))
        if number := re.fullmatch(r"arith\.constant\s+(\d+)\s*:\s*index", body):
            found.constants[result] = _integer(number[1], where)
    elif kind in {"memref.alloc", "memref.alloca", "memref.get_global"} and result:
        _take_allocation(found, kind, body, result, where)
    elif dialect == "memref" and short in VIEWS and result:
        _take_view(found, short, body, result, where)
    elif kind == "memref.assume_alignment":
        names, types = _parts(re.sub(r",\s*\d+\s*(?=:)", " ", body[len(kind) :]), where)
        ((source, buffer),) = _pairs(found, names, [types], where)
        if result and buffer:
            found.types[found.new(result, where)] = buffer
            found.roots[result] = found.roots[source]
    elif kind == "memref.dealloc" and not result:
        _take_dealloc(found, body[len(kind) :], where)
    elif kind == "memref.copy" and not result:
        names, types = _parts(body[len(kind) :], where)
        pairs = _pairs(found, names, re.split(r"\sto\s", types), where)
        _operate(found, "copy", pairs[:1], pairs[1:], body, where)
    elif kind in {"return", "func.return"} and not result:
        pairs = _typed(found, body[len(kind) :], where)
        found.returned = [found.roots[name] for name, buffer in pairs if buffer]
    elif dialect == "linalg" and "outs(" in body and not result:
        reads, writes = (_typed(found, _group(body, part), where) for part in ("ins", "outs"))
        _operate(found, short, reads, writes, body, where)
    else:
        raise ModelError(
            f"{where}: only allocations, views, memref.copy and linalg operations with ins and "
            "outs are read; bufferise to memrefs, and unroll loops and inline calls before"
        )


def _take_scalars(found: _Function, body: str, where: str) -> None:
    """Check what an operation without an effect on memory names.

    Raises:
        ModelError: it computes with tensors, or names what is not defined.
    """
    if "tensor<" in body and body.startswith("arith."):
        raise ModelError(f"{where}: it computes with tensors: bufferise them before")
    for name in _NAME.findall(body):
        found.known(name, where)


def _take_allocation(found: _Function, kind: str, body: str, result: str, where: str) -> None:
    """Note an allocation, or a global memref, which must be defined in the module.

    Raises:
        ModelError: its size is dynamic, its bytes are not dense, or no such global is defined.
    """
    head, colon, types = body.partition(" : ")
    buffer = _type(types if colon else body, where)
    if kind == "memref.get_global":
        name = head[len(kind) :].strip().removeprefix("@")
        if found.globals.get(name) != buffer:
            raise ModelError(
                f"{where}: the module has no memref.global @{name} of the type {buffer.text}: "
                "give the text of the whole module"
            )
        found.define(result, buffer, "weight", where)
        return
    if _NAME.search(head):
        raise ModelError(f"{where}: a length or symbol is dynamic; shapes must be known")
    if "strided<" in buffer.text or "affine_map<" in buffer.text:
        raise ModelError(
            f"{where}: bytes of an allocation with a layout are not known; allocate"
            " what is dense and view it"
        )
    found.define(result, buffer, "activation", where)
    if kind == "memref.alloc":
        found.heap.add(result)


def _take_dealloc(found: _Function, text: str, where: str) -> None:
    """Note where an allocation ends.

    Raises:
        ModelError: it is no allocation of `memref.alloc`, or a part of one, or ended before.
    """
    for name, buffer in _typed(found, text, where):
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


def _take_view(found: _Function, kind: str, body: str, result: str, where: str) -> None:
    """Note another name of bytes of a memref.

    Raises:
        ModelError: it reaches beyond them, is of another shape than its operation makes, or
            depends on values that are not known.
    """
    text, types = _parts(body[len("memref.") + len(kind) :], where)
    pair = re.split(r"\s(?:to|into)\s", types)
    names = _NAME.findall(text)
    if len(pair) != 2 or not names:
        raise ModelError(f"{where}: it is not written as a view: %name : type to type")
    source = found.used(names[0], pair[0], where)
    if source is None:
        raise ModelError(f"{where}: {names[0]} is no memref")
    whole = found.types[found.roots[names[0]]]
    view = _type(pair[1], where)
    if kind == "view":
        shift = found.constants.get(names[1]) if len(names) == 2 else None
        if shift is None:
            raise ModelError(
                f"{where}: its offset is dynamic: name one arith.constant of type index"
            )
        fits = source.element == "i8" and shift + view.size_bytes <= source.size_bytes
    else:
        if len(names) > 1:
            raise ModelError(
                f"{where}: its offsets, sizes or strides are dynamic; they must be known"
            )
        lists = [
            [_integer(part, where) for part in _split(part)]
            for part in re.findall(r"\[([^\[\]]*)\]", text)
        ]
        fits = source.element == view.element and _view_fits(kind, lists, source, view, whole)
    if not fits:
        raise ModelError(f"{where}: no {kind} of {source.text} gives that, or it is out of range")
    found.types[found.new(result, where)] = view
    found.roots[result] = found.roots[names[0]]


def _view_fits(
    kind: str, lists: list[list[int]], source: _Buffer, view: _Buffer, whole: _Buffer
) -> bool:
    """Whether a view lies in its memref and has the shape that its operation makes of it.

    Args:
        kind: name of the operation.
        lists: its numbers in brackets.
        source: type of what it views.
        view: type that it gives.
        whole: type of the memref whose bytes these are.
    """
    if kind in {"collapse_shape", "expand_shape"}:
        grows = len(view.lengths) > len(source.lengths)
        return source.elements == view.elements and grows == (kind == "expand_shape")
    if kind == "cast":
        return source.lengths == view.lengths
    if kind == "transpose":
        return sorted(source.lengths) == sorted(view.lengths)
    if len(lists) != 3 or any(size < 1 for size in lists[1]) or any(s < 1 for s in lists[2]):
        return False
    offsets, sizes, strides = lists
    if any(offset < 0 for offset in offsets):
        return False
    if kind == "reinterpret_cast":
        last = sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=False))
        return (
            len(offsets) == 1
            and len(sizes) == len(strides)
            and tuple(sizes) == view.lengths
            and (offsets[0] + last + 1) * view.bits <= whole.elements * whole.bits
        )
    rank = len(source.lengths)
    return (
        [len(part) for part in lists] == [rank, rank, rank]
        and all(
            offset + (size - 1) * stride < length
            for offset, size, stride, length in zip(*lists, source.lengths, strict=True)
        )
        and _dropped_ones(sizes, view.lengths)
    )


def _dropped_ones(sizes: Sequence[int], lengths: Sequence[int]) -> bool:
    """Whether lengths are those sizes without some that are 1."""
    rest = list(lengths)
    for size in sizes:
        if rest and rest[0] == size:
            rest.pop(0)
        elif size != 1:
            return False
    return not rest


def _operate(
    found: _Function,
    kind: str,
    reads: Sequence[tuple[str, _Buffer | None]],
    writes: Sequence[tuple[str, _Buffer | None]],
    body: str,
    where: str,
) -> None:
    """Note an operator, whose outputs become new versions of their buffers.

    Raises:
        ModelError: shapes do not fit, it reads what nothing wrote, or it writes a weight or no
            memref.
    """
    inputs = [buffer for _, buffer in reads if buffer]
    outputs = [buffer for _, buffer in writes if buffer]
    if not outputs or len(outputs) != len(writes):
        raise ModelError(f"{where}: it writes no memref; bufferise tensors before")
    macs, gemm = work_of(
        kind, [b.lengths for b in inputs], [b.lengths for b in outputs], body, where
    )
    sources = [found.roots[name] for name, buffer in reads if buffer]
    results = list(dict.fromkeys(found.roots[name] for name, _ in writes))
    before = dict.fromkeys(found.current(root) for root in sources)
    for root in sources:
        if found.kinds[root] == "activation" and found.current(root) not in found.written:
            raise ModelError(f"{where}: it reads {root}, which nothing before it writes")
    in_place: dict[str, str] = {}
    after: list[str] = []
    for root in results:
        if found.kinds[root] == "weight":
            raise ModelError(f"{where}: it writes {root}, a weight, which stays as it is")
        old = found.current(root)
        if found.kinds[root] == "input" or old in found.written or old in before:
            found.versions[root] += 1
            if kind not in OVERWRITE:
                before[old] = None
            if old in before:
                in_place[found.current(root)] = old
        after.append(found.current(root))
    found.written.update(after)
    types = [*inputs, *outputs]
    found.operators.append(
        Op(
            f"{kind}:{len(found.operators)}",
            list(before),
            after,
            macs=macs,
            dtype=_dtype(types[0].element, types[0].bits),
            vector_elements=0 if macs else max(buffer.elements for buffer in types),
            gemms=gemm,
            in_place=in_place,
        )
    )


def _dtype(element: str, bits: int) -> str:
    """Our name of an element type; those of unusual width count as the next common one."""
    if element in DTYPES:
        return DTYPES[element]
    return next((f"int{width}" for width in (8, 16, 32) if bits <= width), "int64")


def _type(text: str, where: str) -> _Buffer:
    """The type of a memref.

    Raises:
        ModelError: it is none, a length is not known or 0, or an element has no size.
    """
    plain = "".join(text.split())
    match = _INSIDE.match(plain)
    if match is None or not _MEMREF.fullmatch(plain):
        shown = visible(text[:SHOWN])
        raise ModelError(
            f"{where}: {shown!r} is no memref type with a rank; bufferise tensors, and unranked "
            "memrefs cannot be planned"
        )
    if "?" in match[1]:
        raise ModelError(
            f"{where}: a length is dynamic (?); shapes must be known: specialise it before"
        )
    element = _ELEMENT.fullmatch(match[2])
    bits = 0
    if element:
        bits = BITS.get(match[2]) or int(next(part for part in element.groups() if part))
    if not 0 < bits <= MAX_INTEGER_BITS:
        raise ModelError(f"{where}: elements {match[2]!r} have no size that is known")
    lengths = tuple(_integer(length, where) for length in match[1].split("x") if length)
    if 0 in lengths:
        raise ModelError(f"{where}: {plain} has no elements: remove what is empty before")
    if math.prod(lengths) * bits > MAX_NUMBER:
        raise ModelError(f"{where}: {visible(plain[:SHOWN])} is larger than any memory")
    return _Buffer(plain, lengths, match[2], bits)


def _integer(text: str, where: str) -> int:
    """A whole number.

    Raises:
        ModelError: it is none, or has more than 64 bits.
    """
    plain = text.strip()
    if not re.fullmatch(r"-?[0-9]{1,19}", plain) or abs(int(plain)) > MAX_NUMBER:
        shown = visible(plain[:SHOWN])
        raise ModelError(f"{where}: {shown!r} is no whole number of 64 bits that is known here")
    return int(plain)


def _parts(text: str, where: str) -> tuple[str, str]:
    """What stands before and behind the colon of the types.

    Raises:
        ModelError: there is no colon.
    """
    parts = _TYPED.split(text, maxsplit=1)
    if len(parts) != 2:
        raise ModelError(f"{where}: the types of its operands are missing")
    return parts[0], parts[1]


def _typed(found: _Function, text: str, where: str) -> list[tuple[str, _Buffer | None]]:
    """The values of a list `%a, %b : type, type` with their types, None of scalars."""
    if not text.strip():
        return []
    names, types = _parts(text, where)
    return _pairs(found, names, _split(types), where)


def _pairs(
    found: _Function, names: str, types: Sequence[str], where: str
) -> list[tuple[str, _Buffer | None]]:
    """Values with their types, as many of these as of those.

    Raises:
        ModelError: something else is among them, or the numbers differ.
    """
    values = [name.strip() for name in _split(names)]
    for value in values:
        if not _NAME.fullmatch(value):
            raise ModelError(f"{where}: {visible(value[:SHOWN])!r} is no name of a value")
    if len(values) != len(types):
        raise ModelError(f"{where}: it has {len(values)} operands and {len(types)} types")
    return [
        (value, found.used(value, type_.strip(), where))
        for value, type_ in zip(values, types, strict=True)
    ]


def _group(text: str, name: str) -> str:
    """What stands in the parentheses behind a word; empty where it is missing."""
    start = re.search(rf"\b{name}\s*\(", text)
    if start is None:
        return ""
    depth = 1
    for end in range(start.end(), len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0:
            return text[start.end() : end]
    return text[start.end() :]


def _function_of(text: str) -> tuple[str, int, list[str], list[tuple[int, str]]]:
    """Name, line, arguments, and (line, text) of the operations of the one function of a module.

    Regions inside of an operation (the body of `linalg.generic`) are left out.

    Raises:
        ModelError: there is none or several, or its braces do not match.
    """
    plain = re.sub(r"//[^\n]*", "", text).replace("->", "  ")
    heads = [match for match in _FUNCTION.finditer(plain) if _body_of(plain, match) is not None]
    if len(heads) != 1:
        names = ", ".join(f"@{match[1]}" for match in heads) or "none"
        raise ModelError(f"one func.func with a body is read, and the text has: {names}")
    (head,) = heads
    depth, end = 1, head.end()
    while depth and end < len(plain):
        depth += {"(": 1, ")": -1}.get(plain[end], 0)
        end += 1
    body = _body_of(plain, head)
    line = plain.count("\n", 0, head.start()) + 1
    arguments = _split(plain[head.end() : end - 1])
    return head[1], line, arguments, list(_operations(plain, body or 0))


def _body_of(text: str, head: "re.Match[str]") -> int | None:
    """The brace that opens the body of a function; None of a declaration."""
    following = _FUNCTION.search(text, head.end())
    end = following.start() if following else len(text)
    body = _BODY.search(text, head.end(), end)
    return None if body is None else body.start()


def _operations(text: str, begin: int) -> Iterator[tuple[int, str]]:
    """(line, text without regions) of the operations between a brace and its match.

    Raises:
        ModelError: there is no match.
    """
    before: tuple[int, str] | None = None
    for line, part in _lines(text, begin):
        if before is not None and _CONTINUED.match(part):
            before = (before[0], f"{before[1]} {part}")
            continue
        if before is not None:
            yield before
        before = (line, part)
    if before is not None:
        yield before


def _lines(text: str, begin: int) -> Iterator[tuple[int, str]]:
    """(line, text without regions) of the lines between a brace and its match, lists joined."""
    depth, brackets = 1, 0
    line = first = text.count("\n", 0, begin) + 1
    current = ""
    for character in text[begin + 1 :]:
        line += character == "\n"
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            break
        if depth > 1 or character == "}":
            continue
        brackets += {"(": 1, "<": 1, "[": 1, ")": -1, ">": -1, "]": -1}.get(character, 0)
        if character == "\n" and brackets <= 0:
            if current:
                yield first, " ".join(current.split())
            current, brackets = "", 0
        elif current or not character.isspace():
            first = first if current else line
            current += character
    else:
        raise ModelError("a brace of the function is not closed")
    if current.strip():
        yield first, " ".join(current.split())


def _split(text: str) -> list[str]:
    """Parts of a list at its top-level commas."""
    parts, depth = [""], 0
    for character in text:
        depth += {"(": 1, "<": 1, "[": 1, "{": 1, ")": -1, ">": -1, "]": -1, "}": -1}.get(
            character, 0
        )
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part for part in parts if part.strip()]
