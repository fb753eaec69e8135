"""The value of a schedule on a coarse axis of time: a fluid LP that is solved in milliseconds.

Searching needs the value of thousands of schedules, not their plans. Steps of the LP are the blocks
of all groups (`profile`), in which time and bytes are added up; between blocks it decides as
`fluid` does (`fluid.two_tier.model` explains it): what is kept from use to use, what is fetched
when, what is stored. Pieces that the same blocks use alike (the weights of all operators of a
cascade, line buffers between the same two stripes) are interchangeable, and are one in the LP.

Where operands must be in the fastest tier, what has no room beside the block before arrives between
the two, and what has none beside the block behind is stored between them, while nothing computes.
In a block of several steps, bytes take room from their first use to their last, and what one step
uses arrives beside the step before it, or is stored beside the step behind.

The value is an estimate, not a bound: space counts for whole blocks (dearer than it is), moves may
use all of a block's time (cheaper), and data moves in a few blocks before or behind a use only.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.target import Target
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.two_tier.builder import DIRECT_STEPS, TIE_BREAK
from ullage.solvers.fluid.two_tier.pending import Spans
from ullage.solvers.lp.named_basis import NamedBasis
from ullage.solvers.lp.program import INFINITY, LinearProgram, LpSolution
from ullage.solvers.lp.solve import GLOP, GLOP_DUAL, solve_lp
from ullage.solvers.scheduling.cascade.profile import BlockUse, InnerValues, Piece, Profiles
from ullage.solvers.scheduling.cascade.stripes import Cascade

# Blocks before a use in which data may arrive ...
WINDOW_BLOCKS = 4
# ... and how many more, evenly spaced between the use before and these.
SPARSE_BLOCKS = 4
# The same under a limit of the latency: weights come long before where time is short.
LIMITED_SPARSE_BLOCKS = 16
# Blocks behind a write in which data may be stored home.
SPILL_BLOCKS = 3
# Where operands must be in the fastest tier, data arrives so many blocks before its use, and is
# stored so many behind its write; in blocks of several steps also between two of them.
STEPS_AHEAD = (1, 2, 3, 4, 6, 9, 14, 21, 32)
STEPS_BEHIND = (1, 2, 3, 5, 8)
# What room that is missing costs, in multiples of the transfers of as many bytes.
MISSING_COST = 4.0
# Share of the memory that what passes a stretch takes at most: it may be at home meanwhile.
MOST_PASSING = 0.75
# Price of a latency that is twice its limit, in capacities of the memory.
OVER_PRICE = 30.0
# Digits of the shares of a piece that a block reads and writes to which pieces are alike.
ALIKE_DIGITS = 3
# Differences of shares that are rounding.
ROUNDED = 1e-9


@dataclass(frozen=True, slots=True)
class CoarseUse:
    """What a block does to a segment; see `BlockUse`.

    Attributes:
        late_share: share of the bytes of which the first use in the block is in none of the
            block's first steps, so that they may arrive inside the block.
        early_share: share of those of which the last use is in none of its last steps, so that
            they may be stored inside the block.
    """

    block: int
    reads: bool
    writes: bool
    read_share: float
    written_share: float
    held_share: float
    before_share: float = 0.0
    late_share: float = 0.0
    early_share: float = 0.0

    @property
    def behind_share(self) -> float:
        """Share of the block's steps behind the last use."""
        share = 1.0 - self.before_share - self.held_share
        return share if share > ROUNDED else 0.0


@dataclass(frozen=True, slots=True)
class CoarseSegment:
    """Bytes that the same blocks use alike.

    Attributes:
        size_bytes: how many.
        space_bytes: room that they take.
        is_given: their data is at home before the first block.
        is_output: it must be at home behind the last.
        is_weight: it survives from one inference to the next.
        must_be_fastest: operators reach it in the fastest tier only.
        uses: by blocks, ascending.
        name: hash of what it is, whatever the blocks in front of it; see `CoarseProgram.names`.
    """

    size_bytes: float
    space_bytes: float
    is_given: bool
    is_output: bool
    is_weight: bool
    must_be_fastest: bool
    uses: tuple[CoarseUse, ...]
    name: int = 0


@dataclass(frozen=True)
class CoarseProgram:
    """Blocks of a schedule as steps; B of them, a first and a last one for transfers alone.

    Attributes:
        compute_s: (B,) compute time.
        workspace_bytes: (B,) room for what is used up inside a block.
        inner: what of that may lie at home, where operators then access it.
        excess_bytes: (B,) what of the rest has no room at all: it goes out and comes back.
        segments: what several blocks use.
        overhead_s: overhead of all steps.
        group_of: (B,) the group of each block; -1 for none.
        parts: number of steps of the plan.
        steps_in: (B,) how many of them are in each block.
        plan_accesses: (G,) accesses of the segments of the plan, about; those of what groups share
            in equal shares.
        names: (B,) for each block a hash of its group and its place there: the same in every
            program of the group, wherever its blocks are.
    """

    compute_s: Floats
    workspace_bytes: Floats
    inner: InnerValues
    excess_bytes: Floats
    segments: tuple[CoarseSegment, ...]
    overhead_s: float
    group_of: Ints
    parts: int
    steps_in: Ints
    plan_accesses: Floats
    names: tuple[int, ...] = ()

    @property
    def accesses(self) -> int:
        """Number of uses of all segments."""
        return sum(len(segment.uses) for segment in self.segments)


@dataclass(frozen=True)
class CoarseValue:
    """What the LP of a coarse program says.

    Attributes:
        value: its optimum in the objective's unit; traffic with what no plan avoids. Under a limit
            of the latency: bytes, with `OVER_PRICE` for what is above the limit.
        lost: (B,) seconds of each block beyond computing, with those of what moves before or behind
            it while nothing computes; 0 where time is not the objective.
        room: (B,) price of the whole memory in each block, in the objective's unit.
        basis: where the solver stopped, where the next program is to start there.
    """

    value: float
    lost: Floats
    room: Floats
    basis: NamedBasis | None = None


# What a value is at the ends: its kind, whether it is at home at first, and must be at last; and
# whether rows of it are looked up alone.
_Ends = tuple[Kind, bool, bool, bool]
# What makes pieces alike: that, and by block the uses.
_Alike = tuple[_Ends, tuple[tuple[int, bool, bool, float, float], ...]]


@dataclass
class _Sum:
    """Sums over pieces that are alike: bytes, and for each use the bytes times its shares."""

    held_bytes: list[float]
    before_bytes: list[float]
    late_bytes: list[float]
    early_bytes: list[float]
    size_bytes: float = 0.0
    space_bytes: float = 0.0


def coarse_program(profiles: Profiles, cascades: Sequence[Cascade]) -> CoarseProgram | None:
    """The coarse program of groups that make up an order, or a stretch of it.

    What comes from before a stretch is at home when it begins, what is used behind it must be at
    home when it ends, and what passes it takes room, where what must be there leaves some.

    Returns:
        None where a group cannot be cut so.
    """
    low, high = cascades[0].first, cascades[-1].last
    capacity = float(profiles.target.fastest.capacity_bytes)
    group_at = np.full(len(profiles.facts.order), -1)
    passing = 0.0
    starts: list[int] = []
    compute, workspace, group_of = [np.zeros(1)], [np.zeros(1)], [np.array([-1])]
    steps_in = [np.ones(1, dtype=np.int64)]
    names = [0]
    inners: list[InnerValues] = []
    start, overhead_s, parts = 1, 0.0, 0
    accesses = np.zeros(len(cascades))
    joined: dict[_Alike, _Sum] = {}
    again: dict[int, set[int]] = {}  # region -> groups that read it for what they run again
    for number, cascade in enumerate(cascades):
        for region in profiles.read_again(cascade):
            again.setdefault(region, set()).add(number)
    apart = frozenset(again)
    for number, cascade in enumerate(cascades):
        profile = profiles.of(cascade, apart)
        if profile is None:
            return None
        group_at[cascade.first : cascade.last] = number
        for piece in profile.pieces:
            _join(joined, _ends_of(profiles, piece.region, low, high), piece, [start])
        starts.append(start)
        start += len(profile.compute_s)
        overhead_s += profile.overhead_s
        parts += profile.steps
        accesses[number] = profile.accesses + sum(piece.accesses for piece in profile.pieces)
        compute.append(profile.compute_s)
        steps_in.append(profile.steps_in)
        workspace.append(profile.workspace_bytes)
        inners.append(profile.inner)
        group_of.append(np.full(len(profile.compute_s), number))
        names += (hash((cascade, block)) for block in range(len(profile.compute_s)))
    for region, place in enumerate(profiles.regions):
        first, last = place.places[0], place.places[-1]
        others = again.get(region, set())
        if not others and (first >= high or last < low):
            continue
        groups = sorted(({int(group_at[p]) for p in place.places} | others) - {-1})
        if not groups:
            passing += place.size_bytes if place.kind != "weight" else 0.0
        elif len(groups) > 1 or first < low or last >= high:
            ends, begins = _ends_of(profiles, region, low, high), [starts[g] for g in groups]
            for piece in profiles.shared(region, tuple(cascades[g] for g in groups)):
                _join(joined, ends, piece, begins)
                accesses[groups] += piece.accesses / len(groups)
    segments = tuple(_segment(profiles, key, size, names) for key, size in joined.items())
    own = np.concatenate([*workspace, np.zeros(1)])
    free = np.maximum(0.0, capacity - own - _mandatory_bytes(segments, len(own)))
    needed = own + np.minimum(min(passing, MOST_PASSING * capacity), free)
    inner = _joined_inner(inners, may_be_home=not profiles.target.must_be_fastest("activation"))
    room = np.minimum(needed, capacity + inner.space_bytes)
    names.append(1)
    return CoarseProgram(
        np.concatenate([*compute, np.zeros(1)]),
        room,
        inner,
        needed - room,
        segments,
        overhead_s,
        np.concatenate([*group_of, np.array([-1])]),
        parts,
        np.concatenate([*steps_in, np.ones(1, dtype=np.int64)]),
        accesses,
        tuple(names),
    )


def _mandatory_bytes(segments: Sequence[CoarseSegment], blocks: int) -> Floats:
    """(blocks,) bytes that must be in the fastest tier while a block runs."""
    needed = np.zeros(blocks)
    for segment in segments:
        if segment.must_be_fastest:
            for use in segment.uses:
                needed[use.block] += segment.space_bytes * use.held_share
    return needed


def _joined_inner(groups: Sequence[InnerValues], *, may_be_home: bool) -> InnerValues:
    """Inner values of all blocks, the first and the last one included."""
    scale = float(may_be_home)

    def joined(figures: Sequence[Floats]) -> Floats:
        return np.concatenate([np.zeros(1), *figures, np.zeros(1)]) * scale

    return InnerValues(
        joined([inner.space_bytes for inner in groups]),
        joined([inner.read_bytes for inner in groups]),
        joined([inner.written_bytes for inner in groups]),
    )


def _ends_of(profiles: Profiles, region: int, low: int, high: int) -> _Ends:
    """What a value is at the ends of positions [low, high)."""
    if region < 0:
        return "activation", False, False, False
    place = profiles.regions[region]
    is_given = place.is_given or place.places[0] < low
    is_read_behind = not place.is_given and place.places[-1] >= high
    return place.kind, is_given, place.is_output or is_read_behind, place.is_looked_up


def _join(joined: dict[_Alike, _Sum], ends: _Ends, piece: Piece, starts: Sequence[int]) -> None:
    """Add a piece to those that are alike.

    Args:
        joined: sums by what counts as alike.
        ends: what its value is at the ends.
        piece: the piece.
        starts: first blocks of the groups that touch its value.
    """

    def shown(use: BlockUse) -> tuple[int, bool, bool, float, float]:
        read, written = round(use.read_share, ALIKE_DIGITS), round(use.written_share, ALIKE_DIGITS)
        return starts[use.group] + use.block, use.reads, use.writes, read, written

    key = (ends, tuple(shown(use) for use in piece.uses))
    total = joined.get(key)
    if total is None:
        held, before, late, early = ([0.0] * len(piece.uses) for _ in range(4))
        total = joined[key] = _Sum(held, before, late, early)
    total.size_bytes += piece.size_bytes
    total.space_bytes += piece.space_bytes
    for number, use in enumerate(piece.uses):
        total.held_bytes[number] += piece.size_bytes * use.held_share
        total.before_bytes[number] += piece.size_bytes * use.before_share
        total.late_bytes[number] += piece.size_bytes * (use.before_share > 0)
        is_early = use.before_share + use.held_share < 1 - ROUNDED
        total.early_bytes[number] += piece.size_bytes * is_early


def _segment(profiles: Profiles, key: _Alike, total: _Sum, names: Sequence[int]) -> CoarseSegment:
    (kind, is_given, is_output, is_looked_up), uses = key
    size = total.size_bytes
    return CoarseSegment(
        size,
        total.space_bytes,
        is_given,
        is_output,
        kind == "weight",
        profiles.target.must_be_fastest(kind, look_up=is_looked_up),
        tuple(
            CoarseUse(*use, *(figure / size for figure in figures))
            for use, *figures in zip(
                uses,
                total.held_bytes,
                total.before_bytes,
                total.late_bytes,
                total.early_bytes,
                strict=True,
            )
        ),
        hash((key[0], tuple((names[use[0]], *use[1:]) for use in uses))),
    )


@dataclass(frozen=True)
class _Rates:
    """What moving and accessing a byte costs: time of the slow port, and the objective beside time.

    Attributes:
        read_s: of an operator's read at home.
        write_s: of its write.
        in_s: of a fetch.
        out_s: of a store.
        read_cost: what a read at home costs beyond one in the fastest tier.
        write_cost: the same of a write.
        in_cost: of a fetch.
        out_cost: of a store.
        fast_cost: of a read and of a write in the fastest tier.
        fast_s: seconds of a read and of a write there.
    """

    read_s: float
    write_s: float
    in_s: float
    out_s: float
    read_cost: float
    write_cost: float
    in_cost: float
    out_cost: float
    fast_cost: tuple[float, float]
    fast_s: tuple[float, float]

    @classmethod
    def of(cls, target: Target, objective: str) -> "_Rates":
        """The rates of a target of two tiers."""
        fast, home = target.tiers[0], target.tiers[1]
        fetch, store = target.link(home.name, fast.name), target.link(fast.name, home.name)
        in_rate = min(home.read_bytes_per_s, fetch.bandwidth_bytes_per_s if fetch else INFINITY)
        out_rate = min(home.write_bytes_per_s, store.bandwidth_bytes_per_s if store else INFINITY)
        costs = [0.0, 0.0, 0.0, 0.0]
        fast_cost = 0.0, 0.0
        if objective == "traffic":
            costs = [1.0, 1.0, 1.0, 1.0]
        elif objective == "energy":
            fast_read, fast_write = fast.read_energy_j_per_byte, fast.write_energy_j_per_byte
            home_read, home_write = home.read_energy_j_per_byte, home.write_energy_j_per_byte
            costs = [
                home_read - fast_read,
                home_write - fast_write,
                home_read + fast_write + (fetch.energy_j_per_byte if fetch else 0.0),
                fast_read + home_write + (store.energy_j_per_byte if store else 0.0),
            ]
            fast_cost = fast_read, fast_write
        return cls(
            1.0 / home.read_bytes_per_s,
            1.0 / home.write_bytes_per_s,
            1.0 / in_rate,
            1.0 / out_rate,
            costs[0],
            costs[1],
            costs[2],
            costs[3],
            fast_cost,
            (1.0 / fast.read_bytes_per_s, 1.0 / fast.write_bytes_per_s),
        )


@dataclass
class _Columns:
    """Variables and entries while they are collected, in plain lists: there are some thousands."""

    cost: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    row_high: list[float] = field(default_factory=list)
    names: list[int] = field(default_factory=list)
    row_names: list[int] = field(default_factory=list)
    spans: Spans = field(default_factory=Spans)

    def variable(
        self, name: tuple[object, ...], cost: float, low: float = 0.0, high: float = 1.0
    ) -> int:
        """A new variable from `low` to `high`."""
        self.names.append(hash(name))
        self.cost.append(cost)
        self.low.append(low)
        self.high.append(high)
        return len(self.cost) - 1

    def row(self, name: tuple[object, ...], high: float) -> int:
        """A new row, counted from the first that is no row of a block: at least 0, at most high."""
        self.row_names.append(hash(name))
        self.row_high.append(high)
        return len(self.row_high) - 1

    def entry(self, row: int, column: int, value: float) -> None:
        """An entry of such a row."""
        self.rows.append(row)
        self.columns.append(column)
        self.values.append(value)


class _CoarseLp:
    """The linear program of a coarse program."""

    def __init__(
        self,
        program: CoarseProgram,
        target: Target,
        objective: str,
        limit_s: float | None,
        *,
        steady_state: bool,
        weights_apart: bool,
    ) -> None:
        self.program, self.target = program, target
        self.weights_apart = weights_apart
        self.limit_s = limit_s
        self.sparse = SPARSE_BLOCKS if limit_s is None else LIMITED_SPARSE_BLOCKS
        self.blocks = len(program.compute_s)
        self.is_timed = objective in {"latency", "peak"}
        self.steady_state = steady_state
        self.rates = _Rates.of(target, objective)
        self.columns = _Columns()
        self.constant = 0.0
        self.busy_s = program.excess_bytes * (self.rates.read_s + self.rates.write_s)
        if limit_s is not None:  # nothing leaves: memory is as large as it must be
            self.busy_s = np.zeros(self.blocks)
        self.constant += float(program.excess_bytes.sum()) * (
            self.rates.read_cost + self.rates.write_cost
        )
        # Blocks, variables, and seconds of the slow port that 1 of the variable takes.
        self.port: tuple[list[int], list[int], list[float]] = ([], [], [])
        self.other_port: tuple[list[int], list[int], list[float]] = ([], [], [])
        # The same of what moves before or behind a block, while nothing computes.
        self.between: tuple[list[int], list[int], list[float]] = ([], [], [])
        # Of the compute unit, where accesses keep it from computing, and what they take at first.
        self.unit: tuple[list[int], list[int], list[float]] = ([], [], [])
        self.exposed = target.compute.exposed if self.is_timed else 0.0
        self.unit_s = np.zeros(self.blocks)
        slow = target.tiers[1]
        self.tie = TIE_BREAK / max(slow.read_bytes_per_s, slow.write_bytes_per_s)
        self.capacity = float(max(1, target.fastest.capacity_bytes))
        if limit_s is None:
            self._add_inner()
        for segment in program.segments:
            self._add(segment)

    def _add_inner(self) -> None:
        """Let operators access what is used up inside a block at home, a share of all of it."""
        inner, rates, program_names = self.program.inner, self.rates, self.program.names
        for block in np.flatnonzero(inner.space_bytes).tolist():
            read, written = float(inner.read_bytes[block]), float(inner.written_bytes[block])
            cost = read * rates.read_cost + written * rates.write_cost
            name = "inner", program_names[block]
            home = self.columns.variable(
                name, self.tie * (read + written) if self.is_timed else cost
            )
            share = float(inner.space_bytes[block]) / self.capacity
            self.columns.spans.add([block], [block + 1], [home], -share)
            self._spend(block, home, read * rates.read_s + written * rates.write_s)
            self._access(block, home, read, written, from_home=True)

    def _add(self, segment: CoarseSegment) -> None:
        """Add what a segment can do."""
        columns, rates, size = self.columns, self.rates, segment.size_bytes
        share = segment.space_bytes / self.capacity
        present: list[int] = []
        kept: list[int] = []
        for number, use in enumerate(segment.uses):
            read, written = use.read_share * size, use.written_share * size
            slow_s = read * rates.read_s + written * rates.write_s
            slow_cost = read * rates.read_cost + written * rates.write_cost
            self.unit_s[use.block] += self.exposed * slow_s
            self.constant += slow_cost
            self.constant += read * rates.fast_cost[0] + written * rates.fast_cost[1]
            saved = self.tie * (read + written) if self.is_timed else slow_cost
            if self.is_timed:
                self.constant += saved
            name = segment.name, number
            x = columns.variable(
                (*name, "present"), -saved, float(segment.must_be_fastest or self._stays(segment))
            )
            present.append(x)
            self._access(use.block, x, read, written, from_home=False)
            if not self._is_apart(segment):
                self.busy_s[use.block] += slow_s
                self._spend(use.block, x, -slow_s)
            columns.spans.add([use.block], [use.block + 1], [x], share * use.held_share)
            kept.append(self._add_gap(segment, number, present) if use.reads else -1)
        if self.steady_state and segment.is_weight and kept[0] >= 0:
            row = columns.row((segment.name, "wraps"), INFINITY)
            columns.entry(row, present[-1], 1.0)
            columns.entry(row, kept[0], -1.0)
        for number, use in enumerate(segment.uses):
            if use.writes:
                self._add_stores(segment, number, present, kept)

    def _stays(self, segment: CoarseSegment) -> bool:
        """Whether a segment may not leave between its first use and its last."""
        return self.limit_s is not None and not segment.is_weight

    def _add_gap(self, segment: CoarseSegment, number: int, present: Sequence[int]) -> int:
        """Add what is kept and what arrives before a use; returns the variable of what is kept."""
        columns, size = self.columns, segment.size_bytes
        share, end, x = (
            segment.space_bytes / self.capacity,
            segment.uses[number].block,
            present[number],
        )
        before = segment.uses[number].before_share
        wraps = number == 0 and self.steady_state and segment.is_weight
        name, names = (segment.name, number), self.program.names
        balance = columns.row((*name, "balance"), 0.0)  # kept + arrivals - present = 0
        columns.entry(balance, x, -1.0)
        kept, first = -1, 0
        if number or wraps:
            since = segment.uses[number - 1].block - (self.blocks if wraps else 0)
            kept = columns.variable((*name, "kept"), 0.0, float(self._stays(segment)))
            first = since + 1
            columns.entry(balance, kept, 1.0)
            columns.spans.add([since + 1], [end], [kept], share)
            if segment.must_be_fastest:
                behind = segment.uses[number - 1].behind_share
                columns.spans.add([since], [since + 1], [kept], share * behind)
                columns.spans.add([end], [end + 1], [kept], share * before)
        if number:
            row = columns.row((*name, "kept"), INFINITY)  # no more is kept than there was
            columns.entry(row, present[number - 1], 1.0)
            columns.entry(row, kept, -1.0)
        cost = size * (self.tie if self.is_timed else self.rates.in_cost)
        for block in self._arrivals(first, end, is_mandatory=segment.must_be_fastest):
            moved = columns.variable((*name, "arrives", names[block % self.blocks]), cost)
            columns.entry(balance, moved, 1.0)
            columns.spans.add([block], [end], [moved], share)
            if before and segment.must_be_fastest:
                columns.spans.add([end], [end + 1], [moved], share * before)
            seconds = size * self.rates.in_s
            self._spend(block % self.blocks, moved, seconds, apart=self._is_apart(segment))
        late = segment.uses[number].late_share
        if late and segment.must_be_fastest:  # during the step before
            moved = columns.variable((*name, "arrives inside", names[end]), cost, 0.0, late)
            columns.entry(balance, moved, 1.0)
            step_share = 1.0 / float(self.program.steps_in[end])
            columns.spans.add([end], [end + 1], [moved], share * step_share)
            self._spend(end, moved, size * self.rates.in_s)
        if segment.must_be_fastest:
            exposed = self._exposed(size, self.rates.in_s, cost)
            waited = columns.variable((*name, "exposed"), exposed)
            columns.entry(balance, waited, 1.0)
            self._wait(end % self.blocks, waited, exposed)
        return kept

    def _arrivals(self, first: int, end: int, *, is_mandatory: bool) -> Iterable[int]:
        """The blocks of [first, end) in which data may arrive that block `end` needs."""
        if is_mandatory:
            return (end - distance for distance in STEPS_AHEAD if end - distance >= first)
        window = max(first, end - WINDOW_BLOCKS)
        early = range(first, window)
        sparse = [early[len(early) * k // self.sparse] for k in range(self.sparse)] if early else []
        return dict.fromkeys([*sparse, *range(window, end)])

    def _exposed(self, size_bytes: float, seconds_per_byte: float, cost: float) -> float:
        """The cost of bytes that move between two blocks, while nothing computes.

        Args:
            size_bytes: the bytes.
            seconds_per_byte: of their transfer.
            cost: what they cost inside a block.
        """
        return size_bytes * seconds_per_byte if self.is_timed else cost

    def _add_stores(
        self, segment: CoarseSegment, write: int, present: Sequence[int], kept: Sequence[int]
    ) -> None:
        """What was written and is not kept for a reader must be at home by then."""
        columns, size = self.columns, segment.size_bytes
        since = segment.uses[write].block
        needs: list[tuple[int, int]] = []  # by which block, beside what is kept
        for reader in range(write + 1, len(segment.uses)):
            if segment.uses[reader].reads:
                needs.append((segment.uses[reader].block, kept[reader]))
            if segment.uses[reader].writes:
                break
        else:
            if segment.is_output:
                needs.append((self.blocks, -1))
        if not needs:
            return
        name = segment.name, write
        distances = STEPS_BEHIND if segment.must_be_fastest else range(1, 1 + SPILL_BLOCKS)
        cost = size * (self.tie if self.is_timed else self.rates.out_cost)
        stores: list[tuple[int, int]] = []
        share, use = segment.space_bytes / self.capacity, segment.uses[write]
        behind = use.behind_share if segment.must_be_fastest else 0.0
        for block in (since + distance for distance in distances):
            if block >= needs[-1][0]:
                break
            stored = columns.variable((*name, "stored", self.program.names[block]), cost)
            columns.spans.add([since + 1], [block + 1], [stored], share)
            if behind:
                columns.spans.add([since], [since + 1], [stored], share * behind)
            seconds = size * self.rates.out_s
            self._spend(block, stored, seconds, apart=self._is_apart(segment))
            stores.append((block, stored))
        if use.early_share and segment.must_be_fastest:  # during the step behind the last use
            stored = columns.variable((*name, "stored inside"), cost, 0.0, use.early_share)
            step_share = 1.0 / float(self.program.steps_in[since])
            columns.spans.add([since], [since + 1], [stored], share * step_share)
            self._spend(since, stored, size * self.rates.out_s)
            stores.append((since, stored))
        if segment.must_be_fastest:
            exposed = self._exposed(size, self.rates.out_s, cost)
            out = columns.variable((*name, "out"), exposed)
            stores.append((since, out))
            self._wait(since, out, exposed)
        for number, (by, keeps) in enumerate(needs):
            row = columns.row((*name, "home", number), INFINITY)
            columns.entry(row, present[write], -1.0)
            if keeps >= 0:
                columns.entry(row, keeps, 1.0)
            for block, stored in stores:
                if block < by:
                    columns.entry(row, stored, 1.0)

    def _exposed_all(self) -> float:
        """The cost of moving as much as the memory holds out and in while nothing computes."""
        rates = self.rates
        moved_s, cost = rates.in_s + rates.out_s, rates.in_cost + rates.out_cost
        return self._exposed(self.capacity, moved_s, self.capacity * cost)

    def _wait(self, block: int, variable: int, seconds: float) -> None:
        """Let a block wait for what a variable moves before it begins, or behind its end."""
        blocks, variables, waited = self.between
        blocks.append(block)
        variables.append(variable)
        waited.append(seconds)

    def _is_apart(self, segment: CoarseSegment) -> bool:
        """Whether a segment comes and goes through another port than that of the weights."""
        return self.weights_apart and self._stays(segment)

    def _spend(self, block: int, variable: int, seconds: float, *, apart: bool = False) -> None:
        """Let a variable take the slow port's time, or that of the port apart from it."""
        blocks, variables, spent = self.other_port if apart else self.port
        blocks.append(block)
        variables.append(variable)
        spent.append(seconds)

    def _access(
        self, block: int, variable: int, read: float, written: float, *, from_home: bool
    ) -> None:
        """Let a variable bring accesses of bytes to the fastest tier, or home if they were there.

        What is used up inside a block is counted where it is there (`from_home`); all else at home.
        """
        if not self.exposed:
            return
        rates = self.rates
        home_s = read * rates.read_s + written * rates.write_s
        fast_s = read * rates.fast_s[0] + written * rates.fast_s[1]
        self.unit_s[block] += self.exposed * fast_s if from_home else 0.0
        blocks, variables, spent = self.unit
        blocks.append(block)
        variables.append(variable)
        spent.append(self.exposed * (home_s - fast_s if from_home else fast_s - home_s))

    def solve(self, budget: Budget, start: NamedBasis | None) -> CoarseValue | None:
        """Solve it; None where it has no solution, or time is over first."""
        program, columns, blocks = self.program, self.columns, self.blocks
        home_s = float(np.maximum(program.compute_s, self.busy_s).sum())
        unit = 1.0
        if self.is_timed:
            unit = (home_s or 1.0) / blocks
        elif self.constant > 0:
            unit = self.constant / blocks
        lp = LinearProgram()
        room = (self.capacity - program.workspace_bytes) / self.capacity
        if self.limit_s is not None:
            room = -(program.workspace_bytes + program.excess_bytes) / self.capacity
        variables = lp.add_variables(
            len(columns.cost), np.array(columns.low), np.array(columns.high)
        )
        lp.add_cost(variables, np.array(columns.cost) / unit)
        capacity_rows = lp.add_rows(blocks, -INFINITY, room)
        inner = program.inner.space_bytes / self.capacity
        is_mandatory = any(segment.must_be_fastest for segment in program.segments)
        is_open = is_mandatory or self.limit_s is not None
        most = INFINITY if is_open else np.maximum(0.0, room + inner)
        load = lp.add_variables(blocks, 0.0, most)
        load_rows = lp.add_rows(blocks, 0.0, 0.0)
        lp.add_entries(capacity_rows, load, 1.0)
        if is_mandatory and self.limit_s is None:
            # Operands of which there is an estimate only may need a little more than there is.
            missing = lp.add_variables(blocks, 0.0, INFINITY)
            lp.add_cost(missing, MISSING_COST * self._exposed_all() / unit)
            lp.add_entries(capacity_rows, missing, -1.0)
        lp.add_entries(load_rows, load, -1.0)
        lp.add_entries(load_rows[1:], load[:-1], 1.0)
        taken, changes = columns.spans.entries(blocks, DIRECT_STEPS, 1 << 60)
        lp.add_entries(capacity_rows[taken[0]], taken[1], taken[2])
        lp.add_entries(load_rows[changes[0]], changes[1], changes[2])
        high = np.array(columns.row_high)
        rows = lp.add_rows(len(high), np.zeros(len(high)), high)
        lp.add_entries(
            rows[np.array(columns.rows, dtype=np.int64)],
            np.array(columns.columns, dtype=np.int64),
            np.array(columns.values),
        )
        elapsed = load[:0]
        if self.is_timed:
            elapsed = self._elapsed(lp, unit)
        size = over = load[:0]
        if self.limit_s is not None:
            size, over = self._limit(lp, capacity_rows, elapsed, self.limit_s / unit, unit)
        elif self.is_timed:
            lp.add_cost(elapsed, 1.0)
        left_s = budget.remaining_s()
        if left_s <= 0:
            return None
        solved = self._solved(lp, left_s, start, is_mandatory=is_mandatory)
        if solved is None:
            return None
        solution, named = solved
        prices = np.maximum(-solution.duals[capacity_rows], 0.0) * unit
        lost = np.zeros(blocks)
        if self.is_timed:
            lost = np.maximum(0.0, solution.values[elapsed] * unit - program.compute_s)
            at, late, seconds = self.between
            moved = solution.values[np.array(late, dtype=np.int64)]
            np.add.at(lost, np.array(at, dtype=np.int64), moved * np.array(seconds))
        value = solution.objective * unit + self.constant + program.overhead_s * self.is_timed
        if self.limit_s is not None:
            value = float(solution.values[size].sum())
            value += OVER_PRICE * float(solution.values[over].sum()) * unit / self.limit_s
            value *= self.capacity
        return CoarseValue(float(value), lost, prices, named)

    def _elapsed(self, lp: LinearProgram, unit: float) -> Ints:
        """The times of all blocks, in units: at least those of computing and of ports."""
        program, blocks = self.program, self.blocks
        compute = program.compute_s / unit
        inner_s = program.inner.read_bytes.sum() * self.rates.read_s
        inner_s += program.inner.written_bytes.sum() * self.rates.write_s
        longest = 2.0 * blocks + float(inner_s) / unit  # all of it at home, too
        if self.exposed:
            longest = longest + compute + self.unit_s / unit + self.exposed * inner_s / unit
        elapsed = lp.add_variables(blocks, compute, np.maximum(compute, longest))
        port = lp.add_rows(blocks, self.busy_s / unit, INFINITY)
        lp.add_entries(port, elapsed, 1.0)
        self._enter(lp, port, self.port, unit)
        if self.other_port[0]:
            other = lp.add_rows(blocks, 0.0, INFINITY)
            lp.add_entries(other, elapsed, 1.0)
            self._enter(lp, other, self.other_port, unit)
        if self.exposed:
            busy = lp.add_rows(blocks, compute + self.unit_s / unit, INFINITY)
            lp.add_entries(busy, elapsed, 1.0)
            self._enter(lp, busy, self.unit, unit)
        return elapsed

    def _solved(
        self, lp: LinearProgram, left_s: float, start: NamedBasis | None, *, is_mandatory: bool
    ) -> tuple[LpSolution, NamedBasis | None] | None:
        """The optimum within the seconds left, and where the solver stopped if there is a start.

        Measured on DenseNet-121: from nothing the dual method takes half as long as the primal one,
        which takes a twentieth from the basis of nearly the same program.
        """
        is_long = start is not None
        names, row_names = self._names(lp) if is_long else ([], [])
        basis = None if start is None else start.on(names, row_names)
        frozen, until = lp.frozen(), time.monotonic() + left_s
        is_dual = is_long and basis is None and not is_mandatory
        solution = None
        # Either method may end imprecisely; then the other one is asked.
        for solver in (GLOP_DUAL, GLOP) if is_dual else (GLOP, GLOP_DUAL):
            left_s = until - time.monotonic()
            if solution is None and left_s > 0:
                solution = solve_lp(
                    frozen,
                    solver=solver,
                    time_limit_s=None if math.isinf(left_s) else left_s,
                    start=basis,
                    with_basis=is_long,
                )
        if solution is None:
            return None
        ended = solution.basis
        return solution, None if ended is None else NamedBasis.of(ended, names, row_names)

    def _names(self, lp: LinearProgram) -> tuple[list[int], list[int]]:
        """Names of all variables and rows: those of what blocks have are of block and number."""
        blocks, columns = self.program.names, self.columns

        def rest(first: int, last: int) -> Iterable[int]:
            return (hash((k // self.blocks, blocks[k % self.blocks])) for k in range(first, last))

        count = len(columns.names)
        names = [*columns.names, *rest(0, lp.variables - count)]
        first, count = 2 * self.blocks, len(columns.row_names)
        rows = [*rest(0, first), *columns.row_names, *rest(first, lp.rows - count)]
        return names, rows

    @staticmethod
    def _enter(
        lp: LinearProgram,
        rows: Ints,
        port: tuple[list[int], list[int], list[float]],
        unit: float,
    ) -> None:
        """Enter what variables spend of a port's time."""
        at, spenders, seconds = port
        if at:
            lp.add_entries(rows[np.array(at)], np.array(spenders), -np.array(seconds) / unit)

    def _limit(
        self, lp: LinearProgram, capacity_rows: Ints, elapsed: Ints, limit: float, unit: float
    ) -> tuple[Ints, Ints]:
        """Minimise the size of the memory, under a limit of the latency.

        Args:
            lp: the program.
            capacity_rows: (B,) rows: what lies in memory in each block, in capacities.
            elapsed: (B,) variables: time of each block, in units.
            limit: of the latency, in units.
            unit: seconds that count as 1.

        Returns:
            The variable of the size, in capacities, and that of what is above the limit.
        """
        weight = float(self.blocks)  # against the small costs of bytes that are moved
        size, over = lp.add_variables(1, 0.0, INFINITY), lp.add_variables(1, 0.0, INFINITY)
        lp.add_cost(size, weight)
        lp.add_cost(over, weight * OVER_PRICE / limit)
        lp.add_entries(capacity_rows, np.repeat(size, self.blocks), -1.0)
        row = lp.add_rows(1, -INFINITY, limit - self.program.overhead_s / unit)
        lp.add_entries(np.repeat(row, self.blocks), elapsed, 1.0)
        lp.add_entries(row, over, -1.0)
        return size, over


def coarse_value(
    program: CoarseProgram,
    target: Target,
    objective: str,
    budget: Budget,
    *,
    steady_state: bool,
    limit_s: float | None = None,
    weights_apart: bool = False,
    start: NamedBasis | None = None,
) -> CoarseValue | None:
    """Solve the LP of a coarse program; None where it has no solution, or time is over first.

    Args:
        program: the blocks.
        target: a chip of two tiers.
        objective: `latency` (s), `traffic` (bytes), `energy` (J), or with a limit `peak` (bytes).
        budget: the time.
        steady_state: inferences repeat for ever.
        limit_s: of the latency; the value is then the size of the smallest memory which whatever
            is no weight need not leave between its first and its last use.
        weights_apart: under a limit, weights come through another port than inputs.
        start: of programs that take seconds: where the solver stopped with one that is nearly the
            same; an empty basis where there is none yet.
    """
    lp = _CoarseLp(
        program,
        target,
        objective,
        limit_s,
        steady_state=steady_state,
        weights_apart=weights_apart,
    )
    return lp.solve(budget, start)
