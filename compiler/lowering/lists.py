"""Operators and tensors as a foreign compiler lists them, and checks of the lists.

Lists come from hand-written code, where a text passes for a list of names and a float for a size.
Each error says which entry is wrong, what it holds, and what it must be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Literal, TypeVar, get_args

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.ranges import MAX_COUNT
from ullage.compiler.common.visible import is_unicode
from ullage.compiler.ir.graph import Kind

Entry = TypeVar("Entry")

KINDS = get_args(Kind)
# Characters of a value that a message shows.
SHOWN = 60


TensorKind = Literal["input", "weight", "activation", "output"]


@dataclass(frozen=True)
class Tensor:
    """A tensor of a foreign compiler: its size and kind."""

    name: str
    size_bytes: int
    kind: TensorKind = "activation"


@dataclass(frozen=True)
class Op:
    """An operator of a foreign compiler.

    Attributes:
        name: unique name.
        reads: names of the tensors it reads.
        writes: names of the tensors it writes.
        macs: multiply-accumulates.
        dtype: data type of the multiplications.
        vector_elements: elements for the vector unit.
        gemms: its matrix products (m, k, n) for systolic targets; (m, k, n, count) of several
            alike ones.
        workspace_bytes: scratch memory in the fastest tier.
        in_place: output -> input that it may overwrite.
        views: output -> input of which it is another view (the same bytes).
    """

    name: str
    reads: Sequence[str]
    writes: Sequence[str]
    macs: int = 0
    dtype: str = "int8"
    vector_elements: int = 0
    gemms: Sequence[tuple[int, int, int] | tuple[int, int, int, int]] = ()
    workspace_bytes: int = 0
    in_place: Mapping[str, str] | None = None
    views: Mapping[str, str] | None = None


def check_tensors(model: str, tensors: Sequence[Tensor]) -> None:
    """Check each tensor by itself, and that names are unique.

    Args:
        model: name of the model, for messages.
        tensors: the list.

    Raises:
        UsageError: says which entry is wrong, and how.
    """
    entries = _entries(model, "tensors", tensors, Tensor)
    for number, tensor in enumerate(entries):
        where = f"{model}: tensor {number} ({_shown(tensor.name)})"
        _check_name(where, tensor.name)
        check_count(where, "size_bytes", tensor.size_bytes)
        if tensor.kind not in KINDS:
            raise UsageError(
                f"{where}: kind is {_shown(tensor.kind)}; it is one of {', '.join(KINDS)}"
            )
    _check_unique(model, "tensors", [tensor.name for tensor in entries])


def check_operators(model: str, operators: Sequence[Op]) -> None:
    """Check each operator by itself, and that names are unique.

    Args:
        model: name of the model, for messages.
        operators: the list.

    Raises:
        UsageError: says which entry is wrong, and how.
    """
    entries = _entries(model, "operators", operators, Op)
    for number, op in enumerate(entries):
        where = f"{model}: operator {number} ({_shown(op.name)})"
        _check_name(where, op.name)
        for what, names in (("reads", op.reads), ("writes", op.writes)):
            _check_names(where, what, names)
        for what in ("macs", "vector_elements", "workspace_bytes"):
            check_count(where, what, getattr(op, what))
        if op.dtype not in BITS:
            raise UsageError(
                f"{where}: unknown data type {_shown(op.dtype)}; there are: {', '.join(BITS)}"
            )
        if isinstance(op.gemms, str) or not isinstance(op.gemms, Sequence):
            raise UsageError(
                f"{where}: gemms is {_shown(op.gemms)}; it lists (m, k, n) or (m, k, n, count)"
            )
        for gemm in op.gemms:
            if not isinstance(gemm, Sequence) or isinstance(gemm, str) or len(gemm) not in {3, 4}:
                raise UsageError(
                    f"{where}: a gemm is {_shown(gemm)}; each is (m, k, n), or (m, k, n, count)"
                )
            for what, size in zip(("m", "k", "n", "count"), gemm, strict=False):
                check_count(where, f"{what} of a gemm", size)
    _check_unique(model, "operators", [op.name for op in entries])


def check_pairs(model: str, operators: Sequence[Op], tensors: Mapping[str, Tensor]) -> None:
    """Check the pairs of outputs and inputs that may share bytes.

    Raises:
        UsageError: says which pair is wrong, and how.
    """
    for op in operators:
        taken: dict[str, str] = {}
        for what, pairs in (("in_place", op.in_place), ("views", op.views)):
            if pairs is None:
                continue
            where = f"{model}: operator {op.name!r}: {what}"
            if not isinstance(pairs, Mapping):
                raise UsageError(f"{where} is {_shown(pairs)}; it maps outputs to inputs")
            for output, source in pairs.items():
                pair = f"{where} {_shown(output)} -> {_shown(source)}"
                if output not in op.writes:
                    raise UsageError(f"{pair}: the operator does not write {_shown(output)}")
                if source not in op.reads:
                    raise UsageError(f"{pair}: the operator does not read {_shown(source)}")
                if output in taken:
                    raise UsageError(
                        f"{pair}: {output!r} shares bytes with {taken[output]!r} already"
                    )
                sizes = tensors[output].size_bytes, tensors[source].size_bytes
                if sizes[0] != sizes[1]:
                    raise UsageError(
                        f"{pair}: {sizes[0]} and {sizes[1]} bytes; what shares bytes has one size"
                    )
                taken[output] = source


def check_count(where: str, what: str, value: object) -> None:
    """Check a whole number of at least 0 that fits 64-bit arithmetic; numpy's count too.

    Raises:
        UsageError: it is none.
    """
    try:
        number = -1 if isinstance(value, bool) else index(value)  # type: ignore[arg-type]
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_COUNT:
        raise UsageError(
            f"{where}: {what} is {_shown(value)}; it is a whole number from 0 to 2**62"
        )


def _entries(model: str, what: str, given: Sequence[Entry], kind: type) -> Sequence[Entry]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise UsageError(f"{model}: {what} is {_shown(given)}; it is a list of {kind.__name__}")
    for number, entry in enumerate(given):
        if not isinstance(entry, kind):
            raise UsageError(
                f"{model}: entry {number} of {what} is {_shown(entry)}; it must be a "
                f"{kind.__name__}"
            )
    return given


def _check_name(where: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise UsageError(f"{where}: the name is {_shown(name)}; it is a text that is not empty")
    check_unicode(where, name)


def check_unicode(where: str, name: str) -> None:
    """Refuse a name that no file can hold: one with half of a surrogate pair.

    Raises:
        UsageError: names it.
    """
    if not is_unicode(name):
        raise UsageError(f"{where}: the name {_shown(name)} is no Unicode text; rename it")


def _check_names(where: str, what: str, names: object) -> None:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise UsageError(f"{where}: {what} is {_shown(names)}; it is a list of names")
    for name in names:
        if not isinstance(name, str):
            raise UsageError(f"{where}: {what} holds {_shown(name)}; names are texts")


def _check_unique(model: str, what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise UsageError(f"{model}: two {what} have the same name {name!r}")
        seen.add(name)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
