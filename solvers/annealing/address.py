"""Compiled: addresses for runs that come and go; neighbours in time are packed anew where needed.

This module imports numba; import it where it is needed.
"""

from ullage.solvers.annealing.moves import MOVED, compiled, log_is_full, note
from ullage.solvers.annealing.tables import (
    ALIVE,
    COUNTS,
    END,
    LIVE,
    LOG_SLOT,
    LOGGED,
    NOW,
    OFFSET,
    OWNER,
    PLACE,
    ROOM,
    SCRATCH,
    START,
    STASH,
    TAKEN,
    WORK,
    Tables,
)

ORDERS = 4  # by size, by size x steps, by steps, by start


@compiled
def _hole(t: Tables, slot: int) -> int:
    """Offset of the tightest hole that a run fits into during its whole life, -1 without one."""
    start, end = t.runs[NOW, START, slot], t.runs[NOW, END, slot]
    size = t.i[TAKEN, t.i[OWNER, slot]]
    low, high = t.i[SCRATCH + 0], t.i[SCRATCH + 1]
    found = 0
    t.i[COUNTS, WORK] += t.i[COUNTS, LIVE] // 8 + 1
    for position in range(t.i[COUNTS, LIVE]):
        other = t.i[ALIVE, position]
        offset = t.runs[NOW, OFFSET, other]
        if offset >= 0 and t.runs[NOW, START, other] < end and start < t.runs[NOW, END, other]:
            at = found
            while at > 0 and low[at - 1] > offset:
                low[at], high[at] = low[at - 1], high[at - 1]
                at -= 1
            low[at] = offset
            high[at] = offset + t.i[TAKEN, t.i[OWNER, other]]
            found += 1
    t.i[COUNTS, WORK] += found
    limit = t.i[ROOM, start]
    for step in range(start, end):
        limit = min(limit, t.i[ROOM, step])
    best, tightest = -1, limit + 1
    floor = 0
    for k in range(found + 1):
        top = min(low[k], limit) if k < found else limit
        room = top - floor
        if size <= room < tightest:
            best, tightest = floor, room
        if k < found:
            floor = max(floor, high[k])
    return int(best)


@compiled
def _key(t: Tables, slot: int, order: int) -> int:
    steps = t.runs[NOW, END, slot] - t.runs[NOW, START, slot]
    size = t.i[TAKEN, t.i[OWNER, slot]]
    if order == 0:
        return int(-size)
    if order == 1:
        return int(-size * steps)
    if order == 2:
        return int(-steps)
    return int(t.runs[NOW, START, slot])


@compiled
def _repack(t: Tables, slot: int) -> bool:
    """Give new addresses to a run and all that are alive during it."""
    start, end = t.runs[NOW, START, slot], t.runs[NOW, END, slot]
    listed, keys = t.i[SCRATCH + 2], t.i[SCRATCH + 3]
    mark = t.i[COUNTS, LOGGED]
    if log_is_full(t):
        return False
    note(t, MOVED, slot)
    count = 1
    for position in range(t.i[COUNTS, LIVE]):
        other = t.i[ALIVE, position]
        if (
            other != slot
            and t.runs[NOW, OFFSET, other] >= 0
            and t.runs[NOW, START, other] < end
            and start < t.runs[NOW, END, other]
            and not log_is_full(t)
        ):
            count += 1
            note(t, MOVED, other)
    for order in range(ORDERS):
        for k in range(count):
            t.runs[NOW, OFFSET, t.i[LOG_SLOT, mark + k]] = -1
        for k in range(count):
            other = t.i[LOG_SLOT, mark + k]
            key = _key(t, other, order)
            at = k
            while at > 0 and (keys[at - 1], listed[at - 1]) > (key, other):
                keys[at], listed[at] = keys[at - 1], listed[at - 1]
                at -= 1
            keys[at], listed[at] = key, other
        done = True
        for k in range(count):
            offset = _hole(t, listed[k])
            if offset < 0:
                done = False
                break
            t.runs[NOW, OFFSET, listed[k]] = offset
        if done:
            return True
    while t.i[COUNTS, LOGGED] > mark:
        t.i[COUNTS, LOGGED] -= 1
        entry = t.i[COUNTS, LOGGED]
        t.runs[NOW, OFFSET, t.i[LOG_SLOT, entry]] = t.runs[STASH, OFFSET, entry]
    return False


@compiled
def place_new(t: Tables) -> bool:
    """Addresses for all runs of the log that have none; False where one finds no hole.

    Addresses that others had to give up are logged.
    """
    for entry in range(t.i[COUNTS, LOGGED]):
        slot = t.i[LOG_SLOT, entry]
        if t.i[PLACE, slot] < 0 or t.runs[NOW, OFFSET, slot] >= 0:
            continue
        offset = _hole(t, slot)
        if offset >= 0:
            t.runs[NOW, OFFSET, slot] = offset
        elif not _repack(t, slot):
            return False
    return True
