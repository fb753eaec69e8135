"""Compiled: residencies of whole tensors put in, taken away and undone.

This module imports numba; import it where it is needed.
"""

from ullage.solvers.annealing.tables import (
    BEST_LISTED,
    BEST_LIVE,
    LOG_SLOT,
    LOG_WHAT,
    LOGGED,
    MAX_LOG,
    OWN_SLOTS,
)
from ullage.solvers.engine.costs import copy_slot, enlist, occupy, strike, touch
from ullage.solvers.engine.jit import compiled, inlined
from ullage.solvers.engine.tables import (
    BUSY_S,
    COUNTS,
    LINEAR,
    LISTED,
    LIVE,
    SIZES,
    SLOT_LAST,
    SLOT_OFFSET,
    SLOT_PLACE,
    STEP_BUSY,
    STEPS,
    TOTALS,
    WEIGHTS,
    Tables,
)

ADDED, REMOVED, MOVED = 0, 1, 2  # entries of the log


@compiled
def cost_of(t: Tables) -> float:
    """The objective now."""
    return float(
        t.seconds[TOTALS, BUSY_S] * t.floats[WEIGHTS, BUSY_S]
        + t.seconds[TOTALS, LINEAR] * t.floats[WEIGHTS, LINEAR]
    )


@compiled
def copy_run(t: Tables, source: int, slot: int) -> None:
    """Copy a residency from one slot to another."""
    t.state[SLOT_LAST, slot] = t.state[SLOT_LAST, source]
    copy_slot(t, source, slot)


@compiled
def note(t: Tables, what: int, slot: int) -> None:
    """Write the log; the caller sees to it that there is room."""
    logged = t.state[COUNTS, LOGGED]
    t.state[LOG_WHAT, logged] = what
    t.state[LOG_SLOT, logged] = slot
    if what == REMOVED:
        copy_run(t, slot, t.state[COUNTS, OWN_SLOTS] + logged)
    elif what == MOVED:
        t.state[SLOT_OFFSET, t.state[COUNTS, OWN_SLOTS] + logged] = t.state[SLOT_OFFSET, slot]
    t.state[COUNTS, LOGGED] = logged + 1


@compiled
def log_is_full(t: Tables) -> bool:
    """Whether the log has no room for another change and what follows from it."""
    return bool(t.state[COUNTS, LOGGED] > MAX_LOG - 8)


@compiled
def remove_run(t: Tables, slot: int) -> None:
    """Take a residency away."""
    note(t, REMOVED, slot)
    occupy(t, slot, t.state[SLOT_LAST, slot], -1)
    strike(t, slot)


@compiled
def undo_to(t: Tables, mark: int) -> None:
    """Undo all changes after the first `mark` of the log."""
    while t.state[COUNTS, LOGGED] > mark:
        logged = t.state[COUNTS, LOGGED] - 1
        what, slot = t.state[LOG_WHAT, logged], t.state[LOG_SLOT, logged]
        stashed = t.state[COUNTS, OWN_SLOTS] + logged
        if what == MOVED:
            t.state[SLOT_OFFSET, slot] = t.state[SLOT_OFFSET, stashed]
        else:
            if what == REMOVED:
                copy_run(t, stashed, slot)
            occupy(t, slot, t.state[SLOT_LAST, slot], 1 if what == REMOVED else -1)
            if what == REMOVED:
                enlist(t, slot)
            else:
                strike(t, slot)
        t.state[COUNTS, LOGGED] = logged


@inlined
def count_all(t: Tables) -> None:
    """Count anew what everything costs at home, then with the residencies on the list."""
    for step in range(t.ints[SIZES, STEPS]):
        touch(t, step)
    total = 0.0
    for step in range(t.ints[SIZES, STEPS]):
        total += t.seconds[STEP_BUSY, step]
    t.seconds[TOTALS, BUSY_S] = total
    for position in range(t.state[COUNTS, LIVE]):
        slot = t.state[LISTED, position]
        if t.state[SLOT_LAST, slot] >= 0:
            occupy(t, slot, t.state[SLOT_LAST, slot], 1)
    t.state[COUNTS, LOGGED] = 0


@compiled
def keep_best(t: Tables) -> None:
    """The decisions now are the best."""
    best = t.state[COUNTS, OWN_SLOTS] + MAX_LOG
    for position in range(t.state[COUNTS, LIVE]):
        slot = t.state[LISTED, position]
        t.state[BEST_LISTED, position] = slot
        copy_run(t, slot, best + slot)
    t.state[COUNTS, BEST_LIVE] = t.state[COUNTS, LIVE]


@inlined
def back_to_best(t: Tables) -> None:
    """The best decisions again; their cost is not counted yet."""
    best = t.state[COUNTS, OWN_SLOTS] + MAX_LOG
    undo_to(t, 0)
    for position in range(t.state[COUNTS, LIVE] - 1, -1, -1):
        slot = t.state[LISTED, position]
        t.state[SLOT_PLACE, slot] = -1
        if t.state[SLOT_LAST, slot] >= 0:
            occupy(t, slot, t.state[SLOT_LAST, slot], -1)
    t.state[COUNTS, LIVE] = 0
    for position in range(t.state[COUNTS, BEST_LIVE]):
        slot = t.state[BEST_LISTED, position]
        copy_run(t, best + slot, slot)
        enlist(t, slot)
