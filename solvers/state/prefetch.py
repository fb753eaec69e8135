"""Transfers of operands that must be in the fastest tier, beside computing instead of before it.

Solvers that decide what stays where leave each such operand with the shortest residency that is
legal: fetched in the DMA-only step before its use, stored in the one behind. Here these transfers
are spread over idle steps around, as far as there is room:

1. each where it stands, in the order of uses, with the latest idle steps first;
2. all of them anew, from their shortest form, in the order of uses or from the last use to the
   first, each with the earliest or the latest idle steps first;
3. where a search is asked for, instead: a few of them in another order, time and again
   (`solvers/engine/fetching.py`), then the same with addresses.

In 2 and 3 live bytes count. The packer gives addresses; what sticks out of the memory is fetched
right before its use after all. Some memory is left free for its sake in second and third tries.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.kernel_cache import is_compiled
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.engine.fetching import (
    DRAWN,
    EARLY,
    FAILED,
    LATE,
    LIST_WIDTH,
    NEXT,
    PLACE,
    RESTORE,
    SEARCH,
    SEARCH_SLOTS,
    SHORTEN,
    work_on,
)
from ullage.solvers.engine.tables import (
    ACCESS_SEGMENT,
    ACCESS_STEP,
    ACCESSES,
    ADDRESSES,
    BUSY_S,
    CAPACITY,
    COUNTS,
    FILL,
    LISTED,
    LIVE,
    SIZES,
    SLOT_ALIGNED,
    SLOT_END,
    SLOT_LAST,
    SLOT_MOVES,
    SLOT_PLACE,
    SLOT_START,
    SPILL,
    TOTALS,
    WORK,
    Tables,
)
from ullage.solvers.state.build_plan import SegmentResidency, with_accesses
from ullage.solvers.state.decisions import decisions_of, read_decisions
from ullage.solvers.state.engine_tables import Needs, movable
from ullage.solvers.state.greedy_moves import retime
from ullage.solvers.state.kernels import COMPILE_S, ChosenKernel, choose_kernel
from ullage.solvers.state.place import pack_once, place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Segment

# Steps before a use in which it may be fetched where it stands, and behind it in which it may be
# stored.
WINDOW_STEPS = 192
# How often all transfers are tried: the room that one leaves may be what another waits for.
PASSES = 3
# Orders of uses, from the first (1) or from the last (-1), and the ways of fills that are tried.
ORDERS = ((1, EARLY), (1, LATE), (-1, LATE))
# Most residencies x steps for which kernels are not compiled.
PLAIN_LOOKS = 10_000
# Most residencies x steps before their uses in which their fills may begin.
MOST_LOOKS = 20_000_000
# Most residencies that get addresses one by one.
MOST_ADDRESSED = 5_000
# Most residencies with transfers of a search: each takes 2 KiB.
MAX_SEARCHED = 20_000
# Units of work of a search: for each residency, and at most.
SLOT_WORK, SEARCH_WORK = 300_000, 20_000_000
# Slices of a search, between which temperature falls and the clock is looked at.
SLICES = 60
# Temperatures at the beginning of a search, of one with addresses, and at their ends, as shares of
# the latency.
HOT, WARM, COOL = 2e-3, 1e-4, 5e-6
# How often residencies that stick out of the memory are shortened and all are packed anew.
REPAIRS = 3
# Shares of the memory that are left free, one after the other, while addresses cost more than ...
SLACK_SHARES = (0.0, 0.03, 0.08)
# ... this share of the latency.
NEAR = 1e-3


def has_fetches(problem: Problem, segments: Sequence[Segment]) -> bool:
    """Whether latency depends on when operands arrive that must be in the fastest tier."""
    fastest = problem.target.fastest.name
    return problem.objective == "latency" and any(
        segment.must_be_fastest and segment.home != fastest for segment in segments
    )


def prefetched(
    state: ResidencyState, budget: Budget, *, searches: bool = False, seed: int = 0
) -> ResidencyState:
    """The decisions with better times of mandatory transfers, placed; as given where none is.

    Args:
        state: decisions with addresses; unchanged.
        budget: the time.
        searches: search for an order of fetches, if there is time to compile kernels.
        seed: of the search.
    """
    if not has_fetches(state.problem, state.segments):
        return state
    must = {
        index
        for index, segment in enumerate(state.segments)
        if segment.must_be_fastest and segment.home != state.target.fastest.name
    }
    if state.untouched:  # the tables do not know where they lie
        return _best([state, *_where_they_stand(state, must, budget)])
    if searches and (budget.remaining_s() > COMPILE_S or is_compiled(work_on)):
        best = _best([state, *_searched(state, must, budget, seed)])
        return (
            best if best is not state else _best([state, *_where_they_stand(state, must, budget)])
        )
    best = _best([state, *_where_they_stand(state, must, budget)])
    return _best([best, *_in_orders(best, must, budget)])


def prefetched_residencies(
    problem: Problem,
    segments: Sequence[Segment],
    residencies: Sequence[SegmentResidency],
    budget: Budget,
    *,
    searches: bool = False,
    seed: int = 0,
) -> list[SegmentResidency]:
    """`prefetched` for residencies with addresses, of all segments."""
    state = ResidencyState(problem, segments)
    state.replace_all(with_accesses(segments, residencies))
    better = prefetched(state, budget, searches=searches, seed=seed)
    if better is state:
        return list(residencies)
    return [residency for _, _, residency in better.all_residencies()]


def _best(states: Iterable[ResidencyState]) -> ResidencyState:
    """The best of placed decisions, the first of equals."""
    best, *others = states
    for other in others:
        if other.improved_since(best.mark()):
            best = other
    return best


def _where_they_stand(
    state: ResidencyState, must: Collection[int], budget: Budget
) -> Iterator[ResidencyState]:
    """Each transfer where it stands, placed; again while that helps."""
    best = state
    for _ in range(PASSES):
        if budget.is_over():
            return
        other = _copy(best)
        retime(other, WINDOW_STEPS, budget, must)
        try:
            place_residencies(other, budget.is_over)
        except InfeasibleError:  # longer residencies lie where others must: these stand
            return
        if not other.improved_since(best.mark()):
            return
        best = other
        yield other


@dataclass(frozen=True)
class _Fetches:
    """Residencies with mandatory transfers in the engine's tables.

    Attributes:
        tables: all decisions.
        slots: (N,) of these residencies, in the order of their first uses.
        listed: of all residencies that are not there for good.
        capacity_bytes: of the fastest tier.
        chosen: (LIST_WIDTH,) list of the kernels.
        best: (1,) busy seconds of the best decisions of a search.
    """

    tables: Tables
    slots: Ints
    listed: Ints
    capacity_bytes: int
    chosen: Ints
    best: Floats

    @property
    def busy_s(self) -> float:
        """Busy seconds of the decisions now."""
        return float(self.tables.seconds[TOTALS, BUSY_S])

    def leave_addresses(self, share: float) -> None:
        """Let live bytes alone count, with a share of the memory left free."""
        sizes = self.tables.ints[SIZES]
        sizes[ADDRESSES] = 0
        sizes[CAPACITY] -= round(share * sizes[CAPACITY])

    def place(self, kernel: ChosenKernel, task: int, direction: int, budget: Budget) -> None:
        """Place all transfers one after the other, as long as there is time.

        Args:
            kernel: for `work_on`.
            task: EARLY, LATE or SHORTEN.
            direction: 1 for the order of uses, -1 for the opposite one.
            budget: the time; shortest transfers are taken whatever it is.
        """
        slots = np.ascontiguousarray(self.slots[::direction])
        self.chosen[NEXT] = 0
        while self.chosen[NEXT] < len(slots) and (task == SHORTEN or not budget.is_over()):
            until = int(self.tables.state[COUNTS, WORK]) + kernel.slice_work
            kernel.call(self.tables, slots, self.chosen, self.best, task, until, 0.0)

    def search(self, hot: float, budget: Budget, seed: int) -> None:
        """Search for an order; the tables have the best decisions afterwards.

        Args:
            hot: temperature in the beginning, as a share of the latency.
            budget: the time.
            seed: of the search.
        """
        t, slots, chosen, best = self.tables, self.slots, self.chosen, self.best
        chosen[DRAWN] = 1 + seed % 2147483646
        best[0] = math.inf
        work = min(SEARCH_WORK, SLOT_WORK * len(slots)) // SLICES
        begun_s = self.busy_s
        for number in range(SLICES):
            if budget.is_over():
                break
            heat = begun_s * hot * (COOL / hot) ** (number / (SLICES - 1))
            until = int(t.state[COUNTS, WORK]) + work
            work_on(t, slots, chosen, best, SEARCH, until, heat)
        if math.isfinite(best[0]):
            work_on(t, slots, chosen, best, RESTORE, 0, 0.0)

    def give_addresses(self, kernel: ChosenKernel) -> bool:
        """Give all residencies addresses one by one, in the best of some orders.

        What finds none is fetched right before its use after all, which may cost time.

        Returns:
            False, with the decisions unchanged, where there are too many or one has no place.
        """
        t, slots = self.tables, self.listed
        if len(slots) > MOST_ADDRESSED:
            return False
        sizes = t.ints[SLOT_ALIGNED, slots]
        steps = t.state[SLOT_END, slots] - t.state[SLOT_START, slots]
        begun, best_s = _decided(t), math.inf
        best = begun
        for key in (-sizes, -sizes * steps, -steps, t.state[SLOT_START, slots]):
            _decide(t, begun)
            t.ints[SIZES, ADDRESSES] = self.capacity_bytes
            order = slots[np.lexsort((-sizes, key))]
            self.chosen[NEXT] = 0
            while self.chosen[NEXT] < len(order):
                until = int(t.state[COUNTS, WORK]) + kernel.slice_work
                kernel.call(t, order, self.chosen, self.best, PLACE, until, 0.0)
            if self.chosen[NEXT] != FAILED and self.busy_s < best_s:
                best_s, best = self.busy_s, _decided(t)
        _decide(t, best)
        return math.isfinite(best_s)

    def decided_from(self, state: ResidencyState) -> ResidencyState:
        """The decisions of the tables, which were made of a state, as a state of their own."""
        other = _copy(state)
        read_decisions(other, self.tables)
        return other


def _fetches_of(state: ResidencyState, must: Collection[int], *, searches: bool) -> _Fetches:
    """Tables with all addresses, and room for what a search needs."""
    count = sum(len(state.residencies[index]) for index in must)
    extra = SEARCH_SLOTS + (count if searches else 0)  # the best decisions
    window = min(state.steps, max(WINDOW_STEPS, MOST_LOOKS // max(count, 1)))
    t = decisions_of(state, Needs(slots=extra, window=window, width=LIST_WIDTH))
    slots = listed = np.flatnonzero(t.state[SLOT_LAST, : t.ints[SIZES, ACCESSES]] >= 0)
    live = int(t.state[COUNTS, LIVE])  # residents are on the list already
    t.state[LISTED, live : live + len(slots)] = slots
    t.state[SLOT_PLACE, slots] = np.arange(live, live + len(slots))
    t.state[COUNTS, LIVE] += len(slots)
    moves = t.state[SLOT_MOVES + FILL, slots] + t.state[SLOT_MOVES + SPILL, slots]
    numbers = [number for number, index in enumerate(movable(state)) if index in must]
    slots = slots[(moves > 0) & np.isin(t.ints[ACCESS_SEGMENT, slots], numbers)]
    slots = slots[np.argsort(t.ints[ACCESS_STEP, slots], kind="stable")]
    chosen, best = np.zeros(LIST_WIDTH, dtype=np.int64), np.full(1, math.inf)
    return _Fetches(t, slots, listed, state.target.fastest.capacity_bytes, chosen, best)


def _in_orders(
    state: ResidencyState, must: Collection[int], budget: Budget
) -> Iterator[ResidencyState]:
    """All transfers anew, in the best of ORDERS, with addresses."""
    for share in SLACK_SHARES:
        if budget.is_over():
            return
        fetches = _fetches_of(state, must, searches=False)
        fetches.leave_addresses(share)
        looks = len(fetches.slots) * state.steps
        has_time = budget.remaining_s() > COMPILE_S or is_compiled(work_on)
        kernel = choose_kernel(work_on, 0, budget, compiles=looks > PLAIN_LOOKS and has_time)
        fetches.place(kernel, SHORTEN, 1, budget)
        begun = _decided(fetches.tables)
        best_s, best = math.inf, begun
        for direction, way in ORDERS:
            _decide(fetches.tables, begun)
            for _ in range(PASSES):
                before_s = fetches.busy_s
                fetches.place(kernel, way, direction, budget)
                if fetches.busy_s >= before_s or budget.is_over():
                    break
            if fetches.busy_s < best_s:
                best_s, best = fetches.busy_s, _decided(fetches.tables)
        _decide(fetches.tables, best)
        other = fetches.decided_from(state)
        if not other.improved_since(state.mark()):
            return
        placed = fetches.give_addresses(kernel)
        if placed:
            yield fetches.decided_from(state)
        if placed and fetches.busy_s <= best_s * (1 + NEAR):
            return
        if share == SLACK_SHARES[0] and not pack_once(other):
            yield other
            return


def _decided(t: Tables) -> tuple[Ints, Floats, Ints]:
    """A copy of what tables say of decisions and their costs."""
    return t.state.copy(), t.seconds.copy(), t.moves.copy()


def _decide(t: Tables, decided: tuple[Ints, Floats, Ints]) -> None:
    """Write a copy back."""
    t.state[:], t.seconds[:], t.moves[:] = decided


def _searched(
    state: ResidencyState, must: Collection[int], budget: Budget, seed: int
) -> Iterator[ResidencyState]:
    """What searches by live bytes find, with addresses; then what one with addresses adds."""
    best = state
    kernel = choose_kernel(work_on, 0, budget, compiles=True)
    for share in SLACK_SHARES:
        if budget.is_over():
            return
        fetches = _fetches_of(state, must, searches=True)
        if not 1 < len(fetches.slots) <= MAX_SEARCHED:
            return
        fetches.leave_addresses(share)
        fetches.place(kernel, SHORTEN, 1, budget)
        fetches.place(kernel, EARLY, 1, budget)
        fetches.search(HOT, budget, seed)
        wanted_s = fetches.busy_s
        other = fetches.decided_from(state)
        if not other.improved_since(best.mark()):
            continue
        if fetches.give_addresses(kernel) and fetches.busy_s <= wanted_s * (1 + NEAR):
            other = fetches.decided_from(state)
        elif not _is_packed(other, must, budget):
            continue
        if other.improved_since(best.mark()):
            best = other
            yield best
        if other.busy_time.total_s <= wanted_s * (1 + NEAR):
            break
    fetches = _fetches_of(best, must, searches=True)
    fetches.search(WARM, budget, seed)
    yield fetches.decided_from(best)


def _is_packed(state: ResidencyState, must: Collection[int], budget: Budget) -> bool:
    """Give decisions addresses; what sticks out of the memory is fetched right before its use."""
    for _ in range(REPAIRS):
        if budget.is_over():
            break
        sticking = pack_once(state)
        if not sticking:
            return True
        shortened = 0
        for first, last, residency in sticking:
            use = state.segments[residency.segment].accesses[first].step
            if residency.segment not in must or not residency.fill or residency.start == use - 1:
                continue
            state.remove(residency.segment, first)
            fill = ((use - 1, state.segments[residency.segment].size_bytes),)
            shorter = replace(residency, start=use - 1, ready=use, fill=fill)
            state.add(residency.segment, first, last, shorter)
            shortened += 1
        if not shortened:
            return False
    return False


def _copy(state: ResidencyState) -> ResidencyState:
    """The same decisions in a state of their own."""
    other = ResidencyState(state.problem, state.segments)
    other.untouched = set(state.untouched)
    other.replace_all(state.all_residencies())
    return other
