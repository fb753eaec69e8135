"""The rules of the game: what each choice would do, which are legal, and doing it. Compiled.

Uses are decided in program order. What is undecided counts as DROP, so a state is a plan at any
time but for copies that a residency owes its home tier: they are written when the residency ends,
and when no way to write them is left, drop-backup rewinds to where the residency began (`step`).
"""

import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.env.compiled import borrowed, compiled
from ullage.rl_agent.env.game_instance import Board
from ullage.rl_agent.env.history import free_from, last_write, needs_spill, next_start
from ullage.rl_agent.env.mechanics import (
    copy_slot,
    earliest_fit,
    fetch,
    find_hole,
    is_free,
    latest_fit,
    lift,
    put,
    spread_early,
)
from ullage.rl_agent.env.state import CURSOR, DECISIONS, NOWHERE, REWINDS, State

# mypy: disable-error-code="no-any-return"

BoolArray = NDArray[np.bool_]

COPY, NOCOPY, DROP = 0, 1, 2
ACTIONS = 3
# Slots of trials, counted from the end.
COPIED, KEPT, CLOSED = 3, 2, 1

WINDOW_STEPS = (
    64  # how far ahead of a use its copy begins, and how far behind a residency its spill ends
)


@compiled
def residency_before(board: Board, state: State, access: int) -> int:
    """Slot of the residency that covers the segment's previous access, -1 for none."""
    if access == board.segment_first[board.ev_segment[access]]:
        return -1
    return state.residency_of[access - 1]


@compiled
def has_room(
    board: Board, state: State, start: int, end: int, aligned: int, but: int, nor: int
) -> bool:
    """Whether a segment fits by live bytes in [start, end), two of its slots not counted."""
    for step in range(start, end):
        load = state.load_bytes[step] + aligned
        if but >= 0 and state.start[but] <= step < state.end[but]:
            load -= aligned
        if nor >= 0 and state.start[nor] <= step < state.end[nor]:
            load -= aligned
        if load > board.capacity_bytes:
            return False
    return True


@compiled
def settle(board: Board, state: State, slot: int, segment: int, but: int, nor: int) -> bool:
    """Give the residency in a trial slot its address: where it was if that is free, else a hole."""
    size = board.size_bytes[segment]
    start, end, offset = state.start[slot], state.end[slot], state.offset[slot]
    if board.address_bytes > board.capacity_bytes and not has_room(
        board, state, start, end, board.aligned_bytes[segment], but, nor
    ):
        return False
    if offset >= 0 and is_free(board, state, start, end, offset, size, but, nor):
        return True
    state.offset[slot] = find_hole(board, state, start, end, size, but, nor)
    return state.offset[slot] >= 0


@compiled
def plan_spill(
    board: Board, state: State, slot: int, first: int, last: int, limit: int, extra: int
) -> bool:
    """Write a trial slot home before a step, outlasting its end by `extra` at most."""
    segment = board.ev_segment[first]
    link = board.link_down[segment]
    if link < 0:
        return False
    end = board.ev_step[last] + 1
    after = max(last_write(board, first, last), state.ready[slot] - 1) + 1
    reach = min(limit, end + extra)
    single = state.residency_of[last]
    own = state.end[single] if single == last else 0
    if reach > end:
        reach = latest_fit(board, state, board.aligned_bytes[segment], end, reach, own)
    if after >= reach:
        return False
    spread_early(board, state, slot, link, board.size_bytes[segment], after, reach)
    state.end[slot] = max(end, state.spill_step[slot, state.spill_count[slot] - 1] + 1)
    return True


@compiled
def leave(
    board: Board, state: State, slot: int, first: int, last: int, limit: int, but: int, nor: int
) -> bool:
    """Spill and address of a trial slot; a tail for the spill only where it fits."""
    segment = board.ev_segment[first]
    offset = state.offset[slot]
    for extra in (WINDOW_STEPS, 0):
        state.offset[slot] = offset
        if plan_spill(board, state, slot, first, last, limit, extra) and settle(
            board, state, slot, segment, but, nor
        ):
            return True
    return False


@compiled
def try_close(board: Board, state: State, access: int) -> bool:
    """Whether the residency before an access can end before it; the rest is in CLOSED."""
    slot = len(state.last) - CLOSED
    state.last[slot] = -1
    before = residency_before(board, state, access)
    if before < 0 or state.spill_count[before] > 0:
        return True
    if not needs_spill(board, state, before, access - 1):
        return True
    limit = min(board.ev_step[access], next_start(board, state, access - 1))
    copy_slot(state, before, slot)
    if not leave(board, state, slot, before, access - 1, limit, before, NOWHERE):
        return False
    state.last[slot] = access - 1
    return True


@compiled
def try_keep(board: Board, state: State, access: int) -> bool:
    """Whether an access can be NOCOPY; the residency is in slot KEPT."""
    slot = len(state.last) - KEPT
    segment = board.ev_segment[access]
    before = residency_before(board, state, access)
    single = state.residency_of[access]
    step = board.ev_step[access]
    if before >= 0:
        copy_slot(state, before, slot)
    elif board.ev_reads[access] == 1:
        return False
    else:
        state.start[slot] = state.ready[slot] = step
        state.fill_count[slot] = 0
        state.offset[slot] = NOWHERE
    state.spill_count[slot] = 0
    state.end[slot] = step + 1
    first = before if before >= 0 else access
    if access + 1 == board.segment_first[segment + 1] and needs_spill(board, state, first, access):
        limit = len(board.compute_s)
        return leave(board, state, slot, first, access, limit, before, single)
    return settle(board, state, slot, segment, before, single)


@compiled
def try_copy(board: Board, state: State, access: int) -> bool:
    """Whether an access can be COPY after `try_close`; the residency is in COPIED."""
    slot, closed = len(state.last) - COPIED, len(state.last) - CLOSED
    segment = board.ev_segment[access]
    link = board.link_up[segment]
    if board.ev_reads[access] == 0 or link < 0:
        return False
    step = board.ev_step[access]
    low = max(free_from(board, state, access), step - WINDOW_STEPS)
    if state.last[closed] >= 0:
        spilled = state.spill_step[closed, state.spill_count[closed] - 1] + 1
        low = max(low, state.end[closed], spilled)
    single = state.residency_of[access]
    own_low = state.start[single] if single >= 0 else 0
    own_high = state.end[single] if single >= 0 else 0
    low = earliest_fit(board, state, board.aligned_bytes[segment], low, step, own_low, own_high)
    for begin in (low, max(low, step - 1)):  # with the longest lead, else just before the use
        if begin < step and copy_from(board, state, slot, access, begin):
            return True
    return False


@compiled
def copy_from(board: Board, state: State, slot: int, access: int, low: int) -> bool:
    """The residency of a COPY that begins at a step or later; False where it has no place."""
    segment = board.ev_segment[access]
    fetch(board, state, slot, access, low)
    state.end[slot] = board.ev_step[access] + 1
    state.spill_count[slot] = 0
    state.offset[slot] = NOWHERE
    single = state.residency_of[access]
    writes = board.ev_writes[access] == 1 and board.output[segment] == 1
    if writes and access + 1 == board.segment_first[segment + 1]:
        limit = len(board.compute_s)
        return leave(board, state, slot, access, access, limit, single, NOWHERE)
    return settle(board, state, slot, segment, single, NOWHERE)


@compiled
def look(board: Board, state: State, mask: BoolArray) -> bool:
    """Which actions are legal at the cursor, into `mask` (3,); False where none is."""
    access = board.program_order[state.counts[CURSOR]]
    closes = try_close(board, state, access)
    mask[DROP] = closes
    if state.forced[access] == 1:
        mask[COPY] = False
        mask[NOCOPY] = False
        return closes
    mask[COPY] = closes and try_copy(board, state, access)
    mask[NOCOPY] = try_keep(board, state, access)
    return mask[COPY] or mask[NOCOPY] or mask[DROP]


@compiled
def play(board: Board, state: State, action: int) -> None:
    """Do what `look` has just found legal, and move the cursor on."""
    access = board.program_order[state.counts[CURSOR]]
    before = residency_before(board, state, access)
    slots = len(state.last)
    if action == NOCOPY:
        first = access
        if state.residency_of[access] >= 0:
            lift(board, state, access)
        if before >= 0:
            lift(board, state, before)
            first = before
        copy_slot(state, slots - KEPT, first)
        put(board, state, first, access)
    else:
        if state.last[slots - CLOSED] >= 0:
            lift(board, state, before)
            copy_slot(state, slots - CLOSED, before)
            put(board, state, before, access - 1)
        if action == COPY:
            if state.residency_of[access] >= 0:
                lift(board, state, access)
            copy_slot(state, slots - COPIED, access)
            put(board, state, access, access)
    state.actions[state.counts[CURSOR]] = action
    state.counts[CURSOR] += 1
    state.counts[DECISIONS] += 1


@compiled
def restart(state: State, start: State) -> None:
    """Back to before the first move; what drop-backup forced stays forced."""
    state.tier_s[:] = start.tier_s
    state.link_s[:] = start.link_s
    state.busy_s[:] = start.busy_s
    state.load_bytes[:] = start.load_bytes
    state.total[:] = start.total
    state.residency_of[:] = start.residency_of
    state.last[:] = start.last
    state.start[:] = start.start
    state.ready[:] = start.ready
    state.end[:] = start.end
    state.offset[:] = start.offset
    state.fill_count[:] = start.fill_count
    state.spill_count[:] = start.spill_count
    state.fill_step[:, 0] = start.fill_step[:, 0]
    state.fill_bytes[:, 0] = start.fill_bytes[:, 0]
    state.spill_step[:, 0] = start.spill_step[:, 0]
    state.spill_bytes[:, 0] = start.spill_bytes[:, 0]
    state.taken[:] = start.taken
    state.place[:] = start.place
    state.counts[0] = start.counts[0]
    state.counts[CURSOR] = 0
    state.map_bytes[:] = start.map_bytes


@compiled
def rewind(board: Board, state: State, start: State, mask: BoolArray) -> None:
    """Drop-backup: back to where the residency before the cursor began, and DROP there for good."""
    access = board.program_order[state.counts[CURSOR]]
    culprit = residency_before(board, state, access)
    while state.actions[board.place_in_order[culprit]] == DROP:  # a residency nobody asked for
        culprit += 1
    state.forced[culprit] = 1
    back_to = board.place_in_order[culprit]
    restart(state, start)
    for place in range(back_to):
        look(board, state, mask)
        play(board, state, state.actions[place])
    look(board, state, mask)
    play(board, state, DROP)
    for place in range(back_to + 1, len(state.actions)):
        state.actions[place] = -1
    state.counts[REWINDS] += 1


@compiled
def step(board: Board, state: State, start: State, action: int, mask: BoolArray) -> bool:
    """Play a legal action; `mask` becomes that of the next decision. True at the end of the game.

    After a dead end the next decision is the one behind the drop.
    """
    board, state, start = borrowed(board), borrowed(state), borrowed(start)
    play(board, state, action)
    while state.counts[CURSOR] < len(state.actions):
        if look(board, state, mask):
            return False
        rewind(board, state, start, mask)
    mask[:] = False
    return True


@compiled
def begin(board: Board, state: State, start: State, mask: BoolArray) -> None:
    """A new game; needs at least one access."""
    board, state, start = borrowed(board), borrowed(state), borrowed(start)
    restart(state, start)
    state.forced[:] = 0
    state.actions[:] = -1
    state.counts[REWINDS] = 0
    state.counts[DECISIONS] = 0
    look(board, state, mask)
