"""Plans of whole tensors: annealing from a plan that rounding or a heuristic made.

The LP's fractions, rounded and repaired, are 0-40 % above the best plan of whole tensors: one
tensor in the wrong place keeps others out. The search of `anneal` starts there, changes residencies
(some 300,000 moves a second), keeps addresses legal throughout, and returns the best decisions. It
never returns a worse plan than the one it starts from.

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
from ullage.solvers.state.engine_tables import counts_joules
from ullage.solvers.state.greedy_moves import keep_what_pays
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.prefetch import fetched_near, prefetched
from ullage.solvers.state.residency_state import ResidencyState

logger = logging.getLogger(__name__)

# Units of work of a search by default: some 1 s of one core.
DEFAULT_WORK = 30_000_000
# Most units of work for each pair of accesses: small problems need less.
PAIR_WORK = 2_000
# Units of work between two readings of the clock.
SLICE_WORK = 2_000_000
# Most accesses of a problem that is searched: tables take 4 KiB for each.
MAX_ACCESSES = 20_000
# Temperatures at the beginning of the rounds and at the end of each, in mean costs of an access.
HOT = (0.3, 0.1, 0.03)
COOL = 0.003
# Seconds that must remain where kernels are not compiled yet: three times what an idle core of 2025
# takes to compile them (docs/kernels.md).
COMPILE_S = 25.0
# Share of the time left that giving addresses, before anything is searched for, may take.
PLACED_SHARE = 0.3
# Steps over which the greedy moves may place a transfer.
WINDOW_STEPS = 64


def whole_residencies(
    rounded: ResidencyState, budget: Budget, work: int = DEFAULT_WORK, seed: int = 0
) -> tuple[ResidencyState, tuple[str, ...]]:
    """The better of rounding and of the greedy moves, placed, then improved.

    Args:
        rounded: residencies from rounding; they get addresses here.
        budget: the time.
        work: how long to search, in counted units (some 35 million take a second); 0: not at all.
        seed: of the search.

    Returns:
        Residencies with addresses, and notes for the plan.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """
    rounded.untouched.clear()  # what is kept for all inferences is for the search to decide, too
    best = rounded
    place_residencies(best, budget.share(PLACED_SHARE).is_over)
    spans = _spans(best)
    best = prefetched(best, budget, searches=True, seed=seed)
    fetches, plain = best is not rounded, [rounded]
    if not budget.is_over():
        other = ResidencyState(rounded.problem, rounded.segments)
        keep_what_pays(other, WINDOW_STEPS, budget)
        place_residencies(other, budget.share(PLACED_SHARE).is_over)
        plain.append(other)
        if _spans(other) != spans or not fetches:
            other = prefetched(other, budget, searches=True, seed=seed)
            best = other if other.improved_since(best.mark()) else best
    improved, note = improve(best, budget, work, seed)
    if fetches and rounded.problem.steady_state and not budget.is_over():
        # Early fetches take the room in which weights could stay from one inference to the next.
        near, *others = [fetched_near(state, budget) for state in plain]
        near = others[0] if others and others[0].improved_since(near.mark()) else near
        other = prefetched(improve(near, budget, work, seed)[0], budget, searches=True, seed=seed)
        improved = other if other.improved_since(improved.mark()) else improved
    return improved, (note,) if note else ()


def _spans(state: ResidencyState) -> set[tuple[int, int, int]]:
    """Segment, first and last access of each residency, whenever its bytes move."""
    return {(residency.segment, first, last) for first, last, residency in state.all_residencies()}


def improve(
    state: ResidencyState, budget: Budget, work: int = DEFAULT_WORK, seed: int = 0
) -> tuple[ResidencyState, str]:
    """The search from residencies with addresses.

    Args:
        state: where it starts; unchanged.
        budget: the time.
        work: how long to search, in counted units; 0: not at all.
        seed: of the search.

    Returns:
        Residencies with addresses, never worse, and a note, empty when the search ran to its end.
    """
    accesses = sum(len(segment.accesses) for segment in state.segments)
    if work <= 0 or not accesses:
        return state, ""
    if accesses > MAX_ACCESSES:
        return state, f"fluid: no search over {accesses} uses; it takes up to {MAX_ACCESSES}"
    if not (is_ready() or budget.has_time_to_compile(COMPILE_S)):
        return state, too_late_to_compile("fluid: no search", COMPILE_S)
    tables = search_tables(state, seed)
    if not tables.ints[SIZES, ACCESSES]:
        return state, ""
    work = min(work, PAIR_WORK * int(tables.ints[SIZES, ACCESSES]) ** 2)
    before = _value(state)
    budget.on_improvement(before)
    gained, note = search(tables, budget, work, lambda g: budget.on_improvement(before - g))
    improved = state_of(state, tables)
    gains = gained > 0  # states compare bytes where the objective is energy
    better = gains if counts_joules(state.problem) else improved.improved_since(state.mark())
    return improved if better else state, note


def _value(state: ResidencyState) -> float:
    """The objective of the plan of residencies with addresses."""
    residencies = [residency for _, _, residency in state.all_residencies()]
    return value_of(assemble(state.problem, state.segments, residencies))


def search(
    t: Tables,
    budget: Budget,
    work: int,
    gain: Callable[[float], None] = lambda _: None,
) -> tuple[float, str]:
    """Rounds of annealing, each from the best decisions so far.

    Args:
        t: tables from `search_tables`; the best decisions are in them afterwards.
        budget: the time.
        work: units of work of all rounds together.
        gain: called with the gain so far, in units of the objective, whenever it has grown.

    Returns:
        The gain, and a note, empty when the search ran to its end.
    """
    from ullage.solvers.annealing.anneal import anneal, begin, restart

    begin(t)
    before = reported = float(t.seconds[TOTALS, BEST])
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
            if t.seconds[TOTALS, BEST] < reported:
                reported = float(t.seconds[TOTALS, BEST])
                gain(before - reported)
        restart(t)
    logger.debug("whole tensors: %s", t.state[COUNTS, :10])
    return before - float(t.seconds[TOTALS, BEST]), ""


def _scale(t: Tables) -> float:
    """Mean cost of an access at home, in units of the objective."""
    accesses = slice(0, int(t.ints[SIZES, ACCESSES]))
    seconds = t.floats[ACCESS_HOME_S, accesses].mean()
    linear = abs(t.floats[ACCESS_LINEAR, accesses]).mean()
    return float(seconds * t.floats[WEIGHTS, BUSY_S] + linear * t.floats[WEIGHTS, LINEAR])


def state_of(state: ResidencyState, t: Tables) -> ResidencyState:
    """The best decisions of a search as a state of their own.

    Args:
        state: from which the search started; unchanged.
        t: its tables.
    """
    best = ResidencyState(state.problem, state.segments)
    best.replace_all(best_residencies(t, state))
    return best


def is_ready() -> bool:
    """Whether the search is compiled, in memory or in the folder of compiled kernels."""
    from ullage.solvers.annealing.anneal import work_on

    return is_compiled(work_on)
