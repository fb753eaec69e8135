"""`msa`: XLA's memory-space assignment, re-stated.

The production allocator that the paper on mallocMuZero (arXiv 2305.07440, section 2.3) is measured
against. Tensors are taken in the order of their memory-boundedness: the time that their uses lose
in slow memory, over the square root of the room (bytes x steps) they take. For each use of a
tensor, in program order, the first choice that works is final:

- no copy: the tensor is in fast memory since its definition or previous use and is kept, at the
  same address where possible (pinned, when that holds for all uses);
- prefetch: it is copied in before the use. The copy must fit between computation: the steps it
  overlaps take `min_overlap_ratio` to `max_overlap_ratio` times as long as the copy, near
  `preferred_overlap_ratio` first, with idle link time for every byte;
- otherwise the operator uses slow memory. Where a tensor leaves fast memory and is needed later, it
  is evicted: copied out after its definition.

Offsets are best fit at the time of the decision; when no hole is left but bytes are, everything is
repacked (`max_repacks` times). There is no backtracking; a second sweep offers what is left over
to the uses that are still served by slow memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import overhead_seconds
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics.msa_addresses import Addresses
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.parameters import parameter
from ullage.solvers.state.build_plan import SegmentResidency, assemble
from ullage.solvers.state.busy_time import spread
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of
from ullage.solvers.state.span_lookup import UseSpan

# Steps before a use in which starts of a prefetch are looked for at first.
FIRST_LOOK_STEPS = 256


@dataclass(frozen=True)
class MsaOptions:
    """Parameters of `msa`; the overlap ratios are XLA's."""

    min_overlap_ratio: float = parameter(
        1.0, "least computing time beside a prefetch, in times of its own duration", least=0
    )
    preferred_overlap_ratio: float = parameter(
        1.5, "computing time beside a prefetch that is tried first", least=1e-9
    )
    max_overlap_ratio: float = parameter(
        100.0,
        "most computing time beside a prefetch: earlier it would take space for nothing",
        least=0,
    )
    min_hidden_fraction: float = parameter(
        1.0, "share of a prefetch's bytes that must find idle time of the link", least=0, most=1
    )
    sweeps: int = parameter(2, "passes over all tensors", least=1)
    max_prefetch_starts: int = parameter(32, "starts that are tried for each prefetch", least=1)
    max_run_ends: int = parameter(64, "lengths of a residency that are tried at each use", least=1)
    max_repacks: int = parameter(
        10, "times that all addresses are chosen anew where one finds no hole", least=0
    )
    spill_window_steps: int = parameter(
        64, "steps after a use in which its write-back may end", least=1
    )


def solve(problem: Problem, options: MsaOptions, budget: Budget) -> Solution:
    """Plan by memory-space assignment; see the module's description.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    state, notes = assign(problem, options, budget)
    return Solution(
        assemble(
            problem, state.segments, [residency for _, _, residency in state.all_residencies()]
        ),
        stop_reason="time limit" if budget.is_over() else "finished",
        notes=tuple(notes),
    )


def assign(
    problem: Problem, options: MsaOptions, budget: Budget
) -> tuple[ResidencyState, list[str]]:
    """The residencies of memory-space assignment, with addresses, and notes on limits met.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    state = ResidencyState(problem, segments_of(problem))
    assignment = _Assignment(state, options, budget)
    queue = _by_memory_boundedness(state)
    notes: list[str] = []
    for _ in range(options.sweeps):
        before = state.mark()
        for index in queue:
            if budget.remaining_s() <= 0:
                break  # what is decided is legal as it stands
            assignment.assign(index)
        if state.mark() == before:
            break
    if budget.remaining_s() <= 0:
        notes.append("msa: the time limit ended the assignment early")
    if assignment.has_skipped_ends:
        notes.append(
            f"msa: of buffers with more than {options.max_run_ends} further uses only some "
            "lengths of residencies were tried (parameter max_run_ends)"
        )
    return state, notes


def _by_memory_boundedness(state: ResidencyState) -> list[int]:
    """Segments, those first whose uses lose most time to slow memory for the room they take.

    XLA divides the benefit by the square root of the size; here lifetime counts like size (2 %
    better in the geometric mean over eight models and four capacities).
    """
    busy_time = state.busy_time
    keys: list[tuple[float, float, int]] = []
    for index, segment in enumerate(state.segments):
        if (
            not segment.size_bytes
            or not segment.accesses
            or segment.home == state.target.fastest.name
        ):
            continue
        lost = 0.0
        moved = 0.0
        for access in segment.accesses:
            seconds = busy_time.operand_seconds(
                segment.home, access.read_bytes, access.written_bytes
            )
            rest = busy_time.busy_without(access.step, segment.home, seconds)
            lost += max(0.0, float(busy_time.busy_s[access.step]) - rest)
            moved += access.read_bytes + access.written_bytes
        lifetime = segment.accesses[-1].step - segment.accesses[0].step + 1
        weight = math.sqrt(segment.size_bytes * lifetime)
        keys.append((-lost / weight, -moved / weight, index))
    return [index for _, _, index in sorted(keys)]


class _Assignment:
    """The decisions so far, with addresses."""

    def __init__(self, state: ResidencyState, options: MsaOptions, budget: Budget) -> None:
        self.state = state
        self.options = options
        self.budget = budget
        self.has_skipped_ends = False
        self.overhead_s = overhead_seconds(state.problem)
        place_residencies(state)  # what operators cannot do without has its place first
        self.addresses = Addresses(state, options.max_repacks)

    def assign(self, index: int) -> None:
        """Decide how each use of a segment is served, in program order."""
        segment = self.state.segments[index]
        position = 0
        while position < len(segment.accesses):
            span = self.state.span_of(index, position)
            access = segment.accesses[position]
            if span is None and access.reads:
                self._prefetch(index, position)
                span = self.state.span_of(index, position)
            if span is not None or not access.reads:
                span = self._no_copy(index, position, span) or span
            position = position + 1 if span is None else span[1] + 1

    def _no_copy(self, index: int, position: int, span: UseSpan | None) -> UseSpan | None:
        """Extend a use span (or begin one at a definition) over as many uses as possible."""
        segment = self.state.segments[index]
        low = span[0] if span is not None else position
        reached = span[1] if span is not None else position
        for high in self._span_ends(reached, len(segment.accesses) - 1):
            if self.budget.remaining_s() <= 0:
                return None  # what is decided is legal as it stands
            old = self.state.lookup.between(index, low, high)
            if old and old[-1][1] > high:
                continue  # would cut a residency in two
            if self._try(index, (low, high), old):
                return low, high
        return None

    def _span_ends(self, reached: int, last: int) -> Sequence[int]:
        """Last accesses to try for a longer use span, the furthest first.

        All of them where they are few, else at distances from `reached` that halve: a segment of
        many uses would take the cube of their number.
        """
        if last - reached <= self.options.max_run_ends:
            return range(last, reached, -1)
        self.has_skipped_ends = True
        halvings = range((last - reached).bit_length())
        return [reached + ((last - reached) >> k) for k in halvings]

    def _try(self, index: int, span: UseSpan, old: list[UseSpan]) -> bool:
        """Replace use spans of a segment by one, if it fits, helps, and finds an address."""
        state = self.state
        before = state.mark()
        removed = [(begin, *state.remove(index, begin)) for begin, _ in old]
        window = self.options.spill_window_steps
        residency = state.propose(index, *span, window=window)
        if residency is not None and self._commit(index, span, residency, removed, before):
            return True
        for begin, end, kept in removed:
            state.add(index, begin, end, kept)
        return False

    def _commit(
        self,
        index: int,
        span: UseSpan,
        residency: SegmentResidency,
        removed: list[tuple[int, int, SegmentResidency]],
        before: tuple[float, float],
    ) -> bool:
        """Add a residency if latency falls and an address is found."""
        state = self.state
        size = state.aligned_bytes(state.segments[index])
        if not state.fits(size, residency.start, residency.end):
            return False
        state.add(index, *span, residency)
        if state.improved_since(before) and self.addresses.place(index, span, removed):
            return True
        state.remove(index, span[0])
        return False

    def _prefetch(self, index: int, position: int) -> None:
        """Copy in before a use, near the preferred overlap first."""
        state = self.state
        before = state.mark()
        size = state.aligned_bytes(state.segments[index])
        for start in self._prefetch_starts(index, position):
            if not state.fits(size, start, state.segments[index].accesses[position].step + 1):
                continue
            residency = self._prefetch_from(index, position, start)
            if residency is None or not state.fits(size, residency.start, residency.end):
                continue
            state.add(index, position, position, residency)
            helps = state.improved_since(before)
            if helps and self.addresses.place(index, (position, position), []):
                return
            state.remove(index, position)
            if not helps:
                return  # all of the copy is hidden: another start gains as little

    def _prefetch_starts(self, index: int, position: int) -> list[int]:
        """Steps at which a prefetch may begin, by distance from the preferred overlap ratio."""
        state, options = self.state, self.options
        segment = state.segments[index]
        target = state.target
        link = target.link(segment.home, target.fastest.name)
        if link is None:
            return []
        rate = min(link.bandwidth_bytes_per_s, target.tier(segment.home).read_bytes_per_s)
        copy_s = link.setup_s + segment.size_bytes / rate
        use = segment.accesses[position].step
        low = state.free_from(index, position)
        furthest = options.max_overlap_ratio
        ratios = self._elapsed(low, use, furthest * copy_s) / copy_s
        allowed = np.flatnonzero((ratios >= options.min_overlap_ratio) & (ratios <= furthest))
        distance = np.abs(np.log(ratios[allowed] / options.preferred_overlap_ratio))
        nearest = allowed[np.argsort(distance, kind="stable")]
        return [use - 1 - int(back) for back in nearest[: options.max_prefetch_starts]]

    def _elapsed(self, low: int, use: int, enough_s: float) -> NDArray[np.float64]:
        """Seconds from each step to a use, backwards to step `low` or until there are enough."""
        steps = FIRST_LOOK_STEPS
        while True:
            window = slice(max(low, use - steps), use)
            busy_s = self.state.busy_time.busy_s[window] + self.overhead_s[window]
            elapsed = busy_s[::-1].cumsum()
            if window.start == low or elapsed[-1] > enough_s:
                return elapsed
            steps *= 4

    def _prefetch_from(self, index: int, position: int, start: int) -> SegmentResidency | None:
        """The residency of a prefetch that begins at a step, None without idle time."""
        state = self.state
        segment = state.segments[index]
        use = segment.accesses[position].step
        fastest = state.target.fastest.name
        room = state.busy_time.room_bytes(segment.home, fastest, start, use)
        if int(room.sum()) < self.options.min_hidden_fraction * segment.size_bytes:
            return None
        fill = spread(segment.size_bytes, room, start, late=False)
        if fill[-1][0] < state.used_before(index, position):
            return None  # here before an earlier use, for which it was not worth it
        end = use + 1
        spill: tuple[tuple[int, int], ...] = ()
        if state.needs_spill(index, position, position):
            proposed = state.propose(index, position, position)
            if proposed is None:
                return None
            spill, end = proposed.spill, proposed.end
        return SegmentResidency(index, fill[0][0], fill[-1][0] + 1, end, fill, spill)


SOLVER = Solver(
    "msa", "XLA's memory-space assignment re-stated: the production baseline", solve, MsaOptions
)
