"""Compiled: search for the order in which mandatory transfers take idle link time and room.

The transfers of a few residencies are taken back to their shortest form and placed again in
another order, time and again (ruin and recreate: Schrimpf et al., "Record breaking optimization
results using the ruin and recreate principle", Journal of Computational Physics 159, 2000); what
comes out is accepted as simulated annealing does:

    drawn          b and c, neighbours in the order of uses
    shortest             bbb [b]    ccc [c]
    c, then b      ccc   bbb [b]        [c]     c takes the idle step, b what is left
"""

import math

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.engine.addresses import find_hole
from ullage.solvers.engine.costs import copy_slot, list_slot, unlist_slot
from ullage.solvers.engine.fetching import (
    BETWEEN,
    EARLY,
    LATE,
    count_transfers,
    place_again,
    shorten,
)
from ullage.solvers.engine.jit import compiled, entry, inlined
from ullage.solvers.engine.proposals import TOLERANCE
from ullage.solvers.engine.tables import (
    ACCESS_SEGMENT,
    BUSY_S,
    COUNTS,
    FILL,
    NOWHERE,
    SEGMENT_BYTES,
    SEGMENT_MUST,
    SIZES,
    SLOT_MOVES,
    SLOT_OFFSET,
    SLOT_PLACE,
    SLOTS,
    SPILL,
    TOTALS,
    WORK,
    Tables,
)

# How often a search takes each way of a fill.
WAYS = (EARLY, EARLY, EARLY, EARLY, LATE, LATE, BETWEEN, BETWEEN)
# Most and least residencies whose transfers are taken back at once.
MOST_CHOSEN, LEAST_CHOSEN = 12, 2
# Slots that a search needs beside those of the best decisions: what it has taken back, a spare one.
SEARCH_SLOTS = MOST_CHOSEN + 1
# Columns of the list of a search behind the residencies that are chosen: the state of the random
# numbers, and the next residency to be placed in order.
DRAWN, NEXT = MOST_CHOSEN, MOST_CHOSEN + 1
LIST_WIDTH = MOST_CHOSEN + 2
# Tasks of `work_on` beside placing fills EARLY or LATE: shortest transfers, search, the best again,
# addresses.
SHORTEN, SEARCH, RESTORE, PLACE = range(3, 7)
# In column NEXT: one of the residencies finds no address.
FAILED = 1 << 60


@compiled
def draw(chosen: Ints, count: int) -> int:
    """A number from 0 to count - 1 (Park and Miller's generator)."""
    chosen[DRAWN] = chosen[DRAWN] * 48271 % 2147483647
    return int(chosen[DRAWN] * count // 2147483647)


@compiled
def copy_all(t: Tables, slots: Ints, to_best: bool) -> None:
    """Keep the transfers of residencies as the best so far, or go back to those."""
    best = t.ints[SIZES, SLOTS] - SEARCH_SLOTS - len(slots)
    for k in range(len(slots)):
        if to_best:
            copy_slot(t, slots[k], best + k)
        else:
            count_transfers(t, slots[k], -1)
            copy_slot(t, best + k, slots[k])
            count_transfers(t, slots[k], 1)


@compiled
def choose(slots: Ints, chosen: Ints) -> int:
    """Draw residencies whose transfers are placed again, and their order; returns how many."""
    number = len(slots)
    count = min(number, LEAST_CHOSEN + draw(chosen, MOST_CHOSEN - LEAST_CHOSEN + 1))
    if draw(chosen, 3) == 0:  # anywhere
        for k in range(count):
            fresh = False
            while not fresh:
                chosen[k] = slots[draw(chosen, number)]
                fresh = True
                for other in range(k):
                    if chosen[other] == chosen[k]:
                        fresh = False
        return count
    first = draw(chosen, number - count + 1)  # neighbours
    for k in range(count):
        chosen[k] = slots[first + k]
    if draw(chosen, 3) > 0:
        for k in range(count - 1, 0, -1):
            other = draw(chosen, k + 1)
            slot = chosen[k]
            chosen[k] = chosen[other]
            chosen[other] = slot
    return count


@inlined
def search_order(
    t: Tables, slots: Ints, chosen: Ints, best: Floats, until: int, heat: float
) -> None:
    """Ruin and recreate until some work is done; see `work_on`."""
    saved = t.ints[SIZES, SLOTS] - SEARCH_SLOTS
    while t.state[COUNTS, WORK] < until:
        before_s = t.seconds[TOTALS, BUSY_S]
        count = choose(slots, chosen)
        for k in range(count):
            copy_slot(t, chosen[k], saved + k)
            shorten(t, chosen[k])
        for k in range(count):
            way = WAYS[draw(chosen, len(WAYS))]
            place_again(t, chosen[k], way, draw(chosen, 1024))
        t.state[COUNTS, WORK] += 8 * count
        change_s = t.seconds[TOTALS, BUSY_S] - before_s
        share = (1.0 + draw(chosen, 1 << 20)) / (1 << 20)
        if change_s > -heat * math.log(share):
            for k in range(count):
                count_transfers(t, chosen[k], -1)
                copy_slot(t, saved + k, chosen[k])
                count_transfers(t, chosen[k], 1)
        elif t.seconds[TOTALS, BUSY_S] < best[0] * (1.0 - TOLERANCE):
            best[0] = t.seconds[TOTALS, BUSY_S]
            copy_all(t, slots, True)


@inlined
def place_addresses(t: Tables, slots: Ints, chosen: Ints, until: int) -> None:
    """Give residencies addresses, the tightest hole to each; see `work_on`.

    One that finds none, and can be fetched right before its use instead, is.
    """
    if chosen[NEXT] == 0:
        for slot in slots:
            if t.state[SLOT_PLACE, slot] >= 0:
                unlist_slot(t, slot)
    while chosen[NEXT] < len(slots) and t.state[COUNTS, WORK] < until:
        slot = slots[chosen[NEXT]]
        segment = t.ints[ACCESS_SEGMENT, slot]
        size = t.ints[SEGMENT_BYTES, segment]
        offset = find_hole(t, slot, size, NOWHERE, NOWHERE)
        longer = t.state[SLOT_MOVES + FILL, slot] + t.state[SLOT_MOVES + SPILL, slot] > 0
        if offset < 0 and longer and t.ints[SEGMENT_MUST, segment] == 1:
            shorten(t, slot)
            offset = find_hole(t, slot, size, NOWHERE, NOWHERE)
        if offset < 0:
            chosen[NEXT] = FAILED
            return
        t.state[SLOT_OFFSET, slot] = offset
        list_slot(t, slot)
        chosen[NEXT] += 1


@entry
def work_on(
    t: Tables, slots: Ints, chosen: Ints, best: Floats, task: int, until: int, heat: float
) -> None:
    """Place transfers in order, search, or go back to the best: one entry, compiled once.

    Args:
        t: the tables. For a search they have, behind the slots that others use, one for each of
            `slots`, then SEARCH_SLOTS.
        slots: (N,) of residencies that have transfers. To place them: in the order in which they
            take room; for a search in the order of their uses. For addresses: of all residencies,
            in the order in which they get one.
        chosen: (LIST_WIDTH,) list, kept between calls; its column NEXT says which of `slots` is
            the next to be placed; FAILED: one finds no address.
        best: (1,) busy seconds of the best decisions of a search; infinite: there are none yet.
        task: EARLY, LATE (of fills), SHORTEN, SEARCH, RESTORE or PLACE.
        until: units of work at which to stop.
        heat: of a search, temperature in seconds.
    """
    if task == SEARCH:
        if t.seconds[TOTALS, BUSY_S] < best[0]:
            best[0] = t.seconds[TOTALS, BUSY_S]
            copy_all(t, slots, True)
        search_order(t, slots, chosen, best, until, heat)
        return
    if task == RESTORE:
        copy_all(t, slots, False)
        return
    if task == PLACE:
        place_addresses(t, slots, chosen, until)
        return
    while chosen[NEXT] < len(slots) and t.state[COUNTS, WORK] < until:
        if task == SHORTEN:
            shorten(t, slots[chosen[NEXT]])
        else:
            place_again(t, slots[chosen[NEXT]], task, 0)
        chosen[NEXT] += 1
