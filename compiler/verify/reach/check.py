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
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import VerificationError
from ullage.compiler.common.units import counted
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.program import DMA_STEP, PlacedValue, Program, Step
from ullage.compiler.ir.reach import REDUCTION, Interval
from ullage.compiler.verify.reach.geometry import Geometry
from ullage.compiler.verify.reach.needs import Mask, Need, box_of, flat_indices
from ullage.compiler.verify.reach.walk import NoRuleError, Walk
from ullage.compiler.verify.well_formed import Violation

_Indices = NDArray[np.int64]
_NOWHERE: _Indices = np.zeros(0, np.int64)


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
        more = ", ..." if len(kinds) > 5 else ""
        return (
            "what parts read is checked a second time, but for "
            f"{counted(len(self.unchecked), 'operator')} for which the verifier has no rule of its "
            f"own ({listed}{more})"
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
    orders: dict[str, _Indices] = field(default_factory=dict)

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
        extents = self._extents(step, name, write=True)
        if extents is None:
            return
        shape = self.geometry.shapes[name]
        made = self.made.setdefault(name, np.zeros(int(np.prod(shape)), bool))
        if not step.ranges and extents == [(0, self._stored(name))]:
            made[:] = True
            return
        meant = flat_indices(box, shape) if ends else _NOWHERE
        size = sum(high - low for low, high in extents)
        if self._stored(name) != len(made):  # some of them only pad the value
            inside = ~self._outside(name, np.arange(len(made)), extents)
            size = int(np.count_nonzero(inside))
        if size != len(meant) or self._outside(name, meant, extents).any():
            message = f"writes other elements of {name} than those of its ranges"
            yield self._violation(t, step, message, name)
        made[meant] = True

    def _missing(self, step: Step, name: str, needs: list[Need]) -> Iterator[tuple[str, int, int]]:
        """Yield (value, number of elements, the first) of what is needed and not read."""
        maker = self.arranging.get(name)
        for need in needs:
            if maker is not None:
                inner = Walk(self.geometry, maker).back({name: need})
                for source, own in inner.items():
                    yield from self._missing(step, source, own)
                continue
            extents = self._extents(step, name, write=False)
            shape = self.geometry.shapes[name]
            if extents is None or extents == [(0, self._stored(name))]:
                continue
            indices = flat_indices(need, shape)
            outside = self._outside(name, indices, extents)
            if outside.any():
                yield name, int(np.count_nonzero(outside)), int(indices[outside][0])

    def _stored(self, name: str) -> int:
        """How many elements a value is stored with, those that pad it included."""
        return int(np.prod(self.graph.values[name].stored_shape))

    def _outside(self, name: str, indices: _Indices, extents: list[tuple[int, int]]) -> Mask:
        """Which of some elements of a value lie outside of ranges of places."""
        places = self._places(name)
        at = indices if places is None else places[indices]
        outside = np.ones(len(at), bool)
        for low, high in extents:
            outside &= (at < low) | (at >= high)
        return outside

    def _extents(self, step: Step, name: str, *, write: bool) -> list[tuple[int, int]] | None:
        """Which elements of a value a step reads or writes, in the order in which they lie.

        Ranges ascend and do not touch; None for a value without bytes.
        """
        if name not in self.placed or name not in self.geometry.shapes:
            return None
        buffer, place = self.placed[name]
        value = self.graph.values[name]
        bits = value.element_bits
        if place.start_byte == place.end_byte or 0 in value.shape:
            return None
        found: list[tuple[int, int]] = []
        for use in sorted(step.uses, key=lambda use: use.start_byte):
            if use.buffer != buffer or use.write is not write:
                continue
            # Elements that are inside with all of their bits.
            start = max(0, use.start_byte - place.start_byte) * 8
            low = int(-(-start // bits))
            high = int((min(place.end_byte, use.end_byte) - place.start_byte) * 8 // bits)
            high = min(high, self._stored(name))  # the last byte may have bits to spare
            if low < high and found and low <= found[-1][1]:
                found[-1] = (found[-1][0], max(high, found[-1][1]))
            elif low < high:
                found.append((low, high))
        return found

    def _places(self, name: str) -> _Indices | None:
        """Where each element of a value lies, counted in elements; None for row-major order.

        What pads an axis lies in the last cell, behind the last index.
        """
        layout = self.placed[name][1].layout
        if layout is None:
            return None
        if name not in self.orders:
            shape, stored = self.geometry.shapes[name], self.graph.values[name].stored_shape
            places = np.empty(stored, np.int64)
            ends = [(*cut.ends[:-1], stored[cut.axis]) for cut in layout.cuts]
            spans = [list(pairwise(one)) for one in ends]
            begin = 0
            for cell in product(*spans):
                index = [slice(None)] * len(stored)
                for axis_cuts, (low, high) in zip(layout.cuts, cell, strict=True):
                    index[axis_cuts.axis] = slice(low, high)
                rows = np.moveaxis(places[tuple(index)], layout.axis, 0)
                rows[...] = np.arange(begin, begin + rows.size).reshape(rows.shape)
                begin += rows.size
            self.orders[name] = places[tuple(map(slice, shape))].reshape(-1)
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
