"""What is in the fastest tier when: the decisions of a heuristic, their load, and their cost.

A decision is a use span, first to last access of a segment that operators find in the fastest tier
without a break. Each span has a residency, which begins earlier where the data must be fetched and
may end later where it must be stored:

    accesses    a0 ......... a1 ..... a2 ............ a3
    served at   home         fastest  fastest         home
    use span                 [a1      a2]
    residency        |-------|==========|--------|
                     fill     operators   spill
               start     ready                 end

Accesses outside all spans go to the home tier. Addresses come later (`place`); here only the sum of
live bytes counts.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.problem import Problem
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import BusyTime, byte_price
from ullage.solvers.state.infeasibility import padding_on_top, step_refusal
from ullage.solvers.state.required import arrivals_of, resident_residency, single_residency
from ullage.solvers.state.segments import Segment
from ullage.solvers.state.span_lookup import SpanLookup, UseSpan

# Latencies that differ by less than this share are equal; rounding errors of the sum that is kept
# up to date stay far below.
RELATIVE_TOLERANCE = 1e-10


class ResidencyState:
    """The use spans during which segments are in the fastest tier, with load and busy time.

    Attributes:
        problem: the problem.
        segments: the segments of the problem.
        busy_time: busy seconds of the plan so far.
        load_bytes: (T,) live bytes in the fastest tier at each step, aligned, workspace included.
        residencies: for each segment, first access of a use span -> (last access, residency).
        lookup: finds the use span around, before or behind an access.
        untouched: segments that no search decides about, beside residents of the fastest tier.
    """

    def __init__(
        self,
        problem: Problem,
        segments: Sequence[Segment],
    ) -> None:
        target = problem.target
        self.problem = problem
        self.objective = problem.objective
        self.byte_price = byte_price(problem)
        self.target = target
        self.segments = segments
        self.busy_time = BusyTime(problem)
        self.steps = len(problem.steps)
        self.load_bytes: NDArray[np.int64] = np.array(
            [step.workspace_bytes for step in problem.steps], dtype=np.int64
        )
        self.residencies: list[dict[int, tuple[int, SegmentResidency]]] = [{} for _ in segments]
        self.untouched: set[int] = set()
        self.look_anew()
        for segment in segments:
            for access in segment.accesses:
                self.busy_time.add_operand(
                    segment.home, access.step, access.read_bytes, access.written_bytes
                )
        self._settle_mandatory()

    def look_anew(self) -> None:
        """Forget what was looked up: somebody has changed the residencies themselves."""
        self.lookup = SpanLookup(self.residencies, self.segments)

    # -- sizes -------------------------------------------------------------------------------

    def aligned_bytes(self, segment: Segment) -> int:
        """Bytes that a segment takes in the fastest tier."""
        unit = self.target.fastest.alignment_bytes
        return -(-segment.size_bytes // unit) * unit

    def fits(self, size: int, low: int, high: int) -> bool:
        """Whether `size` more bytes fit during steps [low, high)."""
        if low >= high:
            return True
        return int(self.load_bytes[low:high].max()) + size <= self.target.fastest.capacity_bytes

    # -- changes -----------------------------------------------------------------------------

    def add(self, index: int, first: int, last: int, residency: SegmentResidency) -> None:
        """Keep segment `index` in the fastest tier during accesses first..last.

        Args:
            index: the segment.
            first: first access of the use span.
            last: last access of the use span.
            residency: the residency.
        """
        self._account(index, first, last, residency, 1)
        self.residencies[index][first] = (last, residency)
        self.lookup.added(index, first)

    def remove(self, index: int, first: int) -> tuple[int, SegmentResidency]:
        """Undo `add`; returns what it was."""
        last, residency = self.residencies[index].pop(first)
        self.lookup.removed(index, first)
        self._account(index, first, last, residency, -1)
        return last, residency

    def replace_all(self, spans: Iterable[tuple[int, int, SegmentResidency]]) -> None:
        """Have these residencies and no others: (first access, last access, residency).

        Segments that live in the fastest tier have theirs in any case; it only gets its address.
        """
        fastest = self.target.fastest.name
        for index, segment in enumerate(self.segments):
            for first in list(self.residencies[index]) if segment.home != fastest else ():
                self.remove(index, first)
        for first, last, residency in spans:
            index = residency.segment
            if self.segments[index].home == fastest:
                self.residencies[index][0] = (last, residency)
            else:
                self.add(index, first, last, residency)

    def _account(
        self, index: int, first: int, last: int, residency: SegmentResidency, sign: int
    ) -> None:
        segment = self.segments[index]
        self.load_bytes[residency.start : residency.end] += sign * self.aligned_bytes(segment)
        fastest = self.target.fastest.name
        for access in segment.accesses[first : last + 1]:
            read, written = sign * access.read_bytes, sign * access.written_bytes
            self.busy_time.add_operand(segment.home, access.step, -read, -written)
            self.busy_time.add_operand(fastest, access.step, read, written)
        self._account_moves(segment, residency, sign)

    def _account_moves(self, segment: Segment, residency: SegmentResidency, sign: int) -> None:
        fastest = self.target.fastest.name
        if residency.fill:
            self.busy_time.add_moves(segment.origin, fastest, residency.fill, sign)
        if residency.spill:
            self.busy_time.add_moves(fastest, segment.origin, residency.spill, sign)

    def mark(self) -> tuple[float, float]:
        """Latency and slow-tier bytes now, for `improved_since`."""
        return self.busy_time.total_s, self.busy_time.slow_bytes

    def improved_since(self, before: tuple[float, float]) -> bool:
        """Whether latency fell, or stayed with less slow traffic; other objectives: the traffic."""
        seconds, moved = self.busy_time.total_s, self.busy_time.slow_bytes
        tolerance = RELATIVE_TOLERANCE * before[0]
        seconds += self.byte_price * (moved - before[1])
        less = moved < before[1] - 0.5
        if self.objective != "latency":
            return less
        return seconds < before[0] - tolerance or (seconds <= before[0] + tolerance and less)

    def worse_than(self, before: tuple[float, float]) -> bool:
        """Whether the objective (latency; for others the slow traffic) has grown since `mark`."""
        if self.objective != "latency":
            return self.busy_time.slow_bytes > before[1] + 0.5
        paid = self.byte_price * (self.busy_time.slow_bytes - before[1])
        return self.busy_time.total_s + paid > before[0] * (1 + RELATIVE_TOLERANCE)

    # -- looking things up -------------------------------------------------------------------

    def span_of(self, index: int, access: int) -> UseSpan | None:
        """The use span that covers an access, None when the operator goes to the home tier."""
        return self.lookup.of(index, access)

    def needs_spill(self, index: int, first: int, last: int) -> bool:
        """Whether a use span must leave a copy at home when it ends."""
        segment = self.segments[index]
        followed = last + 1 < len(segment.accesses)
        wanted = segment.accesses[last + 1].reads if followed else segment.is_output
        if not wanted:
            return False
        wrote = self.lookup.last_write(index, first, last) is not None
        return wrote or not self.lookup.at_home_after(index, first)

    def free_from(self, index: int, first: int) -> int:
        """First step at which a fill before access `first` may move."""
        step = 0
        older = self.lookup.before(index, first)
        if older is not None:  # residencies follow one another: the latest ends last
            step = max(older.end, older.spill[-1][0] + 1 if older.spill else 0)
        writer = self.lookup.last_write(index, 0, first - 1)
        return step if writer is None else max(step, self.segments[index].accesses[writer].step + 1)

    # -- what operators cannot do without ----------------------------------------------------

    def _settle_mandatory(self) -> None:
        """Residencies without which no plan is legal, and the proof that they fit."""
        for index, segment in enumerate(self.segments):
            if not segment.size_bytes:
                continue
            if segment.home == self.target.fastest.name:
                arrivals = arrivals_of(self.problem)
                residency = resident_residency(self.problem, index, segment, arrivals)
                if residency is not None:
                    self.load_bytes[residency.start : residency.end] += self.aligned_bytes(segment)
                    self.residencies[index][0] = (len(segment.accesses) - 1, residency)
                    self._account_moves(segment, residency, 1)
            elif segment.must_be_fastest:
                for position in range(len(segment.accesses)):
                    self.add_single(index, position)
        worst, most = self.target.fastest.capacity_bytes, None
        for step, here in self._above_capacity():
            if int(self.load_bytes[step]) <= worst:
                break  # no step that follows has more, padding included
            present = [
                self.segments[index] for index in dict.fromkeys(r.segment for _, _, r in here)
            ]
            needed = int(self.load_bytes[step]) - self._padding_on_top(present)
            if needed > worst:
                worst, most = needed, (step, present)
        if most is not None:
            raise step_refusal(self.problem, most[0], worst, most[1])

    def _above_capacity(self) -> Iterator[tuple[int, list[tuple[int, int, SegmentResidency]]]]:
        """Steps whose aligned load is above the capacity, the fullest first; and what is there."""
        above = np.flatnonzero(self.load_bytes > self.target.fastest.capacity_bytes)
        if not len(above):
            return
        listed = self.all_residencies()
        starts = np.array([residency.start for _, _, residency in listed])
        ends = np.array([residency.end for _, _, residency in listed])
        for step in above[np.argsort(-self.load_bytes[above], kind="stable")].tolist():
            there = np.flatnonzero((starts <= step) & (step < ends))
            yield step, [listed[at] for at in there.tolist()]

    def _padding_on_top(self, present: Iterable[Segment]) -> int:
        """Bytes that the load counts and that one of some segments can do without: the last one."""
        unit = self.target.fastest.alignment_bytes
        return padding_on_top((segment.size_bytes for segment in present), unit)

    def unpadded_tops(self) -> set[tuple[int, int]]:
        """(segment, first access) of residencies that lie on top where space for padding lacks.

        A step may hold a little more than the capacity, counted in whole alignments: the padding
        behind the topmost segment is no part of the memory. Of each such step the residency with
        the most padding.
        """
        unit = self.target.fastest.alignment_bytes
        tops: set[tuple[int, int]] = set()
        for _, here in self._above_capacity():
            first, _, top = max(here, key=lambda s: -self.segments[s[2].segment].size_bytes % unit)
            tops.add((top.segment, first))
        return tops

    def add_single(self, index: int, position: int) -> None:
        """The residency that an operator cannot do without, for one access."""
        leaves = self.needs_spill(index, position, position)
        segment = self.segments[index]
        residency = single_residency(self.problem, index, segment, position, spills=leaves)
        self.add(index, position, position, residency)

    # -- addresses ---------------------------------------------------------------------------

    def all_residencies(self) -> list[tuple[int, int, SegmentResidency]]:
        """(first access, last access, residency) of all that is ever in the fastest tier."""
        return [
            (first, last, residency)
            for spans in self.residencies
            for first, (last, residency) in sorted(spans.items())
        ]

    def place(self, index: int, first: int, offset: int) -> None:
        """Give a residency its address."""
        last, residency = self.residencies[index][first]
        self.residencies[index][first] = (last, replace(residency, offset=offset))
