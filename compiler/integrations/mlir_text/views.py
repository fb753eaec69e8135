"""Views: other names of bytes of a memref, which must lie in it."""

import math
import re
from collections.abc import Sequence
from itertools import chain

from ullage.compiler.common.errors import ModelError
from ullage.compiler.integrations.mlir_text.function import NAME, Function
from ullage.compiler.integrations.mlir_text.memref_type import MemrefType, integer_of, memref_type
from ullage.compiler.integrations.mlir_text.text import at_types, split_list

# Operations that give another name to bytes of their first operand.
# Each with what must hold.
RULES = {
    "subview": "one offset, size (from 1) and stride (from 1) for each axis, all inside of it",
    "cast": "lengths and elements stay",
    "reinterpret_cast": "its elements lie inside of the allocation, and its sizes are its lengths",
    "collapse_shape": "groups name all axes of the operand in order, and the length that a group "
    "becomes is the product of its lengths",
    "expand_shape": "groups name all axes of the result in order, and the length that a group "
    "is made of is the product of its lengths",
    "view": "the operand has elements i8, and the view ends inside of it",
    "transpose": "the names behind the arrow are those before it in another order, and each axis "
    "keeps its length",
}


def take_view(found: Function, kind: str, body: str, result: str, where: str) -> None:
    """Note another name of bytes of a memref.

    Raises:
        ModelError: it reaches beyond them, is of another shape than its operation makes, or
            depends on values that are not known.
    """
    text, types = at_types(body[len("memref.") + len(kind) :], where)
    pair = re.split(r"\s(?:to|into)\s", types)
    names = NAME.findall(text)
    if len(pair) != 2 or not names:
        raise ModelError(f"{where}: it is not written as a view: %name : type to type")
    source = found.used(names[0], pair[0], where)
    if source is None:
        raise ModelError(f"{where}: {names[0]} is no memref")
    whole = found.types[found.roots[names[0]]]
    view = memref_type(pair[1], where)
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
        fits = source.element == view.element and (
            _is_transposed(text, source, view)
            if kind == "transpose"
            else _view_fits(kind, _lists(text, where), source, view, whole)
        )
    if not fits:
        raise ModelError(
            f"{where}: no {kind} of {source.text} gives that, or it is out of range: {RULES[kind]}"
        )
    found.types[found.new(result, where)] = view
    found.roots[result] = found.roots[names[0]]


def _lists(text: str, where: str) -> list[list[int]]:
    """The lists of numbers in brackets that hold no other brackets.

    Raises:
        ModelError: something else is among them.
    """
    return [
        [integer_of(part, where) for part in split_list(part)]
        for part in re.findall(r"\[([^\[\]]*)\]", text)
    ]


def _is_transposed(text: str, source: MemrefType, view: MemrefType) -> bool:
    """Whether a view has the lengths of a memref in the order of `(a, b) -> (b, a)`."""
    axes = [
        [name.strip() for name in part.split(",") if name.strip()]
        for part in re.findall(r"\(([^()]*)\)", text)
    ]
    if len(axes) != 2 or len(set(axes[0])) != len(source.lengths):
        return False
    before, after = axes
    lengths = dict(zip(before, source.lengths, strict=False))
    return sorted(before) == sorted(after) and view.lengths == tuple(
        lengths[name] for name in after
    )


def _is_regrouped(groups: list[list[int]], few: Sequence[int], many: Sequence[int]) -> bool:
    """Whether groups of neighbouring axes, all in order, have the lengths of the joined axes.

    Args:
        groups: axes of `many` that make each axis of `few`.
        few: lengths of the joined axes.
        many: lengths of those they are joined of.
    """
    if not few:
        return groups == [[]] and math.prod(many) == 1
    if list(chain(*groups)) != list(range(len(many))) or len(groups) != len(few):
        return False
    return all(
        group and math.prod(many[axis] for axis in group) == length
        for group, length in zip(groups, few, strict=True)
    )


def _view_fits(
    kind: str, lists: list[list[int]], source: MemrefType, view: MemrefType, whole: MemrefType
) -> bool:
    """Whether a view lies in its memref and has the shape that its operation makes of it.

    Args:
        kind: name of the operation.
        lists: its numbers in brackets.
        source: type of what it views.
        view: type that it gives.
        whole: type of the memref whose bytes these are.
    """
    if kind == "collapse_shape":
        return _is_regrouped(lists, view.lengths, source.lengths)
    if kind == "expand_shape":
        # Newer texts repeat the lengths: output_shape [2, 4, 16].
        groups = len(source.lengths) or 1
        said = [tuple(lengths) for lengths in lists[groups:]]
        return said in ([], [view.lengths]) and _is_regrouped(
            lists[:groups], source.lengths, view.lengths
        )
    if kind == "cast":
        return source.lengths == view.lengths
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
