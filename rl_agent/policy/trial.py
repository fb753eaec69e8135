"""Trials: what a residency would do to a decode's state, and whether to take it. Compiled."""

from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.rl_agent.env.compiled import compiled
from ullage.rl_agent.env.game_instance import Board
from ullage.rl_agent.env.history import free_from, last_write, needs_spill, next_start
from ullage.rl_agent.env.mechanics import (
    account,
    copy_slot,
    earliest_fit,
    enter,
    fetch,
    find_hole,
    latest_fit,
    lift,
    put,
    spread_early,
)
from ullage.rl_agent.env.state import BUSY_S, NOWHERE, SLOW_BYTES, State

# mypy: disable-error-code="no-any-return"

TOLERANCE = 1e-10  # of the latency, as in solvers/occupancy.py
WINDOW_STEPS = 64
TRIAL = 3  # slot, counted from the end
ASPECTS = 8  # of a candidate in the state in which it is tried
TAKEN, FAILED, LATER = 0, 1, 2
POSSIBLE, IMPOSSIBLE, TOO_LATE, TOO_EARLY = 0, 1, 2, 3
MAX_GROWTH = 6  # accesses by which a residency grows that cannot begin or end where it should
TINY_S = 1e-15


class Offer(NamedTuple):
    """A residency that is offered, and on what terms.

    Attributes:
        gain_s: seconds that it is expected to save.
        room: bytes x steps that it is expected to take.
        least: its weighed aspects must come up to this for it to be taken; -inf: it will do anyway.
        weights: (ASPECTS,) of what it does to the state.
        aspects: (ASPECTS,) what it does; all but the last two are found in the trial.
    """

    gain_s: float
    room: float
    least: float
    weights: Floats
    aspects: Floats


@compiled
def propose(board: Board, state: State, slot: int, first: int, last: int) -> int:
    """The residency of accesses first..last with its moves, into a slot.

    Returns:
        POSSIBLE, IMPOSSIBLE, or what a longer residency may mend: TOO_LATE where there is no step
            before
        `first` in which it could be fetched, TOO_EARLY where there is none after `last` in which it
        could be written home, or where another stay of the segment has begun by then.
    """
    segment = board.ev_segment[first]
    size, aligned = board.size_bytes[segment], board.aligned_bytes[segment]
    begin, end = board.ev_step[first], board.ev_step[last] + 1
    following = next_start(board, state, last)
    if end > following:
        return TOO_EARLY
    state.fill_count[slot] = 0
    state.spill_count[slot] = 0
    state.offset[slot] = NOWHERE
    state.start[slot] = state.ready[slot] = begin
    if board.ev_reads[first] == 1:
        if board.link_up[segment] < 0:
            return IMPOSSIBLE
        low = max(free_from(board, state, first), begin - WINDOW_STEPS)
        if low >= begin:
            return TOO_LATE
        low = earliest_fit(board, state, aligned, low, begin, 0, 0)
        if low >= begin:
            return IMPOSSIBLE
        fetch(board, state, slot, first, low)
    if needs_spill(board, state, first, last):
        link = board.link_down[segment]
        if link < 0:
            return IMPOSSIBLE
        arrived = state.ready[slot] - 1 if state.fill_count[slot] > 0 else begin - 1
        after = max(last_write(board, first, last), arrived) + 1
        limit = following
        if last + 1 < board.segment_first[segment + 1]:
            limit = min(limit, board.ev_step[last + 1])
        if after >= limit:
            return TOO_EARLY
        reach = min(limit, end + WINDOW_STEPS)
        reach = latest_fit(board, state, aligned, max(end, after), reach, 0)
        if after >= reach:
            return IMPOSSIBLE
        spread_early(board, state, slot, link, size, after, reach)
        end = max(end, state.spill_step[slot, state.spill_count[slot] - 1] + 1)
    state.end[slot] = end
    return POSSIBLE


@compiled
def fits(board: Board, state: State, slot: int, aligned: int) -> bool:
    """Whether the residency of a slot fits beside all others by live bytes."""
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
def within(value: float, limit: float) -> float:
    """The value, cut off at -limit and limit."""
    return max(-limit, min(limit, value))


@compiled
def describe(
    board: Board,
    state: State,
    slot: int,
    segment: int,
    added_steps: int,
    before_s: float,
    before_bytes: float,
    offer: Offer,
) -> None:
    """What a trial stay, which is accounted for, does to the state: numbers of the order of one.

    Args:
        board: the board.
        state: with the residency.
        slot: of the residency.
        segment: of the residency.
        added_steps: steps of the residency in which the segment was not there before.
        before_s: busy seconds without it.
        before_bytes: slow bytes without it.
        offer: of which six aspects are overwritten: logarithms of gain and room over what was
            expected; mean and highest load over its steps; copied bytes, and slow bytes saved, over
            its size.
    """
    aspects = offer.aspects
    size, aligned = board.size_bytes[segment], board.aligned_bytes[segment]
    saved_s = max(before_s - state.total[BUSY_S], TINY_S)
    taken = max(float(added_steps * aligned), 1.0)
    aspects[0] = within(np.log(saved_s / max(offer.gain_s, TINY_S)), 6.0) / 2
    aspects[1] = within(np.log(taken / max(offer.room, 1.0)), 6.0) / 2
    load, highest = 0, 0
    for step in range(state.start[slot], state.end[slot]):
        load += state.load_bytes[step]
        highest = max(highest, state.load_bytes[step])
    capacity = float(max(board.capacity_bytes, 1))
    aspects[2] = load / capacity / (state.end[slot] - state.start[slot])
    aspects[3] = highest / capacity
    copied = 0
    for i in range(state.fill_count[slot]):
        copied += state.fill_bytes[slot, i]
    for i in range(state.spill_count[slot]):
        copied += state.spill_bytes[slot, i]
    aspects[4] = copied / max(size, 1)
    aspects[5] = within((before_bytes - state.total[SLOW_BYTES]) / max(size, 1), 4.0) / 2


@compiled
def place(board: Board, state: State, slot: int, segment: int) -> bool:
    """A hole for the residency of a trial slot."""
    start, end, size = state.start[slot], state.end[slot], board.size_bytes[segment]
    state.offset[slot] = find_hole(board, state, start, end, size, NOWHERE, NOWHERE)
    return state.offset[slot] >= 0


@compiled
def try_run(
    board: Board,
    state: State,
    first: int,
    last: int,
    offer: Offer,
    addresses: bool,
) -> tuple[int, float]:
    """Let a segment stay from access `first` to `last`, joined with the residencies it has between.

    Where it cannot be fetched before the first or written home after the last of them, since uses
    follow each other too closely, it stays for more accesses, as in a sum that is read and written
    in its place.

    Args:
        board: the board.
        state: changed where the residency is taken.
        first: access.
        last: access.
        offer: the terms.
        addresses: it needs an address.

    Returns:
        TAKEN (or so already), FAILED or LATER, and the weighed aspects.
    """
    slot = len(state.last) - TRIAL
    segment = board.ev_segment[first]
    begin, behind = board.segment_first[segment], board.segment_first[segment + 1]
    low, high = first, last
    if state.residency_of[first] >= 0:
        low = state.residency_of[first]
        if state.last[low] >= last:
            return TAKEN, 0.0
    if state.residency_of[last] >= 0:
        high = max(high, state.last[state.residency_of[last]])
    before_s, before_bytes = state.total[BUSY_S], state.total[SLOW_BYTES]
    lifted = np.empty(behind - begin, np.int64)
    lasts = np.empty(behind - begin, np.int64)
    count = steps = 0
    found = IMPOSSIBLE
    for _ in range(MAX_GROWTH + 1):
        for access in range(low, high + 1):
            if state.last[access] >= 0:
                lifted[count], lasts[count] = access, lift(board, state, access)
                high = max(high, lasts[count])
                steps += state.end[access] - state.start[access]
                count += 1
        found = propose(board, state, slot, low, high)
        if found == TOO_EARLY and high + 1 < behind:
            high += 1
        elif found == TOO_LATE and low > begin:
            low = state.residency_of[low - 1] if state.residency_of[low - 1] >= 0 else low - 1
        else:
            break
    outcome, worth = FAILED, 0.0
    if found == POSSIBLE and fits(board, state, slot, board.aligned_bytes[segment]):
        account(board, state, slot, low, high, 1)
        if improves(state, before_s, before_bytes):
            if offer.least > -np.inf:
                steps = state.end[slot] - state.start[slot] - steps
                describe(board, state, slot, segment, steps, before_s, before_bytes, offer)
                for i in range(ASPECTS):
                    worth += offer.weights[i] * offer.aspects[i]
            if worth < offer.least:
                outcome = LATER
            elif not addresses or place(board, state, slot, segment):
                copy_slot(state, slot, low)
                enter(board, state, low, high)
                return TAKEN, worth
        account(board, state, slot, low, high, -1)
    for i in range(count):
        put(board, state, lifted[i], lasts[i])
    return outcome, worth
