"""The fluid LP with whole set-ups and whole rows: a mixed-integer program, for short programs.

The LP charges the share of a set-up that a part of a segment is of it (`setups`). In a plan each
transfer costs a whole one, in the step of its first move, and its bytes take space from that step
on, wherever they move:

    step                     3       4       5       6     access
    transfers begin (w)      0.6             0.4             fractions of the segment
    set-ups (z)              1               1               0 or 1
    bytes move (m)           0.2     0.3     0.4     0.1     never sooner than transfers begin
    space taken              0.6     0.6     1.0     1.0

And where a row takes a share of the plan's time worth looking at, what is kept, comes and goes is a
whole number of rows.

Every plan gives a point of this program as well, so that its optimum is a lower bound, where it
knows all steps in which transfers may begin; in longer programs they begin only where the LP moves
something, or as late as possible; in still longer ones a gap has one whole set-up or none, at any
time before the access. The solution is rounded in the place of the LP's.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.two_tier.program import FluidProgram, Gap
from ullage.solvers.fluid.two_tier.relaxation import Relaxation, bound_of
from ullage.solvers.fluid.two_tier.setups import Store
from ullage.solvers.lp.mixed import solve_mixed
from ullage.solvers.lp.program import INFINITY, FrozenProgram
from ullage.solvers.state.segments import Segment

# Steps in which transfers may begin, over all gaps, up to which the program knows all of them ...
MOST_BEGINNINGS = 1000
# ... and up to which it says when they begin.
MOST_TIMED = 4000
# Gaps with whole set-ups or rows up to which there is a program at all.
MOST_GAPS = 1000
# Share of a known plan's time that a row takes to move from which on rows are whole.
COARSE = 2e-4
# Nodes of the search tree, seconds, and share of the time left that the solver has.
NODES, SECONDS, SHARE = 2000, 20.0, 0.6
# Fractions that differ by less are equal.
SAME = 1e-7


@dataclass
class _Rows:
    """Variables and rows that are added to a program.

    Attributes:
        program: what they are added to.
        high: upper end of each new variable; all lower ends are 0, and all costs.
        is_integer: whether it is a whole number.
        sides: (low, high) of each new row.
        entries: (row, variable, value), of new rows and of old ones.
        raised: old row -> what its lower side is raised by.
        lowered: old row -> what its upper side is lowered by.
    """

    program: FrozenProgram
    high: list[float] = field(default_factory=list)
    is_integer: list[bool] = field(default_factory=list)
    sides: list[tuple[float, float]] = field(default_factory=list)
    entries: list[tuple[int, int, float]] = field(default_factory=list)
    raised: dict[int, float] = field(default_factory=dict)
    lowered: dict[int, float] = field(default_factory=dict)

    def variable(self, high: float, *, whole: bool = False) -> int:
        """Index of a new variable from 0 to `high`."""
        self.high.append(high)
        self.is_integer.append(whole)
        return len(self.program.cost) + len(self.high) - 1

    def row(self, low: float, high: float, entries: dict[int, float]) -> None:
        """A new row of (variable -> value) entries."""
        number = len(self.program.row_low) + len(self.sides)
        self.sides.append((low, high))
        self.entries += [(number, variable, value) for variable, value in entries.items()]

    def whole_multiple(self, variable: int, parts: int) -> None:
        """Let `parts` times a fraction be a whole number."""
        self.row(0.0, 0.0, {self.variable(float(parts), whole=True): 1.0, variable: -float(parts)})

    def frozen(self, columns: Ints, values: Floats) -> tuple[FrozenProgram, NDArray[np.bool_]]:
        """The program with what is added, and which variables are whole.

        Args:
            columns: (k,) variable of each old entry, which may be another one now.
            values: (k,) value of each old entry.
        """
        old, more = self.program, len(self.high)
        number = np.array([entry[0] for entry in self.entries], dtype=np.int64)
        variable = np.array([entry[1] for entry in self.entries], dtype=np.int64)
        value = np.array([entry[2] for entry in self.entries], dtype=np.float64)
        width = len(old.cost) + more
        keys = np.concatenate([old.entry_rows, number]) * width
        keys, at = np.unique(keys + np.concatenate([columns, variable]), return_inverse=True)
        summed = np.bincount(at, weights=np.concatenate([values, value]))
        keys, summed = keys[summed != 0.0], summed[summed != 0.0]
        low, high = np.array(self.sides, dtype=np.float64).reshape(-1, 2).T
        row_low = np.concatenate([old.row_low, low])
        for row, amount in self.raised.items():
            row_low[row] += amount
        row_high = np.concatenate([old.row_high, high])
        for row, amount in self.lowered.items():
            row_high[row] -= amount
        program = FrozenProgram(
            cost=np.concatenate([old.cost, np.zeros(more)]),
            low=np.concatenate([old.low, np.zeros(more)]),
            high=np.concatenate([old.high, np.array(self.high)]),
            row_low=row_low,
            row_high=row_high,
            entry_rows=keys // width,
            entry_columns=keys % width,
            entry_values=summed,
        )
        is_integer = np.concatenate([np.zeros(len(old.cost), dtype=bool), self.is_integer])
        return program, is_integer


@dataclass(frozen=True)
class _WholeGap:
    """A gap in which set-ups, rows or both are whole.

    Attributes:
        gap: the gap.
        share: set-up of a transfer into it, in units of the program; 0: none.
        parts: rows of the segment; 0: they may be divided.
    """

    gap: Gap
    share: float
    parts: int


@dataclass(frozen=True)
class _Mixed:
    """The mixed-integer program of a relaxation.

    Attributes:
        program: the program; its first variables are those of the LP.
        is_integer: which of them are whole.
        begun: variable m of a move -> variable w of what begins in its step (-1: nothing may).
        is_complete: whether every plan gives a point of it.
    """

    program: FrozenProgram
    is_integer: NDArray[np.bool_]
    begun: dict[int, int]
    is_complete: bool


def with_whole_transfers(
    relaxation: Relaxation, known: float, budget: Budget, *, spare: bool = False
) -> Relaxation | None:
    """The LP's solution and bound with whole set-ups and rows.

    Args:
        relaxation: the LP, solved.
        known: value of a known plan in s.
        budget: the time.
        spare: room is left for what rounding to rows and alignments takes; proves nothing.

    Returns:
        The relaxation with what transfers begin with in the place of what moves in the step, the
        moves beside it, and the better bound of the two. None where set-ups are left out of the
        LP, nothing is counted whole (the program is too long to say when transfers begin, and
        everything comes once), or no solution was found in time.
    """
    gaps = _whole_gaps(relaxation, known)
    beginnings = sum(len(each.gap.moved) for each in gaps)
    if not gaps or len(gaps) > MOST_GAPS or budget.is_over():
        return None
    everywhere = beginnings <= MOST_BEGINNINGS
    timed = beginnings <= MOST_TIMED
    mixed = _mixed_program(relaxation, gaps, everywhere=everywhere, timed=timed, spare=spare)
    if not mixed.is_integer.any():
        return None
    limit_s = min(SECONDS, SHARE * budget.remaining_s())
    found = solve_mixed(mixed.program, mixed.is_integer, time_limit_s=limit_s, nodes=NODES)
    if found is None:
        return None
    fluid = relaxation.fluid
    values = np.where(np.abs(found.values) < SAME, 0.0, found.values)
    moved = values[: len(fluid.program.cost)]
    begun = moved.copy()  # the same where it is not said when transfers begin
    for move, beginning in mixed.begun.items():
        begun[move] = values[beginning] if beginning >= 0 else 0.0
    bound = relaxation.bound
    by = relaxation.proved_by
    if bound is not None and mixed.is_complete and math.isfinite(found.bound):
        whole = bound_of(fluid, found.bound, relaxation.axis.problem)
        if whole > bound:
            bound, by = whole, "fluid-whole"
    solution = replace(relaxation.solution, values=begun)
    return replace(relaxation, solution=solution, bound=bound, moved=moved, proved_by=by)


def is_timed_everywhere(relaxation: Relaxation, known: float) -> bool:
    """Whether the program is so short that transfers may begin in all steps before an access.

    Args:
        relaxation: the LP, solved.
        known: value of a known plan in s.
    """
    gaps = _whole_gaps(relaxation, known)
    return sum(len(each.gap.moved) for each in gaps) <= MOST_BEGINNINGS


def _whole_gaps(relaxation: Relaxation, known: float) -> list[_WholeGap]:
    """Gaps before accesses of what must come with set-ups, or rows, that are worth counting.

    A transfer may move parts of several segments of a buffer, so that only segments that are a
    whole buffer have set-ups of their own.
    """
    builder, segments = relaxation.fluid.builder, relaxation.axis.segments
    alone, fastest = _alone(segments), builder.target.fastest.name
    found: list[_WholeGap] = []
    for gap in relaxation.fluid.gaps:
        segment = segments[gap.segment]
        if not (len(gap.moved) and segment.must_be_fastest):
            continue
        share = 0.0
        if builder.setups is not None and segment.buffer in alone:
            share = builder.setups.share(segment, segment.home, fastest)
        parts = _coarse_rows(relaxation, segment, known)
        if share or parts:
            found.append(_WholeGap(gap, share, parts))
    return found


def _alone(segments: Sequence[Segment]) -> set[int]:
    """Buffers of one segment."""
    number = Counter(segment.buffer for segment in segments if segment.size_bytes)
    return {buffer for buffer, count in number.items() if count == 1}


def _mixed_program(
    relaxation: Relaxation, gaps: list[_WholeGap], *, everywhere: bool, timed: bool, spare: bool
) -> _Mixed:
    """The program with whole set-ups of fills and stores, and whole rows, of some gaps."""
    fluid, segments = relaxation.fluid, relaxation.axis.segments
    builder = fluid.builder
    rows = _Rows(fluid.program)
    begun: dict[int, int] = {}
    kept: set[int] = set()
    asked: list[Store] = []
    for whole in gaps:
        gap = whole.gap
        if timed:
            may = _beginnings(gap, relaxation.solution.values, everywhere=everywhere)
            link = segments[gap.segment].home, builder.target.fastest.name
            begun |= _add_fills(rows, whole, may, builder.link_rows.get(link))
        elif whole.share and gap.kept >= 0:
            asked.append(_untimed_setup(relaxation, whole))
        if not whole.parts:
            continue
        for variable in (begun.get(m, -1) for m in gap.moved.tolist()):
            if variable >= 0:
                rows.whole_multiple(variable, whole.parts)
        if gap.kept >= 0 and gap.kept not in kept:
            kept.add(gap.kept)
            rows.whole_multiple(gap.kept, whole.parts)
    if builder.setups is not None:
        alone = _alone(segments)
        asked += [store for store in builder.setups.stores if store.buffer in alone]
    _add_whole_setups(rows, asked)
    if spare:
        rows.lowered |= _spare_room(relaxation)
    program, is_integer = rows.frozen(*_moved_to_beginnings(fluid, begun))
    complete = (everywhere or not timed) and not spare and _knows_all_steps(fluid)
    return _Mixed(program, is_integer, begun, complete)


def _beginnings(gap: Gap, values: Floats, *, everywhere: bool) -> NDArray[np.bool_]:
    """(M,) in which steps of a gap a transfer may begin."""
    if everywhere:
        return np.ones(len(gap.moved), dtype=bool)
    may = values[gap.moved] > SAME
    may[-1] = True
    return np.asarray(may)


def _add_fills(
    rows: _Rows, whole: _WholeGap, may: NDArray[np.bool_], link_rows: Ints | None
) -> dict[int, int]:
    """Add what transfers begin with in each step of a gap, and their set-ups; move -> beginning."""
    gap = whole.gap
    balance: dict[int, float] = {}
    begun: dict[int, int] = {}
    setups: dict[int, float] = {}
    steps = gap.steps.tolist()
    for at, (step, move) in enumerate(zip(steps, gap.moved.tolist(), strict=True)):
        begun[move] = -1
        if may[at]:
            begins = begun[move] = rows.variable(1.0)
            balance[begins] = 1.0
            if whole.share and link_rows is not None:
                setup = rows.variable(1.0, whole=True)
                rows.row(0.0, INFINITY, {setup: 1.0, begins: -1.0})
                link_row = int(link_rows[step % len(link_rows)])
                rows.entries.append((link_row, setup, -whole.share))
                setups[setup] = 1.0
        balance[move] = -1.0
        is_last = at + 1 == len(steps)
        if is_last or (step < 0 <= steps[at + 1]):  # no transfer goes on into the next inference
            rows.row(0.0, 0.0, dict(balance))
            balance = {}
        else:
            rows.row(0.0, INFINITY, dict(balance))
    if setups:
        rows.row(1.0, INFINITY, setups if gap.kept < 0 else {**setups, gap.kept: 1.0})
    return begun


def _coarse_rows(relaxation: Relaxation, segment: Segment, known: float) -> int:
    """Parts that a segment can be cut into where one takes long to move; 0 where none does."""
    builder = relaxation.fluid.builder
    target = builder.target
    unit = target.slice_granularity_bytes or builder.problem.buffers[segment.buffer].row_bytes
    if not target.split_operands:
        unit = segment.size_bytes
    if not unit or segment.start_byte % unit or segment.size_bytes % unit:
        return 0
    seconds = unit / target.tier(segment.home).read_bytes_per_s
    return segment.size_bytes // unit if seconds > COARSE * known else 0


def _untimed_setup(relaxation: Relaxation, whole: _WholeGap) -> Store:
    """The set-up of the fills of a gap, which is done when the last of them can begin."""
    builder, gap = relaxation.fluid.builder, whole.gap
    segment = relaxation.axis.segments[gap.segment]
    assert builder.setups is not None  # noqa: S101 - the gap has a share of one
    rows = builder.setups.arrivals[segment.home]
    last = gap.end - 1 if gap.first_step >= 0 else len(rows) - 1
    return Store(segment.buffer, int(rows[last]), whole.share, gap.kept)


def _add_whole_setups(rows: _Rows, stores: Sequence[Store]) -> None:
    """Ask for whole set-ups, where the LP asks for shares of them."""
    for store in stores:
        is_stored = rows.variable(1.0, whole=True)
        rows.row(1.0, INFINITY, {is_stored: 1.0, store.kept: 1.0})
        # The row asks for share (1 - kept) now, and for share is_stored then.
        rows.entries += [
            (store.row, is_stored, -store.share),
            (store.row, store.kept, -store.share),
        ]
        rows.raised[store.row] = rows.raised.get(store.row, 0.0) - store.share


def _spare_room(relaxation: Relaxation) -> dict[int, float]:
    """Row of a step's capacity -> the room that rounding may take there.

    Half a row, or alignment, for each segment that is there in part and not at an access. What
    operators need at the same time keeps its room.
    """
    fluid, segments = relaxation.fluid, relaxation.axis.segments
    builder, values = fluid.builder, relaxation.solution.values
    target, steps = builder.target, builder.steps
    lost, needed = np.zeros((2, steps))
    for gap in fluid.gaps:
        there = float(values[gap.moved].sum()) + (values[gap.kept] if gap.kept >= 0 else 0.0)
        if there > SAME and not gap.is_held:
            segment = segments[gap.segment]
            unit = target.slice_granularity_bytes
            unit = unit or builder.problem.buffers[segment.buffer].row_bytes
            span = np.arange(gap.first_step, gap.end) % steps
            lost[span] += max(unit, target.fastest.alignment_bytes) / 2
    for segment in segments:
        for step in {access.step for access in segment.accesses if segment.must_be_fastest}:
            needed[step] += segment.size_bytes
    rows = builder.capacity_rows
    slack = fluid.program.row_high[rows] - needed / builder.unit_bytes
    spared = np.minimum(lost / builder.unit_bytes, np.maximum(slack, 0.0))
    return {int(rows[t]): float(spared[t]) for t in np.flatnonzero(builder.has_capacity)}


def _moved_to_beginnings(fluid: FluidProgram, begun: dict[int, int]) -> tuple[Ints, Floats]:
    """Variables and values of the LP's entries: space is taken from where transfers begin.

    What the LP asks for of the set-ups of these moves is left out.
    """
    program, builder = fluid.program, fluid.builder
    beginning = np.arange(len(program.cost))
    has_own = np.zeros(len(program.cost), dtype=bool)
    for move, variable in begun.items():
        beginning[move], has_own[move] = variable, True
    is_space, is_setup = np.zeros((2, len(program.row_low)), dtype=bool)
    is_space[builder.capacity_rows] = is_space[builder.load_rows] = True
    if builder.setups is not None:
        for asked in builder.setups.arrivals.values():
            is_setup[asked] = True
    columns, values = program.entry_columns.copy(), program.entry_values.copy()
    ours = has_own[columns]
    space = ours & is_space[program.entry_rows]
    columns[space] = beginning[columns[space]]
    values[(columns < 0) | (ours & is_setup[program.entry_rows])] = 0.0
    return np.maximum(columns, 0), values


def _knows_all_steps(fluid: FluidProgram) -> bool:
    """Whether the program has variables for all steps in which something may move."""
    pauses = fluid.builder.pauses
    return all(
        gap.is_held or len(gap.steps) == pauses.count_arrivals(gap.first_step, gap.end)
        for gap in fluid.gaps
    ) and all(
        len(spill.steps) == pauses.count_spills(spill.first_step, spill.end, spill.since)
        for spill in fluid.spills
    )
