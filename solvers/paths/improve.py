"""A plan of slices made better: on better paths, in fewer transfers, with addresses for all."""

from collections.abc import Callable, Sequence

from ullage.compiler.ir.assignment import Assignment
from ullage.hwmodels.cost import value_of
from ullage.solvers.paths.joining import join_transfers
from ullage.solvers.paths.plan import NoAddress, Unplaced
from ullage.solvers.paths.polish import polish
from ullage.solvers.paths.setting import TieredProblem
from ullage.solvers.paths.slices import Slicer
from ullage.solvers.paths.streaming import assignment_of

# How often addresses are looked for after slices moved to better paths.
POLISHES = 4


def keep_free(slicer: Slicer, residency: Unplaced, times: int) -> None:
    """Leave more space free where something found no address."""
    slicer.ledger.room[residency.tier, residency.start : residency.end] -= (
        times * residency.size_bytes
    )


def improved(
    tiered: TieredProblem,
    slicer: Slicer,
    order: Sequence[int],
    plan: Assignment,
    is_over: Callable[[], bool],
) -> Assignment:
    """The plan with its slices on better paths, where these have addresses."""
    start = {index: list(items) for index, items in slicer.items.items()}
    best = _joined(tiered, slicer, plan, is_over)
    for attempt in range(1, POLISHES + 1):
        if polish(tiered.network, slicer, order, is_over) <= 0:
            break
        try:
            assignment = assignment_of(tiered, slicer)
        except NoAddress as refused:
            for residency in refused.residencies:
                keep_free(slicer, residency, attempt)
            slicer.place(start)
            continue
        # Slices that moved together shared a set-up, which the search does not know.
        return min(best, _joined(tiered, slicer, assignment, is_over), key=value_of)
    return best


def _joined(
    tiered: TieredProblem, slicer: Slicer, plan: Assignment, is_over: Callable[[], bool]
) -> Assignment:
    """The plan with fewer transfers where that makes it faster; the slices stay as they are."""
    if not (tiered.network.is_timed and tiered.network.setups_s.any()):
        return plan
    known = {index: list(items) for index, items in slicer.items.items()}
    joined = plan
    if join_transfers(tiered.network, slicer, is_over):
        try:
            joined = assignment_of(tiered, slicer)
        except NoAddress:  # longer residencies fit by their sum, but not side by side
            joined = plan
        slicer.place(known)
    return min(plan, joined, key=value_of)
