"""Whole tensors: annealing from a plan that rounding or a heuristic gives.

The LP's fractions, rounded and repaired, are 0-40 % above the best plan of whole tensors: one
tensor in the wrong place keeps others out. The search of `anneal` starts there, moves use spans
about (some 300,000 moves a second), keeps addresses legal throughout, and returns the best it met.
It never returns a worse plan than it was given.

The search stops after an amount of work that is counted, not timed: the same seed gives the same
plan unless the deadline strikes. Its kernels are compiled once per installation; with a deadline
too near for that the search is left out, and a note says so: the plan is the LP's, rounded.
"""

import logging
from collections.abc import Callable

from ullage.compiler.common.kernel_cache import is_compiled, too_late_to_compile
from ullage.hwmodels.cost import value_of
from ullage.solvers.annealing.tables import BEST, best_residencies, search_tables
from ullage.solvers.budget import Budget
from ullage.solvers.engine.tables import (
    ACCESS_HOME_S,
    ACCESS_LINEAR,
    ACCESSES,
    BUSY_S,
    COUNTS,
    LINEAR,
    SIZES,
    TOTALS,
    WEIGHTS,
    WORK,
    Tables,
)
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.greedy_moves import close_gaps, hide_single_uses
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState

logger = logging.getLogger(__name__)

DEFAULT_WORK = 30_000_000  # units: some 1 s of one core
PAIR_WORK = 2_000  # at most, for each pair of uses: small problems need less
SLICE_WORK = 2_000_000  # between looks at the clock
MAX_ACCESSES = 20_000  # tables take 4 KiB per access
HOT = (0.3, 0.1, 0.03)  # temperatures of the rounds, in mean costs of an access
COOL = 0.003
COMPILE_S = 25.0  # for compiling: three times what an idle core of 2025 takes (docs/kernels.md)
WINDOW_STEPS = 64  # of the greedy moves


def whole_residencies(
    rounded: ResidencyState, budget: Budget, work: int = DEFAULT_WORK, seed: int = 0
) -> tuple[ResidencyState, tuple[str, ...]]:
    """The better of rounding and of the greedy moves, placed, then improved.

    Args:
        rounded: what rounding gave; its residencies are placed here.
        budget: the time.
        work: how long to search, in counted units (some 35 million take a second); 0: not at all.
        seed: of the search.

    Returns:
        An occupancy whose stays have addresses, and notes for the plan.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """

    def is_over() -> bool:
        return budget.remaining_s() <= 0

    best = rounded
    place_residencies(best, is_over)
    if not is_over():
        other = ResidencyState(rounded.problem, rounded.segments)
        close_gaps(other, WINDOW_STEPS, budget)
        hide_single_uses(other, WINDOW_STEPS, budget)
        place_residencies(other, is_over)
        best = other if other.improved_since(best.mark()) else best
    found, note = improve(best, budget, work, seed)
    return found, (note,) if note else ()


def improve(
    state: ResidencyState, budget: Budget, work: int = DEFAULT_WORK, seed: int = 0
) -> tuple[ResidencyState, str]:
    """The search from an occupancy whose stays have addresses.

    Returns:
        An occupancy, never worse, and a note, empty when the search ran to its end.
    """
    accesses = sum(len(segment.accesses) for segment in state.segments)
    if work <= 0 or not accesses:
        return state, ""
    if accesses > MAX_ACCESSES:
        return state, f"fluid: no search over {accesses} uses; it takes up to {MAX_ACCESSES}"
    if budget.remaining_s() < COMPILE_S and not is_ready():
        return state, too_late_to_compile("fluid: no search", COMPILE_S)
    tables = search_tables(state, seed)
    if not tables.ints[SIZES, ACCESSES]:
        return state, ""
    work = min(work, PAIR_WORK * int(tables.ints[SIZES, ACCESSES]) ** 2)
    before = _value(state)
    budget.on_improvement(before)
    gained, note = search(tables, budget, work, lambda g: budget.on_improvement(before - g))
    found = state_of(state, tables)
    gains = gained > 0  # states compare bytes where the objective is energy
    better = gains if state.objective == "energy" else found.improved_since(state.mark())
    return found if better else state, note


def _value(state: ResidencyState) -> float:
    """The objective of an occupancy whose stays have addresses."""
    residencies = [residency for _, _, residency in state.all_residencies()]
    return value_of(assemble(state.problem, state.segments, residencies))


def search(
    t: Tables,
    budget: Budget,
    work: int,
    gain: Callable[[float], None] = lambda _: None,
) -> tuple[float, str]:
    """Rounds of annealing, each from the best so far: what they gained, and a note if cut short.

    `gain` is told what has been gained so far, whenever it has become more.
    """
    from ullage.solvers.annealing.anneal import anneal, begin, restart

    begin(t)
    before = told = float(t.seconds[TOTALS, BEST])
    scale = _scale(t)
    if scale <= 0:  # no decision costs anything
        return 0.0, ""
    slices = max(1, work // len(HOT) // SLICE_WORK)
    for hot in HOT:
        for number in range(slices):
            if budget.remaining_s() <= 0:
                note = "fluid: the search was cut short by the time limit"
                return before - float(t.seconds[TOTALS, BEST]), note
            high, low = (hot * (COOL / hot) ** ((number + k) / slices) for k in (0, 1))
            until = int(t.state[COUNTS, WORK]) + work // len(HOT) // slices
            anneal(t, until, high * scale, low * scale)
            if t.seconds[TOTALS, BEST] < told:
                told = float(t.seconds[TOTALS, BEST])
                gain(before - told)
        restart(t)
    logger.debug("whole tensors: %s", t.state[COUNTS, :10])
    return before - float(t.seconds[TOTALS, BEST]), ""


def _scale(t: Tables) -> float:
    """Mean cost of an access at home, in units of the objective."""
    chosen = slice(0, int(t.ints[SIZES, ACCESSES]))
    seconds = t.floats[ACCESS_HOME_S, chosen].mean()
    linear = abs(t.floats[ACCESS_LINEAR, chosen]).mean()
    return float(seconds * t.floats[WEIGHTS, BUSY_S] + linear * t.floats[WEIGHTS, LINEAR])


def state_of(state: ResidencyState, t: Tables) -> ResidencyState:
    """The best stays found."""
    found = ResidencyState(state.problem, state.segments)
    fastest = state.target.fastest.name
    for index, segment in enumerate(found.segments):
        for first in list(found.residencies[index]) if segment.home != fastest else ():
            found.remove(index, first)
    for first, last, residency in best_residencies(t, state):
        if found.segments[residency.segment].home == fastest:
            found.residencies[residency.segment][0] = (last, residency)
        else:
            found.add(residency.segment, first, last, residency)
    return found


def is_ready() -> bool:
    """Whether the search is compiled."""
    from ullage.solvers.annealing.anneal import work_on

    return is_compiled(work_on)
