"""An operator and one operand: what boxes of either meet for sure.

What precedes a box is asked for its lengths only, one number for each axis, wherever it lies; what
follows one is asked for a run along each axis (`runs`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np

from ullage.compiler.ir.reach import REDUCTION, AxisMap, equal_blocks
from ullage.solvers.bounds.relations import Relation, relation_of
from ullage.solvers.bounds.runs import Run, anywhere, whole_run

# Lengths of a box, axis by axis.
Lengths = tuple[int, ...]
# A run along each axis.
Box = tuple[Run, ...]
# In place of an output axis: every element of the result uses the whole axis.
WHOLE = -2


@dataclass(frozen=True)
class Axis:
    """An axis of an operand.

    Attributes:
        size: its length.
        output: the output axis that its indices belong to, `REDUCTION` or `WHOLE`.
        relation: which of its indices each index of that axis uses; None for the two others.
        most: indices that one index of that axis may use, more than `relation` is certain of.
    """

    size: int
    output: int
    relation: Relation | None = None
    most: int = 1


# For each axis of an operand its map, None for the whole axis.
Maps = tuple[AxisMap | None, ...]


def axes_of(maps: Maps, reach: Maps, shape: Lengths, result: Lengths) -> tuple[Axis, ...]:
    """The axes of an operand.

    Args:
        maps: what an element of the result uses for sure.
        reach: what it may use.
        shape: of the operand.
        result: shape of the result.
    """
    found = []
    for axis_map, widest, size in zip(maps, reach, shape, strict=True):
        if axis_map is None:
            found.append(Axis(size, WHOLE))
        elif axis_map.axis == REDUCTION:
            found.append(Axis(size, REDUCTION))
        else:
            relation = relation_of(axis_map, result[axis_map.axis], size)
            most = relation.window
            if widest != axis_map:
                most = size
                if widest is not None and widest.axis == axis_map.axis:
                    most = relation_of(widest, result[widest.axis], size).window
            found.append(Axis(size, axis_map.axis, relation, max(1, most)))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Operand:
    """How an operator uses a value that other operators make.

    Attributes:
        value: index of the value.
        result: shape of the operator's result.
        axes: the axes of the value.
        at_end: read when sums are complete, as what is fused behind them has it.
        memo: results of `following` by lengths.
    """

    value: int
    result: Lengths
    axes: tuple[Axis, ...]
    at_end: bool = False
    memo: dict[Box, tuple[Box | None, float]] = field(default_factory=dict, repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether an element of the result uses at most one of the operand."""
        return all(
            axis.size == 1 if axis.relation is None else axis.most == 1 for axis in self.axes
        )

    def following(self, box: Box) -> tuple[Box | None, float]:
        """Elements of the result that use elements of a box of the operand, and the work with them.

        Args:
            box: the box.

        Returns:
            A box of the result, each element of which uses one of that box (None where there is
            none for sure), and the share of the operator's elementary operations, of all pairs of
            an element of the result and one that it uses, in which that box takes part: none where
            it is read at the end.
        """
        known = self.memo.get(box)
        if known is None:
            known = self.memo[box] = self._following(box)
        return known

    def _following(self, box: Box) -> tuple[Box | None, float]:
        found: dict[int, Run] = {}
        share = 1.0
        for axis, run in zip(self.axes, box, strict=True):
            if axis.relation is None:
                share *= run.length / axis.size
                continue
            touched = run.through(axis.relation)
            share *= run.pairs(axis.relation) / (axis.relation.outputs * axis.most)
            before = found.get(axis.output)
            both = touched if before is None else before.meeting(touched, axis.relation.outputs)
            if both is None:
                return None, 0.0
            if before is not None and both.length < axis.relation.outputs:
                share = 0.0  # pairs of two axes behind one are not those of each
            found[axis.output] = both
        following = tuple(found.get(i) or whole_run(size) for i, size in enumerate(self.result))
        if not all(run.length for run in following):
            return None, 0.0
        return following, 0.0 if self.at_end else share

    def preceding(self, lengths: Lengths) -> Lengths | None:
        """Elements of the operand that a box of the result uses; None where there is none for sure.

        Args:
            lengths: of the box of the result.
        """
        found = tuple(
            axis.size if axis.relation is None else axis.relation.used(lengths[axis.output])
            for axis in self.axes
        )
        return found if all(found) else None

    def finishes(self, box: Box) -> bool:
        """Whether a box of the operand has all that the elements of the result sum up over."""
        return all(
            run.length == axis.size
            for axis, run in zip(self.axes, box, strict=True)
            if axis.relation is None or axis.most > 1
        )

    def serving(self, output: int) -> tuple[int, int] | None:
        """The range of one axis of the result whose elements use the operand, each one index.

        None where that is not so, or where a range of another axis does not.
        """
        found = None
        for axis in self.axes:
            if axis.relation is None:
                continue
            if axis.output == output and found is None:
                rows = np.flatnonzero(axis.relation.high > axis.relation.low)
                if len(rows) != axis.size or not axis.relation.touched(1):
                    return None
                found = int(rows[0]), int(rows[-1]) + 1
            elif axis.output == output or axis.relation.used(1) == 0:
                return None
        return found

    def least_share(self, box: Box) -> float:
        """Share of the operations for any element that uses some of a box, which use that box."""
        if self.at_end:
            return 0.0
        return prod(
            run.length / axis.size if axis.relation is None else 1.0 / axis.most
            for axis, run in zip(self.axes, box, strict=True)
        )

    def run_behind(self, output: int, box: Box) -> tuple[Axis, Run] | None:
        """The axis of the operand behind an axis of the result, and the run of a box along it.

        `output` may be `REDUCTION`.
        """
        for axis, run in zip(self.axes, box, strict=True):
            if axis.output == output:
                return axis, run
        return None


@dataclass(frozen=True, eq=False)
class View:
    """An operand whose elements are those of the result in the same order, under other axes.

    Attributes:
        value: index of the value.
        before: shape of the operand.
        result: shape of the result; as many elements.
        at_end: as of `Operand`: no.
    """

    value: int
    before: Lengths
    result: Lengths
    at_end: bool = False

    @property
    def is_plain(self) -> bool:
        """As of `Operand`."""
        return True

    def following(self, box: Box) -> tuple[Box | None, float]:
        """As of `Operand`; a view is no work."""
        kept = dict(_kept_axes(self.before, self.result))
        lengths = reshaped(self.before, self.result, tuple(run.length for run in box))
        following = []
        for axis, (length, size) in enumerate(zip(lengths, self.result, strict=True)):
            if axis in kept:
                following.append(box[kept[axis]])
            else:
                following.append(whole_run(size) if length == size else anywhere(length))
        return tuple(following), 0.0

    def preceding(self, lengths: Lengths) -> Lengths | None:
        """As of `Operand`."""
        return reshaped(self.result, self.before, lengths)

    def finishes(self, _box: Box) -> bool:
        """As of `Operand`: nothing is summed up."""
        return True

    def least_share(self, _box: Box) -> float:
        """As of `Operand`."""
        return 0.0

    def run_behind(self, _output: int, _box: Box) -> tuple[Axis, Run] | None:
        """As of `Operand`: a view reads nothing else."""
        return None


def reshaped(old: Lengths, new: Lengths, lengths: Lengths) -> Lengths:
    """Lengths of a box that lies in a box of a tensor of another shape, wherever that one lies.

    Axes fall into blocks of equal products, as small as can be. In a block, a box holds a run of
    elements in a row: that of its outermost axis that is not 1 long, if all behind it are whole.

    Args:
        old: shape in which the box lies.
        new: the other shape.
        lengths: of the box.
    """
    found = [1] * len(new)
    for mine, theirs in equal_blocks(old, new):
        run, step = _run([old[axis] for axis in mine], [lengths[axis] for axis in mine])
        for axis, length in zip(theirs, _fitting([new[t] for t in theirs], run, step), strict=True):
            found[axis] = length
    return tuple(found)


def _kept_axes(old: Lengths, new: Lengths) -> Iterator[tuple[int, int]]:
    """(new axis, old axis) pairs of those axes that a view leaves as they are."""
    for mine, theirs in equal_blocks(old, new):
        if len(mine) == len(theirs) == 1:
            yield theirs[0], mine[0]


def _run(sizes: list[int], lengths: list[int]) -> tuple[int, int]:
    """Elements in a row in a box, and a number of which their first place is a multiple."""
    step = 1
    for size, length in zip(reversed(sizes), reversed(lengths), strict=True):
        if length < size:
            return length * step, step
        step *= size
    return step, step


def _fitting(sizes: list[int], run: int, step: int) -> list[int]:
    """Lengths of the largest box that lies in a run of elements wherever that one begins.

    Args:
        sizes: axes of the box.
        run: number of elements.
        step: the run begins at a multiple of it.
    """
    if run == prod(sizes):
        return list(sizes)
    best = [1] * len(sizes)
    for place, size in enumerate(sizes):
        unit = prod(sizes[place + 1 :])
        rows = run // unit if step % unit == 0 else (run - unit + 1) // unit
        if place:  # rows may go on in the next index of the axis before
            turns = unit * size
            inside = step % turns == 0 or (run <= step and turns % step == 0)
            rows = min(rows, size) if inside else min(size, -(-rows // 2))
        box = [1] * place + [rows, *sizes[place + 1 :]]
        if rows > 0 and prod(box) > prod(best):
            best = box
    return best
