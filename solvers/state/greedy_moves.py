"""The moves of `greedy` on a residency state; rounding and repair make use of them too."""

from ullage.solvers.budget import Budget
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.residency_state import ResidencyState

MAX_PASSES = 4


def close_gaps(state: ResidencyState, window: int, budget: Budget) -> None:
    """Keep tensors over the gaps between their uses, shortest gap first."""
    gaps = [
        (segment.accesses[j].step - segment.accesses[j - 1].step, -segment.size_bytes, index, j)
        for index, segment in enumerate(state.segments)
        if segment.size_bytes and segment.home != state.target.fastest.name
        for j in range(1, len(segment.accesses))
    ]
    waiting = sorted(gaps)
    for _ in range(MAX_PASSES):  # a gap may have to wait for the one behind it (room for a spill)
        left = [
            gap
            for gap in waiting
            if budget.remaining_s() <= 0  # what is decided is legal as it stands
            or not try_run(state, gap[2], gap[3] - 1, gap[3], window)
        ]
        if len(left) == len(waiting):
            return
        waiting = left


def hide_single_uses(state: ResidencyState, window: int, budget: Budget) -> None:
    """Fetch ahead, or write behind, what operators would access in slow memory."""
    single = [
        (access.step, -segment.size_bytes, index, j)
        for index, segment in enumerate(state.segments)
        if segment.size_bytes and segment.home != state.target.fastest.name
        for j, access in enumerate(segment.accesses)
        if state.run_of(index, j) is None
    ]
    for _, _, index, j in sorted(single):
        if budget.remaining_s() <= 0:
            return  # what is decided is legal as it stands
        if state.run_of(index, j) is None:
            try_run(state, index, j, j, window)


def try_run(state: ResidencyState, index: int, first: int, last: int, window: int) -> bool:
    """Let a segment stay from access `first` to `last`, joined with the residencies it has there.

    Taken only when it fits, and when latency falls, or stays the same with less traffic.

    Returns:
        Whether it was taken.
    """
    old = sorted({r for e in (first, last) if (r := state.run_of(index, e)) is not None})
    if len(old) == 1 and old[0][0] <= first and last <= old[0][1]:
        return True
    low = min([first, *(run[0] for run in old)])
    high = max([last, *(run[1] for run in old)])
    before = state.mark()
    # Where nothing is written the moves do not depend on who reads: what is charged stays charged,
    # and joining runs costs what is new.
    counted = old if state.runs.last_write(index, low, high) is None else []
    removed: list[tuple[int, int, SegmentResidency]] = []
    for run in old:
        removed.append((run[0], *state.remove(index, run[0], [run] if counted else [])))
    residency = state.propose(index, low, high, window=window)
    size = state.aligned_bytes(state.segments[index])
    if residency is not None and state.fits(size, residency.start, residency.end):
        state.add(index, low, high, residency, counted)
        if state.improved_since(before):
            return True
        state.remove(index, low, counted)
    for begin, end, kept in removed:
        state.add(index, begin, end, kept, [(begin, end)] if counted else [])
    return False
