"""The moves of `greedy` on a residency state; rounding and repair make use of them too."""

from ullage.solvers.budget import Budget
from ullage.solvers.state.build_plan import Stay
from ullage.solvers.state.residency_state import Occupancy

MAX_PASSES = 4


def close_gaps(occupancy: Occupancy, window: int, budget: Budget) -> None:
    """Keep tensors over the gaps between their uses, shortest gap first."""
    gaps = [
        (atom.events[j].step - atom.events[j - 1].step, -atom.size_bytes, index, j)
        for index, atom in enumerate(occupancy.atoms)
        if atom.size_bytes and atom.home != occupancy.target.fastest.name
        for j in range(1, len(atom.events))
    ]
    waiting = sorted(gaps)
    for _ in range(MAX_PASSES):  # a gap may have to wait for the one behind it (room for a spill)
        left = [
            gap
            for gap in waiting
            if budget.remaining_s() <= 0  # what is decided is legal as it stands
            or not try_run(occupancy, gap[2], gap[3] - 1, gap[3], window)
        ]
        if len(left) == len(waiting):
            return
        waiting = left


def hide_single_uses(occupancy: Occupancy, window: int, budget: Budget) -> None:
    """Fetch ahead, or write behind, what operators would access in slow memory."""
    single = [
        (event.step, -atom.size_bytes, index, j)
        for index, atom in enumerate(occupancy.atoms)
        if atom.size_bytes and atom.home != occupancy.target.fastest.name
        for j, event in enumerate(atom.events)
        if occupancy.run_of(index, j) is None
    ]
    for _, _, index, j in sorted(single):
        if budget.remaining_s() <= 0:
            return  # what is decided is legal as it stands
        if occupancy.run_of(index, j) is None:
            try_run(occupancy, index, j, j, window)


def try_run(occupancy: Occupancy, index: int, first: int, last: int, window: int) -> bool:
    """Let an atom stay from event `first` to `last`, joined with the stays it has there.

    Taken only when it fits, and when latency falls, or stays the same with less traffic.

    Returns:
        Whether it was taken.
    """
    old = sorted({r for e in (first, last) if (r := occupancy.run_of(index, e)) is not None})
    if len(old) == 1 and old[0][0] <= first and last <= old[0][1]:
        return True
    low = min([first, *(run[0] for run in old)])
    high = max([last, *(run[1] for run in old)])
    before = occupancy.mark()
    # Where nothing is written the moves do not depend on who reads: what is charged stays charged,
    # and joining runs costs what is new.
    counted = old if occupancy.runs.last_write(index, low, high) is None else []
    removed: list[tuple[int, int, Stay]] = []
    for run in old:
        removed.append((run[0], *occupancy.remove(index, run[0], [run] if counted else [])))
    stay = occupancy.propose(index, low, high, window=window)
    size = occupancy.aligned_bytes(occupancy.atoms[index])
    if stay is not None and occupancy.fits(size, stay.start, stay.end):
        occupancy.add(index, low, high, stay, counted)
        if occupancy.improved_since(before):
            return True
        occupancy.remove(index, low, counted)
    for begin, end, kept in removed:
        occupancy.add(index, begin, end, kept, [(begin, end)] if counted else [])
    return False
