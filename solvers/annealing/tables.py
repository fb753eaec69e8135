"""The annealer's tables: those of the engine, with a log of changes and the best decisions.

Slots behind those of accesses and residents hold the residencies that the log has removed, then the
best decisions so far.
"""

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.solvers.engine.tables import (
    ACCESSES,
    COUNTS,
    LINEAR,
    RESOURCE,
    SCRATCH,
    SEGMENT_FIRST,
    SIZES,
    SLOT_LAST,
    STATE_ROWS,
    TOTALS,
    UNIT,
    WORK,
    Tables,
)
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.engine_tables import (
    Needs,
    linear_costs,
    movable,
    read_residency,
    residents,
    tables_of,
    write_residency,
)
from ullage.solvers.state.residency_state import ResidencyState

# Most changes that one move of the search may make; a move that needs more is given up.
MAX_LOG = 512

# Rows of `Tables.state` behind those of the engine. By entry of the log: what happened (see
# `moves`), and to which slot. Then the list of slots of the best decisions.
LOG_WHAT, LOG_SLOT, BEST_LISTED = range(STATE_ROWS, STATE_ROWS + 3)
# Scratch rows in use by a move: first and last accesses of the residencies that it ejected.
EJECTED, EJECTED_LAST = SCRATCH + 2, SCRATCH + 3
# Columns of COUNTS behind those of the engine: length of the log, state of the random numbers,
# moves so far and accepted ones, length of BEST_LISTED, slots of accesses and residents.
LOGGED, RANDOM, MOVES_TRIED, MOVES_TAKEN, BEST_LIVE, OWN_SLOTS = range(WORK + 1, WORK + 7)
# Column of TOTALS: the best objective so far.
BEST = LINEAR + 1


def search_tables(state: ResidencyState, seed: int) -> Tables:
    """The tables of a problem and its decisions so far; `anneal.begin` charges their cost.

    Args:
        state: residencies, with addresses, to begin with.
        seed: of the search.
    """
    segments, fixed = movable(state), residents(state)
    own = sum(len(state.segments[index].accesses) for index in segments) + len(fixed)
    t = tables_of(state, Needs(own + MAX_LOG, state_rows=3, width=MAX_LOG, joules=True))
    t.state[COUNTS, RANDOM] = 1 + seed % 2147483646
    t.state[COUNTS, OWN_SLOTS] = own
    t.seconds[TOTALS, BEST] = np.inf
    _count_home(t, state)
    for number, index in enumerate(segments):
        base = int(t.ints[SEGMENT_FIRST, number])
        for first, (last, residency) in state.residencies[index].items():
            write_residency(t, base + first, residency)
            t.state[SLOT_LAST, base + first] = base + last
    return t


def _count_home(t: Tables, state: ResidencyState) -> None:
    """Charge every access to its home tier, and computing to a unit that has a row."""
    cost: Floats = linear_costs(state, joules=True)
    seconds = state.busy_time.operand_seconds
    unit, exposed = int(t.ints[SIZES, UNIT]), state.busy_time.exposed
    if unit >= 0:
        t.seconds[unit, : state.steps] = state.busy_time.compute_s
    for segment in state.segments:
        home = state.target.tier_index[segment.home]
        for use in segment.accesses:
            sizes = (use.read_bytes, use.written_bytes)
            home_s = seconds(segment.home, *sizes)
            t.seconds[RESOURCE + home, use.step] += home_s
            if unit >= 0:
                t.seconds[unit, use.step] += exposed * home_s
            t.seconds[TOTALS, LINEAR] += cost[home] @ sizes


def best_residencies(t: Tables, state: ResidencyState) -> list[tuple[int, int, SegmentResidency]]:
    """The residencies of the best decisions.

    Returns:
        First and last access, as numbered in the segment, and the residency, of each.
    """
    segments, fixed = movable(state), residents(state)
    accesses, own = int(t.ints[SIZES, ACCESSES]), int(t.state[COUNTS, OWN_SLOTS])
    best: list[tuple[int, int, SegmentResidency]] = []
    for slot in sorted(t.state[BEST_LISTED, : t.state[COUNTS, BEST_LIVE]].tolist()):
        kept = own + MAX_LOG + slot
        if slot >= accesses:  # its home is the fastest tier
            index = fixed[slot - accesses]
            last = len(state.segments[index].accesses) - 1
            best.append((0, last, read_residency(t, kept, index)))
            continue
        number = int(np.searchsorted(t.ints[SEGMENT_FIRST, : len(segments)], slot, "right")) - 1
        base = int(t.ints[SEGMENT_FIRST, number])
        last = int(t.state[SLOT_LAST, kept])
        best.append((slot - base, last - base, read_residency(t, kept, segments[number])))
    return best
