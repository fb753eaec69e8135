"""Lengths of axes, exact or at most, and tensor types made of them."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ullage.compiler.importer.scope import Interval, Scope, TensorType
from ullage.compiler.importer.values.intervals import interval_of


class Axis(NamedTuple):
    """Length of an axis, and whether it is exact; otherwise no run has a longer one."""

    length: int
    exact: bool = True


class NoBoundError(Exception):
    """No bound follows; the message says from what it would."""


def axes_of(tensor_type: TensorType) -> list[Axis]:
    """The axes of a tensor."""
    return [Axis(length, tensor_type.is_exact(i)) for i, length in enumerate(tensor_type.shape)]


def type_of(dtype: str, axes: Iterable[Axis], most_elements: int | None = None) -> TensorType:
    """A tensor type from its axes, with at most so many elements."""
    lengths = list(axes)
    shape = tuple(axis.length for axis in lengths)
    exact = frozenset(i for i, axis in enumerate(lengths) if axis.exact)
    if len(exact) == len(shape):
        return TensorType(dtype, shape)
    limit = None if most_elements is None or most_elements >= math.prod(shape) else most_elements
    return TensorType(dtype, shape, is_upper_bound=True, exact_axes=exact, most_elements=limit)


def joined(a: TensorType, b: TensorType) -> TensorType | None:
    """A type that has room for both; None for another rank or element type."""
    if a.dtype != b.dtype or len(a.shape) != len(b.shape):
        return None
    axes = [
        Axis(max(x.length, y.length), x.exact and y.exact and x.length == y.length)
        for x, y in zip(axes_of(a), axes_of(b), strict=True)
    ]
    return type_of(a.dtype, axes, max(a.elements, b.elements))


def has_room_for(room: TensorType, other: TensorType) -> bool:
    """Whether every tensor of one type is also of another one."""
    both = joined(room, other)
    return both is not None and both == room


def length_between(interval: Interval | None, index: int = 0) -> tuple[float, float]:
    """Lowest and highest value of one element of a vector or of a scalar."""
    if interval is None:
        return -np.inf, np.inf
    low, high = (end.reshape(-1) for end in interval)
    return float(low[index]), float(high[index])


def values_of(name: str, scope: Scope, count: int) -> list[tuple[float, float]]:
    """Lowest and highest values of the `count` elements of a vector; infinite where unknown."""
    interval = interval_of(name, scope)
    if interval is None or interval[0].size != count:
        return [(-np.inf, np.inf)] * count
    return [length_between(interval, i) for i in range(count)]


def at_most(high: float, what: str) -> int:
    """A largest length as an integer.

    Raises:
        NoBoundError: it is infinite.
    """
    if not np.isfinite(high):
        raise NoBoundError(what)
    return max(0, int(high))


def broadcast_axes(operands: Sequence[TensorType]) -> list[Axis]:
    """Axes of the result of an element-wise operator, by numpy's rules.

    An axis of which some operand has an exact length other than 1 has that length.
    """
    rank = max((len(t.shape) for t in operands), default=0)
    result: list[Axis] = []
    for back in range(rank, 0, -1):
        axes = [axes_of(t)[-back] for t in operands if len(t.shape) >= back]
        certain = [a for a in axes if a.exact and a.length != 1]
        if certain:
            result.append(certain[0])
        else:
            loose = [a.length for a in axes if not a.exact]
            result.append(Axis(max(1, *loose), False) if loose else Axis(1))
    return result
