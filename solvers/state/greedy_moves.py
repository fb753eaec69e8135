"""The improvements that `greedy` tries on a residency state.

The rounding of `fluid` and `msa` repair their plans with them too. Each is taken only when the
objective improves, so a state only gets better.
"""

from ullage.solvers.budget import Budget
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.residency_state import ResidencyState

# How often the gaps that could not be closed are tried again: one may have to wait for the gap
# behind it, which makes room for its spill.
MAX_PASSES = 4


def close_gaps(state: ResidencyState, window: int, budget: Budget) -> None:
    """Keep segments over the gaps between two of their accesses, shortest gap first.

    Args:
        state: the decisions; is changed.
        window: steps before the first access within which a fill may begin, and after the last
            within which a spill must end.
        budget: the time; when it is over, what is decided stays.
    """
    gaps = [
        (segment.accesses[j].step - segment.accesses[j - 1].step, -segment.size_bytes, index, j)
        for index, segment in enumerate(state.segments)
        if segment.size_bytes and segment.home != state.target.fastest.name
        for j in range(1, len(segment.accesses))
    ]
    waiting = sorted(gaps)
    for _ in range(MAX_PASSES):
        left = [
            gap
            for gap in waiting
            if budget.remaining_s() <= 0  # what is decided is legal as it stands
            or not try_span(state, gap[2], gap[3] - 1, gap[3], window)
        ]
        if len(left) == len(waiting):
            return
        waiting = left


def hide_single_uses(state: ResidencyState, window: int, budget: Budget) -> None:
    """Fetch ahead, or store later, what operators would access at home; arguments as above."""
    single = [
        (access.step, -segment.size_bytes, index, j)
        for index, segment in enumerate(state.segments)
        if segment.size_bytes and segment.home != state.target.fastest.name
        for j, access in enumerate(segment.accesses)
        if state.span_of(index, j) is None
    ]
    for _, _, index, j in sorted(single):
        if budget.remaining_s() <= 0:
            return  # what is decided is legal as it stands
        if state.span_of(index, j) is None:
            try_span(state, index, j, j, window)


def try_span(state: ResidencyState, index: int, first: int, last: int, window: int) -> bool:
    """Keep a segment from access `first` to `last`, joined with the residencies it has there.

    The change is taken only when it fits, and when latency falls, or is the same with less traffic.

    Returns:
        Whether it was taken.
    """
    old = sorted({s for e in (first, last) if (s := state.span_of(index, e)) is not None})
    if len(old) == 1 and old[0][0] <= first and last <= old[0][1]:
        return True
    low = min([first, *(span[0] for span in old)])
    high = max([last, *(span[1] for span in old)])
    before = state.mark()
    # Where nothing is written, the accesses inside the old spans remain in the fastest tier whether
    # the change is taken or not: they stay charged, and only the new ones are accounted for.
    counted = old if state.lookup.last_write(index, low, high) is None else []
    removed: list[tuple[int, int, SegmentResidency]] = []
    for span in old:
        removed.append((span[0], *state.remove(index, span[0], [span] if counted else [])))
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
