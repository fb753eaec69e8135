"""The schedule: in which parts operators run, and in which order.

A part makes a range of one or more axes of an operator's output; an operator that is not cut has
one part, the whole. An order of the operators is the schedule in which each runs whole.

    order       conv1, conv2, pool
    schedule    conv1 rows [0, 4), conv2 rows [0, 3), conv1 rows [4, 8), conv2 rows [3, 8), pool

A range may be made a second time (a `copy`), when holding it would cost more than computing it
again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.ranges import Count, Index
from ullage.compiler.ir.boxes import most_covering
from ullage.compiler.ir.dag import is_order, operator_dag
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.reach import REDUCTION, AxisRange, Box, Interval, Reach


@dataclass(frozen=True, slots=True)
class Part:
    """One execution of an operator, for a range of its output.

    Attributes:
        operator: index of the operator in the graph.
        ranges: the ranges of the axes that are cut, in ascending order of the axes; other axes are
            made whole. Empty: the operator runs whole.
        copy: how many earlier parts, at most, have made one of these elements already: 0 for the
            first time.
    """

    operator: Index
    ranges: tuple[AxisRange, ...] = ()
    copy: Count = 0

    @property
    def intervals(self) -> dict[int, Interval]:
        """The ranges by axis."""
        return {r.axis: (r.start, r.end) for r in self.ranges}


def part_of(operator: int, ranges: Mapping[int, Interval], copy: int = 0) -> Part:
    """The part of an operator with these ranges by axis."""
    cut = tuple(AxisRange(axis, *ranges[axis]) for axis in sorted(ranges))
    return Part(operator, cut, copy)


@dataclass(frozen=True)
class Schedule:
    """Parts of operators in the order in which they run.

    Attributes:
        name: how it was chosen: the name of an order (`model`, `memory` ...) where nothing is cut,
            `cascade`, or what its author calls it.
        parts: every element of every output is made by one of them, before another reads it.
    """

    name: str
    parts: tuple[Part, ...]

    @classmethod
    def whole(cls, order: Iterable[int], name: str = "model") -> "Schedule":
        """The schedule that runs operators whole, in an order."""
        return cls(name, tuple(Part(index) for index in order))

    @cached_property
    def is_whole(self) -> bool:
        """Whether every operator runs once and none is cut."""
        return not any(part.ranges or part.copy for part in self.parts)

    @cached_property
    def cut_operators(self) -> frozenset[int]:
        """The operators that run in parts."""
        return frozenset(part.operator for part in self.parts if part.ranges)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The operators in the order in which they finish."""
        last = {part.operator: position for position, part in enumerate(self.parts)}
        return tuple(sorted(last, key=last.__getitem__))

    def to_json(self) -> dict[str, Any]:
        """The schedule as a document: for each part its operator, ranges and, if not 0, copy."""
        parts: list[dict[str, Any]] = []
        for part in self.parts:
            entry: dict[str, Any] = {"operator": part.operator}
            if part.ranges:
                entry["ranges"] = [[r.axis, r.start, r.end] for r in part.ranges]
            if part.copy:
                entry["copy"] = part.copy
            parts.append(entry)
        return {"name": self.name, "parts": parts}

    @classmethod
    def from_json(cls, document: object) -> "Schedule":
        """The schedule that `to_json` wrote.

        Raises:
            UsageError: the document does not have this form; says where.
        """
        if not isinstance(document, Mapping) or not isinstance(document.get("parts"), list | tuple):
            raise UsageError('a schedule is an object with a list "parts"')
        name = document.get("name", "file")
        _refuse_unknown(document, {"name", "parts"}, "a schedule")
        if not isinstance(name, str):
            raise UsageError(f'the "name" of a schedule is a text, not {name!r:.60}')
        return cls(name, tuple(_part(entry, at) for at, entry in enumerate(document["parts"])))


def _part(entry: object, at: int) -> Part:
    where = f"part {at} of the schedule"
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where} is no object")
    _refuse_unknown(entry, {"operator", "ranges", "copy"}, where)
    operator, ranges, copy = entry.get("operator"), entry.get("ranges", []), entry.get("copy", 0)
    if type(operator) is not int or operator < 0:
        raise UsageError(f'{where} needs "operator", the index of an operator from 0')
    if type(copy) is not int or copy < 0:
        raise UsageError(f'"copy" of {where} is a whole number from 0, not {copy!r:.60}')
    is_list = isinstance(ranges, list | tuple)
    if not is_list or not all(_is_range(triple) for triple in ranges):
        raise UsageError(
            f'"ranges" of {where} is a list of [axis, start, end], whole numbers with start < end'
        )
    by_axis = {axis: (start, end) for axis, start, end in ranges}
    if len(by_axis) != len(ranges):
        raise UsageError(f"{where} has two ranges of one axis")
    return part_of(operator, by_axis, copy)


def _is_range(triple: object) -> bool:
    return (
        isinstance(triple, list | tuple)
        and len(triple) == 3
        and all(type(number) is int for number in triple)
        and triple[0] >= REDUCTION
        and 0 <= triple[1] < triple[2]
    )


def _refuse_unknown(document: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(document) - known)
    if unknown:
        raise UsageError(f"{where} has the unknown field {unknown[0]!r:.60}")


def check_schedule(schedule: Schedule, graph: Graph) -> None:
    """Check that a schedule makes every element of every output, in ranges that its axes have.

    That no part reads what is not there yet is proven when the program is built.

    Raises:
        UsageError: a part is wrong, or elements are made by none; says which.
    """
    by_operator: dict[int, list[Part]] = {}
    for at, part in enumerate(schedule.parts):
        if part.operator >= len(graph.operators):
            raise UsageError(
                f"part {at} of the schedule is of operator {part.operator}; {graph.name} has "
                f"{len(graph.operators)} operators"
            )
        by_operator.setdefault(part.operator, []).append(part)
        _check_ranges(part, graph.operators[part.operator], graph, at)
    for index, operator in enumerate(graph.operators):
        parts = by_operator.get(index)
        if parts is None:
            raise UsageError(f"the schedule leaves out operator {index}, {operator.name!r}")
        _check_cover(parts, operator, graph)
    if schedule.is_whole and not is_order(operator_dag(graph), schedule.order):
        raise UsageError("the schedule runs an operator before one whose result it reads")


def reach_of(operator: Operator) -> Reach:
    """The reach of an operator that is to be cut.

    Raises:
        UsageError: it has none.
    """
    if operator.reach is None:
        raise UsageError(
            f"the schedule cuts {operator.name!r}, but {operator.kind} has no rule for parts: it "
            "must run whole",
            {"operator": operator.name, "kind": operator.kind},
        )
    return operator.reach


def _check_ranges(part: Part, operator: Operator, graph: Graph, at: int) -> None:
    where = f"part {at} of the schedule, of {operator.name!r},"
    for r in part.ranges:
        reach = reach_of(operator)
        axes = reach.axes
        if r.axis == REDUCTION:
            size, allowed = reach.reduction, reach.reduction > 0
        else:
            shape = graph.values[operator.outputs[0]].shape
            size = shape[r.axis] if r.axis < len(shape) else 0
            allowed = r.axis < len(axes) and axes[r.axis] != "none"
        if not allowed:
            axis = "reduction" if r.axis == REDUCTION else f"axis {r.axis}"
            raise UsageError(f"{where} is cut along its {axis}, which {operator.kind} does not let")
        if r.end > size:
            raise UsageError(f"{where} makes [{r.start}, {r.end}) of an axis of {size}")


def _check_cover(parts: list[Part], operator: Operator, graph: Graph) -> None:
    """Check that parts make every element of the output, and reduce in order.

    Raises:
        UsageError: elements are left out, a reduction is not done range by range, or a part does
            not say that it makes elements again.
    """
    shape = graph.values[operator.outputs[0]].shape
    sizes = dict(enumerate(shape))
    if any(part.ranges for part in parts):
        sizes[REDUCTION] = reach_of(operator).reduction
    axes = sorted({r.axis for part in parts for r in part.ranges})
    boxes = [tuple(part.intervals.get(axis, (0, sizes[axis])) for axis in axes) for part in parts]
    if not _covers(boxes, [(0, sizes[axis]) for axis in axes]):
        raise UsageError(f"the parts of {operator.name!r} in the schedule leave out elements")
    made: list[Box] = []
    sums: dict[Box, int] = {}  # by box of the output how much of its reduction is done
    for part in parts:
        box = tuple(part.intervals.get(a, (0, sizes[a])) for a in axes if a != REDUCTION)
        start, end = part.intervals.get(REDUCTION, (0, sizes.get(REDUCTION, 0)))
        if start != sums.get(box, 0):
            raise UsageError(
                f"the schedule is wrong: a part of {operator.name!r} reduces from {start}, but "
                f"{sums.get(box, 0)} are reduced so far"
            )
        _check_copy(part, made, box, operator)
        sums[box] = end % max(1, sizes.get(REDUCTION, 0))
        if not sums[box]:
            made.append(box)


def _check_copy(part: Part, made: list[Box], box: Box, operator: Operator) -> None:
    """Check that a part says how often its elements were made before."""
    times = most_covering(box, made)
    if part.copy != times:
        what = ", ".join(f"axis {r.axis} [{r.start}, {r.end})" for r in part.ranges) or "the whole"
        raise UsageError(
            f"the part of {operator.name!r} that makes {what} is copy {part.copy}; its elements "
            f"were made {times} times before it: that is its copy"
        )


def _covers(boxes: list[tuple[Interval, ...]], whole: list[Interval]) -> bool:
    """Whether boxes together hold a box, axis by axis over the ranges between their ends."""
    if not whole:
        return bool(boxes)
    low, high = whole[0]
    ends = sorted({low, high, *(e for box in boxes for e in box[0] if low < e < high)})
    for start in ends[:-1]:
        inside = [box[1:] for box in boxes if box[0][0] <= start < box[0][1]]
        if not inside or not _covers(inside, whole[1:]):
            return False
    return True
