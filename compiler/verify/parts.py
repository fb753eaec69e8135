"""Rules of parts: each element of an operator that is cut is made once per copy, sums in order.

    conv [1/3]   write rows [0, 4), copy 0
    conv [2/3]   write rows [2, 6), copy 1      rows 2 and 3 for the second time
    conv [3/3]   write rows [6, 8), copy 0

Looked at byte by byte of the value that is written: that no byte is read before it is written, and
outputs are complete, are rules of all plans (`verify.data`). What a part has to read follows from
the model, which a plan does not hold: `verify.reach` compares the two.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.program import DMA_STEP, Program, Step, Use
from ullage.compiler.ir.reach import REDUCTION, AxisRange
from ullage.compiler.verify.versions import Runs
from ullage.compiler.verify.well_formed import Violation

# Ranges of a part without that of its reduction: which box of the output it sums up.
_Box = tuple[AxisRange, ...]


def find_part_violations(plan: Assigned) -> Iterator[Violation]:
    """Yield broken rules about parts in a well-formed plan, operator by operator."""
    steps: dict[int, list[int]] = {}
    for t, step in enumerate(plan.problem.steps):
        if step.kind != DMA_STEP:
            steps.setdefault(step.operator, []).append(t)
    for own in steps.values():
        parts = [plan.problem.steps[t] for t in own]
        if any(step.ranges or step.copy for step in parts):
            yield from _Parts(plan.problem.program).check(own)


@dataclass
class _Parts:
    """The parts of one operator, looked at in the order in which they run.

    Attributes:
        program: the program.
        made: by value how many parts have made each byte of its buffer.
        sums: by box of the output where the part before ended in the reduction, and the use that
            wrote its accumulators.
    """

    program: Program
    made: dict[str, Runs] = field(default_factory=dict)
    sums: dict[_Box, tuple[int, Use]] = field(default_factory=dict)

    def check(self, own: list[int]) -> Iterator[Violation]:
        """Yield what is wrong with the steps of the operator, given by their numbers."""
        for t in own:
            step = self.program.steps[t]
            yield from self._sum(t, step)
            yield from self._made(t, step)
        for _, use in self.sums.values():
            yield self._violation(
                own[-1], f"leaves the partial sums {use.value} unfinished: no part ends them", use
            )
        yield from self._unmade(own[-1])

    def _made(self, t: int, step: Step) -> Iterator[Violation]:
        """Check how often the bytes that a part writes were made before it, and count this time."""
        times = 0
        written = [
            use
            for use in step.uses
            if use.write and use.start_byte < use.end_byte and self._place(use) is not None
        ]
        for use in written:
            size = self.program.buffers[use.buffer].size_bytes
            runs = self.made.setdefault(use.value, Runs(size, 0))
            for low, high, count in runs.over(use.start_byte, use.end_byte):
                times = max(times, count)
                runs.assign(low, high, count + 1)
        if written and times != step.copy:
            message = f"is copy {step.copy} of what {times} parts before it made of "
            yield self._violation(t, message + written[0].value, written[0])

    def _place(self, use: Use) -> tuple[int, int] | None:
        """Where the value of a use lies in its buffer; None for accumulators."""
        for value in self.program.buffers[use.buffer].values:
            if value.name == use.value:
                return value.start_byte, value.end_byte
        return None

    def _sum(self, t: int, step: Step) -> Iterator[Violation]:
        """Check a part of a reduction: it goes on where the one before it ended."""
        cut = {r.axis: r for r in step.ranges}
        accumulators = [use for use in step.uses if self._place(use) is None]
        read = next((use for use in accumulators if not use.write), None)
        left = next((use for use in accumulators if use.write), None)
        part = cut.pop(REDUCTION, None)
        if part is None:
            return
        box = tuple(cut.values())
        end, before = self.sums.pop(box, (0, None))
        if part.start != end:
            yield self._violation(t, f"sums up from {part.start}, where {end} are summed up", left)
        if before is not None and (read is None or _extent(read) != _extent(before)):
            yield self._violation(t, f"does not read the partial sums {before.value}", before)
        if before is None and read is not None:
            yield self._violation(t, f"reads {read.value}, partial sums of no part before", read)
        if left is not None:
            self.sums[box] = (part.end, left)

    def _unmade(self, last: int) -> Iterator[Violation]:
        """Check that all bytes of the values that parts write are written by some part."""
        for value in (value for buffer in self.program.buffers for value in buffer.values):
            runs = self.made.get(value.name)
            if runs is None or value.start_byte == value.end_byte:
                continue
            for low, high, count in runs.over(value.start_byte, value.end_byte):
                if not count:
                    message = f"bytes [{low}, {high}) of {value.name} are made by no part"
                    yield Violation("parts", message, last, (value.name,))
                    break

    def _violation(self, t: int, fault: str, use: Use | None) -> Violation:
        step = self.program.steps[t]
        names = () if use is None else (self.program.buffers[use.buffer].name,)
        return Violation("parts", f"step {t} ({step.name}) {fault}", t, names)


def _extent(use: Use) -> tuple[int, int, int]:
    return use.buffer, use.start_byte, use.end_byte
