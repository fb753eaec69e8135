"""Do the steps of a program read what their parts need, and write what they say?

For every step, in elements of the values:

    writes     exactly the box of its ranges
    reads      at least what `walk` derives for that box, through operators that only arrange bytes
    all parts  together make every element; a reduction is summed up to its end
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.dtypes import BITS
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.program import DMA_STEP, Layout, PlacedValue, Program, Step
from ullage.compiler.ir.reach import REDUCTION, Interval
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.compiler.verify.reach.needs import Mask, Need, box_of, flat_indices
from ullage.compiler.verify.reach.walk import NoRuleError, Walk
from ullage.compiler.verify.well_formed import Violation


@dataclass(frozen=True)
class ReachReport:
    """What the check found.

    Attributes:
        violations: steps that read too little, or write something else than their ranges.
        checked: number of steps whose reads were compared.
        unchecked: operators (by name) whose steps were not, with the node type that has no rule.
    """

    violations: tuple[Violation, ...]
    checked: int
    unchecked: Mapping[str, str]

    @property
    def remark(self) -> str:
        """What was not checked, for people; empty where everything was."""
        if not self.unchecked:
            return ""
        kinds = Counter(self.unchecked.values())
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
        count, total = len(self.unchecked), len(kinds)
        return (
            f"what parts read is checked twice, but for {count} operators of which the verifier "
            f"has no rule of its own ({listed}{', ...' if total > 5 else ''})"
        )


def verify_reach(geometry: Geometry, graph: Graph, program: Program) -> ReachReport:
    """As `check_reach`, for programs that must be right.

    Raises:
        VerificationError: a step reads too little, or writes something else than its ranges.
    """
    report = check_reach(geometry, graph, program)
    if report.violations:
        raise VerificationError(
            f"the parts of {program.name} break {len(report.violations)} rules where 0 are "
            f"allowed; first: {report.violations[0].message}",
            {"violations": [asdict(violation) for violation in report.violations[:100]]},
        )
    return report


def check_reach(geometry: Geometry, graph: Graph, program: Program) -> ReachReport:
    """Compare the reads and writes of a program's steps with what the model says.

    Args:
        geometry: nodes and shapes of the model.
        graph: its operators and values.
        program: the program of a schedule of them.
    """
    job = _Check(geometry, graph, program)
    violations = [
        violation
        for t, step in enumerate(program.steps)
        if step.kind != DMA_STEP
        for violation in job.step(t, step)
    ]
    violations += job.unmade()
    return ReachReport(tuple(violations), job.checked, dict(job.unchecked))


@dataclass
class _Check:
    """A walk over the steps of a program."""

    geometry: Geometry
    graph: Graph
    program: Program
    checked: int = 0
    unchecked: dict[str, str] = field(default_factory=dict)
    made: dict[str, Mask] = field(default_factory=dict)
    summed: dict[tuple[int, tuple[tuple[int, Interval], ...]], int] = field(default_factory=dict)
    orders: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @cached_property
    def placed(self) -> dict[str, tuple[int, PlacedValue]]:
        """Buffer and place of every value."""
        return {
            v.name: (b, v) for b, buffer in enumerate(self.program.buffers) for v in buffer.values
        }

    @cached_property
    def arranging(self) -> dict[str, Operator]:
        """By value the operator that makes it and has no step: it only arranges bytes."""
        run = {step.operator for step in self.program.steps}
        return {
            name: operator
            for index, operator in enumerate(self.graph.operators)
            if index not in run
            for name in operator.outputs
        }

    def step(self, t: int, step: Step) -> Iterator[Violation]:
        """Yield what is wrong with one step."""
        operator = self.graph.operators[step.operator]
        if any(name not in self.geometry.shapes for name in operator.outputs):
            self.unchecked.setdefault(operator.name, operator.kind)
            return
        cut = {r.axis: (r.start, r.end) for r in step.ranges}
        summed = cut.pop(REDUCTION, None)
        walk = Walk(self.geometry, operator, summed)
        length = walk.reduction()
        if summed is not None and not length:
            self.unchecked.setdefault(operator.name, operator.kind)
            return
        if summed is not None:
            walk.is_last = summed[1] >= length
            self.summed[step.operator, tuple(sorted(cut.items()))] = summed[1] % max(1, length)
        boxes: dict[str, Need] = {}
        for name in operator.outputs:
            shape = self.geometry.shapes[name]
            outside = [a for a, (low, high) in cut.items() if a >= len(shape) or high > shape[a]]
            if outside:
                message = f"makes a range of axis {outside[0]} that {name} has not"
                yield self._violation(t, step, message, name)
                return
            boxes[name] = box_of(shape, cut)
            yield from self._written(t, step, name, boxes[name], ends=walk.is_last)
        try:
            needs = walk.back(boxes)
            missing = [
                found for name, own in needs.items() for found in self._missing(step, name, own)
            ]
        except NoRuleError as reason:
            self.unchecked[operator.name] = str(reason)
            return
        self.checked += 1
        for name, count, first in missing:
            place = tuple(int(i) for i in np.unravel_index(first, self.geometry.shapes[name]))
            message = (
                f"needs {count} elements of {name} that it does not read, the first at {place}"
            )
            yield self._violation(t, step, message, name)

    def _written(
        self, t: int, step: Step, name: str, box: Need, *, ends: bool
    ) -> Iterator[Violation]:
        """Check that a step writes the elements of its box, or none before its sum ends."""
        shape = self.geometry.shapes[name]
        written = self._touched(step, name, write=True)
        if written is None:
            return
        meant = np.zeros(written.shape, bool)
        if ends:
            meant[flat_indices(box, shape)] = True
        if (written != meant).any():
            message = f"writes other elements of {name} than those of its ranges"
            yield self._violation(t, step, message, name)
        made = self.made.setdefault(name, np.zeros(meant.shape, bool))
        made |= meant

    def _missing(self, step: Step, name: str, needs: list[Need]) -> Iterator[tuple[str, int, int]]:
        """Yield (value, number of elements, the first) of what is needed and not read."""
        maker = self.arranging.get(name)
        for need in needs:
            if maker is not None:
                inner = Walk(self.geometry, maker).back({name: need})
                for source, own in inner.items():
                    yield from self._missing(step, source, own)
                continue
            read = self._touched(step, name, write=False)
            if read is None or read.all():
                continue
            indices = flat_indices(need, self.geometry.shapes[name])
            lacking = indices[~read[indices]]
            if len(lacking):
                yield name, len(lacking), int(lacking[0])

    def _touched(self, step: Step, name: str, *, write: bool) -> Mask | None:
        """Which elements of a value a step reads or writes; None for a value without bytes."""
        if name not in self.placed or name not in self.geometry.shapes:
            return None
        buffer, place = self.placed[name]
        value = self.graph.values[name]
        count, bits = int(np.prod(value.shape)), BITS[value.dtype]
        if not count or place.start_byte == place.end_byte:
            return None
        touched = np.zeros(count, bool)
        for use in step.uses:
            if use.buffer != buffer or use.write is not write:
                continue
            low = max(0, use.start_byte - place.start_byte) * 8
            high = (min(place.end_byte, use.end_byte) - place.start_byte) * 8
            if low < high:  # elements that are inside with all of their bits
                touched[-(-low // bits) : high // bits] = True
        order = self._order(name, place.layout)
        if order is None:
            return touched
        by_element = np.zeros(count, bool)
        by_element[order] = touched
        return by_element

    def _order(self, name: str, layout: Layout | None) -> NDArray[np.int64] | None:
        """The row-major index of each element in the order in which they lie; None for itself."""
        if layout is None:
            return None
        if name not in self.orders:
            shape = self.geometry.shapes[name]
            numbers = np.arange(int(np.prod(shape))).reshape(shape)
            cells = []
            spans = [list(zip(cut.ends, cut.ends[1:], strict=False)) for cut in layout.cuts]
            for cell in product(*spans):
                index = [slice(None)] * len(shape)
                for axis_cuts, (low, high) in zip(layout.cuts, cell, strict=True):
                    index[axis_cuts.axis] = slice(low, high)
                inside = numbers[tuple(index)]
                rest = [axis for axis in range(len(shape)) if axis != layout.axis]
                cells.append(inside.transpose(layout.axis, *rest).reshape(-1))
            self.orders[name] = np.concatenate(cells)
        return self.orders[name]

    def unmade(self) -> Iterator[Violation]:
        """Yield values of which parts leave out elements, and sums that are not ended."""
        last = Counter({step.operator: t for t, step in enumerate(self.program.steps)})
        for name, made in self.made.items():
            if not made.all():
                message = f"{np.count_nonzero(~made)} elements of {name} are made by no part"
                yield Violation("reach", message, len(self.program.steps) - 1, (name,))
        for (operator, _), end in self.summed.items():
            if end:
                t, name = last[operator], self.graph.operators[operator].name
                message = f"the sum of {name} ends at {end}, before the end of its reduction"
                yield Violation("reach", message, t, ())

    def _violation(self, t: int, step: Step, fault: str, name: str) -> Violation:
        return Violation("reach", f"step {t} ({step.name}) {fault}", t, (name,))
