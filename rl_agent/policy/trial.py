"""Trials of a decode: inserting a residency, and keeping it only if the plan gets better. Compiled.

A trial over accesses first..last replaces all residencies of the segment between them by one:

    before    ####   ##       two residencies of the segment are removed
    trial     #########       one is proposed, charged and compared
    after     #########       TAKEN; or FAILED or LATER: the two are inserted again
"""

from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.rl_agent.env.mechanics import insert_residency, list_on_map, remove_residency
from ullage.rl_agent.env.state import REMOVED, REMOVED_LAST, TRIAL_SLOTS
from ullage.solvers.engine.addresses import find_hole
from ullage.solvers.engine.costs import account, copy_slot, cover
from ullage.solvers.engine.fetching import place_fetch
from ullage.solvers.engine.jit import compiled, inlined
from ullage.solvers.engine.proposals import (
    IMPOSSIBLE,
    POSSIBLE,
    TOO_EARLY,
    TOO_LATE,
    fits_during,
    improves,
    propose,
)
from ullage.solvers.engine.tables import (
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESS_STEP,
    BUSY_S,
    CAPACITY,
    FILL,
    LINEAR,
    MAX_MOVES,
    NOWHERE,
    SEGMENT_ALIGNED,
    SEGMENT_BYTES,
    SEGMENT_FIRST,
    SEGMENT_LAST,
    SEGMENT_MUST,
    SIZES,
    SLOT_END,
    SLOT_LAST,
    SLOT_MOVES,
    SLOT_OFFSET,
    SLOT_START,
    SLOTS,
    STEP_LOAD,
    TOTALS,
    Tables,
)
from ullage.solvers.engine.transfers import earliest_fit, free_from

# Numbers about a candidate in the state in which it is tried.
ASPECTS = 8
# Outcomes of a trial: inserted (or there already), no better, to be tried again later.
TAKEN, FAILED, LATER = 0, 1, 2
# Most accesses by which a residency grows that cannot begin or end at its own accesses.
MAX_GROWTH = 6
# Seconds in place of zero in logarithms and quotients.
TINY_S = 1e-15


class Offer(NamedTuple):
    """A residency that is offered, and on what terms.

    Attributes:
        gain_s: seconds that it is expected to save.
        room: bytes x steps that it is expected to take.
        least: its weighed aspects must come up to this for it to be taken; -inf: it will do anyway.
        weights: (ASPECTS,) of what it does to the state.
        aspects: (ASPECTS,) what it does to the state; the trial fills all but the last two.
    """

    gain_s: float
    room: float
    least: float
    weights: Floats
    aspects: Floats


@compiled
def within(value: float, limit: float) -> float:
    """The value, cut off at -limit and limit."""
    return max(-limit, min(limit, value))


@compiled
def describe(
    t: Tables,
    slot: int,
    segment: int,
    added_steps: int,
    before_s: float,
    before_bytes: float,
    offer: Offer,
) -> None:
    """What a residency on trial, accounted for, does to the state: numbers of the order of one.

    Args:
        t: with the residency.
        slot: where it is.
        segment: whose it is.
        added_steps: its steps in which the segment was not there before.
        before_s: busy seconds without it.
        before_bytes: slow bytes without it.
        offer: of which six aspects are overwritten: logarithms of gain and room over what was
            expected; mean and highest load over its steps; copied bytes, and slow bytes saved, over
            its size.
    """
    aspects = offer.aspects
    size, aligned = t.ints[SEGMENT_BYTES, segment], t.ints[SEGMENT_ALIGNED, segment]
    saved_s = max(before_s - t.seconds[TOTALS, BUSY_S], TINY_S)
    taken = max(float(added_steps * aligned), 1.0)
    aspects[0] = within(np.log(saved_s / max(offer.gain_s, TINY_S)), 6.0) / 2
    aspects[1] = within(np.log(taken / max(offer.room, 1.0)), 6.0) / 2
    load_bytes, highest = 0, 0
    for step in range(t.state[SLOT_START, slot], t.state[SLOT_END, slot]):
        load_bytes += t.state[STEP_LOAD, step]
        highest = max(highest, t.state[STEP_LOAD, step])
    capacity = float(max(t.ints[SIZES, CAPACITY], 1))
    aspects[2] = load_bytes / capacity / (t.state[SLOT_END, slot] - t.state[SLOT_START, slot])
    aspects[3] = highest / capacity
    copied = 0
    for way in range(2):
        for k in range(t.state[SLOT_MOVES + way, slot]):
            copied += t.moves[2 * slot + way, MAX_MOVES + k]
    aspects[4] = copied / max(size, 1)
    aspects[5] = within((before_bytes - t.seconds[TOTALS, LINEAR]) / max(size, 1), 4.0) / 2


@inlined
def try_residency(
    t: Tables, first: int, last: int, offer: Offer, addresses: bool
) -> tuple[int, float]:
    """Try one residency over accesses first..last, joined with the residencies between.

    What operators reach in the fastest tier only has a residency in any case; tried over the first
    access of that, it is fetched anew: the earliest idle steps are taken.

    Where there is no step for its fill before the first or for its spill after the last of them,
    since accesses follow each other too closely, it is tried over more accesses, as for a sum that
    is read and written in place.

    Args:
        t: changed where it is taken.
        first: access.
        last: access.
        offer: the terms.
        addresses: it needs an address.

    Returns:
        TAKEN (or so already), FAILED or LATER, and the weighed aspects.
    """
    slot = t.ints[SIZES, SLOTS] - TRIAL_SLOTS
    segment = t.ints[ACCESS_SEGMENT, first]
    low, high = first, last
    must = t.ints[SEGMENT_MUST, segment] == 1
    if t.state[ACCESS_SLOT, first] >= 0:
        low = t.state[ACCESS_SLOT, first]
        anew = must and low == first and first == last and t.state[SLOT_MOVES + FILL, low] > 0
        if t.state[SLOT_LAST, low] >= last and not anew:
            return TAKEN, 0.0
    if t.state[ACCESS_SLOT, last] >= 0:
        high = max(high, t.state[SLOT_LAST, t.state[ACCESS_SLOT, last]])
    before_s, before_bytes = t.seconds[TOTALS, BUSY_S], t.seconds[TOTALS, LINEAR]
    count = steps = 0
    outcome = IMPOSSIBLE
    for _ in range(MAX_GROWTH + 1):
        for access in range(low, high + 1):
            if t.state[SLOT_LAST, access] >= 0:
                t.state[REMOVED, count] = access
                t.state[REMOVED_LAST, count] = remove_residency(t, access)
                high = max(high, t.state[REMOVED_LAST, count])
                steps += t.state[SLOT_END, access] - t.state[SLOT_START, access]
                count += 1
        outcome = propose(t, slot, low, high, NOWHERE, NOWHERE)
        if outcome == TOO_EARLY and high < t.ints[SEGMENT_LAST, segment]:
            high += 1
        elif outcome == TOO_LATE and low > t.ints[SEGMENT_FIRST, segment]:
            before = t.state[ACCESS_SLOT, low - 1]
            low = before if before >= 0 else low - 1
        else:
            break
    verdict, worth = FAILED, 0.0
    if outcome == POSSIBLE and must and t.state[SLOT_MOVES + FILL, slot] > 0:
        begin, aligned = t.ints[ACCESS_STEP, low], t.ints[SEGMENT_ALIGNED, segment]
        from_step = earliest_fit(t, aligned, free_from(t, low), begin, 0, 0)
        if from_step < begin:
            place_fetch(t, slot, low, from_step, True)
    start, end = t.state[SLOT_START, slot], t.state[SLOT_END, slot]
    if outcome == POSSIBLE and fits_during(t, t.ints[SEGMENT_ALIGNED, segment], start, end):
        account(t, slot, low, high, 1)
        if improves(t, before_s, before_bytes):
            if offer.least > -np.inf:
                steps = t.state[SLOT_END, slot] - t.state[SLOT_START, slot] - steps
                describe(t, slot, segment, steps, before_s, before_bytes, offer)
                for i in range(ASPECTS):
                    worth += offer.weights[i] * offer.aspects[i]
            size = t.ints[SEGMENT_BYTES, segment]
            if worth < offer.least:
                verdict = LATER
            elif not addresses or find_place(t, slot, size):
                copy_slot(t, slot, low)
                cover(t, low, high, 1)
                list_on_map(t, low)
                return TAKEN, worth
        account(t, slot, low, high, -1)
    for i in range(count):
        insert_residency(t, t.state[REMOVED, i], t.state[REMOVED_LAST, i])
    return verdict, worth


@compiled
def find_place(t: Tables, slot: int, size: int) -> bool:
    """Give the residency in a slot an address; False without a hole."""
    t.state[SLOT_OFFSET, slot] = find_hole(t, slot, size, NOWHERE, NOWHERE)
    return bool(t.state[SLOT_OFFSET, slot] >= 0)
