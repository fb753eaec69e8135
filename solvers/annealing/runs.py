"""Compiled: building a residency of a whole tensor, its moves placed where they cost least.

The rules are those of the engine; here the residency's own operands leave the slow port first, so
that its moves may use the time.

This module imports numba; import it where it is needed.
"""

from ullage.solvers.annealing.moves import ADDED, note
from ullage.solvers.engine.costs import charge_transfer, clear_slot, cover, enlist, load, operate
from ullage.solvers.engine.jit import compiled
from ullage.solvers.engine.tables import (
    ACCESS_LAST_WRITE,
    ACCESS_READS,
    ACCESS_SEGMENT,
    ACCESS_STEP,
    ACCESS_WANTED,
    CAPACITY,
    COUNTS,
    FILL,
    SEGMENT_ALIGNED,
    SEGMENT_FIRST,
    SEGMENT_LAST,
    SEGMENT_LASTING,
    SEGMENT_LINK,
    SIZES,
    SPILL,
    STEP_LOAD,
    STEPS,
    WORK,
    Tables,
)
from ullage.solvers.engine.transfers import (
    earliest_fit,
    fetch,
    free_from,
    last_write,
    latest_fit,
    next_start,
    store,
)

WINDOW_STEPS = 96  # how far before its first access a fill may begin, and a spill end after


@compiled
def fits_during(t: Tables, size: int, low: int, high: int) -> bool:
    """Whether so many bytes more fit in all steps of [low, high)."""
    for step in range(low, high):
        if t.state[STEP_LOAD, step] + size > t.ints[SIZES, CAPACITY]:
            return False
    return True


@compiled
def insert_run(t: Tables, first: int, last: int) -> bool:
    """Add a residency over accesses that are free, its moves placed where they cost least.

    Returns:
        False, and nothing has changed, where it is not legal or does not fit.
    """
    segment = t.ints[ACCESS_SEGMENT, first]
    size = t.ints[SEGMENT_ALIGNED, segment]
    begin, end = t.ints[ACCESS_STEP, first], t.ints[ACCESS_STEP, last] + 1
    limit = next_start(t, last)
    t.state[COUNTS, WORK] += end - begin
    free = free_from(t, first)
    if end > limit or free > begin or not fits_during(t, size, begin, end):
        return False
    whole = first == t.ints[SEGMENT_FIRST, segment] and last == t.ints[SEGMENT_LAST, segment]
    steps = t.ints[SIZES, STEPS]
    lasting = t.ints[SEGMENT_LASTING, segment] and whole and fits_during(t, size, 0, steps)
    low = max(free, begin - WINDOW_STEPS)
    fills = t.ints[ACCESS_READS, first] == 1 and not lasting
    if fills:
        low = earliest_fit(t, size, low, begin, 0, 0)
        if low >= begin or t.ints[SEGMENT_LINK + FILL, segment] < 0:
            return False
    spills = (
        t.ints[ACCESS_WANTED, last] and t.ints[ACCESS_LAST_WRITE, last] >= first and not lasting
    )
    after, reach = end, limit
    if spills:
        after = last_write(t, first, last) + 1
        if last < t.ints[SEGMENT_LAST, segment]:
            limit = min(limit, t.ints[ACCESS_STEP, last + 1])
        limit = min(limit, end + WINDOW_STEPS)
        reach = latest_fit(t, size, max(end, after), limit, 0)
        if after >= min(reach, limit) or t.ints[SEGMENT_LINK + SPILL, segment] < 0:
            return False
    if lasting:
        begin, end = 0, steps
    clear_slot(t, first, begin, end)
    operate(t, first, last, 1)
    if fills:
        fetch(t, first, first, low)
        charge_transfer(t, first, FILL, segment, 1)
    if spills:
        store(t, first, segment, after, reach)
        charge_transfer(t, first, SPILL, segment, 1)
    load(t, first, segment, 1)
    cover(t, first, last, 1)
    enlist(t, first)
    note(t, ADDED, first)
    return True
