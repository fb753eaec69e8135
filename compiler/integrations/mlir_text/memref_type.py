"""Types of memrefs: lengths, elements and their bits."""

import math
import re
from dataclasses import dataclass

from ullage.compiler.common.errors import ModelError
from ullage.compiler.common.ranges import MAX_COUNT
from ullage.compiler.common.visible import visible
from ullage.compiler.integrations.mlir_text.text import MEMREF, split_list

# Bits of elements without their number in the name.
BITS = {"index": 64, "bf16": 16, "tf32": 32}
# Data types of multiplications, by the element type.
DTYPES = {"f32": "float32", "f64": "float64", "f16": "float16", "bf16": "bfloat16"}
# Bits of the longest integer of MLIR, and the longest number that is read.
MAX_INTEGER_BITS = 2**24 - 1
MAX_NUMBER = 2**63 - 1
# Characters of an operation that a message shows.
SHOWN = 70

_INSIDE = re.compile(r"memref<((?:[0-9?]+x)*)([a-z]+[0-9]*[A-Z0-9a-z]*)\s*([,>])")
_ELEMENT = re.compile(
    r"[su]?i([1-9][0-9]{0,8})|f(16|32|64|80|128)|f([468])E[0-9]+M[0-9]+[A-Z0-9]*|bf16|tf32|index"
)
_STRIDED = re.compile(r"strided<\[([^\]]*)\](?:,offset:([^>]*))?>")
_IDENTITY = re.compile(r"affine_map<\(([^()]*)\)\(\1\)>")
_ALIAS = re.compile(r"#[A-Za-z_][\w$\-]*")


@dataclass(frozen=True)
class MemrefType:
    """The type of a memref.

    Attributes:
        text: without blanks, and without a layout that is the identity.
        lengths: of its axes, in elements.
        element: type of an element.
        bits: of an element.
        dense: elements lie in the order of the axes, without gaps.
    """

    text: str
    lengths: tuple[int, ...]
    element: str
    bits: int
    dense: bool = True

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return math.prod(self.lengths)

    @property
    def size_bytes(self) -> int:
        """Bytes of all elements, the last one filled up with bits."""
        return -(-self.elements * self.bits // 8)


def memref_type(text: str, where: str) -> MemrefType:
    """The type of a memref.

    Raises:
        ModelError: it is none, a length is not known or 0, or an element has no size.
    """
    plain = "".join(text.split())
    match = _INSIDE.match(plain)
    if match is None or not MEMREF.fullmatch(plain):
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
    lengths = tuple(integer_of(length, where) for length in match[1].split("x") if length)
    if 0 in lengths:
        raise ModelError(f"{where}: {plain} has no elements: remove what is empty before")
    if math.prod(lengths) * bits > MAX_COUNT:
        raise ModelError(f"{where}: {visible(plain[:SHOWN])} is larger than any memory")
    rest = split_list(plain[match.end() : -1])
    for part in rest:
        if _ALIAS.fullmatch(part):
            raise ModelError(
                f"{where}: {visible(part[:SHOWN])} in the type of a memref is defined nowhere: "
                "give the text of the whole module, with its line "
                f"{visible(part[:SHOWN])} = affine_map<...>"
            )
    if rest and _IDENTITY.fullmatch(rest[0]):
        del rest[0]
    dense = not rest or _is_dense(rest[0], lengths)
    return MemrefType(
        f"memref<{','.join([match[1] + match[2], *rest])}>", lengths, match[2], bits, dense
    )


def _is_dense(layout: str, lengths: tuple[int, ...]) -> bool:
    """Whether a layout, or a memory space in its place, leaves elements in order without gaps."""
    if not layout.startswith(("strided<", "affine_map<")):
        return True
    strided = _STRIDED.fullmatch(layout)
    if strided is None or (strided[2] or "0") != "0":
        return False
    strides = [str(math.prod(lengths[axis + 1 :])) for axis in range(len(lengths))]
    given = split_list(strided[1])
    return len(given) == len(strides) and all(
        length == 1 or stride == dense
        for length, stride, dense in zip(lengths, given, strides, strict=True)
    )


def integer_of(text: str, where: str) -> int:
    """A whole number.

    Raises:
        ModelError: it is none, or has more than 64 bits.
    """
    plain = text.strip()
    if not re.fullmatch(r"-?[0-9]{1,19}", plain) or abs(int(plain)) > MAX_NUMBER:
        shown = visible(plain[:SHOWN])
        raise ModelError(f"{where}: {shown!r} is no whole number of 64 bits that is known here")
    return int(plain)


def dtype_of(element: str, bits: int) -> str:
    """Our name of an element type; those of unusual width count as the next common one."""
    if element in DTYPES:
        return DTYPES[element]
    return next((f"int{width}" for width in (8, 16, 32) if bits <= width), "int64")
