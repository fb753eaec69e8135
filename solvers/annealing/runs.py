"""Compiled: building a run of a whole tensor, its moves placed where they cost least.

The rules are those of `ResidencyState.propose`; here the run's own operands leave the slow port
first, so that its moves may use the time.

This module imports numba; import it where it is needed.
"""

import math

from ullage.solvers.annealing.moves import ADDED, charge_moves, compiled, hold, note, operate
from ullage.solvers.annealing.tables import (
    BUSY,
    COUNT,
    COUNTS,
    END,
    FILL,
    FIRST,
    HOME,
    LAST,
    LAST_WRITE,
    LASTING,
    LINKED,
    LOAD,
    MAX_MOVES,
    NOW,
    OFFSET,
    OWNER,
    READS,
    RESOURCE,
    ROOM,
    RUN_LAST,
    RUN_OF,
    SEGMENT,
    SETUP,
    SIZE,
    SPILL,
    START,
    STEP,
    STEPS,
    TAKEN,
    TIERS,
    WANTED,
    WAY,
    WORK,
    Tables,
)

SPAN_STEPS = 96  # how far before its first access a fill may begin, and a spill end after


@compiled
def _room(t: Tables, home: int, way: int, step: int) -> int:
    """Bytes that a transfer can move in a step at no cost."""
    row = WAY + 3 * way
    home_s, fast_s, link_s = t.f[row, home], t.f[row + 1, home], t.f[row + 2, home]
    link = (1 + way) * (t.i[COUNTS, TIERS]) + home
    busy = t.f[BUSY, step]
    room = (busy - t.f[RESOURCE + home, step]) / home_s
    room = min(room, (busy - t.f[RESOURCE, step]) / fast_s)
    room = min(room, (busy - t.f[RESOURCE + link, step] - t.f[SETUP + way, home]) / link_s)
    t.i[COUNTS, WORK] += 1
    return int(room) if room > 0.0 else 0


@compiled
def _growth(t: Tables, home: int, way: int, step: int, size: int) -> float:
    """Seconds by which a step grows when a transfer moves all its bytes there."""
    row = WAY + 3 * way
    link = (1 + way) * t.i[COUNTS, TIERS] + home
    busy = t.f[RESOURCE + home, step] + size * t.f[row, home]
    busy = max(busy, t.f[RESOURCE, step] + size * t.f[row + 1, home])
    link_s = t.f[RESOURCE + link, step] + size * t.f[row + 2, home] + t.f[SETUP + way, home]
    return float(max(0.0, max(busy, link_s) - t.f[BUSY, step]))


@compiled
def _fits(t: Tables, size: int, step: int) -> bool:
    return bool(t.i[LOAD, step] + size <= t.i[ROOM, step])


@compiled
def _plan_fill(t: Tables, slot: int, low: int, used: int) -> None:
    """Spread the fill over idle steps, the latest first; without any, where it costs least.

    Args:
        t: the tables, the run's operators accounted.
        slot: the run.
        low: first step that the fill may take.
        used: step that the fill must not end before.
    """
    segment = t.i[OWNER, slot]
    home, size = t.i[HOME, segment], t.i[TAKEN, segment]
    left = t.i[SIZE, segment]
    begin = t.i[STEP, slot]
    count = 0
    step = begin - 1
    cheapest, least = step, math.inf
    while step >= low and left > 0 and count < MAX_MOVES and _fits(t, size, step):
        if step < used and count == 0:
            break
        part = min(left, _room(t, home, FILL, step))
        if part > 0:
            t.moves[NOW, slot, FILL, count, 0] = step
            t.moves[NOW, slot, FILL, count, 1] = part
            count += 1
            left -= part
        elif count == 0:
            growth = _growth(t, home, FILL, step, left)
            if growth < least:
                cheapest, least = step, growth
        step -= 1
    if count == 0:
        t.moves[NOW, slot, FILL, 0, 0] = cheapest
        t.moves[NOW, slot, FILL, 0, 1] = 0
        count = 1
    _finish(t, slot, FILL, count, left)
    for k in range(count // 2):  # ascending steps
        for column in range(2):
            other = t.moves[NOW, slot, FILL, count - 1 - k, column]
            t.moves[NOW, slot, FILL, count - 1 - k, column] = t.moves[NOW, slot, FILL, k, column]
            t.moves[NOW, slot, FILL, k, column] = other
    t.runs[NOW, START, slot] = t.moves[NOW, slot, FILL, 0, 0]


@compiled
def _finish(t: Tables, slot: int, way: int, count: int, left: int) -> None:
    """What found no idle step goes where most of it moves."""
    t.runs[NOW, COUNT + way, slot] = count
    most = 0
    for k in range(count):
        if t.moves[NOW, slot, way, k, 1] > t.moves[NOW, slot, way, most, 1]:
            most = k
    t.moves[NOW, slot, way, most, 1] += left


@compiled
def _plan_spill(t: Tables, slot: int, after: int, limit: int) -> None:
    """Spread the spill over idle steps, the first ones first; without any, where it costs least."""
    segment = t.i[OWNER, slot]
    home, size = t.i[HOME, segment], t.i[TAKEN, segment]
    left = t.i[SIZE, segment]
    end = t.runs[NOW, END, slot]
    count = 0
    step = after
    cheapest, least = step, math.inf
    while step < limit and left > 0 and count < MAX_MOVES:
        if step >= end and not _fits(t, size, step):
            break
        part = min(left, _room(t, home, SPILL, step))
        if part > 0:
            t.moves[NOW, slot, SPILL, count, 0] = step
            t.moves[NOW, slot, SPILL, count, 1] = part
            count += 1
            left -= part
        elif count == 0:
            growth = _growth(t, home, SPILL, step, left)
            if growth < least:
                cheapest, least = step, growth
        step += 1
    if count == 0:
        t.moves[NOW, slot, SPILL, 0, 0] = cheapest
        t.moves[NOW, slot, SPILL, 0, 1] = 0
        count = 1
    _finish(t, slot, SPILL, count, left)
    t.runs[NOW, END, slot] = max(end, t.moves[NOW, slot, SPILL, count - 1, 0] + 1)


@compiled
def _neighbour(t: Tables, access: int, sign: int) -> int:
    """Slot of the next run of the same segment before or after an access, -1 without one."""
    segment = t.i[SEGMENT, access]
    other = access + sign
    while t.i[FIRST, segment] <= other <= t.i[LAST, segment]:
        if t.i[RUN_OF, other] >= 0:
            return int(t.i[RUN_OF, other])
        other += sign
    return -1


@compiled
def _start_run(t: Tables, slot: int, last: int, start: int, end: int) -> None:
    """A run without moves and address."""
    t.runs[NOW, RUN_LAST, slot], t.runs[NOW, OFFSET, slot] = last, -1
    t.runs[NOW, START, slot], t.runs[NOW, END, slot] = start, end
    t.runs[NOW, COUNT + FILL, slot] = 0
    t.runs[NOW, COUNT + SPILL, slot] = 0


@compiled
def _fits_always(t: Tables, first: int, last: int) -> bool:
    """Whether a run over all accesses of its segment fits during the whole inference."""
    segment = t.i[SEGMENT, first]
    if first != t.i[FIRST, segment] or last != t.i[LAST, segment]:
        return False
    for step in range(t.i[COUNTS, STEPS]):  # noqa: SIM110 - numba knows no generators
        if not _fits(t, t.i[TAKEN, segment], step):
            return False
    return True


@compiled
def insert_run(t: Tables, first: int, last: int) -> bool:
    """Add a run over accesses that are free, its moves placed where they cost least.

    Returns:
        False, and nothing has changed, where it is not legal or does not fit.
    """
    segment = t.i[SEGMENT, first]
    home, size = t.i[HOME, segment], t.i[TAKEN, segment]
    begin, end = t.i[STEP, first], t.i[STEP, last] + 1
    after_it = _neighbour(t, last, 1)
    limit = t.i[COUNTS, STEPS] if after_it < 0 else t.runs[NOW, START, after_it]
    t.i[COUNTS, WORK] += end - begin
    if end > limit:
        return False
    for step in range(begin, end):
        if not _fits(t, size, step):
            return False
    if t.i[LASTING, segment] and _fits_always(t, first, last):
        _start_run(t, first, last, 0, t.i[COUNTS, STEPS])
        operate(t, first, last, 1)
        hold(t, first, 1)
        note(t, ADDED, first)
        return True
    low, used = max(0, begin - SPAN_STEPS), -1
    if first > t.i[FIRST, segment]:
        used = t.i[STEP, first - 1]
        write = t.i[LAST_WRITE, first - 1]
        low = max(low, t.i[STEP, write] + 1 if write >= 0 else 0)
        before_it = _neighbour(t, first, -1)
        if before_it >= 0:
            low = max(low, t.runs[NOW, END, before_it])
            if t.runs[NOW, END, before_it] > begin:
                return False
    if t.i[READS, first] and (
        not t.i[LINKED + FILL, home] or low >= begin or not _fits(t, size, begin - 1)
    ):
        return False
    write = t.i[LAST_WRITE, last]
    spills = t.i[WANTED, last] and write >= first
    after = t.i[STEP, write] + 1 if spills else 0
    if last < t.i[LAST, segment]:
        limit = min(limit, t.i[STEP, last + 1])
    limit = min(limit, end + SPAN_STEPS)
    if spills and (
        not t.i[LINKED + SPILL, home]
        or after >= limit
        or (after >= end and not _fits(t, size, after))
    ):
        return False
    slot = first
    _start_run(t, slot, last, begin, end)
    operate(t, first, last, 1)
    if t.i[READS, first]:
        _plan_fill(t, slot, low, used)
        charge_moves(t, slot, FILL, 1)
    if spills:
        _plan_spill(t, slot, after, limit)
        charge_moves(t, slot, SPILL, 1)
    hold(t, slot, 1)
    note(t, ADDED, slot)
    return True
