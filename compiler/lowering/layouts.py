"""Bytes of boxes: where the elements that a part makes or reads lie in the bytes of their value.

The layout is `program.Layout`: cells one after the other, in each of them one axis outermost.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Value
from ullage.compiler.ir.program import AxisCuts, Layout
from ullage.compiler.ir.reach import Box, Interval


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a value that a box occupies, or reaches.

    Attributes:
        start: first byte, counted from the beginning of the value.
        end: one past the last.
        accessed_bytes: those of them that belong to the box.
    """

    start: int
    end: int
    accessed_bytes: int


@dataclass(frozen=True, slots=True)
class _Cell:
    """A cell: its interval on each cut axis, where it begins, and bytes of an outermost row."""

    intervals: tuple[Interval, ...]
    start: int
    row_bytes: int


@dataclass(frozen=True)
class LaidOut:
    """A value in a layout.

    Attributes:
        value: the value.
        layout: the order of its elements.
    """

    value: Value
    layout: Layout

    def place(self, axis: int, index: int) -> int:
        """Where an index of an axis lies, in indices of the axis as it is stored.

        What pads an axis lies behind its last index, so its end is that of the stored axis.
        """
        length = self.value.shape[axis]
        return self.value.stored_shape[axis] if index == length else index

    def _length(self, axis: int, interval: Interval) -> int:
        """How many stored indices a range of an axis takes."""
        low, high = interval
        return self.place(axis, high) - self.place(axis, low) if low < high else 0

    @cached_property
    def cells(self) -> tuple[_Cell, ...]:
        """The cells in the order of their bytes; `check` raises what can go wrong."""
        shape = self.value.stored_shape
        element = Fraction(self.value.size_bytes, max(1, math.prod(shape)))
        cut = {cuts.axis for cuts in self.layout.cuts} | {self.layout.axis}
        rest = math.prod(size for axis, size in enumerate(shape) if axis not in cut)
        spans = [list(zip(c.ends, c.ends[1:], strict=False)) for c in self.layout.cuts]
        cells: list[_Cell] = []
        start = 0
        for intervals in product(*spans):
            lengths = [
                self._length(c.axis, i) for c, i in zip(self.layout.cuts, intervals, strict=True)
            ]
            row = element * rest * math.prod(lengths)
            if row.denominator != 1:
                raise UsageError(
                    f"{self.value.name!r} cannot be made in parts along axis {self.layout.axis}: "
                    f"a row takes {float(row):g} bytes, no whole number"
                )
            cells.append(_Cell(intervals, start, int(row)))
            start += int(row) * shape[self.layout.axis]
        return tuple(cells)

    def element_order(self) -> NDArray[np.int64]:
        """(E,) row-major indices of the elements in the order in which their bytes lie.

        Elements that only pad an axis repeat the last index of it.
        """
        shape = self.value.shape
        indices = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
        more = [(0, b - a) for a, b in zip(shape, self.value.stored_shape, strict=True)]
        indices = np.pad(indices, more, mode="edge") if indices.size else indices
        order: list[NDArray[np.int64]] = []
        for cell in self.cells:
            inside = indices
            for cuts, (low, high) in zip(self.layout.cuts, cell.intervals, strict=True):
                span = range(self.place(cuts.axis, low), self.place(cuts.axis, high))
                inside = inside.take(span, axis=cuts.axis)
            order.append(np.moveaxis(inside, self.layout.axis, 0).ravel())
        return np.concatenate(order)

    @property
    def has_whole_rows(self) -> bool:
        """Whether rows of cells are whole numbers of bytes: else `check` raises an error."""
        try:
            self.check()
        except UsageError:
            return False
        return True

    def check(self) -> None:
        """Work out the cells.

        Raises:
            UsageError: a row of a cell is no whole number of bytes.
        """
        self.cells  # noqa: B018 - kept for later

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of the outermost axis in the first cell, at least 1."""
        return max(1, self.cells[0].row_bytes)

    def ranges(self, box: Box) -> list[ByteRange]:
        """The byte ranges that hold a box, ascending, adjacent ones joined.

        Where the box ends inside a cell, the range reaches to the end of the cell's rows.
        """
        outermost = self.layout.axis
        low, high = box[outermost]
        result: list[ByteRange] = []
        inside, whole = 1, 1  # elements of the box and of a cell's row, by axes that are not cut
        cut = {cuts.axis for cuts in self.layout.cuts} | {self.layout.axis}
        for axis, size in enumerate(self.value.shape):
            if axis not in cut and size:
                inside *= self._length(axis, box[axis])
                whole *= self._length(axis, (0, size))
        if low >= high or not inside:
            return []
        low, high = self.place(outermost, low), self.place(outermost, high)
        for met in product(*(self._met(cuts, box[cuts.axis]) for cuts in self.layout.cuts)):
            number, part, of = 0, inside, whole
            for cuts, (place, shared, length) in zip(self.layout.cuts, met, strict=True):
                number = number * (len(cuts.ends) - 1) + place
                part, of = part * shared, of * length
            cell = self.cells[number]
            start, stop = cell.start + low * cell.row_bytes, cell.start + high * cell.row_bytes
            accessed = -(-(stop - start) * part // of)  # rounded up
            if result and result[-1].end == start:
                last = result[-1]
                result[-1] = ByteRange(last.start, stop, last.accessed_bytes + accessed)
            elif start < stop:
                result.append(ByteRange(start, stop, accessed))
        return result

    def _met(self, cuts: AxisCuts, interval: Interval) -> list[tuple[int, int, int]]:
        """The cells of an axis that an interval meets.

        Returns:
            Of each, ascending: its number, how many stored indices it shares with the interval,
            and how many it has.
        """
        low, high = interval
        ends = cuts.ends
        met: list[tuple[int, int, int]] = []
        for place in range(max(0, bisect_right(ends, low) - 1), len(ends) - 1):
            begin, end = ends[place], ends[place + 1]
            if begin >= high:
                break
            shared = self._length(cuts.axis, (max(begin, low), min(end, high)))
            if shared > 0:
                met.append((place, shared, self._length(cuts.axis, (begin, end))))
        return met


def reached_box(layout: Layout, shape: tuple[int, ...], box: Box) -> Box:
    """What of a value lies in the byte ranges of a box: whole cells, and whole axes inside them."""
    reached = [(0, size) for size in shape]
    reached[layout.axis] = box[layout.axis]
    for cuts in layout.cuts:
        low, high = box[cuts.axis]
        begins = [end for end in cuts.ends if end <= low]
        stops = [end for end in cuts.ends if end >= high]
        reached[cuts.axis] = (begins[-1], stops[0])
    return tuple(reached)


def whole_range(value: Value) -> list[ByteRange]:
    """All bytes of a value as one range; none for an empty value."""
    size = value.size_bytes
    return [ByteRange(0, size, size)] if size else []
