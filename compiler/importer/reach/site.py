"""One ONNX node as the rules see it, and the maps that most rules are made of."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.importer.bounds import Arrays
from ullage.compiler.importer.operators.identity import NodeFacts
from ullage.compiler.importer.scope import TensorType
from ullage.compiler.ir.reach import AxisMap, InputReach, Interval, Reach, WorkDimension

# For each axis of an input its map, None where every part needs the whole axis.
Maps = tuple[AxisMap | None, ...]
# Rows of the longest table: beyond it an axis is needed whole, or a coarser formula is taken.
MOST_ROWS = 65_536
# What is read of some inputs.
Reads = tuple[InputReach, ...]


@dataclass(frozen=True, slots=True)
class Site(NodeFacts):
    """A node with all that is known of its tensors.

    Attributes:
        input_types: types of the operands, None for absent ones.
        output_types: types of the results, None for absent ones.
        arrays: values of small constants by name.
    """

    input_types: tuple[TensorType | None, ...]
    output_types: tuple[TensorType | None, ...]
    arrays: Arrays

    def has(self, position: int) -> bool:
        """Whether there is an operand at a position."""
        return position < len(self.inputs) and self.input_types[position] is not None

    def shape(self, position: int) -> tuple[int, ...] | None:
        """Shape of an operand, None where it is absent."""
        operand = self.input_types[position] if position < len(self.inputs) else None
        return None if operand is None else operand.shape

    @property
    def result(self) -> tuple[int, ...] | None:
        """Shape of the first result that there is, None where there is none."""
        present = [t for t in self.output_types if t is not None]
        return present[0].shape if present else None

    def integers(self, position: int, attribute: str = "") -> list[int] | None:
        """A vector of integers: the attribute where there is one, else a constant operand.

        None where it is neither, or depends on data.
        """
        if attribute and attribute in self.attributes:
            return [int(v) for v in self.attributes[attribute]]
        array = self.arrays.get(self.inputs[position]) if self.has(position) else None
        if array is None:
            return None
        return [int(v) for v in np.asarray(array).reshape(-1)]

    def read(self, position: int, maps: Iterable[AxisMap | None], *, at_end: bool = False) -> Reads:
        """What is read of an operand; nothing where it is absent."""
        if not self.has(position):
            return ()
        return (InputReach(self.inputs[position], tuple(maps), at_end),)

    def whole(self, position: int, *, at_end: bool = False) -> Reads:
        """An operand of which every part reads all; nothing where it is absent."""
        shape = self.shape(position)
        return () if shape is None else self.read(position, (None,) * len(shape), at_end=at_end)

    def rest_whole(self, start: int) -> Reads:
        """The operands from a position on, of which every part reads all."""
        return tuple(r for position in range(start, len(self.inputs)) for r in self.whole(position))

    def parameter(self, position: int, axis: int, length: int, *, at_end: bool = False) -> Reads:
        """A vector with an element per index of an output axis, or one element for all.

        A vector of another length is read whole.
        """
        shape = self.shape(position)
        if shape is not None and len(shape) == 1 and shape[0] == length and length > 1:
            return self.read(position, (AxisMap(axis),), at_end=at_end)
        return self.whole(position, at_end=at_end)


# A rule; None where the operands are not as it needs them.
Rule = Callable[[Site], Reach | None]


def identity(rank: int, cut: Iterable[int] | None = None) -> Maps:
    """Each axis needs the same range of itself; those that are not in `cut` are needed whole."""
    axes = range(rank) if cut is None else set(cut)
    return tuple(AxisMap(axis) if axis in axes else None for axis in range(rank))


def broadcast(shape: Sequence[int], result: Sequence[int]) -> Maps:
    """Maps of an operand that numpy's rules broadcast to a result: axes are aligned at the end."""
    offset = len(result) - len(shape)
    return tuple(
        AxisMap(axis + offset) if length == result[axis + offset] else None
        for axis, length in enumerate(shape)
    )


def labelled(
    rank: int, label: WorkDimension, kept_whole: Iterable[int] = ()
) -> tuple[WorkDimension, ...]:
    """The same label for each axis, `none` for those that must not be cut."""
    whole = set(kept_whole)
    return tuple("none" if axis in whole else label for axis in range(rank))


def table_map(axis: int, length: int, rows: Callable[[int], Interval]) -> AxisMap | None:
    """Map of which each output index says its range; None, the whole axis, for a very long one."""
    if length > MOST_ROWS:
        return None
    return AxisMap(axis, table=tuple(rows(index) for index in range(length)))


def window_map(
    axis: int, out: int, size: int, taps: int, stride: int, dilation: int, pad: int
) -> AxisMap:
    """Map of an input axis over which a window slides.

    With dilation and padding, the first tap inside may lie far behind the border: a table then.

    Args:
        axis: the output axis.
        out: its length.
        size: length of the input axis.
        taps: taps of the window.
        stride: from one window to the next.
        dilation: from one tap to the next.
        pad: padding before the first element, negative where elements are skipped.
    """
    reach = (taps - 1) * dilation
    outside = pad > 0 or (out - 1) * stride - pad + reach >= size
    if dilation == 1 or taps == 1 or not outside or out > MOST_ROWS:
        return AxisMap(axis, multiplier=stride, first=-pad, last=reach - pad)
    table = []
    for index in range(out):
        first = index * stride - pad
        inside = [t for t in range(first, first + reach + 1, dilation) if 0 <= t < size]
        table.append((inside[0], inside[-1] + 1) if inside else (0, 0))
    return AxisMap(axis, table=tuple(table))
