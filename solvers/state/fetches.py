"""Mandatory transfers in the engine's tables: placed in an order, searched for, given addresses."""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.budget import Budget
from ullage.solvers.engine.fetch_search import (
    DRAWN,
    FAILED,
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
from ullage.solvers.state.decisions import decisions_of, read_decisions
from ullage.solvers.state.engine_tables import Needs, movable
from ullage.solvers.state.kernels import ChosenKernel
from ullage.solvers.state.residency_state import ResidencyState

# Steps before a use in which its fill may begin at least, and most residencies x such steps.
LEAST_WINDOW_STEPS = 192
MOST_LOOKS = 20_000_000
# Most residencies that get addresses one by one.
MOST_ADDRESSED = 5_000
# Units of work of a search: for each residency, and at most.
SLOT_WORK, SEARCH_WORK = 300_000, 20_000_000
# Slices of a search, between which temperature falls and the clock is looked at.
SLICES = 60
# Temperature at the end of a search, as a share of the latency.
COOL = 5e-6


@dataclass(frozen=True)
class Fetches:
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

    def search(self, hot: float, budget: Budget, seed: int, share: float = 1.0) -> None:
        """Search for an order; the tables have the best decisions afterwards.

        Args:
            hot: temperature in the beginning, as a share of the latency.
            budget: the time.
            seed: of the search.
            share: of the work that a search may do.
        """
        t, slots, chosen, best = self.tables, self.slots, self.chosen, self.best
        chosen[DRAWN] = 1 + seed % 2147483646
        best[0] = math.inf
        work = round(share * min(SEARCH_WORK, SLOT_WORK * len(slots))) // SLICES
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
        begun, best_s = decided(t), math.inf
        best = begun
        for key in (-sizes, -sizes * steps, -steps, t.state[SLOT_START, slots]):
            decide(t, begun)
            t.ints[SIZES, ADDRESSES] = self.capacity_bytes
            order = slots[np.lexsort((-sizes, key))]
            self.chosen[NEXT] = 0
            while self.chosen[NEXT] < len(order):
                until = int(t.state[COUNTS, WORK]) + kernel.slice_work
                kernel.call(t, order, self.chosen, self.best, PLACE, until, 0.0)
            if self.chosen[NEXT] != FAILED and self.busy_s < best_s:
                best_s, best = self.busy_s, decided(t)
        decide(t, best)
        return math.isfinite(best_s)

    def decided_from(self, state: ResidencyState) -> ResidencyState:
        """The decisions of the tables, which were made of a state, as a state of their own."""
        other = copy_of(state)
        read_decisions(other, self.tables)
        return other


def fetches_of(state: ResidencyState, must: Collection[int], *, searches: bool) -> Fetches:
    """Tables with all addresses, and room for what a search needs."""
    count = sum(len(state.residencies[index]) for index in must)
    extra = SEARCH_SLOTS + (count if searches else 0)  # the best decisions
    window = min(state.steps, max(LEAST_WINDOW_STEPS, MOST_LOOKS // max(count, 1)))
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
    return Fetches(t, slots, listed, state.target.fastest.capacity_bytes, chosen, best)


def decided(t: Tables) -> tuple[Ints, Floats, Ints]:
    """A copy of what tables say of decisions and their costs."""
    return t.state.copy(), t.seconds.copy(), t.moves.copy()


def decide(t: Tables, decided: tuple[Ints, Floats, Ints]) -> None:
    """Write a copy back."""
    t.state[:], t.seconds[:], t.moves[:] = decided


def copy_of(state: ResidencyState) -> ResidencyState:
    """The same decisions in a state of their own."""
    other = ResidencyState(state.problem, state.segments)
    other.untouched = set(state.untouched)
    other.replace_all(state.all_residencies())
    return other
