"""Compiled: residencies that a search proposes: their transfers, whether they fit, what they gain.

accesses    first ........ last
residency   |------|==========|-----|     in a slot for trials, not charged
             fill    operators  spill     within WINDOW steps of the accesses
"""

from ullage.solvers.engine.costs import clear_slot
from ullage.solvers.engine.jit import compiled
from ullage.solvers.engine.tables import (
    ACCESS_READS,
    ACCESS_SEGMENT,
    ACCESS_STEP,
    BUSY_S,
    BYTE_PRICE,
    CAPACITY,
    FILL,
    LINEAR,
    SEGMENT_ALIGNED,
    SEGMENT_LAST,
    SEGMENT_LINK,
    SIZES,
    SLOT_END,
    SLOT_READY,
    SLOT_START,
    SPILL,
    STEP_LOAD,
    TOTALS,
    WEIGHTS,
    WINDOW,
    Tables,
)
from ullage.solvers.engine.transfers import (
    earliest_fit,
    free_from,
    last_write,
    latest_fit,
    needs_spill,
    next_start,
    place_fill,
    place_spill,
)

# Share of the latency below which two latencies are equal, as in solvers/state/residency_state.py.
TOLERANCE = 1e-10
# Slow bytes that are a difference: sums may have rounding errors.
LEAST_BYTES = 0.5
# Outcomes of proposing a residency, see `propose`.
POSSIBLE, IMPOSSIBLE, TOO_LATE, TOO_EARLY = 0, 1, 2, 3


@compiled
def propose(t: Tables, slot: int, first: int, last: int, left: int, right: int) -> int:
    """The residency of accesses first..last with its moves, into a slot.

    Args:
        t: the tables.
        slot: is overwritten.
        first: first access.
        last: last access.
        left: slot of a residency that begins with access `first` and that it replaces, but whose
            bytes are still counted; NOWHERE for none.
        right: the same of one that ends with access `last`.

    Returns:
        POSSIBLE, IMPOSSIBLE, or what a longer one may mend: TOO_LATE where there is no step before
        `first` in which it could be fetched, TOO_EARLY where there is none after `last` in which it
        could be written home, or where another one of the segment has begun by then.
    """
    segment = t.ints[ACCESS_SEGMENT, first]
    aligned = t.ints[SEGMENT_ALIGNED, segment]
    begin, end = t.ints[ACCESS_STEP, first], t.ints[ACCESS_STEP, last] + 1
    following = next_start(t, last)
    if end > following:
        return TOO_EARLY
    clear_slot(t, slot, begin, end)
    if t.ints[ACCESS_READS, first] == 1:
        if t.ints[SEGMENT_LINK + FILL, segment] < 0:
            return IMPOSSIBLE
        low = max(free_from(t, first), begin - t.ints[SIZES, WINDOW])
        if low >= begin:
            return TOO_LATE
        own = left if left >= 0 else right
        own_low = t.state[SLOT_START, own] if own >= 0 else 0
        own_high = t.state[SLOT_END, own] if own >= 0 else 0
        low = earliest_fit(t, aligned, low, begin, own_low, own_high)
        if low >= begin:
            return IMPOSSIBLE
        place_fill(t, slot, first, low)
    if needs_spill(t, first, last):
        if t.ints[SEGMENT_LINK + SPILL, segment] < 0:
            return IMPOSSIBLE
        after = max(last_write(t, first, last) + 1, t.state[SLOT_READY, slot])
        limit = following
        if last < t.ints[SEGMENT_LAST, segment]:
            limit = min(limit, t.ints[ACCESS_STEP, last + 1])
        if after >= limit:
            return TOO_EARLY
        reach = min(limit, end + t.ints[SIZES, WINDOW])
        own_high = t.state[SLOT_END, right] if right >= 0 else 0
        reach = latest_fit(t, aligned, max(end, after), reach, own_high)
        if after >= reach:
            return IMPOSSIBLE
        place_spill(t, slot, segment, after, reach)
    return POSSIBLE


@compiled
def fits_during(t: Tables, size: int, low: int, high: int) -> bool:
    """Whether `size` more bytes fit by live bytes in all steps of [low, high)."""
    for step in range(low, high):
        if t.state[STEP_LOAD, step] + size > t.ints[SIZES, CAPACITY]:
            return False
    return True


@compiled
def improves(t: Tables, seconds: float, moved: float) -> bool:
    """Whether latency fell, or is the same with less slow traffic; other objectives: the latter.

    In a blend of objectives the traffic has a price in seconds.

    The linear cost is slow traffic here, whatever the objective.

    Args:
        t: the tables now.
        seconds: busy seconds before.
        moved: slow bytes before.
    """
    less = t.seconds[TOTALS, LINEAR] < moved - LEAST_BYTES
    if t.floats[WEIGHTS, BUSY_S] == 0.0:
        return bool(less)
    tolerance = TOLERANCE * seconds
    paid = t.floats[WEIGHTS, BYTE_PRICE] * (t.seconds[TOTALS, LINEAR] - moved)
    now = t.seconds[TOTALS, BUSY_S] + paid
    return bool(now < seconds - tolerance or (now <= seconds + tolerance and less))
