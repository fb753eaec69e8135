"""A plan of slices made better: on better paths, in fewer transfers, with addresses for all."""

from collections.abc import Sequence

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import order_free_bound
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.paths.arrivals import move_in_idle_time, move_in_order_of_need
from ullage.solvers.paths.joining import join_transfers
from ullage.solvers.paths.plan import NoAddress, Unplaced
from ullage.solvers.paths.polish import polish
from ullage.solvers.paths.setting import TieredProblem
from ullage.solvers.paths.slices import Slice, Slicer
from ullage.solvers.paths.streaming import assignment_of

# How often addresses are looked for after slices moved to better paths.
POLISHES = 4
# Share of such a bound by which a plan may be above it.
ENOUGH_GAP = 1e-3
# Share of the time left that spreading transfers over steps may take.
LP_SHARE = 0.3


def keep_free(slicer: Slicer, residency: Unplaced, times: int) -> None:
    """Leave more space free where something found no address."""
    slicer.ledger.room[residency.tier, residency.start : residency.end] -= (
        times * residency.size_bytes
    )


def is_enough(problem: Problem, plan: Assignment) -> bool:
    """Whether a plan is so near to a bound that needs no solver that nothing more is tried."""
    return value_of(plan) <= (1.0 + ENOUGH_GAP) * order_free_bound(problem).value


def improved(
    tiered: TieredProblem,
    slicer: Slicer,
    order: Sequence[int],
    plan: Assignment,
    budget: Budget,
) -> Assignment:
    """The plan with its slices on better paths, where these have addresses.

    It is as it was where the time is over.
    """
    if budget.is_over():
        return plan
    start = _copied(slicer)
    for attempt in range(1, POLISHES + 1):
        if polish(tiered.network, slicer, order, budget.is_over) <= 0:
            break
        try:
            assignment = assignment_of(tiered, slicer, budget)
        except NoAddress as refused:
            for residency in refused.residencies:
                keep_free(slicer, residency, attempt)
            slicer.place(start)
            continue
        # Slices that moved together shared a set-up, which the search does not know.
        return min(plan, joined(tiered, slicer, assignment, budget), key=value_of)
    return joined(tiered, slicer, plan, budget)


def joined(tiered: TieredProblem, slicer: Slicer, plan: Assignment, budget: Budget) -> Assignment:
    """The plan with fewer transfers where that makes it faster; the slices stay as they are."""
    network = tiered.network
    if budget.is_over() or not (network.is_timed and network.setups_s.any()):
        return plan
    known = _copied(slicer)
    best = plan
    for in_order in (False, True):
        if budget.is_over() or is_enough(network.problem, best):
            break
        if in_order and not move_in_order_of_need(network, slicer, budget.is_over):
            break
        count = join_transfers(network, slicer, budget.is_over)
        if not (count or in_order):  # what leaves home beside a neighbour may stay so
            known = _copied(slicer)
        best = min(best, _placed(tiered, slicer, best), key=value_of)
        if budget.is_over():
            break
        if move_in_idle_time(network, slicer, LP_SHARE * budget.remaining_s()):
            best = min(best, _placed(tiered, slicer, best), key=value_of)
    slicer.place(known)
    return best


def _copied(slicer: Slicer) -> dict[int, list[Slice]]:
    """The slices as they are."""
    return {index: list(items) for index, items in slicer.items.items()}


def _placed(tiered: TieredProblem, slicer: Slicer, other: Assignment) -> Assignment:
    """The plan of the slices as they are; another one where they fit by their sum only."""
    try:
        return assignment_of(tiered, slicer)
    except NoAddress:
        return other
