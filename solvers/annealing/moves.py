"""Compiled: runs of whole tensors charged, taken away and undone.

This module imports numba; import it where it is needed.
"""

from ullage.compiler.common.kernel_cache import kernel
from ullage.solvers.annealing.tables import (
    ALIVE,
    BUSY,
    COMPUTE,
    COUNT,
    COUNTS,
    END,
    FAST_S,
    FILL,
    GAIN,
    HOME,
    HOME_S,
    LINEAR,
    LIVE,
    LOAD,
    LOG_SLOT,
    LOG_WHAT,
    LOGGED,
    MAX_LOG,
    MOVE_COST,
    NOW,
    OFFSET,
    OWNER,
    PLACE,
    RESOURCE,
    RUN_FIELDS,
    RUN_LAST,
    RUN_OF,
    SECONDS,
    SEGMENT,
    SETUP,
    SPILL,
    START,
    STASH,
    STEP,
    STEPS,
    TAKEN,
    TIERS,
    TOTALS,
    WAY,
    WEIGHTS,
    WORK,
    Tables,
)

compiled = kernel(_nrt=False)  # no reference counting, nothing is allocated; half the time

ADDED, REMOVED, MOVED = 0, 1, 2  # entries of the log


@compiled
def cost_of(t: Tables) -> float:
    """The objective now."""
    return float(
        t.f[TOTALS, SECONDS] * t.f[WEIGHTS, SECONDS] + t.f[TOTALS, LINEAR] * t.f[WEIGHTS, LINEAR]
    )


@compiled
def touch(t: Tables, step: int) -> None:
    """Bring the roofline of a step up to date."""
    busy = t.f[COMPUTE, step]
    for row in range(RESOURCE, RESOURCE + 3 * t.i[COUNTS, TIERS]):
        busy = max(busy, t.f[row, step])
    t.f[TOTALS, SECONDS] += busy - t.f[BUSY, step]
    t.f[BUSY, step] = busy
    t.i[COUNTS, WORK] += 1


@compiled
def charge_moves(t: Tables, slot: int, way: int, sign: int) -> None:
    """Account the fill or the spill of a run."""
    count = t.runs[NOW, COUNT + way, slot]
    if count == 0:
        return
    segment = t.i[OWNER, slot]
    home = t.i[HOME, segment]
    link = (1 + way) * (t.i[COUNTS, TIERS]) + home
    row = WAY + 3 * way
    home_s, fast_s, link_s = t.f[row, home], t.f[row + 1, home], t.f[row + 2, home]
    for k in range(count):
        step = t.moves[NOW, slot, way, k, 0]
        size = sign * t.moves[NOW, slot, way, k, 1]
        t.f[RESOURCE + home, step] += size * home_s
        t.f[RESOURCE, step] += size * fast_s
        t.f[RESOURCE + link, step] += size * link_s
        if k == 0:
            t.f[RESOURCE + link, step] += sign * t.f[SETUP + way, home]
        touch(t, step)
    t.f[TOTALS, LINEAR] += sign * t.f[MOVE_COST + way, segment]


@compiled
def operate(t: Tables, first: int, last: int, sign: int) -> None:
    """Operators of accesses go to the fastest tier (sign 1), or back home."""
    home = t.i[HOME, t.i[SEGMENT, first]]
    for access in range(first, last + 1):
        step = t.i[STEP, access]
        t.f[RESOURCE + home, step] -= sign * t.f[HOME_S, access]
        t.f[RESOURCE, step] += sign * t.f[FAST_S, access]
        t.f[TOTALS, LINEAR] += sign * t.f[GAIN, access]
        touch(t, step)


@compiled
def hold(t: Tables, slot: int, sign: int) -> None:
    """Account the space of a run, and list it."""
    size = sign * t.i[TAKEN, t.i[OWNER, slot]]
    for step in range(t.runs[NOW, START, slot], t.runs[NOW, END, slot]):
        t.i[LOAD, step] += size
    last = t.runs[NOW, RUN_LAST, slot]
    if last >= 0:
        for access in range(slot, last + 1):
            t.i[RUN_OF, access] = slot if sign > 0 else -1
    if sign > 0:
        t.i[PLACE, slot] = t.i[COUNTS, LIVE]
        t.i[ALIVE, t.i[COUNTS, LIVE]] = slot
        t.i[COUNTS, LIVE] += 1
    else:
        t.i[COUNTS, LIVE] -= 1
        moved = t.i[ALIVE, t.i[COUNTS, LIVE]]
        t.i[ALIVE, t.i[PLACE, slot]] = moved
        t.i[PLACE, moved] = t.i[PLACE, slot]
        t.i[PLACE, slot] = -1


@compiled
def count_all(t: Tables) -> None:
    """Account the runs that stand in the slots of a new state."""
    for step in range(t.i[COUNTS, STEPS]):
        touch(t, step)
    t.f[TOTALS, SECONDS] = t.f[BUSY, : t.i[COUNTS, STEPS]].sum()
    number = t.i[COUNTS, LIVE]
    t.i[COUNTS, LIVE] = 0
    for position in range(number):
        charge_run(t, t.i[ALIVE, position], 1)
    t.i[COUNTS, LOGGED] = 0


@compiled
def charge_run(t: Tables, slot: int, sign: int) -> None:
    """Add or take away all that a run costs."""
    hold(t, slot, sign)
    last = t.runs[NOW, RUN_LAST, slot]
    if last >= 0:
        operate(t, slot, last, sign)
        charge_moves(t, slot, FILL, sign)
        charge_moves(t, slot, SPILL, sign)


@compiled
def copy_run(t: Tables, source: int, i: int, bank: int, j: int) -> None:
    """Copy slot i of a bank of runs to slot j of another."""
    for field in range(RUN_FIELDS):
        t.runs[bank, field, j] = t.runs[source, field, i]
    for way in range(2):
        for k in range(t.runs[source, COUNT + way, i]):
            t.moves[bank, j, way, k, 0] = t.moves[source, i, way, k, 0]
            t.moves[bank, j, way, k, 1] = t.moves[source, i, way, k, 1]


@compiled
def note(t: Tables, what: int, slot: int) -> None:
    """Write the log; the caller sees to it that there is room."""
    entry = t.i[COUNTS, LOGGED]
    t.i[LOG_WHAT, entry] = what
    t.i[LOG_SLOT, entry] = slot
    if what == REMOVED:
        copy_run(t, NOW, slot, STASH, entry)
    elif what == MOVED:
        t.runs[STASH, OFFSET, entry] = t.runs[NOW, OFFSET, slot]
    t.i[COUNTS, LOGGED] = entry + 1


@compiled
def log_is_full(t: Tables) -> bool:
    """Whether the log has no room for another change and what follows from it."""
    return bool(t.i[COUNTS, LOGGED] > MAX_LOG - 8)


@compiled
def remove_run(t: Tables, slot: int) -> None:
    """Take a run away."""
    note(t, REMOVED, slot)
    charge_run(t, slot, -1)


@compiled
def undo_to(t: Tables, mark: int) -> None:
    """Undo all changes after the first `mark` of the log."""
    while t.i[COUNTS, LOGGED] > mark:
        entry = t.i[COUNTS, LOGGED] - 1
        what, slot = t.i[LOG_WHAT, entry], t.i[LOG_SLOT, entry]
        if what == ADDED:
            charge_run(t, slot, -1)
        elif what == REMOVED:
            copy_run(t, STASH, entry, NOW, slot)
            charge_run(t, slot, 1)
        else:
            t.runs[NOW, OFFSET, slot] = t.runs[STASH, OFFSET, entry]
        t.i[COUNTS, LOGGED] = entry
