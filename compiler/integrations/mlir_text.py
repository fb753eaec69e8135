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
buffer. Loops, calls and dynamic shapes are refused by name: MLIR's own passes outline or unroll
them before.

Syntax: the MLIR language reference (mlir.llvm.org/docs/LangRef), dialects memref and linalg.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ullage.compiler.common.errors import ModelError
from ullage.compiler.common.visible import visible
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Op, Tensor, TensorKind, problem_from_lists

# Bits of elements without their number in the name.
BITS = {"index": 64, "bf16": 16, "tf32": 32}
# Data types of multiplications, by the element type.
DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16"}
# Operations that give another name to the bytes of their first operand.
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
OVERWRITE = (
    *(
        "abs",
        "add",
        "broadcast",
        "ceil",
        "copy",
        "div",
        "erf",
        "exp",
        "fill",
        "floor",
        "log",
        "max",
        "min",
    ),
    *("mul", "negf", "reciprocal", "round", "rsqrt", "select", "sqrt", "square", "sub", "tanh"),
    "transpose",
)
# Operations without an effect on memory, or whose effect says nothing of what is planned.
IGNORED = ("arith.", "memref.dealloc", "memref.assume_alignment", "memref.dim", "tensor.empty")
# Characters of an operation that a message shows.
SHOWN = 70

_MEMREF = re.compile(r"memref<((?:[0-9?]+x)*)([a-z]+[0-9]*[A-Z0-9a-z]*)")
_RESULT = re.compile(r"^(%[\w$.\-]+)(?::\d+)?\s*=\s*")
_NAME = re.compile(r"%[\w$.\-]+(?:#\d+)?")
_CONTINUED = re.compile(r"(?:ins|outs|into|to|dimensions|permutation|attrs)\b|[:(]")
_BODY = re.compile(r"\{[^\S\n]*\n")
_FUNCTION = re.compile(r"func\.func\s+(?:private\s+|public\s+|nested\s+)?@([\w$.\-]+)\s*\(")


@dataclass(frozen=True)
class _Buffer:
    """The type of a memref: its lengths, and the bits of an element."""

    lengths: tuple[int, ...]
    element: str
    bits: int

    @property
    def elements(self) -> int:
        return math.prod(self.lengths)

    @property
    def size_bytes(self) -> int:
        return max(1, -(-self.elements * self.bits // 8))


@dataclass
class _Function:
    """What was read so far.

    Attributes:
        buffers: memref -> its type, of allocations and arguments.
        roots: memref -> that whose bytes it shares.
        kinds: memref -> kind of its first version.
        versions: memref -> how often it was written.
        arguments: memrefs that came as arguments.
        returned: memrefs that `return` names.
        written: tensors that an operator has written.
        operators: in their order.
    """

    buffers: dict[str, _Buffer] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, TensorKind] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    arguments: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    written: set[str] = field(default_factory=set)
    operators: list[Op] = field(default_factory=list)

    def root(self, name: str, where: str) -> str:
        """The allocation behind a memref.

        Raises:
            ModelError: nothing defines it.
        """
        if name not in self.roots:
            raise ModelError(
                f"{where}: {name} is no memref that an operation before it defines; bufferise "
                "tensors, and list allocations before their uses"
            )
        return self.roots[name]

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
    """
    function_name, arguments, operations = _function_of(text)
    found = _Function()
    for number, argument in enumerate(arguments):
        _take_argument(found, argument, f"@{function_name}, argument {number}")
    for line, operation in operations:
        _take(found, operation, f"@{function_name}, line {line}: {visible(operation[:SHOWN])!r}")
    if not found.operators:
        raise ModelError(f"@{function_name} has no operation on memrefs that computes anything")
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
    outputs = {found.current(root) for root in (*found.returned, *written)}
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
    """Note an argument; those that are no memrefs are left aside."""
    names = _NAME.findall(text)
    if "memref<" not in text or not names:
        return
    buffer = _buffers(text, where)[0]
    _define(found, names[0], buffer, "weight" if "ullage.weight" in text else "input")
    found.arguments.append(names[0])


def _define(found: _Function, name: str, buffer: _Buffer, kind: TensorKind) -> None:
    found.buffers[name] = buffer
    found.roots[name] = name
    found.kinds[name] = kind
    found.versions[name] = 0


def _take(found: _Function, operation: str, where: str) -> None:
    """Note what an operation does.

    Raises:
        ModelError: it is none that is read.
    """
    result = _RESULT.match(operation)
    body = operation[result.end() :] if result else operation
    kind = body.split("(", 1)[0].split(maxsplit=1)[0].rstrip(",")
    dialect, _, short = kind.partition(".")
    if kind.startswith(IGNORED):
        return
    if kind in {"memref.alloc", "memref.alloca"} and result:
        _define(found, result[1], _buffers(body, where)[-1], "activation")
    elif kind == "memref.get_global" and result:
        _define(found, result[1], _buffers(body, where)[-1], "weight")
    elif dialect == "memref" and short in VIEWS and result:
        found.roots[result[1]] = found.root(_NAME.findall(body)[0], where)
    elif kind == "memref.copy":
        source, destination = _NAME.findall(body)[:2]
        _operate(found, "copy", [source], [destination], _buffers(body, where), where)
    elif kind in {"return", "func.return"}:
        found.returned = [found.root(n, where) for n in _NAME.findall(body) if n in found.roots]
    elif dialect == "linalg" and "outs(" in body:
        reads, writes = _operands(body, "ins"), _operands(body, "outs")
        types = [
            buffer
            for part in (_group(body, "ins"), _group(body, "outs"))
            if "memref<" in part
            for buffer in _buffers(part, where)
        ]
        _operate(found, short, reads, writes, types, where)
    else:
        raise ModelError(
            f"{where}: only allocations, views, memref.copy and linalg operations with ins and "
            "outs are read; bufferise to memrefs, and unroll loops and inline calls before"
        )


def _operate(
    found: _Function,
    kind: str,
    reads: Sequence[str],
    writes: Sequence[str],
    types: Sequence[_Buffer],
    where: str,
) -> None:
    """Note an operator, whose outputs become new versions of their buffers."""
    sources = [found.root(name, where) for name in reads if name in found.roots]
    results = list(dict.fromkeys(found.root(name, where) for name in writes))
    if not results:
        raise ModelError(f"{where}: it writes no memref; bufferise tensors before")
    before = dict.fromkeys(found.current(root) for root in sources)
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
    size = len(types)
    macs, gemm = _macs(kind, types[: size - len(writes)], types[-1])
    found.operators.append(
        Op(
            f"{kind}:{len(found.operators)}",
            list(before),
            after,
            macs=macs,
            dtype=_dtype(types[0].element),
            vector_elements=0 if macs else max(buffer.elements for buffer in types),
            gemms=gemm,
            in_place=in_place,
        )
    )


def _bits(element: str) -> int:
    """Bits of an element: the number in its name (`i8`, `f8E4M3`); 0 where there is none."""
    number = re.search(r"\d+", element)
    return BITS.get(element) or (int(number[0]) if number else 0)


def _dtype(element: str) -> str:
    """Our name of an element type; those of unusual width count as the next common one."""
    if element in DTYPES:
        return DTYPES[element]
    bits = _bits(element)
    return next((f"int{width}" for width in (8, 16, 32) if bits <= width), "int64")


def _macs(
    kind: str, inputs: Sequence[_Buffer], output: _Buffer
) -> tuple[int, list[tuple[int, int, int]]]:
    """Multiply-accumulates of a named operation, and its matrix products (m, k, n).

    Contractions of `linalg` sum over what both operands have and the output has not.
    """
    if len(inputs) < 2 or not output.lengths:
        return 0, []
    left, right = inputs[0].lengths, inputs[1].lengths
    if kind in {"matmul", "batch_matmul", "matmul_transpose_b", "quantized_matmul"}:
        depth, rows, columns = left[-1], output.lengths[-2], output.lengths[-1]
        products = math.prod(output.lengths[:-2])
        return products * rows * depth * columns, [(rows, depth, columns)] * products
    if kind == "matvec":
        return math.prod(left), [(left[0], left[1], 1)]
    if kind.startswith("depthwise_conv"):
        return output.elements * math.prod(right[:2]), []
    if kind.startswith("conv"):
        filters = output.lengths[1 if "nchw" in kind else -1]
        depth = math.prod(right) // filters
        positions = output.elements // filters
        return output.elements * depth, [(positions, depth, filters)]
    return 0, []


def _buffers(text: str, where: str) -> list[_Buffer]:
    """The types of memrefs in a text.

    Raises:
        ModelError: there is none, a length is not known, or an element has no size.
    """
    found: list[_Buffer] = []
    for lengths, element in _MEMREF.findall(text):
        if "?" in lengths:
            raise ModelError(
                f"{where}: a length is dynamic (?); shapes must be known: specialise it before"
            )
        bits = _bits(element)
        if not bits:
            raise ModelError(f"{where}: elements {element!r} have no size that is known")
        sizes = tuple(int(length) for length in lengths.split("x") if length)
        found.append(_Buffer(sizes, element, bits))
    if not found:
        raise ModelError(f"{where}: no memref type with a rank; unranked ones cannot be planned")
    return found


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


def _operands(text: str, name: str) -> list[str]:
    """The values in the parentheses behind a word, before their types."""
    return _NAME.findall(_group(text, name).split(" : ")[0])


def _function_of(text: str) -> tuple[str, list[str], list[tuple[int, str]]]:
    """Name, arguments, and (line, text) of the operations of the one function of a module.

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
    return head[1], _split(plain[head.end() : end - 1]), list(_operations(plain, body or 0))


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
