"""The rules of the game: the effect of each action, which are legal, and playing one. Compiled.

Accesses are decided in program order: COPY (the segment is filled for this access), NOCOPY (its
residency is extended to this access, or begins with what the operator writes), or DROP (the access
goes to the home tier). Accesses without a decision count as DROP:

    accesses of a segment   a0      a1        a2      a3
    action                  DROP    COPY      NOCOPY  DROP
    tier                    home    fastest   fastest home
    residency                  |----|=========|---|
                               fill           spill, before a3 where a3 reads what was written

So a state is a plan at any time, but for spills: they are placed when a residency ends, and where
there is no room for one, drop-backup rewinds the game to where the residency began (`take_turn`).
"""

import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.env.mechanics import insert_residency, remove_residency, restart
from ullage.rl_agent.env.state import ACCESS_FORCED, DECISION, TRIAL_SLOTS
from ullage.solvers.engine.addresses import find_hole, is_free
from ullage.solvers.engine.costs import clear_slot, copy_slot
from ullage.solvers.engine.jit import compiled, inlined
from ullage.solvers.engine.tables import (
    ACCESS_RANK,
    ACCESS_READS,
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESS_STEP,
    ACCESS_WRITES,
    ACCESSES,
    ADDRESSES,
    CAPACITY,
    COUNTS,
    CURSOR,
    DECISIONS,
    FILL,
    IN_ORDER,
    NOWHERE,
    REWINDS,
    SEGMENT_ALIGNED,
    SEGMENT_BYTES,
    SEGMENT_FIRST,
    SEGMENT_LAST,
    SEGMENT_LINK,
    SEGMENT_OUTPUT,
    SIZES,
    SLOT_END,
    SLOT_LAST,
    SLOT_MOVES,
    SLOT_OFFSET,
    SLOT_READY,
    SLOT_START,
    SLOTS,
    SPILL,
    STEP_LOAD,
    STEPS,
    Tables,
)
from ullage.solvers.engine.transfers import (
    earliest_fit,
    free_from,
    last_write,
    latest_fit,
    needs_spill,
    next_start,
    place_fill,
    place_spill,
)

BoolArray = NDArray[np.bool_]

# Actions: fill the segment for this access, extend its residency, go to the home tier.
COPY, NOCOPY, DROP = 0, 1, 2
ACTIONS = 3
# Instead of an action: begin a new game.
BEGIN = -1
# Trial slots, counted from the first: the residency after COPY, after NOCOPY, and the residency
# before the access with its spill, if it ends now.
COPIED, KEPT, CLOSED = range(TRIAL_SLOTS)
# Steps ahead of an access from which its fill may begin, and behind a residency until which its
# spill may end.
WINDOW_STEPS = 64


@compiled
def trial_slot(t: Tables, which: int) -> int:
    """Number of a trial slot: COPIED, KEPT or CLOSED."""
    return int(t.ints[SIZES, SLOTS] - TRIAL_SLOTS + which)


@compiled
def slot_before(t: Tables, access: int) -> int:
    """Slot of the residency that covers the segment's previous access, -1 for none."""
    if access == t.ints[SEGMENT_FIRST, t.ints[ACCESS_SEGMENT, access]]:
        return -1
    return int(t.state[ACCESS_SLOT, access - 1])


@compiled
def has_room(t: Tables, slot: int, aligned: int, but: int, nor: int) -> bool:
    """Whether a trial fits by live bytes.

    Args:
        t: the game.
        slot: the trial slot.
        aligned: bytes that its segment takes.
        but: slot of a residency of the same segment that is not counted, -1 for none.
        nor: another one.
    """
    for step in range(t.state[SLOT_START, slot], t.state[SLOT_END, slot]):
        load_bytes = t.state[STEP_LOAD, step] + aligned
        if but >= 0 and t.state[SLOT_START, but] <= step < t.state[SLOT_END, but]:
            load_bytes -= aligned
        if nor >= 0 and t.state[SLOT_START, nor] <= step < t.state[SLOT_END, nor]:
            load_bytes -= aligned
        if load_bytes > t.ints[SIZES, CAPACITY]:
            return False
    return True


@compiled
def choose_address(t: Tables, slot: int, segment: int, but: int, nor: int) -> bool:
    """Give a trial its address: the one that it has if that is free, else a hole.

    Args:
        t: the game.
        slot: the trial slot.
        segment: of the residency.
        but: slot that is not in its way, -1 for none.
        nor: another one.

    Returns:
        False where there is no address for it.
    """
    size = t.ints[SEGMENT_BYTES, segment]
    by_live_bytes = t.ints[SIZES, ADDRESSES] > t.ints[SIZES, CAPACITY]
    if by_live_bytes and not has_room(t, slot, t.ints[SEGMENT_ALIGNED, segment], but, nor):
        return False
    if t.state[SLOT_OFFSET, slot] >= 0 and is_free(t, slot, size, but, nor):
        return True
    t.state[SLOT_OFFSET, slot] = find_hole(t, slot, size, but, nor)
    return bool(t.state[SLOT_OFFSET, slot] >= 0)


@inlined
def plan_spill(t: Tables, slot: int, first: int, last: int, limit: int, extra: int) -> bool:
    """Place the spill of a trial before step `limit`, at most `extra` steps behind its last access.

    Returns:
        False where no step is left for it.
    """
    segment = t.ints[ACCESS_SEGMENT, first]
    if t.ints[SEGMENT_LINK + SPILL, segment] < 0:
        return False
    end = t.ints[ACCESS_STEP, last] + 1
    after = max(last_write(t, first, last), t.state[SLOT_READY, slot] - 1) + 1
    reach = min(limit, end + extra)
    single = t.state[ACCESS_SLOT, last]
    own = t.state[SLOT_END, single] if single == last else 0
    if reach > end:
        reach = latest_fit(t, t.ints[SEGMENT_ALIGNED, segment], end, reach, own)
    if after >= reach:
        return False
    t.state[SLOT_END, slot] = end
    place_spill(t, slot, segment, after, reach)
    return True


@compiled
def finish(
    t: Tables, slot: int, first: int, last: int, limit: int, but: int, nor: int, spills: bool
) -> bool:
    """Give a trial its spill (if any) and its address.

    Args:
        t: the game.
        slot: the trial slot.
        first: first access of the residency in it.
        last: its last access.
        limit: step before which the spill ends; it outlasts the residency only where that fits.
        but: slot that is not in its way.
        nor: another.
        spills: whether it must be written home.

    Returns:
        False where there is no place for it.
    """
    segment = t.ints[ACCESS_SEGMENT, first]
    offset = t.state[SLOT_OFFSET, slot]
    for attempt in range(2 if spills else 1):
        extra = WINDOW_STEPS if attempt == 0 else 0
        t.state[SLOT_OFFSET, slot] = offset
        if spills and not plan_spill(t, slot, first, last, limit, extra):
            continue
        if choose_address(t, slot, segment, but, nor):
            return True
    return False


@inlined
def try_close(t: Tables, access: int) -> bool:
    """Whether the residency of the access before can end now; with its spill it is in CLOSED."""
    slot = trial_slot(t, CLOSED)
    t.state[SLOT_LAST, slot] = -1
    before = slot_before(t, access)
    if before < 0 or t.state[SLOT_MOVES + SPILL, before] > 0:
        return True
    if not needs_spill(t, before, access - 1):
        return True
    limit = min(t.ints[ACCESS_STEP, access], next_start(t, access - 1))
    copy_slot(t, before, slot)
    if not finish(t, slot, before, access - 1, limit, before, NOWHERE, True):
        return False
    t.state[SLOT_LAST, slot] = access - 1
    return True


@inlined
def try_keep(t: Tables, access: int) -> bool:
    """Whether an access can be NOCOPY; its residency is in KEPT then."""
    slot = trial_slot(t, KEPT)
    segment = t.ints[ACCESS_SEGMENT, access]
    before = slot_before(t, access)
    single = t.state[ACCESS_SLOT, access]
    step = t.ints[ACCESS_STEP, access]
    first = access
    if before >= 0:
        first = before
        copy_slot(t, before, slot)
        t.state[SLOT_MOVES + SPILL, slot] = 0
        t.state[SLOT_END, slot] = step + 1
    elif t.ints[ACCESS_READS, access] == 1:
        return False
    else:
        clear_slot(t, slot, step, step + 1)
    spills = access == t.ints[SEGMENT_LAST, segment] and needs_spill(t, first, access)
    return finish(t, slot, first, access, t.ints[SIZES, STEPS], before, single, spills)


@inlined
def try_copy(t: Tables, access: int) -> bool:
    """Whether an access can be COPY, after `try_close` succeeded; its residency is in COPIED."""
    slot, closed = trial_slot(t, COPIED), trial_slot(t, CLOSED)
    segment = t.ints[ACCESS_SEGMENT, access]
    if t.ints[ACCESS_READS, access] == 0 or t.ints[SEGMENT_LINK + FILL, segment] < 0:
        return False
    step = t.ints[ACCESS_STEP, access]
    low = max(free_from(t, access), step - WINDOW_STEPS)
    if t.state[SLOT_LAST, closed] >= 0:
        low = max(low, t.state[SLOT_END, closed])
    single = t.state[ACCESS_SLOT, access]
    own_low = t.state[SLOT_START, single] if single >= 0 else 0
    own_high = t.state[SLOT_END, single] if single >= 0 else 0
    low = earliest_fit(t, t.ints[SEGMENT_ALIGNED, segment], low, step, own_low, own_high)
    for attempt in range(2):  # with the longest lead, else just before the use
        start = low if attempt == 0 else max(low, step - 1)
        if start < step and copy_from(t, slot, access, start):
            return True
    return False


@inlined
def copy_from(t: Tables, slot: int, access: int, low: int) -> bool:
    """The residency of a COPY whose fill begins at step `low` or later; False without room."""
    segment = t.ints[ACCESS_SEGMENT, access]
    step = t.ints[ACCESS_STEP, access]
    clear_slot(t, slot, step, step + 1)
    place_fill(t, slot, access, low)
    single = t.state[ACCESS_SLOT, access]
    writes = t.ints[ACCESS_WRITES, access] == 1 and t.ints[SEGMENT_OUTPUT, segment] == 1
    spills = writes and access == t.ints[SEGMENT_LAST, segment]
    return finish(t, slot, access, access, t.ints[SIZES, STEPS], single, NOWHERE, spills)


@inlined
def find_legal(t: Tables, mask: BoolArray) -> int:
    """Which actions are legal at the cursor, into `mask` (ACTIONS,); returns how many."""
    access = t.ints[IN_ORDER, t.state[COUNTS, CURSOR]]
    closes = try_close(t, access)
    mask[DROP] = closes
    mask[COPY] = mask[NOCOPY] = False
    if t.state[ACCESS_FORCED, access] == 0:
        mask[COPY] = closes and try_copy(t, access)
        mask[NOCOPY] = try_keep(t, access)
    return int(mask[COPY]) + int(mask[NOCOPY]) + int(mask[DROP])


@inlined
def play_action(t: Tables, action: int) -> None:
    """Play an action that `find_legal` has just allowed, and move the cursor to the next access."""
    access = t.ints[IN_ORDER, t.state[COUNTS, CURSOR]]
    before = slot_before(t, access)
    closed = trial_slot(t, CLOSED)
    closes = action != NOCOPY and t.state[SLOT_LAST, closed] >= 0
    for part in range(2):  # what ends before the access, what covers it
        if part == 0:
            trial, slot, last = closed, before, access - 1
        else:
            trial, slot, last = trial_slot(t, KEPT if action == NOCOPY else COPIED), access, access
            if action == NOCOPY and before >= 0:
                slot = before
        if (part == 0 and not closes) or (part == 1 and action == DROP):
            continue
        for number in range(2):
            old = last if number == 0 else slot
            if t.state[SLOT_LAST, old] >= 0 and (part == 1 or number == 1):
                remove_residency(t, old)
        copy_slot(t, trial, slot)
        insert_residency(t, slot, last)
    t.state[DECISION, t.state[COUNTS, CURSOR]] = action
    t.state[COUNTS, CURSOR] += 1
    t.state[COUNTS, DECISIONS] += 1


@inlined
def rewind(t: Tables) -> int:
    """Drop-backup: record DROP, for good, where the residency before the cursor began.

        accesses of the segment   a0    a1      a2      a3   no legal action: the spill has no room
        decisions                 DROP  COPY    NOCOPY
        afterwards                DROP  DROP!   (none)       decisions before a1 are played again

    Returns:
        The position in program order of the forced DROP.
    """
    culprit = slot_before(t, t.ints[IN_ORDER, t.state[COUNTS, CURSOR]])
    while t.state[DECISION, t.ints[ACCESS_RANK, culprit]] == DROP:  # an operand that must be here
        culprit += 1
    t.state[ACCESS_FORCED, culprit] = 1
    place = t.ints[ACCESS_RANK, culprit]
    t.state[DECISION, place] = DROP
    for behind in range(place + 1, t.ints[SIZES, ACCESSES]):
        t.state[DECISION, behind] = -1
    t.state[COUNTS, REWINDS] += 1
    return int(place)


@inlined
def forget(t: Tables) -> None:
    """No decision is recorded, and none is forced."""
    for access in range(t.ints[SIZES, ACCESSES]):
        t.state[ACCESS_FORCED, access] = 0
        t.state[DECISION, access] = -1
    t.state[COUNTS, REWINDS] = 0
    t.state[COUNTS, DECISIONS] = 0


@inlined
def take_turn(t: Tables, start: Tables, action: int, forced: bool, mask: BoolArray) -> bool:
    """Play a legal action, or begin a new game; after a dead end play on behind the drop.

    One loop for all, so that `restart`, `find_legal` and `play_action` are compiled in one place.

    Args:
        t: the game; needs at least one access.
        start: before the first move.
        action: an action, or BEGIN.
        forced: play on while one action alone is legal.
        mask: (ACTIONS,) becomes that of the next decision.

    Returns:
        True at the end of the game.
    """
    if action == BEGIN:
        forget(t)
    played_until = -1  # decisions up to this place are played again
    while True:
        if action == BEGIN:
            restart(t, start)
        else:
            play_action(t, action)
        cursor = t.state[COUNTS, CURSOR]
        if cursor == t.ints[SIZES, ACCESSES]:
            mask[COPY] = mask[NOCOPY] = mask[DROP] = False
            return True
        legal = find_legal(t, mask)
        if cursor <= played_until:
            action = t.state[DECISION, cursor]
        elif legal == 0:
            played_until = rewind(t)
            action = BEGIN
        elif legal == 1 and forced:
            action = COPY if mask[COPY] else NOCOPY if mask[NOCOPY] else DROP
        else:
            return False
