"""Compiled: the costs of residencies, charged when one is added, credited when it is removed.

The latency of a step is that of its busiest resource (roofline): compute, a tier's port or a link.
A residency moves the port time of its accesses from the home tier to the fastest one and adds
transfers to ports and links; every change brings the steps concerned up to date:

    step        0     1     2     3     4
    link up           fill
    home port         fill  -a0         -a1     accesses a0, a1 leave the home tier
    fastest port      fill  +a0         +a1
    compute unit            -a0         -a1     where it accesses operands itself: the difference
    live bytes        +     +     +     +
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
    EXPOSED,
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
    UNIT,
    WEIGHTS,
    WORK,
    Tables,
)


@compiled
def update_busy(t: Tables, step: int) -> None:
    """Bring the roofline of a step, and the sum of all steps, up to date."""
    busy = t.floats[STEP_COMPUTE_S, step]
    for row in range(RESOURCE, RESOURCE + t.ints[SIZES, RESOURCES]):
        busy = max(busy, t.seconds[row, step])
    t.seconds[TOTALS, BUSY_S] += busy - t.seconds[STEP_BUSY, step]
    t.seconds[STEP_BUSY, step] = busy


@compiled
def charge_accesses(t: Tables, first: int, last: int, sign: int) -> None:
    """Charge accesses first..last to the fastest tier instead of home (sign 1), or back (-1)."""
    home = RESOURCE + t.ints[SEGMENT_HOME, t.ints[ACCESS_SEGMENT, first]]
    unit = t.ints[SIZES, UNIT]
    exposed = sign * t.floats[WEIGHTS, EXPOSED]
    for access in range(first, last + 1):
        step = t.ints[ACCESS_STEP, access]
        t.seconds[home, step] -= sign * t.floats[ACCESS_HOME_S, access]
        if unit >= 0:
            t.seconds[unit, step] -= exposed * t.floats[ACCESS_HOME_S, access]
        update_busy(t, step)
        t.seconds[RESOURCE, step] += sign * t.floats[ACCESS_FAST_S, access]
        if unit >= 0:
            t.seconds[unit, step] += exposed * t.floats[ACCESS_FAST_S, access]
        t.seconds[TOTALS, LINEAR] += sign * t.floats[ACCESS_LINEAR, access]
        update_busy(t, step)
    t.state[COUNTS, WORK] += last - first + 1


@compiled
def charge_transfer(t: Tables, slot: int, way: int, segment: int, sign: int) -> None:
    """Charge the fill or the spill of a slot to ports and link (sign 1), or credit it (-1).

    Args:
        t: the tables.
        slot: of the residency.
        way: FILL or SPILL.
        segment: of the residency.
        sign: 1 or -1.
    """
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
    """Add the aligned bytes of a slot to the live bytes of its steps (sign 1), or take them off."""
    size = sign * t.ints[SEGMENT_ALIGNED, segment]
    for step in range(t.state[SLOT_START, slot], t.state[SLOT_END, slot]):
        t.state[STEP_LOAD, step] += size


@compiled
def account(t: Tables, slot: int, first: int, last: int, sign: int) -> None:
    """Charge (or, with sign -1, credit) all that the residency in a slot costs.

    Args:
        t: the tables.
        slot: of the residency.
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
    """Put a slot on the list of those with an address, at its end."""
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
    """Copy the residency of one slot to another, its last access excepted."""
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
    """Write a residency of steps [start, end) without transfers and address into a slot."""
    t.state[SLOT_START, slot] = start
    t.state[SLOT_READY, slot] = start
    t.state[SLOT_END, slot] = end
    t.state[SLOT_OFFSET, slot] = -1
    t.state[SLOT_MOVES + FILL, slot] = 0
    t.state[SLOT_MOVES + SPILL, slot] = 0


@compiled
def cover(t: Tables, slot: int, last: int, sign: int) -> None:
    """Record that the residency in a slot covers accesses slot..last (or, sign -1, no longer)."""
    t.state[SLOT_LAST, slot] = last if sign > 0 else -1
    for access in range(slot, last + 1):
        t.state[ACCESS_SLOT, access] = slot if sign > 0 else -1


@compiled
def occupy(t: Tables, slot: int, last: int, sign: int) -> None:
    """`account` and `cover`: a residency becomes part of the decisions, or (sign -1) leaves them.

    It is not put on the list, nor taken off; the slot keeps its numbers.
    """
    account(t, slot, slot, last, sign)
    cover(t, slot, last, sign)
