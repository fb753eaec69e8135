"""Shapes and multiplications of the named operations of MLIR's `linalg`.

A contraction or convolution has names for the lengths of its operands (`mk,kn->mn` of `matmul`);
what has one name has one length, and the product of all lengths is its number of
multiply-accumulates.

Definitions: mlir.llvm.org/docs/Dialects/Linalg and its LinalgNamedStructuredOps.yaml.
"""

import math
import re
from collections.abc import Sequence

from ullage.compiler.common.errors import ModelError
from ullage.compiler.common.ranges import MAX_COUNT

Lengths = tuple[int, ...]

# Products: names of the lengths of left operand, right operand and output.
CONTRACTIONS = {
    "matmul": ("mk", "kn", "mn"),
    "quantized_matmul": ("mk", "kn", "mn"),
    "matmul_transpose_a": ("km", "kn", "mn"),
    "matmul_transpose_b": ("mk", "nk", "mn"),
    "batch_matmul": ("bmk", "bkn", "bmn"),
    "quantized_batch_matmul": ("bmk", "bkn", "bmn"),
    "batch_matmul_transpose_a": ("bkm", "bkn", "bmn"),
    "batch_matmul_transpose_b": ("bmk", "bnk", "bmn"),
    "batch_reduce_matmul": ("bmk", "bkn", "mn"),
    "matvec": ("mk", "k", "m"),
    "vecmat": ("k", "kn", "n"),
    "batch_matvec": ("bmk", "bk", "bm"),
    "batch_vecmat": ("bk", "bkn", "bn"),
    "dot": ("k", "k", ""),
}
# Operations by element: how many memrefs they read, all of the shape of the output.
ELEMENTWISE = {
    **dict.fromkeys(("abs", "ceil", "copy", "erf", "exp", "floor", "log", "negf"), 1),
    **dict.fromkeys(("reciprocal", "round", "rsqrt", "sqrt", "square", "tanh", "softmax"), 1),
    **dict.fromkeys(("add", "div", "div_unsigned", "max", "min", "mul", "powf", "sub"), 2),
    "select": 3,
}
_CONVOLUTION = re.compile(r"(depthwise_)?conv_([123])d(?:_([ndhwcg]+)_([dhwcfgm]+))?(?:_q)?")


def work_of(
    kind: str, inputs: Sequence[Lengths], outputs: Sequence[Lengths], text: str, where: str
) -> tuple[int, list[tuple[int, int, int, int]]]:
    """Multiply-accumulates of an operation and its matrix products; 0 and none of others.

    Products are (m, k, n, count).

    Args:
        kind: name of the operation, without the dialect.
        inputs: lengths of the memrefs it reads.
        outputs: lengths of those it writes, at least one.
        text: of the operation, for its attributes `permutation` and `dimensions`.
        where: begins the message of an error.

    Raises:
        ModelError: the shapes do not fit the operation, it multiplies more often than can be
            counted, or its name is none of `linalg`.
    """
    names = CONTRACTIONS.get(kind) or _convolution(kind)
    if names is None:
        if not _fits(kind, inputs, outputs, text, where):
            raise ModelError(_misfit(kind, inputs, outputs, where))
        return 0, []
    shapes = (*inputs, *outputs)
    if len(inputs) != 2 or [len(part) for part in names] != [len(shape) for shape in shapes]:
        raise ModelError(_misfit(kind, inputs, outputs, where))
    sizes: dict[str, int] = {}
    for part, shape in zip(names, shapes, strict=True):
        for name, length in zip(part, shape, strict=True):
            if sizes.setdefault(name, length) != length:
                raise ModelError(_misfit(kind, inputs, outputs, where))
    # An input of a convolution has a line for each place of the kernel; strides only ask for more.
    data = [name for name in sizes if name.isupper()]
    for name in data:
        if sizes[name] < sizes[name.lower()] + sizes.get(f"{name.lower()} of kernel", 1) - 1:
            raise ModelError(_misfit(kind, inputs, outputs, where))
    macs = math.prod(length for name, length in sizes.items() if name not in data)
    if macs > MAX_COUNT:
        raise ModelError(
            f"{where}: it multiplies {macs} times, and at most 2**62 can be counted: cut it up"
        )
    if kind in CONTRACTIONS:
        count = sizes.get("b", 1)
        return macs, [(sizes.get("m", 1), sizes["k"], sizes.get("n", 1), count)]
    if "f" not in sizes or "g" in sizes:
        return macs, []
    depth = math.prod(inputs[1]) // sizes["f"]
    return macs, [(math.prod(outputs[0]) // sizes["f"], depth, sizes["f"], 1)]


def _convolution(kind: str) -> tuple[Sequence[str], Sequence[str], Sequence[str]] | None:
    """Names of the lengths of a convolution; those of places of the input are capitals."""
    match = _CONVOLUTION.fullmatch(kind)
    if match is None:
        return None
    places = "dhw"[-int(match[2]) :]
    data, kernel = match[3] or places, match[4] or places
    output = data + "m" * ("m" in kernel) if match[1] else data.replace("c", "f")
    return (
        [name.upper() if name in places else name for name in data],
        [f"{name} of kernel" if name in places else name for name in kernel],
        list(output),
    )


def _fits(
    kind: str, inputs: Sequence[Lengths], outputs: Sequence[Lengths], text: str, where: str
) -> bool:
    """Whether the shapes of an operation that is no product are those of its definition.

    Raises:
        ModelError: its name is none that is known.
    """
    output = outputs[0]
    if kind in {"generic", "index"}:
        return True
    if kind.startswith("pooling_"):
        return len(inputs) == 2 and len(outputs) == 1 and len(inputs[0]) == len(output)
    if kind in ELEMENTWISE:
        alike = all(shape == output for shape in inputs)
        return len(inputs) == ELEMENTWISE[kind] and len(outputs) == 1 and alike
    if kind == "map":
        return len(outputs) == 1 and all(shape == output for shape in inputs)
    if kind == "fill":
        return not inputs and len(outputs) == 1
    if kind == "reduce":
        dropped = _attribute(text, "dimensions")
        return len(inputs) == len(outputs) and all(
            _without(shape, dropped) == result
            for shape, result in zip(inputs, outputs, strict=True)
        )
    if kind not in {"broadcast", "transpose"}:
        raise ModelError(
            f"{where}: what linalg.{kind} computes is not known; turn it into linalg.generic "
            "before (mlir-opt --linalg-generalize-named-ops)"
        )
    if len(inputs) != 1 or len(outputs) != 1:
        return False
    if kind == "broadcast":
        return _without(output, _attribute(text, "dimensions")) == inputs[0]
    order = _attribute(text, "permutation")
    return sorted(order) == list(range(len(output))) and (
        len(inputs[0]) == len(output) and tuple(inputs[0][axis] for axis in order) == output
    )


def _attribute(text: str, name: str) -> list[int]:
    """A list of small numbers among the attributes of an operation; empty where it is missing."""
    match = re.search(rf"\b{name}\s*=\s*\[([^\]]*)\]", text)
    return [int(number) for number in re.findall(r"\b\d{1,9}\b", match[1])] if match else []


def _without(shape: Lengths, dropped: Sequence[int]) -> Lengths | None:
    """The lengths but for those of some axes; None where one of these is missing."""
    if any(axis >= len(shape) for axis in dropped):
        return None
    return tuple(length for axis, length in enumerate(shape) if axis not in dropped)


def _misfit(kind: str, inputs: Sequence[Lengths], outputs: Sequence[Lengths], where: str) -> str:
    """What an error says of shapes that do not fit."""
    read, written = (
        ", ".join("x".join(map(str, shape)) or "a scalar" for shape in shapes) or "nothing"
        for shapes in (inputs, outputs)
    )
    return f"{where}: shapes do not fit {kind}: it reads {read} and writes {written}"
