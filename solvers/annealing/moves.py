"""Compiled: the log of changes of one move, undoing them, and the best decisions so far.

The log holds what happened to which slot. A residency that was removed, or the address that it had
before it moved, is saved in a slot behind those of accesses, one for each entry of the log:

    slots     0 ........ OWN_SLOTS | log 0, 1, .. MAX_LOG | best of slot 0, 1, ..
    LOG_WHAT  ADDED    REMOVED  MOVED
    LOG_SLOT  7        12       3
    undo      remove   copy back  old address, from the last entry to the first
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
from ullage.solvers.engine.costs import copy_slot, list_slot, occupy, unlist_slot, update_busy
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

# Entries of the log: a residency was added, was removed, or got another address.
ADDED, REMOVED, MOVED = 0, 1, 2


@compiled
def cost_of(t: Tables) -> float:
    """The objective of the decisions now, in its own unit (weighed seconds, bytes or joules)."""
    return float(
        t.seconds[TOTALS, BUSY_S] * t.floats[WEIGHTS, BUSY_S]
        + t.seconds[TOTALS, LINEAR] * t.floats[WEIGHTS, LINEAR]
    )


@compiled
def copy_residency(t: Tables, source: int, slot: int) -> None:
    """Copy a residency from one slot to another, its last access included."""
    t.state[SLOT_LAST, slot] = t.state[SLOT_LAST, source]
    copy_slot(t, source, slot)


@compiled
def log_change(t: Tables, what: int, slot: int) -> None:
    """Append a change to the log; the caller makes sure that there is room (`log_is_full`)."""
    logged = t.state[COUNTS, LOGGED]
    t.state[LOG_WHAT, logged] = what
    t.state[LOG_SLOT, logged] = slot
    if what == REMOVED:
        copy_residency(t, slot, t.state[COUNTS, OWN_SLOTS] + logged)
    elif what == MOVED:
        t.state[SLOT_OFFSET, t.state[COUNTS, OWN_SLOTS] + logged] = t.state[SLOT_OFFSET, slot]
    t.state[COUNTS, LOGGED] = logged + 1


@compiled
def log_is_full(t: Tables) -> bool:
    """Whether the log has no room for another change and what follows from it."""
    return bool(t.state[COUNTS, LOGGED] > MAX_LOG - 8)


@compiled
def remove_residency(t: Tables, slot: int) -> None:
    """Log a residency, credit what it costs, and take its slot off the list."""
    log_change(t, REMOVED, slot)
    occupy(t, slot, t.state[SLOT_LAST, slot], -1)
    unlist_slot(t, slot)


@compiled
def undo_to(t: Tables, mark: int) -> None:
    """Undo all changes after the first `mark` of the log."""
    while t.state[COUNTS, LOGGED] > mark:
        logged = t.state[COUNTS, LOGGED] - 1
        what, slot = t.state[LOG_WHAT, logged], t.state[LOG_SLOT, logged]
        saved_slot = t.state[COUNTS, OWN_SLOTS] + logged
        if what == MOVED:
            t.state[SLOT_OFFSET, slot] = t.state[SLOT_OFFSET, saved_slot]
        else:
            if what == REMOVED:
                copy_residency(t, saved_slot, slot)
            occupy(t, slot, t.state[SLOT_LAST, slot], 1 if what == REMOVED else -1)
            if what == REMOVED:
                list_slot(t, slot)
            else:
                unlist_slot(t, slot)
        t.state[COUNTS, LOGGED] = logged


@inlined
def count_all(t: Tables) -> None:
    """Count anew what everything costs at home, then with the residencies on the list."""
    for step in range(t.ints[SIZES, STEPS]):
        update_busy(t, step)
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
    """Copy the decisions now into the slots of the best."""
    best = t.state[COUNTS, OWN_SLOTS] + MAX_LOG
    for position in range(t.state[COUNTS, LIVE]):
        slot = t.state[LISTED, position]
        t.state[BEST_LISTED, position] = slot
        copy_residency(t, slot, best + slot)
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
        copy_residency(t, best + slot, slot)
        list_slot(t, slot)
