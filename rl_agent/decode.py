"""Decoding: the game played in the order of scores instead of the program's. Compiled.

A candidate is a move of the heuristic: keep an atom over the gap before an event, bring or leave a
single use in fast memory, or keep an atom from its first event to its last. Candidates are tried
best score first; one that fits and lowers the latency (or keeps it with less traffic) is taken, as
`solvers/greedy.py` does. A state is a complete plan after every candidate.
"""

import numpy as np

from ullage.rl_agent.board import Board, IntArray
from ullage.rl_agent.compiled import borrowed, compiled
from ullage.rl_agent.history import free_from, last_write, needs_spill, next_start, used_before
from ullage.rl_agent.mechanics import (
    account,
    copy_slot,
    earliest_fit,
    enter,
    find_hole,
    latest_fit,
    lift,
    put,
    spread_early,
    spread_late,
)
from ullage.rl_agent.rules import restart
from ullage.rl_agent.state import BUSY_S, NOWHERE, SLOW_BYTES, State

# mypy: disable-error-code="no-any-return"

GAP, SINGLE, WHOLE = 0, 1, 2
KINDS = 3
TOLERANCE = 1e-10  # of the latency, as in solvers/occupancy.py
WINDOW_STEPS = 64
TRIAL = 3  # slot, counted from the end


@compiled
def propose(board: Board, state: State, slot: int, first: int, last: int) -> bool:
    """The stay of events first..last with its moves, into a slot; False if it cannot be."""
    atom = board.ev_atom[first]
    size, aligned = board.size_bytes[atom], board.aligned_bytes[atom]
    begin, end = board.ev_step[first], board.ev_step[last] + 1
    following = next_start(board, state, last)
    if end > following:
        return False
    state.fill_count[slot] = 0
    state.spill_count[slot] = 0
    state.offset[slot] = NOWHERE
    state.start[slot] = state.ready[slot] = begin
    if board.ev_reads[first] == 1:
        link = board.link_up[atom]
        if link < 0:
            return False
        low = max(free_from(board, state, first), begin - WINDOW_STEPS)
        low = earliest_fit(board, state, aligned, low, begin, 0, 0)
        if low >= begin:
            return False
        spread_late(board, state, slot, link, size, low, begin)
        used = used_before(board, first)
        if state.fill_step[slot, state.fill_count[slot] - 1] < used:
            spread_late(board, state, slot, link, size, used, begin)
        state.start[slot] = state.fill_step[slot, 0]
        state.ready[slot] = state.fill_step[slot, state.fill_count[slot] - 1] + 1
    if needs_spill(board, state, first, last):
        link = board.link_down[atom]
        if link < 0:
            return False
        arrived = state.ready[slot] - 1 if state.fill_count[slot] > 0 else begin - 1
        after = max(last_write(board, first, last), arrived) + 1
        limit = following
        if last + 1 < board.atom_first[atom + 1]:
            limit = min(limit, board.ev_step[last + 1])
        reach = min(limit, end + WINDOW_STEPS)
        reach = latest_fit(board, state, aligned, max(end, after), reach, 0)
        if after >= reach:
            return False
        spread_early(board, state, slot, link, size, after, reach)
        end = max(end, state.spill_step[slot, state.spill_count[slot] - 1] + 1)
    state.end[slot] = end
    return True


@compiled
def fits(board: Board, state: State, slot: int, aligned: int) -> bool:
    """Whether the stay of a slot fits beside all others by live bytes."""
    for step in range(state.start[slot], state.end[slot]):
        if state.load_bytes[step] + aligned > board.capacity_bytes:
            return False
    return True


@compiled
def improves(state: State, seconds: float, moved: float) -> bool:
    """Whether latency fell, or stayed with less slow traffic."""
    tolerance = TOLERANCE * seconds
    now = state.total[BUSY_S]
    less = state.total[SLOW_BYTES] < moved - 0.5
    return now < seconds - tolerance or (now <= seconds + tolerance and less)


@compiled
def try_run(board: Board, state: State, first: int, last: int, addresses: bool) -> bool:
    """Let an atom stay from event `first` to `last`, joined with the stays it has between.

    Returns:
        Whether it was taken (or was so already).
    """
    slot = len(state.last) - TRIAL
    atom = board.ev_atom[first]
    low, high = first, last
    if state.stay_of[first] >= 0:
        low = state.stay_of[first]
        if state.last[low] >= last:
            return True
    if state.stay_of[last] >= 0:
        high = max(high, state.last[state.stay_of[last]])
    seconds, moved = state.total[BUSY_S], state.total[SLOW_BYTES]
    lifted = np.empty(high - low + 1, np.int64)
    lasts = np.empty(high - low + 1, np.int64)
    count = 0
    for event in range(low, high + 1):
        if state.last[event] >= 0:
            lifted[count], lasts[count] = event, state.last[event]
            count += 1
            lift(board, state, event)
    if propose(board, state, slot, low, high) and fits(
        board, state, slot, board.aligned_bytes[atom]
    ):
        account(board, state, slot, low, high, 1)
        if improves(state, seconds, moved) and (not addresses or place(board, state, slot, atom)):
            copy_slot(state, slot, low)
            enter(board, state, low, high)
            return True
        account(board, state, slot, low, high, -1)
    for i in range(count):
        put(board, state, lifted[i], lasts[i])
    return False


@compiled
def place(board: Board, state: State, slot: int, atom: int) -> bool:
    """A hole for the stay of a trial slot."""
    start, end, size = state.start[slot], state.end[slot], board.size_bytes[atom]
    state.offset[slot] = find_hole(board, state, start, end, size, NOWHERE, NOWHERE)
    return state.offset[slot] >= 0


@compiled
def try_candidate(board: Board, state: State, candidate: int, addresses: bool) -> bool:
    """Try one candidate: kind x E + event."""
    events = len(board.ev_atom)
    kind, event = candidate // events, candidate % events
    if kind == GAP:
        return try_run(board, state, event - 1, event, addresses)
    if kind == SINGLE:
        if state.stay_of[event] >= 0 and board.must[board.ev_atom[event]] == 0:
            return True
        return try_run(board, state, event, event, addresses)
    return try_run(board, state, event, board.atom_first[board.ev_atom[event] + 1] - 1, addresses)


@compiled
def sweep(board: Board, state: State, order: IntArray, passes: int, addresses: bool) -> int:
    """Try candidates in an order, those that failed again in the next pass; counts the taken."""
    waiting = order.copy()
    count = len(order)
    taken = 0
    for _ in range(passes):
        left = 0
        for i in range(count):
            if try_candidate(board, state, waiting[i], addresses):
                taken += 1
            else:
                waiting[left] = waiting[i]
                left += 1
        if left == count:
            break
        count = left
    return taken


@compiled
def decode(
    board: Board, state: State, start: State, order: IntArray, passes: int, addresses: bool
) -> float:
    """Play one game in an order of candidates.

    Args:
        board: the board.
        state: overwritten; the finished game.
        start: the state before the first move.
        order: (C,) candidates, first tried first.
        passes: how often what failed is tried again.
        addresses: give addresses on the way; else only live bytes count.

    Returns:
        Busy seconds; with the operators' overhead they are the latency.
    """
    board, state, start = borrowed(board), borrowed(state), borrowed(start)
    restart(state, start)
    if not addresses:
        state.counts[0] = 0
        state.offset[:] = NOWHERE
        state.place[:] = -1
    sweep(board, state, order, passes, addresses)
    return float(state.total[BUSY_S])


def candidates_of(board: Board) -> IntArray:
    """(C,) all candidates: gaps, singles, and atoms of three events or more kept whole."""
    events = len(board.ev_atom)
    all_events = np.arange(events)
    firsts = board.atom_first[:-1]
    is_first = np.zeros(events, dtype=bool)
    is_first[firsts] = True
    gaps = all_events[~is_first]
    whole = firsts[np.diff(board.atom_first) > 2]
    return np.concatenate(
        [GAP * events + gaps, SINGLE * events + all_events, WHOLE * events + whole]
    ).astype(np.int64)
