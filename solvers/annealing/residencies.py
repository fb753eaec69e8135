"""Compiled: inserting a residency of a whole tensor, its transfers where they cost least.

    accesses    first ........ last
    residency   |------|==========|-----|
                 fill    operators  spill

The rules are those of the engine; here the residency's own operands are charged to the fastest tier
first, so that its transfers may use the time that they leave on the home tier's port.
"""

from ullage.solvers.annealing.moves import ADDED, log_change
from ullage.solvers.engine.costs import (
    charge_accesses,
    charge_bytes,
    charge_transfer,
    clear_slot,
    cover,
    list_slot,
)
from ullage.solvers.engine.jit import compiled
from ullage.solvers.engine.proposals import fits_during
from ullage.solvers.engine.tables import (
    ACCESS_LAST_WRITE,
    ACCESS_READS,
    ACCESS_SEGMENT,
    ACCESS_STEP,
    ACCESS_WANTED,
    COUNTS,
    FILL,
    SEGMENT_ALIGNED,
    SEGMENT_FIRST,
    SEGMENT_LAST,
    SEGMENT_LASTING,
    SEGMENT_LINK,
    SIZES,
    SPILL,
    STEPS,
    WORK,
    Tables,
)
from ullage.solvers.engine.transfers import (
    earliest_fit,
    free_from,
    last_write,
    latest_fit,
    next_start,
    place_fill,
    place_spill,
)

# Steps before the first access from which a fill may begin, and behind the last for a spill's end.
WINDOW_STEPS = 96


@compiled
def insert_residency(t: Tables, first: int, last: int) -> bool:
    """Add a residency over accesses that have none, its transfers placed where they cost least.

    A residency over all accesses of a weight lasts from one inference to the next, without
    transfers, where there is room in all steps.

    Args:
        t: the tables.
        first: first access, whose number is that of the slot.
        last: last access.

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
    charge_accesses(t, first, last, 1)
    if fills:
        place_fill(t, first, first, low)
        charge_transfer(t, first, FILL, segment, 1)
    if spills:
        place_spill(t, first, segment, after, reach)
        charge_transfer(t, first, SPILL, segment, 1)
    charge_bytes(t, first, segment, 1)
    cover(t, first, last, 1)
    list_slot(t, first)
    log_change(t, ADDED, first)
    return True
