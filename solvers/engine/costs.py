"""Compiled: what residencies cost, put in and taken out.

This module imports numba; import it where it is needed.
"""

from ullage.solvers.engine.jit import compiled
from ullage.solvers.engine.tables import (
    ACCESS_FAST_S,
    ACCESS_HOME_S,
    ACCESS_LINEAR,
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESS_STEP,
    BUSY_S,
    COUNTS,
    FILL,
    LINEAR,
    LISTED,
    LIVE,
    MAX_MOVES,
    RESOURCE,
    RESOURCES,
    SEGMENT_ALIGNED,
    SEGMENT_FAST_RATE,
    SEGMENT_HOME,
    SEGMENT_HOME_RATE,
    SEGMENT_LINEAR,
    SEGMENT_LINK,
    SEGMENT_LINK_RATE,
    SEGMENT_SETUP_S,
    SIZES,
    SLOT_END,
    SLOT_LAST,
    SLOT_MOVES,
    SLOT_OFFSET,
    SLOT_PLACE,
    SLOT_READY,
    SLOT_START,
    SPILL,
    STEP_BUSY,
    STEP_COMPUTE_S,
    STEP_LOAD,
    TOTALS,
    WORK,
    Tables,
)


@compiled
def update_busy(t: Tables, step: int) -> None:
    """Bring the roofline of a step up to date."""
    busy = t.floats[STEP_COMPUTE_S, step]
    for row in range(RESOURCE, RESOURCE + t.ints[SIZES, RESOURCES]):
        busy = max(busy, t.seconds[row, step])
    t.seconds[TOTALS, BUSY_S] += busy - t.seconds[STEP_BUSY, step]
    t.seconds[STEP_BUSY, step] = busy


@compiled
def charge_accesses(t: Tables, first: int, last: int, sign: int) -> None:
    """Operators of accesses first..last go to the fastest tier (sign 1), or back home (-1)."""
    home = RESOURCE + t.ints[SEGMENT_HOME, t.ints[ACCESS_SEGMENT, first]]
    for access in range(first, last + 1):
        step = t.ints[ACCESS_STEP, access]
        t.seconds[home, step] -= sign * t.floats[ACCESS_HOME_S, access]
        update_busy(t, step)
        t.seconds[RESOURCE, step] += sign * t.floats[ACCESS_FAST_S, access]
        t.seconds[TOTALS, LINEAR] += sign * t.floats[ACCESS_LINEAR, access]
        update_busy(t, step)
    t.state[COUNTS, WORK] += last - first + 1


@compiled
def charge_transfer(t: Tables, slot: int, way: int, segment: int, sign: int) -> None:
    """The fill or the spill of a slot runs (sign 1), or no longer (-1)."""
    count = t.state[SLOT_MOVES + way, slot]
    if count == 0:
        return
    home = RESOURCE + t.ints[SEGMENT_HOME, segment]
    link = t.ints[SEGMENT_LINK + way, segment]
    home_s = sign / t.floats[SEGMENT_HOME_RATE + way, segment]
    fast_s = sign / t.floats[SEGMENT_FAST_RATE + way, segment]
    link_s = sign / t.floats[SEGMENT_LINK_RATE + way, segment]
    setup_s = sign * t.floats[SEGMENT_SETUP_S + way, segment]
    row = 2 * slot + way
    for k in range(count):
        step = t.moves[row, k]
        size = t.moves[row, MAX_MOVES + k]
        t.seconds[home, step] += size * home_s
        t.seconds[RESOURCE, step] += size * fast_s
        t.seconds[link, step] += size * link_s + setup_s
        setup_s = 0.0
        update_busy(t, step)
    t.seconds[TOTALS, LINEAR] += sign * t.floats[SEGMENT_LINEAR + way, segment]
    t.state[COUNTS, WORK] += count


@compiled
def charge_bytes(t: Tables, slot: int, segment: int, sign: int) -> None:
    """The space of a slot is taken (sign 1), or free again (-1)."""
    size = sign * t.ints[SEGMENT_ALIGNED, segment]
    for step in range(t.state[SLOT_START, slot], t.state[SLOT_END, slot]):
        t.state[STEP_LOAD, step] += size


@compiled
def account(t: Tables, slot: int, first: int, last: int, sign: int) -> None:
    """Charge (or, with sign -1, credit) all that the residency in a slot costs.

    Args:
        t: the tables.
        slot: where the residency is.
        first: its first access.
        last: its last access.
        sign: 1 or -1.
    """
    segment = t.ints[ACCESS_SEGMENT, first]
    charge_bytes(t, slot, segment, sign)
    charge_accesses(t, first, last, sign)
    for way in range(2):
        charge_transfer(t, slot, way, segment, sign)


@compiled
def list_slot(t: Tables, slot: int) -> None:
    """Put a slot on the list."""
    t.state[SLOT_PLACE, slot] = t.state[COUNTS, LIVE]
    t.state[LISTED, t.state[COUNTS, LIVE]] = slot
    t.state[COUNTS, LIVE] += 1


@compiled
def unlist_slot(t: Tables, slot: int) -> None:
    """Take a slot off the list; the last one takes its place."""
    t.state[COUNTS, LIVE] -= 1
    moved = t.state[LISTED, t.state[COUNTS, LIVE]]
    t.state[LISTED, t.state[SLOT_PLACE, slot]] = moved
    t.state[SLOT_PLACE, moved] = t.state[SLOT_PLACE, slot]
    t.state[SLOT_PLACE, slot] = -1


@compiled
def copy_slot(t: Tables, source: int, slot: int) -> None:
    """The residency of one slot into another, its last access excepted."""
    t.state[SLOT_START, slot] = t.state[SLOT_START, source]
    t.state[SLOT_READY, slot] = t.state[SLOT_READY, source]
    t.state[SLOT_END, slot] = t.state[SLOT_END, source]
    t.state[SLOT_OFFSET, slot] = t.state[SLOT_OFFSET, source]
    for way in range(2):
        count = t.state[SLOT_MOVES + way, source]
        t.state[SLOT_MOVES + way, slot] = count
        for k in range(count):
            t.moves[2 * slot + way, k] = t.moves[2 * source + way, k]
            t.moves[2 * slot + way, MAX_MOVES + k] = t.moves[2 * source + way, MAX_MOVES + k]


@compiled
def clear_slot(t: Tables, slot: int, start: int, end: int) -> None:
    """A residency without moves and address."""
    t.state[SLOT_START, slot] = start
    t.state[SLOT_READY, slot] = start
    t.state[SLOT_END, slot] = end
    t.state[SLOT_OFFSET, slot] = -1
    t.state[SLOT_MOVES + FILL, slot] = 0
    t.state[SLOT_MOVES + SPILL, slot] = 0


@compiled
def cover(t: Tables, slot: int, last: int, sign: int) -> None:
    """The residency in a slot, charged already, holds for accesses slot..last (or no longer)."""
    t.state[SLOT_LAST, slot] = last if sign > 0 else -1
    for access in range(slot, last + 1):
        t.state[ACCESS_SLOT, access] = slot if sign > 0 else -1


@compiled
def occupy(t: Tables, slot: int, last: int, sign: int) -> None:
    """`account` and `cover`: the residency in a slot becomes true, or (sign -1) is undone.

    It is not put on the list, nor taken off; the slot keeps what it held.
    """
    account(t, slot, slot, last, sign)
    cover(t, slot, last, sign)
