"""The fluid program as data: the arrays, and where its variables and rows are."""

from dataclasses import dataclass

from ullage.compiler.common.arrays import Ints
from ullage.solvers.fluid.two_tier.builder import Builder
from ullage.solvers.lp.program import FrozenProgram


@dataclass(frozen=True)
class Gap:
    """The steps before a reading access of a segment.

    Steps may be negative in steady state: they belong to the inference before.

    Attributes:
        segment: index of the segment.
        access: index of the access that ends it.
        present: variable x, what is there when the access reads.
        kept: variable k, -1 where there is nothing to keep (data at home before the first access).
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
    """Storing home, between two readers, what an operator wrote into fast memory.

    Attributes:
        segment: index of the segment.
        write: the access that wrote it.
        reader: the access that ends the gap; the number of accesses at the end of an output.
        first_step: first step in which it can be stored.
        lingers_from: from here on what was dropped at the gap's beginning takes space.
        end: one past its last step.
        steps: steps that the program knows, ascending.
        lingering: variables e: spilled in that step, and kept until then only for it.
        copied: variables f: spilled in that step while it is kept anyway; none in the last gap.
        row: row of what must be home by the end of the gap.
        read_row: row of what the reader has from home, -1 where `row` says it.
    """

    segment: int
    write: int
    reader: int
    first_step: int
    lingers_from: int
    end: int
    steps: Ints
    lingering: Ints
    copied: Ints
    row: int
    read_row: int


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
