"""The fluid program as data: its arrays, and where the variables and rows of each gap are.

`model` builds it; `windows`, `slicing` and `rounding` read it. For the letters see `model`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.fluid.two_tier.builder import Builder
from ullage.solvers.lp.program import FrozenProgram
from ullage.solvers.state.segments import Segment


@dataclass(frozen=True)
class Gap:
    """The steps before a reading access of a segment.

    Steps may be negative in steady state: they belong to the inference before.

    Attributes:
        segment: index of the segment.
        access: index of the access that ends it.
        present: variable x, what is there when the access reads.
        kept: variable k; -1 where nothing can be kept, as before the first access of given data.
        first_step: first step in which an arrival is possible at all.
        end: step of the access.
        steps: steps of the arrivals that the program knows, ascending; none without a link.
        moved: their variables m.
        sum_row: row k + moves - x = 0.
        wraps: whether k is kept from the last access of the inference before.
    """

    segment: int
    access: int
    present: int
    kept: int
    first_step: int
    end: int
    steps: Ints
    moved: Ints
    sum_row: int
    wraps: bool


@dataclass(frozen=True)
class SpillVariables:
    """The gap before a reader in which what an operator wrote into fast memory can be stored home.

    Attributes:
        segment: index of the segment.
        write: the access that wrote it.
        reader: the access that ends the gap; the number of accesses at the end of an output.
        first_step: first step in which it can be stored.
        since: step of the access before: the write, or the reader that ends the gap before.
        end: one past its last step.
        steps: steps that the program knows, ascending.
        lingering: variables e: stored in that step, and kept until then only for that.
        copied: variables f: stored in that step while it is kept anyway; none in the last gap.
        row: row that demands that what is not kept is at home by the end of the gap.
        read_row: row that demands that what the reader reads at home is there; -1: `row` says it.
    """

    segment: int
    write: int
    reader: int
    first_step: int
    since: int
    end: int
    steps: Ints
    lingering: Ints
    copied: Ints
    row: int
    read_row: int

    @property
    def lingers_from(self) -> int:
        """First step in which data that is kept only to be stored takes space."""
        return self.since + 1


@dataclass(frozen=True)
class FluidProgram:
    """The program and where its variables and rows are.

    Attributes:
        program: the arrays.
        builder: scales, rows and prices.
        resident: for each segment the variables of what is there at its accesses; -1: nothing can
            be.
        gaps: all gaps.
        spills: all spills, those of one write side by side in the order of their gaps.
    """

    program: FrozenProgram
    builder: Builder
    resident: tuple[Ints, ...]
    gaps: tuple[Gap, ...]
    spills: tuple[SpillVariables, ...]


def streaming_values(fluid: FluidProgram, segments: Sequence[Segment]) -> Floats:
    """(n,) values of the variables, but for time, where nothing is kept from access to access.

    What must be in the fastest tier arrives in the step before each access, and is stored home
    right after it was written; everything else stays at home. It fits wherever operators do.
    """
    values = fluid.program.low.copy()
    for gap in fluid.gaps:
        if segments[gap.segment].must_be_fastest and len(gap.moved):
            values[gap.moved[-1]] = 1.0
    stored: tuple[int, int] | None = None
    for spill in fluid.spills:
        write = spill.segment, spill.write
        if segments[spill.segment].must_be_fastest and write != stored and len(spill.lingering):
            values[spill.lingering[0]] = 1.0
        stored = write
    return values


@dataclass(frozen=True, slots=True)
class SliceRequest:
    """A use span of a slice that the LP asks for.

    Attributes:
        slice: index of the slice.
        first: first access of the use span.
        last: its last access.
        fill: step in which the slice is fetched, -1 when it is not.
        spill: step in which it is stored home, -1 when the LP does not say.
        is_loop_carried: it is there from the first step on, because the inference before left it.
        is_left: it remains to the end of the inference, for the next one.
        tail: step in which it is fetched at the end of the inference before; -1: it is not.
    """

    slice: int
    first: int
    last: int
    fill: int
    spill: int = -1
    is_loop_carried: bool = False
    is_left: bool = False
    tail: int = -1
