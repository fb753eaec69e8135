"""Reach: which elements of its inputs an operator needs for a range of its output.

A part of an operator makes a range of one or more axes of its output. What it must read follows,
axis by axis, from maps that hold for every range:

    Conv, kernel 3, stride 2, padding 1       output rows [4, 6)
                                              input rows  [4*2 - 1, 5*2 - 1 + 3) = [7, 12)
    Softmax over the last axis                output rows [4, 6), input rows [4, 6), columns all

Ranges are half-open. A reach may be larger than what the values depend on, never smaller. Bounds
over all schedules need the opposite, what an element depends on for sure: `InputReach.certain`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ullage.compiler.common.ranges import AxisIndex, Count

# [start, end) of one axis, in elements of it.
Interval = tuple[int, int]
# One interval for each axis of a tensor.
Box = tuple[Interval, ...]
# In place of an output axis: the range of the reduction (input channels, the K of a product).
REDUCTION = -1
# How work divides when an output axis is cut; explained at `Reach`.
WorkDimension = Literal["m", "n", "count", "elements", "none"]


def whole_box(shape: Sequence[int]) -> Box:
    """The box that is the whole tensor."""
    return tuple((0, size) for size in shape)


def hull(one: Box, other: Box) -> Box:
    """The smallest box that holds two boxes of a tensor."""
    return tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(one, other, strict=True))


def equal_blocks(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Axes of two shapes in blocks of equal products, as small as can be; axes of 1 in none."""
    left = [axis for axis, length in enumerate(old) if length != 1]
    right = [axis for axis, length in enumerate(new) if length != 1]
    blocks: list[tuple[list[int], list[int]]] = []
    while left and right:
        mine, theirs = [left.pop(0)], [right.pop(0)]
        a, b = old[mine[0]], new[theirs[0]]
        while a != b:
            if a < b:
                mine.append(left.pop(0))
                a *= old[mine[-1]]
            else:
                theirs.append(right.pop(0))
                b *= new[theirs[-1]]
        blocks.append((mine, theirs))
    return blocks


@dataclass(frozen=True, slots=True)
class AxisRange:
    """The range [start, end) of an output axis; axis -1 is the reduction.

    Attributes:
        axis: the axis, from 0, or `REDUCTION`.
        start: first index.
        end: one past the last index.
    """

    axis: AxisIndex
    start: Count
    end: Count


@dataclass(frozen=True, slots=True)
class AxisMap:
    """The range of an input axis that a range of an output axis needs.

    For the output range [start, end) it is [low, high), cut to the size of the input axis:

        low  = floor((start * multiplier + first) / divisor) * unit
        high = (floor(((end - 1) * multiplier + last) / divisor) + 1) * unit

    A window of k taps, dilation d and padding p has the multiplier stride, first = -p and
    last = (k - 1) * d - p; a group of u input channels for every v output channels has the divisor
    v and the unit u. Where no such formula holds (interpolation, reflected padding), `table` has
    the range of each output index, and a range needs the hull of those of its indices.

    Attributes:
        axis: the output axis, or `REDUCTION`.
        multiplier: elements of the input axis from one output element to the next.
        divisor: output elements for each element (or unit) of the input axis.
        first: added to the first index.
        last: added to the last index.
        unit: elements of the input axis that are needed together.
        table: for each output index the input range that it needs; an empty range needs nothing.
    """

    axis: int
    multiplier: int = 1
    divisor: int = 1
    first: int = 0
    last: int = 0
    unit: int = 1
    table: tuple[Interval, ...] = ()

    def interval(self, start: int, end: int, size: int) -> Interval:
        """The range of an input axis of `size` elements for the output range [start, end).

        An empty result is (0, 0).
        """
        if start >= end:
            return (0, 0)
        if self.table:
            rows = [row for row in self.table[start:end] if row[0] < row[1]]
            low = min((row[0] for row in rows), default=0)
            high = max((row[1] for row in rows), default=0)
        else:
            low = (start * self.multiplier + self.first) // self.divisor * self.unit
            last = ((end - 1) * self.multiplier + self.last) // self.divisor
            high = (last + 1) * self.unit
        low, high = max(0, low), min(size, high)
        return (low, high) if low < high else (0, 0)


@dataclass(frozen=True, slots=True)
class InputReach:
    """What a part reads of one input.

    Attributes:
        name: the input; one that is read in two ways has two of these.
        axes: for each axis of the input its map; None where every part needs the whole axis.
        at_end: with a cut reduction, only the part that finishes the output reads it (a bias, or
            an operand of a fused element-wise operator).
        certain: maps in the same form, of an element of the output to a box of which it uses every
            element: never larger than what it depends on, where `axes` are never smaller. Here
            None for an axis says that all of it is used for sure, and None in place of the maps
            that nothing is.
    """

    name: str
    axes: tuple[AxisMap | None, ...]
    at_end: bool = False
    certain: tuple[AxisMap | None, ...] | None = None

    def box(self, ranges: Mapping[int, Interval], shape: tuple[int, ...]) -> Box | None:
        """The box of an input of this shape that a part needs; None for nothing at all.

        Args:
            ranges: by output axis (or `REDUCTION`) the range of the part; axes that are not cut
                are left out.
            shape: shape of the input.
        """
        result: list[Interval] = []
        for axis_map, size in zip(self.axes, shape, strict=True):
            cut = None if axis_map is None else ranges.get(axis_map.axis)
            if axis_map is None or cut is None:
                result.append((0, size))
                continue
            interval = axis_map.interval(*cut, size)
            if size and interval[0] == interval[1]:
                return None
            result.append(interval)
        return tuple(result)


@dataclass(frozen=True, slots=True)
class Reach:
    """How an operator can be cut into parts, and what each part reads.

    Attributes:
        axes: for each axis of the output how the work divides when it is cut: `m`, `n` or `count`,
            the dimension of the matrix products (`Gemm`) that becomes shorter; `elements`, there
            are no products and vector work divides; `none`, it must not be cut (maps of it say
            what its elements depend on, though no part of an operator makes them). With several
            outputs, an axis that may be cut has the same length in all of them, and every part
            makes the same range of each.
        inputs: what is read of each input.
        reduction: length of the reduction that may be cut as well, with accumulators in memory
            from the first part to the last; 0 where it may not.
    """

    axes: tuple[WorkDimension, ...]
    inputs: tuple[InputReach, ...]
    reduction: int = 0

    def boxes(
        self, ranges: Mapping[int, Interval], shapes: Mapping[str, tuple[int, ...]]
    ) -> dict[str, list[Box]]:
        """By input the boxes that a part reads; inputs of which it reads nothing are left out.

        Args:
            ranges: by output axis (or `REDUCTION`) the range of the part.
            shapes: shapes of the inputs by name.
        """
        result: dict[str, list[Box]] = {}
        reduction = ranges.get(REDUCTION)
        for entry in self.inputs:
            if entry.at_end and reduction is not None and reduction[1] < self.reduction:
                continue
            box = entry.box(ranges, shapes[entry.name])
            if box is not None and box not in result.setdefault(entry.name, []):
                result[entry.name].append(box)
        return {name: boxes for name, boxes in result.items() if boxes}
