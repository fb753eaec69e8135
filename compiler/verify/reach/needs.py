"""Sets of elements of a tensor: by axis, or one by one.

by axis     rows {0, 1, 5}, columns all         a mask for each axis; their product is meant
one by one  a mask of the tensor's shape        where a Reshape made rows of what was none
"""

from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.reach import Interval

Mask = NDArray[np.bool_]
# A mask for each axis.
Axes = tuple[Mask, ...]
# By axis, or one by one.
Need = Axes | Mask


def everything(shape: tuple[int, ...]) -> Axes:
    """All elements of a tensor."""
    return tuple(np.ones(length, bool) for length in shape)


def box_of(shape: tuple[int, ...], ranges: dict[int, Interval]) -> Axes:
    """The elements of a box: the ranges of some axes, other axes whole."""
    axes = everything(shape)
    for axis, (low, high) in ranges.items():
        axes[axis][:low] = False
        axes[axis][high:] = False
    return axes


def is_empty(need: Need) -> bool:
    """Whether no element is meant."""
    if isinstance(need, tuple):
        return not all(mask.any() for mask in need)
    return not need.any()


def one_by_one(need: Need) -> Mask:
    """The mask of the tensor's shape."""
    if not isinstance(need, tuple):
        return need
    return np.asarray(reduce(np.logical_and.outer, need, np.ones((), bool)))


def by_axis(mask: Mask) -> Need:
    """The masks of the axes where their product is the mask, else the mask itself."""
    axes = tuple(
        np.asarray(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        for axis in range(mask.ndim)
    )
    elements = int(np.prod([np.count_nonzero(axis) for axis in axes], dtype=np.int64))
    return axes if elements == np.count_nonzero(mask) else mask


def flat_indices(need: Need, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """The row-major indices of the elements."""
    if not isinstance(need, tuple):
        return np.flatnonzero(need)
    result: NDArray[Any] = np.zeros(1, np.int64)
    for mask, length in zip(need, shape, strict=True):
        result = np.add.outer(result * length, np.flatnonzero(mask)).ravel()
    return np.asarray(result, np.int64)
