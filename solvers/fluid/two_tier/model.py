"""The linear program over resident fractions: how much of each segment is fast at each step.

For a segment with accesses p0 < p1 < ..., x_j is the fraction in the fastest tier at access j. In
the gap before a reading access p_j a fraction k_j <= x_{j-1} is kept, and a fraction m_t arrives in
step t and takes space from then on. The operator finds x_j = k_j + sum of m_t there, and accesses
the rest at home:

    fraction in the fastest tier
    1 |
      |                                    +------- x_1
      |    x_0                    +--------+  m_9
      |   +-----+                 |           m_6
      |   |     +-----------------+        k_1 (kept)
    0 +---+-----+-----------------+--------+------- steps
          p0                      6        9       p1

An operator accesses in fast memory all that is there, unless the fastest tier's own port is the
bottleneck: in such steps the fraction that it accesses is a variable of its own.

What an operator wrote (w) into fast memory and is not kept until a reader must be home by then:

    step          w ............. r1 ............ r2
    kept          |===============|
    copied (f)        ^ stored while it is kept anyway: takes bandwidth only
    lingering (e)                 |===^ kept on until it is stored: takes space as well

Capacity bounds the sum of resident bytes at every step. The elapsed time of a step is at least its
compute time and the busy time of every tier and link. In steady state steps count modulo T (the
number of steps), and the first gap of a weight begins at its last access in the inference before.

Where only pauses lie between two accesses of what must be in the fastest tier, it is kept: nothing
else needs its room in pauses, so that fetching it again gains nothing.

Every legal plan of the order gives a feasible point (set-up times, alignment, cuts and addresses
only cost), so the optimum is a lower bound, once data may move in every step of a gap. At first
only some of those steps, the windows, have variables; `windows` opens more, and says what the
closed ones could still be worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.common.errors import TimeLimitError
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.two_tier.builder import Builder
from ullage.solvers.fluid.two_tier.program import FluidProgram, Gap, SpillVariables
from ullage.solvers.lp.program import INFINITY
from ullage.solvers.state.required import arrivals_of, resident_residency
from ullage.solvers.state.segments import Segment

# Number of steps before the window of a gap, evenly spaced, in which data may arrive at first.
SPARSE_STEPS = 8
# Segments, or gaps of one, between two looks at the clock.
CLOCK_EVERY = 64
# Gaps of one result up to which the rows that say what of it is at home list all moves before them:
# n squared entries for n readers. Of more, each gap has a variable for what is at home behind it.
LISTED_GAPS = 8
# Upper end of these variables. No row asks for more than 1; it is higher so that it never binds.
MOST_AT_HOME = 2.0


@dataclass
class Windows:
    """In which steps the program has variables for moves.

    Attributes:
        default_steps: steps before an access in which data may arrive, and after a write in which
            it may be stored home.
        reach_steps: steps before an access beyond which nothing arrives at first.
        arrivals: (segment, access) -> earlier steps, ascending; a few, evenly spaced, where
            missing.
        spills: (segment, access) -> later steps, ascending, in the gap before the access (the
            number of accesses stands for the end of the program).
    """

    default_steps: int
    reach_steps: int = 1 << 60
    arrivals: dict[tuple[int, int], Ints] = field(default_factory=dict)
    spills: dict[tuple[int, int], Ints] = field(default_factory=dict)

    def copy(self) -> "Windows":
        """The same, to be opened further by itself."""
        return replace(self, arrivals=dict(self.arrivals), spills=dict(self.spills))


@dataclass
class _SegmentRows:
    """A segment while its rows are added.

    Attributes:
        index: index of the segment.
        segment: the segment.
        windows: in which steps it may move.
        present: for each access so far the variable x, the fraction in fast memory (-1: none).
        accessed: for each access so far the variable of the fraction that the operator accesses
            there; another than x only where the fastest tier's port can bind.
        gaps: access -> the gap before it.
    """

    index: int
    segment: Segment
    windows: Windows
    present: list[int]
    accessed: list[int]
    gaps: dict[int, Gap]


def build_fluid(
    builder: Builder,
    segments: Sequence[Segment],
    *,
    steady_state: bool,
    windows: Windows,
    budget: Budget | None = None,
) -> FluidProgram:
    """Build the linear program of a problem.

    Args:
        builder: knows the problem, the target and the objective.
        segments: the problem's segments.
        steady_state: steps repeat for ever, weights survive.
        windows: which moves the program knows.
        budget: the time, default no limit.

    Raises:
        TimeLimitError: the deadline passed.
    """
    spent = budget or Budget()
    resident: list[Ints] = []
    gaps: list[Gap] = []
    spills: list[SpillVariables] = []
    for index, segment in enumerate(segments):
        if index % CLOCK_EVERY == 0:
            _check(spent)
        rows = _SegmentRows(index, segment, windows, [], [], {})
        if segment.size_bytes and segment.accesses:
            if segment.home == builder.target.fastest.name:
                _add_fixed(builder, index, segment)
            else:
                _add_accesses(builder, rows, wraps=steady_state and segment.is_constant)
                for access, use in enumerate(segment.accesses):
                    if use.writes:
                        builder.mark(use.step)
                        spills += _add_spills(builder, rows, access, spent)
        resident.append(np.array(rows.present, dtype=np.int64))
        gaps += rows.gaps.values()
    if builder.setups is not None:
        builder.setups.charge_spills(_stored(segments, gaps, spills))
    builder.close()
    return FluidProgram(
        program=builder.lp.frozen(),
        builder=builder,
        resident=tuple(resident),
        gaps=tuple(gaps),
        spills=tuple(spills),
    )


def _stored(
    segments: Sequence[Segment], gaps: Sequence[Gap], spills: Sequence[SpillVariables]
) -> list[tuple[Segment, int, int]]:
    """For each write the segment, the step, and what is kept to the last gap behind it."""
    kept_of = {(gap.segment, gap.access): gap.kept for gap in gaps}
    last = {(spill.segment, spill.write): spill.reader for spill in spills}
    return [
        (
            segments[index],
            segments[index].accesses[write].step,
            kept_of.get((index, reader), -1),
        )
        for (index, write), reader in last.items()
    ]


def _add_fixed(builder: Builder, index: int, segment: Segment) -> None:
    """Occupy the space of a segment whose home is the fastest tier, for its whole live range."""
    arrivals = arrivals_of(builder.problem)
    residency = resident_residency(builder.problem, index, segment, arrivals)
    if residency is None:
        return
    always = builder.lp.add_variable(1.0, 1.0)
    builder.occupy(residency.start, residency.end, always, segment.size_bytes)
    for access in segment.accesses:
        builder.charge_access(segment.home, access, -1)
    fastest = builder.target.fastest.name
    ways = ((segment.origin, fastest, residency.fill), (fastest, segment.origin, residency.spill))
    for source, destination, moves in ways:
        for step, size in moves:
            step_of, moved = np.array([step]), np.array([always])
            builder.charge_moves(source, destination, step_of, moved, float(size))


def _add_accesses(builder: Builder, rows: _SegmentRows, *, wraps: bool) -> None:
    """Add the variables x of all accesses of a segment, with the gaps between them."""
    segment, lp = rows.segment, builder.lp
    for access, use in enumerate(segment.accesses):
        present = -1
        builder.mark(use.step)
        if use.reads:
            gap = _add_gap(builder, rows, access, wraps=wraps)
            rows.gaps[access] = gap
            present = gap.present
        elif use.writes:
            present = lp.add_variable(float(segment.must_be_fastest), 1.0)
        accessed = present
        if present >= 0:
            builder.occupy(use.step, use.step + 1, present, segment.size_bytes)
            if (
                use.reads
                and not segment.must_be_fastest
                and builder.is_dear_in_fastest(segment.home, use)
            ):
                accessed = lp.add_variable(0.0, 1.0)
                lp.add_row(0.0, INFINITY, {present: 1.0, accessed: -1.0})
        builder.charge_access(segment.home, use, accessed)
        rows.present.append(present)
        rows.accessed.append(accessed)
    if wraps and 0 in rows.gaps and rows.gaps[0].kept != rows.present[-1]:  # x_last - k_0 >= 0
        lp.add_row(0.0, INFINITY, {rows.present[-1]: 1.0, rows.gaps[0].kept: -1.0})


def _add_gap(builder: Builder, rows: _SegmentRows, access: int, *, wraps: bool) -> Gap:
    """Add the variables of the gap before a reading access: what is kept, and what arrives when."""
    lp, segment, target = builder.lp, rows.segment, builder.target
    size, end = segment.size_bytes, segment.accesses[access].step
    before = _access_before(builder, segment, access, wraps=wraps)
    linked = target.link(segment.home, target.fastest.name) is not None
    since, written = before if before is not None else (-1, True)
    is_held = access > 0 and segment.must_be_fastest and builder.pauses.fill(since + 1, end)
    if is_held:
        kept, none = rows.present[access - 1], np.zeros(0, dtype=np.int64)
        return Gap(rows.index, access, kept, kept, end, end, none, none, -1, False, True)
    first = since + 1 if written else since
    window = max(first, end - rows.windows.default_steps)
    early = rows.windows.arrivals.get((rows.index, access))
    if early is None:
        far = max(first, end - rows.windows.reach_steps)
        early = builder.pauses.arrivals(far, window, end)
        count = min(SPARSE_STEPS, len(early))
        early = early[len(early) * np.arange(count, dtype=np.int64) // max(1, count)]
    steps = np.concatenate([early, builder.pauses.arrivals(window, end, end)])
    if not linked:
        steps = steps[:0]
    moved = lp.add_variables(len(steps), 0.0, _most(segment))
    kept = lp.add_variable(0.0, 1.0) if before is not None else -1
    present = lp.add_variable(float(segment.must_be_fastest), 1.0)
    sum_row = lp.add_row(0.0, 0.0, {present: -1.0})  # k + moves - x = 0
    lp.add_entries(sum_row, moved, 1.0)
    if kept >= 0:
        lp.add_entry(sum_row, kept, 1.0)
        builder.occupy(since + 1, end, kept, size)
    if kept >= 0 and access:
        last = rows.accessed[access - 1] if written else rows.present[access - 1]
        lp.add_row(0.0, INFINITY, {last: 1.0, kept: -1.0})  # x_{j-1} - k_j >= 0
        if len(steps) and int(steps[0]) == since:  # beside what is there during that access
            lp.add_row(-INFINITY, 1.0, {last: 1.0, int(moved[0]): 1.0})
    if len(steps):
        builder.charge_moves(segment.home, target.fastest.name, steps, moved, size)
        if builder.setups is not None:
            builder.setups.charge_arrivals(segment, steps, moved)
        builder.occupy_until(steps, end, moved, size)
    wraps = wraps and access == 0
    return Gap(rows.index, access, present, kept, first, end, steps, moved, sum_row, wraps, False)


def _access_before(
    builder: Builder, segment: Segment, access: int, *, wraps: bool
) -> tuple[int, bool] | None:
    """Step of the access before and whether it writes; None where data can only come from home."""
    if access:
        return segment.accesses[access - 1].step, segment.accesses[access - 1].writes
    if wraps:
        return segment.accesses[-1].step - builder.steps, False
    return None


def _add_spills(
    builder: Builder, rows: _SegmentRows, write: int, budget: Budget
) -> list[SpillVariables]:
    """Add the variables of storing home what an access wrote into fast memory.

    For every gap up to a reader (and up to the end of an output), what is not kept through it must
    be home by its end. It was stored in an earlier gap (as e or f of that gap), or it lingers in
    this gap until it is stored (e: takes space from the gap's beginning). See the picture above.
    """
    lp, segment = builder.lp, rows.segment
    readers = _readers_of_version(segment, write)
    is_last = not any(e.writes for e in segment.accesses[write + 1 :])
    gaps = [(segment.accesses[r].step, rows.gaps[r].kept, r) for r in readers]
    held = {r for r in readers if rows.gaps[r].is_held}
    if is_last and segment.is_output:
        gaps.append((builder.steps, -1, len(segment.accesses)))
    summed = len(gaps) > LISTED_GAPS
    spills: list[SpillVariables] = []
    before: list[int] = []  # what sums up to what is at home before the gap
    home = (builder.target.fastest.name, segment.home)
    since = segment.accesses[write].step
    for number, (end, kept, access) in enumerate(gaps):
        if number % CLOCK_EVERY == CLOCK_EVERY - 1:
            _check(budget)
        first = since + 1 if number == 0 else since  # while a reader reads, it can be copied
        if access in held:  # a pause is no better for a copy than the reader's step before it
            steps = np.arange(first, since + 1, dtype=np.int64)
            f = lp.add_variables(len(steps), 0.0, _most(segment))
            builder.charge_moves(*home, steps, f, segment.size_bytes)
            before += f.tolist()
            span = (first, since, since + 1)
            spills.append(SpillVariables(rows.index, write, access, *span, steps, f[:0], f))
            since = end
            continue
        steps = _spill_steps(builder, rows, access, since, (first, end))
        e = lp.add_variables(len(steps), 0.0, _most(segment))
        copied = len(steps) if number + 1 < len(gaps) else 0
        f = lp.add_variables(copied, 0.0, _most(segment))
        entries = dict.fromkeys([*before, *e.tolist()], 1.0)
        entries[rows.accessed[write]] = -1.0
        if kept >= 0:
            entries[kept] = 1.0
        row = lp.add_row(0.0, INFINITY, entries)
        for variables in (e, f):
            if len(variables):
                builder.charge_moves(*home, steps, variables, segment.size_bytes)
        builder.occupy_from(since + 1, steps + 1, e, segment.size_bytes)
        before += [*e.tolist(), *f.tolist()]
        at_home = at_home_row = -1
        if summed and number + 1 < len(gaps):
            at_home = lp.add_variable(0.0, MOST_AT_HOME)
            at_home_row = lp.add_row(0.0, INFINITY, {**dict.fromkeys(before, 1.0), at_home: -1.0})
            before = [at_home]
        read_row = -1
        accessed = rows.accessed[access] if kept >= 0 else -1
        if kept >= 0 and accessed != rows.present[access]:  # what the reader has from home is there
            entries = {**dict.fromkeys(before, 1.0), rows.accessed[write]: -1.0, accessed: 1.0}
            read_row = lp.add_row(0.0, INFINITY, entries)
        span = (first, since, end)
        demands = (row, read_row, at_home, at_home_row)
        spills.append(SpillVariables(rows.index, write, access, *span, steps, e, f, *demands))
        since = end
    return spills


def _most(segment: Segment) -> float:
    """Upper end of a variable of moves, which other rows keep at 1 or less.

    Where all of a segment must move, the end must not bind: its multiplier would take over what the
    access pays, and windows would seem worth opening that are not.
    """
    return 2.0 if segment.must_be_fastest else 1.0


def _check(budget: Budget) -> None:
    """Return while there is time.

    Raises:
        TimeLimitError: there is none left.
    """
    if budget.is_over():
        raise TimeLimitError("fluid: the time was over before its linear program was built")


def _spill_steps(
    builder: Builder, rows: _SegmentRows, access: int, since: int, gap: tuple[int, int]
) -> Ints:
    """Steps in which the program has variables for storing home what step `since` accessed.

    They are in the gap [first, end) before an access.
    """
    first, end = gap
    if builder.target.link(builder.target.fastest.name, rows.segment.home) is None:
        return np.zeros(0, dtype=np.int64)
    reach = min(end, first + rows.windows.default_steps)
    near = builder.pauses.spills(first, reach, since)
    late = rows.windows.spills.get((rows.index, access))
    return near if late is None else np.concatenate([near, late])


def _readers_of_version(segment: Segment, access: int) -> list[int]:
    """Accesses that read what `access` wrote, the next write included."""
    readers: list[int] = []
    for following in range(access + 1, len(segment.accesses)):
        if segment.accesses[following].reads:
            readers.append(following)
        if segment.accesses[following].writes:
            break
    return readers
