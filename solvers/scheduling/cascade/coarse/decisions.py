"""What the LP of a coarse program decides, segment by segment, before it is solved.

Between blocks it decides as `fluid` does (`fluid.two_tier.model` explains it): what is kept from
use to use, what is fetched when, what is stored.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ullage.compiler.ir.target import Target
from ullage.solvers.fluid.two_tier.builder import TIE_BREAK
from ullage.solvers.fluid.two_tier.pending import Spans
from ullage.solvers.lp.program import INFINITY
from ullage.solvers.scheduling.cascade.coarse.program import CoarseProgram, CoarseSegment

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


class Decisions:
    """What the LP of a coarse program decides: columns of segments and of what blocks use up."""

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

    def exposed_all(self) -> float:
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
