"""Compiled: residencies that grow: over the gap between two accesses, or around a single one.

A candidate joins access `first` with access `last`, its neighbour or itself, and with the
residencies that cover them:

    accesses    0    1    2    3    4    5
    before      ==left=====         ==right=     candidate (2, 3)
    trial       ============================     its transfers are planned anew
    after       taken, or left and right as they were

What left and right cover stays charged to the fastest tier, and only the difference of live bytes
is looked at: a candidate costs its gap and two windows, however long the residencies are.
"""

from ullage.compiler.common.arrays import Ints
from ullage.solvers.engine.costs import charge_accesses, charge_transfer, copy_slot, cover
from ullage.solvers.engine.jit import compiled, entry
from ullage.solvers.engine.proposals import POSSIBLE, fits_during, improves, propose
from ullage.solvers.engine.tables import (
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    BUSY_S,
    COUNTS,
    FILL,
    LINEAR,
    NOWHERE,
    SEGMENT_ALIGNED,
    SEGMENT_FIRST,
    SEGMENT_LAST,
    SIZES,
    SLOT_END,
    SLOT_LAST,
    SLOT_START,
    SLOTS,
    SPILL,
    STEP_LOAD,
    TOTALS,
    WORK,
    Tables,
)

# Rows of the list of candidates: first and last access, whether it was taken or needs no more.
FIRST, LAST, DONE = range(3)


@entry
def try_candidates(t: Tables, candidates: Ints, begin: int, until: int, anew: bool) -> int:
    """Try candidates in their order, until some work is done.

    Args:
        t: changed by those that are taken.
        candidates: (3, C), see FIRST; the outcome is written to row DONE.
        begin: the first to be tried.
        until: units of work at which to stop.
        anew: plan the transfers of residencies anew that cover a candidate already.

    Returns:
        Number of the first that was not tried.
    """
    count = begin
    while count < candidates.shape[1] and t.state[COUNTS, WORK] < until:
        first, last = candidates[FIRST, count], candidates[LAST, count]
        candidates[DONE, count] = join(t, first, last, anew)
        count += 1
    return count


@entry
def keep_whole(t: Tables, segments: Ints) -> None:
    """Keep segments, of which nothing is kept yet, from first to last access, whatever that costs.

    There are links for the transfers, steps for them, and room for everything: live bytes are not
    counted.
    """
    slot = t.ints[SIZES, SLOTS] - 1
    for segment in segments:
        first, last = t.ints[SEGMENT_FIRST, segment], t.ints[SEGMENT_LAST, segment]
        propose(t, slot, first, last, NOWHERE, NOWHERE)
        copy_slot(t, slot, first)
        charge_accesses(t, first, last, 1)
        charge_transfer(t, slot, FILL, segment, 1)
        charge_transfer(t, slot, SPILL, segment, 1)
        cover(t, first, last, 1)


@compiled
def join(t: Tables, first: int, last: int, anew: bool) -> bool:
    """Try one candidate; returns whether its accesses are joined (with `anew`: better) now."""
    t.state[COUNTS, WORK] += 1
    left, right = t.state[ACCESS_SLOT, first], t.state[ACCESS_SLOT, last]
    low, high = first, last
    if left >= 0:
        if t.state[SLOT_LAST, left] >= last and not anew:
            return True
        low = left
    if right >= 0:
        high = t.state[SLOT_LAST, right]
    own_end = right
    if left == right:
        right = NOWHERE
    segment = t.ints[ACCESS_SEGMENT, first]
    slot = t.ints[SIZES, SLOTS] - 1
    before_s, before = t.seconds[TOTALS, BUSY_S], t.seconds[TOTALS, LINEAR]
    for old in (left, right):
        if old >= 0:
            charge_transfer(t, old, FILL, segment, -1)
            charge_transfer(t, old, SPILL, segment, -1)
    size = t.ints[SEGMENT_ALIGNED, segment]
    outcome = propose(t, slot, low, high, left, own_end)
    if outcome == POSSIBLE and grown_fits(t, slot, size, left, right):
        for access in range(first, last + 1):
            if t.state[ACCESS_SLOT, access] < 0:
                charge_accesses(t, access, access, 1)
        charge_transfer(t, slot, FILL, segment, 1)
        charge_transfer(t, slot, SPILL, segment, 1)
        if improves(t, before_s, before):
            settle(t, slot, low, high, left, right)
            return True
        charge_transfer(t, slot, SPILL, segment, -1)
        charge_transfer(t, slot, FILL, segment, -1)
        for access in range(first, last + 1):
            if t.state[ACCESS_SLOT, access] < 0:
                charge_accesses(t, access, access, -1)
    for old in (left, right):
        if old >= 0:
            charge_transfer(t, old, FILL, segment, 1)
            charge_transfer(t, old, SPILL, segment, 1)
    return False


@compiled
def ends_of(t: Tables, slot: int, left: int, right: int) -> tuple[int, int, int, int]:
    """Steps [a, b) of the left residency, [c, d) of the right one; empty at the new one's ends."""
    start, end = t.state[SLOT_START, slot], t.state[SLOT_END, slot]
    a, b, c, d = start, start, end, end
    if left >= 0:
        a, b = t.state[SLOT_START, left], t.state[SLOT_END, left]
    if right >= 0:
        c, d = t.state[SLOT_START, right], t.state[SLOT_END, right]
    return a, b, c, d


@compiled
def grown_fits(t: Tables, slot: int, size: int, left: int, right: int) -> bool:
    """Whether a proposed residency fits in the steps in which it is new."""
    a, b, c, d = ends_of(t, slot, left, right)
    if not fits_during(t, size, t.state[SLOT_START, slot], a):
        return False
    return fits_during(t, size, b, c) and fits_during(t, size, d, t.state[SLOT_END, slot])


@compiled
def add_bytes(t: Tables, size: int, low: int, high: int) -> None:
    """Add bytes to the steps of [low, high), or take them from those of [high, low)."""
    for step in range(low, high):
        t.state[STEP_LOAD, step] += size
    for step in range(high, low):
        t.state[STEP_LOAD, step] -= size
    t.state[COUNTS, WORK] += abs(high - low)


@compiled
def settle(t: Tables, slot: int, low: int, high: int, left: int, right: int) -> None:
    """Put the proposed residency of accesses low..high in the place of those that it replaces."""
    size = t.ints[SEGMENT_ALIGNED, t.ints[ACCESS_SEGMENT, low]]
    a, b, c, d = ends_of(t, slot, left, right)
    add_bytes(t, size, t.state[SLOT_START, slot], a)
    add_bytes(t, size, b, c)
    add_bytes(t, size, d, t.state[SLOT_END, slot])
    begin = low if left < 0 else t.state[SLOT_LAST, left] + 1
    if right >= 0:
        t.state[SLOT_LAST, right] = NOWHERE
    copy_slot(t, slot, low)
    t.state[SLOT_LAST, low] = high
    for access in range(begin, high + 1):
        t.state[ACCESS_SLOT, access] = low
