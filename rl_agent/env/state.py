"""The state of a game: stays in the fastest tier, busy seconds, and the cursor."""

from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.rl_agent.env.game_instance import Table

MOVES = 64  # most steps over which one transfer is spread
ADDRESS_CELLS = 16  # rows of the memory map in observations

# Fields of `State.counts`.
RECTANGLES, CURSOR, REWINDS, DECISIONS = range(4)
# Fields of `State.total`.
BUSY_S, SLOW_BYTES = range(2)
NOWHERE = -1


class State(NamedTuple):
    """Arrays that moves change, for N = E + R + 3 slots (see `Board`).

    A residency lives in the slot of its first access. The last three slots are for trials.

    Attributes:
        tier_s: (M, T) busy seconds of each tier's port.
        link_s: (L, T) busy seconds of each link.
        busy_s: (T,) roofline of all of them and compute.
        load_bytes: (T,) live bytes in the fastest tier, aligned, workspace included.
        total: (2,) sum of `busy_s`; bytes read and written outside the fastest tier.
        residency_of: (E,) slot of the residency that covers an access, -1 for none.
        last: (N,) last access of the residency in a slot, -1 where there is none.
        start: (N,) first step of the residency.
        ready: (N,) first step at which operators use it.
        end: (N,) one past its last step.
        offset: (N,) address, -1 while none is chosen.
        fill_count: (N,) moves of the fill.
        fill_step: (N, MOVES) their steps.
        fill_bytes: (N, MOVES) their bytes.
        spill_count: (N,) moves of the spill.
        spill_step: (N, MOVES) their steps.
        spill_bytes: (N, MOVES) their bytes.
        taken: (N,) slots that have an address, in any order.
        place: (N,) where a slot is in `taken`, -1 where it is not.
        counts: (4,) length of `taken`, cursor, rewinds, decisions so far.
        actions: (E,) decision about each access, in program order, -1 for none.
        forced: (E,) 1 where drop-backup has forced DROP, by access.
        map_bytes: (ADDRESS_CELLS, T) bytes taken by share of the addresses and step.
        low: (N,) room for searches.
        high: (N,) room for searches.
    """

    tier_s: Floats
    link_s: Floats
    busy_s: Floats
    load_bytes: Ints
    total: Floats
    residency_of: Ints
    last: Ints
    start: Ints
    ready: Ints
    end: Ints
    offset: Ints
    fill_count: Ints
    fill_step: Ints
    fill_bytes: Ints
    spill_count: Ints
    spill_step: Ints
    spill_bytes: Ints
    taken: Ints
    place: Ints
    counts: Ints
    actions: Ints
    forced: Ints
    map_bytes: Floats
    low: Ints
    high: Ints


def start_of(table: Table) -> State:
    """The state before the first move: the plan of `all-slow`, with addresses."""
    board, residency_state = table.board, table.residency_state
    accesses, slots, steps = len(board.ev_segment), len(board.slot_size_bytes), len(board.compute_s)
    busy_time = residency_state.busy_time
    target = residency_state.target
    links = [busy_time.link_s[link.source, link.destination] for link in target.links]
    state = State(
        tier_s=np.array([busy_time.tier_s[tier.name] for tier in target.tiers]),
        link_s=np.array(links).reshape(len(links), steps),
        busy_s=busy_time.busy_s.copy(),
        load_bytes=residency_state.load_bytes.copy(),
        total=np.array([busy_time.total_s, busy_time.slow_bytes]),
        residency_of=np.full(accesses, -1, np.int64),
        last=np.full(slots, -1, np.int64),
        start=np.zeros(slots, np.int64),
        ready=np.zeros(slots, np.int64),
        end=np.zeros(slots, np.int64),
        offset=np.full(slots, NOWHERE, np.int64),
        fill_count=np.zeros(slots, np.int64),
        fill_step=np.zeros((slots, MOVES), np.int64),
        fill_bytes=np.zeros((slots, MOVES), np.int64),
        spill_count=np.zeros(slots, np.int64),
        spill_step=np.zeros((slots, MOVES), np.int64),
        spill_bytes=np.zeros((slots, MOVES), np.int64),
        taken=np.zeros(slots, np.int64),
        place=np.full(slots, -1, np.int64),
        counts=np.zeros(4, np.int64),
        actions=np.full(accesses, -1, np.int64),
        forced=np.zeros(accesses, np.int64),
        map_bytes=np.zeros((ADDRESS_CELLS, steps)),
        low=np.zeros(slots, np.int64),
        high=np.zeros(slots, np.int64),
    )
    _set_residencies(table, state)
    return state


def _set_residencies(table: Table, state: State) -> None:
    """Put the residencies that nobody decides about."""
    board = table.board
    number = {int(segment): i for i, segment in enumerate(table.playable)}
    resident = len(board.ev_segment)
    for index, residencies in enumerate(table.residency_state.residencies):
        for first, (last, residency) in residencies.items():
            if index in number:
                begin = int(board.segment_first[number[index]])
                slot = begin + first
                state.residency_of[slot : begin + last + 1] = slot
                state.last[slot] = begin + last
            else:
                slot = resident
                resident += 1
            state.start[slot], state.ready[slot] = residency.start, residency.ready
            state.end[slot], state.offset[slot] = residency.end, residency.offset
            state.fill_count[slot], state.spill_count[slot] = (
                len(residency.fill),
                len(residency.spill),
            )
            for i, (step, size) in enumerate(residency.fill):
                state.fill_step[slot, i], state.fill_bytes[slot, i] = step, size
            for i, (step, size) in enumerate(residency.spill):
                state.spill_step[slot, i], state.spill_bytes[slot, i] = step, size
            state.place[slot] = state.counts[RECTANGLES]
            state.taken[state.counts[RECTANGLES]] = slot
            state.counts[RECTANGLES] += 1
            size = int(board.slot_size_bytes[slot])
            low, high = residency.offset, residency.offset + size
            for cell in range(ADDRESS_CELLS):
                floor = cell * board.capacity_bytes // ADDRESS_CELLS
                roof = (cell + 1) * board.capacity_bytes // ADDRESS_CELLS
                covered = max(0, min(high, roof) - max(low, floor))
                state.map_bytes[cell, residency.start : residency.end] += covered


def copy_of(state: State) -> State:
    """A state of its own."""
    return State._make(array.copy() for array in state)
