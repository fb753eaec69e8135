"""Compiled: addresses in the fastest tier for residencies, free while they last.

    address
    roof  ----------------------------    workspace of the steps lies above
          [ slot 3        ]
                 (hole)    [ slot 9  ]
          [ slot 1             ]
          ---------------------------> step

Only the slots on the list (`LISTED`) are in the way of others.
"""

from ullage.solvers.engine.jit import compiled
from ullage.solvers.engine.tables import (
    ADDRESSES,
    COUNTS,
    LISTED,
    LIVE,
    SCRATCH,
    SIZES,
    SLOT_ALIGNED,
    SLOT_BYTES,
    SLOT_END,
    SLOT_OFFSET,
    SLOT_START,
    STEP_WORKSPACE,
    WORK,
    Tables,
)

# ruff: noqa: PLR1714 - membership of a tuple is slow in compiled code


@compiled
def roof_bytes(t: Tables, start: int, end: int) -> int:
    """Bytes of addresses below the workspace of all steps of [start, end)."""
    workspace = 0
    for step in range(start, end):
        workspace = max(workspace, t.ints[STEP_WORKSPACE, step])
    return int(t.ints[SIZES, ADDRESSES] - workspace)


@compiled
def is_free(t: Tables, slot: int, size: int, but: int, nor: int) -> bool:
    """Whether a slot's addresses are free while its residency lasts.

    Args:
        t: the tables.
        slot: its residency and offset.
        size: bytes.
        but: a slot that is not in its way, NOWHERE for none.
        nor: another one.
    """
    start, end = t.state[SLOT_START, slot], t.state[SLOT_END, slot]
    offset = t.state[SLOT_OFFSET, slot]
    if offset + size > roof_bytes(t, start, end):
        return False
    for position in range(t.state[COUNTS, LIVE]):
        other = t.state[LISTED, position]
        if (
            t.state[SLOT_START, other] < end
            and t.state[SLOT_END, other] > start
            and t.state[SLOT_OFFSET, other] < offset + size
            and t.state[SLOT_OFFSET, other] + t.ints[SLOT_BYTES, other] > offset
            and other != but
            and other != nor
        ):
            return False
    return True


@compiled
def find_hole(t: Tables, slot: int, size: int, but: int, nor: int) -> int:
    """Offset of the tightest gap that is free while a slot's residency lasts.

    Slots without an address are in no other slot's way.

    Args:
        t: the tables.
        slot: its residency.
        size: bytes.
        but: a slot that is not in its way, NOWHERE for none.
        nor: another one.

    Returns:
        The lowest offset of the tightest gap; above all others where no gap between them is large
        enough; -1 without one.
    """
    start, end = t.state[SLOT_START, slot], t.state[SLOT_END, slot]
    low, high = SCRATCH, SCRATCH + 1
    count = 0
    for position in range(t.state[COUNTS, LIVE]):
        other = t.state[LISTED, position]
        offset = t.state[SLOT_OFFSET, other]
        if (
            t.state[SLOT_START, other] < end
            and t.state[SLOT_END, other] > start
            and offset >= 0
            and other != but
            and other != nor
        ):
            at = count
            while at > 0 and t.state[low, at - 1] > offset:
                t.state[low, at] = t.state[low, at - 1]
                t.state[high, at] = t.state[high, at - 1]
                at -= 1
            t.state[low, at] = offset
            t.state[high, at] = offset + t.ints[SLOT_ALIGNED, other]
            count += 1
    t.state[COUNTS, WORK] += t.state[COUNTS, LIVE] // 8 + 1 + count
    roof = roof_bytes(t, start, end)
    best, best_room = -1, 0
    floor = 0
    for k in range(count):
        room = min(t.state[low, k], roof) - floor
        if room >= size and (best < 0 or room < best_room):
            best, best_room = floor, room
        floor = max(floor, t.state[high, k])
    if best >= 0:
        return int(best)
    return int(floor) if floor + size <= roof else -1
