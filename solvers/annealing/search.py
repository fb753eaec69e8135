"""Whole tensors: annealing from a plan that rounding or a heuristic gives.

The LP's fractions, rounded and repaired, are 0-40 % above the best plan of whole tensors: one
tensor in the wrong place keeps others out. The search of `whole_anneal` starts there, moves runs of
events about (some 300,000 moves a second), keeps addresses legal throughout, and returns the best
it met. It never returns a worse plan than it was given.

The search stops after an amount of work that is counted, not timed: the same seed gives the same
plan unless the deadline strikes. Its kernels are compiled once per installation; with a deadline
too near for that the search is left out, and a note says so: the plan is the LP's, rounded.
"""

import logging
from collections.abc import Callable

from ullage.compiler.common.kernel_cache import is_compiled, too_late_to_compile
from ullage.hwmodels.cost import value_of
from ullage.solvers.annealing.tables import (
    BEST,
    BY_STEP,
    CHOICES,
    COUNTS,
    GAIN,
    HOME_S,
    LINEAR,
    SECONDS,
    TOTALS,
    WEIGHTS,
    WORK,
    Tables,
    best_stays,
    tables_of,
)
from ullage.solvers.budget import Budget
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.greedy_moves import close_gaps, hide_single_uses
from ullage.solvers.state.place import place_stays
from ullage.solvers.state.residency_state import Occupancy

logger = logging.getLogger(__name__)

DEFAULT_WORK = 30_000_000  # units: some 1 s of one core
PAIR_WORK = 2_000  # at most, for each pair of uses: small problems need less
SLICE_WORK = 2_000_000  # between looks at the clock
MAX_EVENTS = 20_000  # tables take 6 KiB per event
HOT = (0.3, 0.1, 0.03)  # temperatures of the rounds, in mean costs of an event
COOL = 0.003
COMPILE_S = 45.0  # for compiling: three times what an idle core of 2025 takes (docs/kernels.md)
WINDOW_STEPS = 64  # of the greedy moves


def whole_stays(
    rounded: Occupancy, budget: Budget, work: int = DEFAULT_WORK, seed: int = 0
) -> tuple[Occupancy, tuple[str, ...]]:
    """The better of rounding and of the greedy moves, placed, then improved.

    Args:
        rounded: what rounding gave; its stays are placed here.
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
    place_stays(best, is_over)
    if not is_over():
        other = Occupancy(rounded.problem, rounded.atoms)
        close_gaps(other, WINDOW_STEPS, budget)
        hide_single_uses(other, WINDOW_STEPS, budget)
        place_stays(other, is_over)
        best = other if other.improved_since(best.mark()) else best
    found, note = improve(best, budget, work, seed)
    return found, (note,) if note else ()


def improve(
    occupancy: Occupancy, budget: Budget, work: int = DEFAULT_WORK, seed: int = 0
) -> tuple[Occupancy, str]:
    """The search from an occupancy whose stays have addresses.

    Returns:
        An occupancy, never worse, and a note, empty when the search ran to its end.
    """
    events = sum(len(atom.events) for atom in occupancy.atoms)
    if work <= 0 or not events:
        return occupancy, ""
    if events > MAX_EVENTS:
        return occupancy, f"fluid: no search over {events} uses; it takes up to {MAX_EVENTS}"
    if budget.remaining_s() < COMPILE_S and not is_ready():
        return occupancy, too_late_to_compile("fluid: no search", COMPILE_S)
    tables = tables_of(occupancy, seed)
    if not tables.i[COUNTS, CHOICES]:
        return occupancy, ""
    work = min(work, PAIR_WORK * int(tables.i[COUNTS, CHOICES]) ** 2)
    before = _value(occupancy)
    budget.on_improvement(before)
    gained, note = search(tables, budget, work, lambda g: budget.on_improvement(before - g))
    found = occupancy_of(occupancy, tables)
    if occupancy.objective == "energy":  # occupancies compare bytes
        better = gained > 0
    else:
        better = found.improved_since(occupancy.mark())
    return found if better else occupancy, note


def _value(occupancy: Occupancy) -> float:
    """The objective of an occupancy whose stays have addresses."""
    stays = [stay for _, _, stay in occupancy.all_stays()]
    return value_of(assemble(occupancy.problem, occupancy.atoms, stays))


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
    before = told = float(t.f[TOTALS, BEST])
    scale = _scale(t)
    if scale <= 0:  # no decision costs anything
        return 0.0, ""
    slices = max(1, work // len(HOT) // SLICE_WORK)
    for hot in HOT:
        for number in range(slices):
            if budget.remaining_s() <= 0:
                note = "fluid: the search was cut short by the time limit"
                return before - float(t.f[TOTALS, BEST]), note
            high, low = (hot * (COOL / hot) ** ((number + k) / slices) for k in (0, 1))
            until = int(t.i[COUNTS, WORK]) + work // len(HOT) // slices
            anneal(t, until, high * scale, low * scale)
            if t.f[TOTALS, BEST] < told:
                told = float(t.f[TOTALS, BEST])
                gain(before - told)
        restart(t)
    logger.debug("whole tensors: %s", t.i[COUNTS, :6])
    return before - float(t.f[TOTALS, BEST]), ""


def _scale(t: Tables) -> float:
    """Mean cost of an event at home, in units of the objective."""
    chosen = t.i[BY_STEP, : t.i[COUNTS, CHOICES]]
    seconds, linear = t.f[HOME_S, chosen].mean(), abs(t.f[GAIN, chosen]).mean()
    return float(seconds * t.f[WEIGHTS, SECONDS] + linear * t.f[WEIGHTS, LINEAR])


def occupancy_of(occupancy: Occupancy, t: Tables) -> Occupancy:
    """The best stays found."""
    found = Occupancy(occupancy.problem, occupancy.atoms)
    fastest = occupancy.target.fastest.name
    for index, atom in enumerate(found.atoms):
        for first in list(found.stays[index]) if atom.home != fastest else ():
            found.remove(index, first)
    for first, last, stay in best_stays(t, occupancy):
        if found.atoms[stay.atom].home == fastest:
            found.stays[stay.atom][0] = (last, stay)
        else:
            found.add(stay.atom, first, last, stay)
    return found


def is_ready() -> bool:
    """Whether the search is compiled."""
    from ullage.solvers.annealing.anneal import anneal, begin, restart

    return all(is_compiled(kernel) for kernel in (anneal, begin, restart))
