"""Compiled: addresses for residencies that a move adds; those around are packed anew if needed."""

from ullage.solvers.annealing.moves import MOVED, log_change, log_is_full
from ullage.solvers.annealing.tables import EJECTED, EJECTED_LAST, LOG_SLOT, LOGGED, OWN_SLOTS
from ullage.solvers.engine.addresses import find_hole
from ullage.solvers.engine.jit import compiled, inlined
from ullage.solvers.engine.tables import (
    COUNTS,
    LISTED,
    LIVE,
    NOWHERE,
    SLOT_ALIGNED,
    SLOT_BYTES,
    SLOT_END,
    SLOT_OFFSET,
    SLOT_PLACE,
    SLOT_START,
    Tables,
)

# Orders in which residencies are packed anew: by size, by size x steps, by steps, by start.
ORDERS = 4


@compiled
def _hole(t: Tables, slot: int) -> int:
    """Offset of a hole that a residency fits into while it lasts, -1 without one."""
    return find_hole(t, slot, t.ints[SLOT_BYTES, slot], NOWHERE, NOWHERE)


@compiled
def _key(t: Tables, slot: int, order: int) -> int:
    """Rank of a residency in one of the ORDERS; the smallest is placed first."""
    steps = t.state[SLOT_END, slot] - t.state[SLOT_START, slot]
    size = t.ints[SLOT_ALIGNED, slot]
    if order == 0:
        return int(-size)
    if order == 1:
        return int(-size * steps)
    if order == 2:
        return int(-steps)
    return int(t.state[SLOT_START, slot])


@inlined
def _repack(t: Tables, slot: int) -> bool:
    """Give new addresses to a residency and to all others that are alive during it.

    Returns:
        False, with the old addresses, where no order gives all of them a hole.
    """
    start, end = t.state[SLOT_START, slot], t.state[SLOT_END, slot]
    listed, keys = t.state[EJECTED], t.state[EJECTED_LAST]
    mark = t.state[COUNTS, LOGGED]
    if log_is_full(t):
        return False
    log_change(t, MOVED, slot)
    count = 1
    for position in range(t.state[COUNTS, LIVE]):
        other = t.state[LISTED, position]
        if (
            other != slot
            and t.state[SLOT_OFFSET, other] >= 0
            and t.state[SLOT_START, other] < end
            and start < t.state[SLOT_END, other]
            and not log_is_full(t)
        ):
            count += 1
            log_change(t, MOVED, other)
    for order in range(ORDERS):
        for k in range(count):
            t.state[SLOT_OFFSET, t.state[LOG_SLOT, mark + k]] = -1
        for k in range(count):
            other = t.state[LOG_SLOT, mark + k]
            key = _key(t, other, order)
            at = k
            while at > 0 and (keys[at - 1], listed[at - 1]) > (key, other):
                keys[at], listed[at] = keys[at - 1], listed[at - 1]
                at -= 1
            keys[at], listed[at] = key, other
        fits = True
        for k in range(count):
            offset = _hole(t, listed[k])
            if offset < 0:
                fits = False
                break
            t.state[SLOT_OFFSET, listed[k]] = offset
        if fits:
            return True
    while t.state[COUNTS, LOGGED] > mark:
        t.state[COUNTS, LOGGED] -= 1
        saved_slot = t.state[COUNTS, OWN_SLOTS] + t.state[COUNTS, LOGGED]
        moved = t.state[LOG_SLOT, t.state[COUNTS, LOGGED]]
        t.state[SLOT_OFFSET, moved] = t.state[SLOT_OFFSET, saved_slot]
    return False


@inlined
def place_new(t: Tables) -> bool:
    """Addresses for all residencies of the log that have none; False where one finds no hole.

    Residencies that are moved to another address for it are logged.
    """
    for entry in range(t.state[COUNTS, LOGGED]):
        slot = t.state[LOG_SLOT, entry]
        if t.state[SLOT_PLACE, slot] < 0 or t.state[SLOT_OFFSET, slot] >= 0:
            continue
        offset = _hole(t, slot)
        if offset >= 0:
            t.state[SLOT_OFFSET, slot] = offset
        elif not _repack(t, slot):
            return False
    return True
