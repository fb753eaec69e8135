"""Inserting and removing residencies in a game, its memory map, and going back. Compiled.

The memory map is (ADDRESS_CELLS, T) bytes: how much of each share of the addresses is taken in each
step. Inserting a residency charges what it costs and fills its rectangle; removing it undoes both:

    cell 2   .  .  .  .  .        .  .  .  .  .
    cell 1   .  .  .  .  .   ->   .  #  #  #  .     insert_residency(t, slot, last)
    cell 0   .  .  .  .  .   <-   .  #  #  #  .     remove_residency(t, slot)
    step     0  1  2  3  4        0  1  2  3  4

Tests compare game and engine with a plain twin (`tests/support/game_twin.py`).
"""

from ullage.rl_agent.env.state import ADDRESS_CELLS
from ullage.solvers.engine.costs import list_slot, occupy, unlist_slot
from ullage.solvers.engine.jit import compiled
from ullage.solvers.engine.tables import (
    BUSY_S,
    CAPACITY,
    COUNTS,
    CURSOR,
    LINEAR,
    LIVE,
    MAX_MOVES,
    RESOURCE,
    RESOURCES,
    SCRATCH,
    SIZES,
    SLOT_BYTES,
    SLOT_END,
    SLOT_LAST,
    SLOT_OFFSET,
    SLOT_PLACE,
    SLOT_START,
    SLOTS,
    STEP_BUSY,
    STEPS,
    TOTALS,
    Tables,
)


@compiled
def fill_map(t: Tables, slot: int, sign: int) -> None:
    """Add the rectangle of a slot to the memory map (or, sign -1, take it off)."""
    low = t.state[SLOT_OFFSET, slot]
    high = low + t.ints[SLOT_BYTES, slot]
    capacity = t.ints[SIZES, CAPACITY]
    row = RESOURCE + t.ints[SIZES, RESOURCES]
    cell = min(low * ADDRESS_CELLS // capacity, ADDRESS_CELLS - 1)
    while cell > 0 and cell * capacity // ADDRESS_CELLS > low:
        cell -= 1
    while cell < ADDRESS_CELLS:
        floor = cell * capacity // ADDRESS_CELLS
        if floor >= high:
            break
        roof = (cell + 1) * capacity // ADDRESS_CELLS
        covered = sign * max(0, min(high, roof) - max(low, floor))
        for step in range(t.state[SLOT_START, slot], t.state[SLOT_END, slot]):
            t.seconds[row + cell, step] += covered
        cell += 1


@compiled
def list_on_map(t: Tables, slot: int) -> None:
    """Put a slot that has an address on the list, and on the memory map."""
    if t.state[SLOT_OFFSET, slot] >= 0:
        list_slot(t, slot)
        fill_map(t, slot, 1)


@compiled
def insert_residency(t: Tables, slot: int, last: int) -> None:
    """Insert the residency in a slot: accesses slot..last are served in the fastest tier."""
    occupy(t, slot, last, 1)
    list_on_map(t, slot)


@compiled
def remove_residency(t: Tables, slot: int) -> int:
    """Undo `insert_residency`; returns the last access. The slot keeps its numbers."""
    last = t.state[SLOT_LAST, slot]
    occupy(t, slot, last, -1)
    if t.state[SLOT_PLACE, slot] >= 0:
        unlist_slot(t, slot)
        fill_map(t, slot, -1)
    return int(last)


@compiled
def restart(t: Tables, start: Tables) -> None:
    """Back to before the first move, but for what drop-backup needs.

    Forced drops, recorded decisions and the numbers of rewinds and decisions are kept. Residencies
    that no move changes have transfers of one step, so no more of them is copied.

    Args:
        t: the game.
        start: the state before the first move.
    """
    slots, steps = t.ints[SIZES, SLOTS], t.ints[SIZES, STEPS]
    width = max(slots, steps)
    for row in range(SCRATCH):
        for column in range(width):
            t.state[row, column] = start.state[row, column]
    t.state[COUNTS, LIVE] = start.state[COUNTS, LIVE]
    t.state[COUNTS, CURSOR] = 0
    t.seconds[TOTALS, BUSY_S] = start.seconds[TOTALS, BUSY_S]
    t.seconds[TOTALS, LINEAR] = start.seconds[TOTALS, LINEAR]
    for row in range(STEP_BUSY, len(t.seconds)):
        for step in range(steps):
            t.seconds[row, step] = start.seconds[row, step]
    for row in range(2 * slots):
        t.moves[row, 0] = start.moves[row, 0]
        t.moves[row, MAX_MOVES] = start.moves[row, MAX_MOVES]
