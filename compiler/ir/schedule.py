"""The schedule: in which parts operators run, and in which order.

A part makes a range of one or more axes of an operator's output; an operator that is not cut has
one part, the whole. An order of the operators is the schedule in which each runs whole.

    order       conv1, conv2, pool
    schedule    conv1 rows [0, 4), conv2 rows [0, 3), conv1 rows [4, 8), conv2 rows [3, 8), pool

A range may be made a second time (a `copy`), when holding it would cost more than computing it
again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.ranges import Count, Index
from ullage.compiler.ir.boxes import Cover
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
        """The schedule as a document: a list of parts.

        Each has its operator and, where they say something, the ranges of its axes, that of its
        reduction (`k`), and its copy.
        """
        parts: list[dict[str, Any]] = []
        for part in self.parts:
            entry: dict[str, Any] = {"operator": part.operator}
            cut = part.intervals
            summed = cut.pop(REDUCTION, None)
            if cut:
                entry["ranges"] = {str(axis): list(span) for axis, span in cut.items()}
            if summed is not None:
                entry["k"] = list(summed)
            if part.copy:
                entry["copy"] = part.copy
            parts.append(entry)
        return {"name": self.name, "schedule": parts}

    @classmethod
    def from_json(cls, document: object, operators: Sequence[str] | None = None) -> "Schedule":
        """The schedule that `to_json` wrote.

        Args:
            document: the document; a part may name its operator as well.
            operators: names of the graph's operators, which those in the document must be; None
                where they are not known.

        Raises:
            UsageError: the document does not have this form, or names another operator; says where.
        """
        if not isinstance(document, Mapping) or not isinstance(
            document.get("schedule"), list | tuple
        ):
            raise UsageError('a schedule is an object with a list "schedule" of parts')
        name = document.get("name", "file")
        _refuse_unknown(document, {"name", "schedule"}, "a schedule")
        if not isinstance(name, str):
            raise UsageError(f'the "name" of a schedule is a text, not {name!r:.60}')
        entries = document["schedule"]
        return cls(name, tuple(_part(entry, at, operators) for at, entry in enumerate(entries)))


def _part(entry: object, at: int, operators: Sequence[str] | None) -> Part:
    where = f"part {at} of the schedule"
    if not isinstance(entry, Mapping):
        raise UsageError(f"{where} is no object")
    _refuse_unknown(entry, {"operator", "name", "ranges", "k", "copy"}, where)
    operator, copy = entry.get("operator"), entry.get("copy", 0)
    if type(operator) is not int or operator < 0:
        raise UsageError(f'{where} needs "operator", the index of an operator from 0')
    if type(copy) is not int or copy < 0:
        raise UsageError(f'"copy" of {where} is a whole number from 0, not {copy!r:.60}')
    known = operators[operator] if operators is not None and operator < len(operators) else None
    if known is not None and entry.get("name", known) != known:
        raise UsageError(
            f"{where} is of operator {operator}, which is {known!r} and not "
            f"{entry['name']!r:.60}: a schedule of another model, or of other fusion groups"
        )
    ranges, summed = entry.get("ranges", {}), entry.get("k")
    if not isinstance(ranges, Mapping) or not all(map(_is_axis, ranges)):
        raise UsageError(
            f'"ranges" of {where} is an object with a [start, end] for each axis that is cut, by '
            'its number: {"2": [0, 8]}'
        )
    cut = {int(axis): span for axis, span in ranges.items()}
    if summed is not None:
        cut[REDUCTION] = summed
    for axis, span in cut.items():
        if not _is_range(span):
            what = '"k"' if axis == REDUCTION else f"axis {axis}"
            raise UsageError(
                f"the range of {what} in {where} is [start, end], whole numbers with start < end, "
                f"not {span!r:.60}"
            )
    return part_of(operator, {axis: (span[0], span[1]) for axis, span in cut.items()}, copy)


def _is_axis(text: object) -> bool:
    """Whether a text is the number of an axis, as it is written in one way only."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 9:
        return False
    return str(int(text)) == text


def _is_range(span: object) -> bool:
    return (
        isinstance(span, list | tuple)
        and len(span) == 2
        and all(type(number) is int for number in span)
        and 0 <= span[0] < span[1]
    )


def _refuse_unknown(document: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(map(str, set(document) - known))
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
    made = Cover()
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
            made.add(box)


def _check_copy(part: Part, made: Cover, box: Box, operator: Operator) -> None:
    """Check that a part says how often its elements were made before."""
    times = made.most(box)
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
