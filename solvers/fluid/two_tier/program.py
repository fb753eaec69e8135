"""The fluid program as data: its arrays, and where the variables and rows of each gap are.

`model` builds it; `windows`, `slicing` and `rounding` read it. For the letters see `model`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.fluid.two_tier.builder import Builder
from ullage.solvers.lp.program import AT_LOWER_BOUND, Basis, FrozenProgram
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
        sum_row: row k + moves - x = 0; -1 where all is kept.
        wraps: whether k is kept from the last access of the inference before.
        is_held: whether all is kept, as only pauses lie between two accesses that need it.
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
    is_held: bool


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
        row: row that demands that what is not kept is at home by the end of the gap; -1: all is
            kept (`Gap.is_held`).
        read_row: row that demands that what the reader reads at home is there; -1: `row` says it.
        at_home: variable of what is at home behind the gap, in rows of later gaps; -1: they list
            all moves before them.
        at_home_row: row that keeps it at what was stored in this gap and those before.
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
    row: int = -1
    read_row: int = -1
    at_home: int = -1
    at_home_row: int = -1

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
    right after it was written, or read by the steps behind that with nothing but pauses in between;
    everything else stays at home. It fits wherever operators do.
    """
    values = fluid.program.low.copy()
    for gap in fluid.gaps:
        if segments[gap.segment].must_be_fastest and len(gap.moved):
            values[gap.moved[-1]] = 1.0
    stored: tuple[int, int] | None = None
    for spill in fluid.spills:
        if not segments[spill.segment].must_be_fastest:
            continue
        write = spill.segment, spill.write
        if write != stored and len(spill.lingering):
            values[spill.lingering[0]] = 1.0
            stored = write
        if write == stored and spill.at_home >= 0:
            values[spill.at_home] = 1.0
    return values


def start_from(fluid: FluidProgram, before: FluidProgram, basis: Basis | None) -> Basis | None:
    """The basis of a program for the same with more windows open; None where there is no such one.

    What may move in steps that were closed is at its lower bound.

    Args:
        fluid: the program with more windows.
        before: the program of the basis.
        basis: where the solver stopped; None: it did not say.
    """
    if basis is None or len(before.program.row_low) != len(fluid.program.row_low):
        return None
    places = np.full(len(before.program.cost), -1, dtype=np.int64)
    is_window = [np.zeros(len(one.program.cost), dtype=bool) for one in (before, fluid)]
    for old_steps, old, steps, now in _windows(before, fluid):
        is_window[0][old] = is_window[1][now] = True
        at = np.searchsorted(steps, old_steps)
        if len(now) < len(old) or (at >= len(now)).any():
            return None
        places[old] = now[at]
    others = np.flatnonzero(~is_window[1])
    if len(others) != np.count_nonzero(~is_window[0]):
        return None
    places[~is_window[0]] = others
    variables = np.full(len(fluid.program.cost), AT_LOWER_BOUND, dtype=np.int64)
    variables[places] = basis.variables
    return Basis(variables, basis.rows)


def _windows(before: FluidProgram, fluid: FluidProgram) -> Iterator[tuple[Ints, Ints, Ints, Ints]]:
    """Steps and variables of each window in two programs, the second with more windows open."""
    for old, now in zip(before.gaps, fluid.gaps, strict=True):
        yield old.steps, old.moved, now.steps, now.moved
    for one, other in zip(before.spills, fluid.spills, strict=True):
        for old_moves, moves in ((one.lingering, other.lingering), (one.copied, other.copied)):
            if len(moves):
                yield one.steps, old_moves, other.steps, moves


def with_home_prices(fluid: FluidProgram, duals: Floats) -> Floats:
    """Multipliers with those of the rows `at_home_row` replaced by sums of those of other rows.

    What is at home behind a gap is worth what the rows of all later gaps, and of the gap's reader,
    pay for it.
    """
    duals = duals.copy()
    later = 0.0
    following: tuple[int, int] | None = None
    for spill in reversed(fluid.spills):
        if (spill.segment, spill.write) != following:
            following, later = (spill.segment, spill.write), 0.0
        if spill.read_row >= 0:
            later += max(float(duals[spill.read_row]), 0.0)
        if spill.at_home_row >= 0:
            duals[spill.at_home_row] = later
        if spill.row >= 0:
            later += max(float(duals[spill.row]), 0.0)
    return duals


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
        moves: (step, weight) of the moves of its transfer, which begins in `fill`, or `tail`: bytes
            in the ratio of the weights; none: all move in that step.
    """

    slice: int
    first: int
    last: int
    fill: int
    spill: int = -1
    is_loop_carried: bool = False
    is_left: bool = False
    tail: int = -1
    moves: tuple[tuple[int, float], ...] = ()

    @property
    def begin(self) -> int:
        """Step in which its transfer begins; -1 where there is none."""
        return self.tail if self.tail >= 0 else self.fill

    def fill_of(self, size_bytes: int) -> tuple[tuple[int, int], ...]:
        """(step, bytes) of the moves of the transfer of a slice; none where there is none."""
        if self.begin < 0:
            return ()
        total = sum(weight for _, weight in self.moves)
        if len(self.moves) < 2 or size_bytes < len(self.moves) or total <= 0:
            return ((self.begin, size_bytes),)
        moved = {self.begin: 1}  # the step that sets the link up moves something
        done, weights = 1, 0.0
        for step, weight in self.moves:
            weights += weight
            until = max(done, min(size_bytes, round(size_bytes * weights / total)))
            if until > done:
                moved[step] = moved.get(step, 0) + until - done
            done = until
        return tuple(sorted(moved.items()))
