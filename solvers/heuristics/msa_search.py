"""Compiled: `msa`'s decisions, use by use; addresses are asked for in between.

`advance` works through a queue of segments until a residency that helps needs an address. It
returns then, with the residency in the trial slot, charged, and those that it replaces lifted; the
next call brings the answer and goes on from there:

    stage       PREFETCH: starts of a copy for one use      EXTEND: last uses of a longer residency
    proposal    fill from a start on, spill if needed       first .. last, instead of those between
    no address  the next start                              the next, nearer last use
"""

from typing import NamedTuple

from ullage.compiler.common.arrays import Ints
from ullage.solvers.engine.costs import account, clear_slot, copy_slot, cover
from ullage.solvers.engine.jit import compiled, entry
from ullage.solvers.engine.proposals import POSSIBLE, fits_during, improves, propose
from ullage.solvers.engine.tables import (
    ACCESS_READS,
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESS_STEP,
    ACCESSES,
    BUSY_S,
    COUNTS,
    FILL,
    LINEAR,
    NOWHERE,
    RESOURCE,
    RESOURCES,
    SCRATCH,
    SEGMENT_ALIGNED,
    SEGMENT_BYTES,
    SEGMENT_FIRST,
    SEGMENT_HOME_RATE,
    SEGMENT_LAST,
    SEGMENT_LINK,
    SEGMENT_LINK_RATE,
    SEGMENT_SETUP_S,
    SIZES,
    SLOT_END,
    SLOT_LAST,
    SLOT_MOVES,
    SLOT_READY,
    SLOT_START,
    SLOTS,
    STEP_BUSY,
    TOTALS,
    WORK,
    Tables,
)
from ullage.solvers.engine.transfers import (
    free_from,
    idle_bytes,
    last_move,
    needs_spill,
    spread,
)

# Entries of the cursor: position in the queue, access (-1: the segment's first), stage, number of
# the next start or end to be tried, number of starts, of lifted residencies, low and high access of
# the proposal, whether an address is asked for, residencies taken, whether ends were skipped.
AT, ACCESS, STAGE, TRIED, STARTED, LIFTED, LOW, HIGH, ASKED, TAKEN, SKIPPED = range(11)
CURSOR_SIZE = 11
# Stages of a use.
BEGIN, PREFETCH, EXTEND = range(3)
# What a call ends with: the queue is done; some work is; an address is needed.
FINISHED, PAUSED, NEEDS_ADDRESS = range(3)
# Scratch rows: starts of a prefetch, slots that were lifted.
STARTS, LIFTED_SLOTS = SCRATCH, SCRATCH + 1
# Rows of `Tables.seconds` behind the resources: overhead of the steps, and seconds from a step to
# the use that is decided about.
OVERHEAD, ELAPSED, MSA_ROWS = range(3)


class Rules(NamedTuple):
    """What `msa` goes by, see `MsaOptions`."""

    min_overlap_ratio: float
    preferred_overlap_ratio: float
    max_overlap_ratio: float
    min_hidden_fraction: float
    max_prefetch_starts: int
    max_run_ends: int
    memory_bytes: float
    max_outstanding: int


@entry
def advance(
    t: Tables, queue: Ints, cursor: Ints, rules: Rules, until: int, has_address: bool
) -> int:
    """Decide about segments, use by use.

    Args:
        t: the decisions.
        queue: numbers of segments, in the order in which they are decided about.
        cursor: (CURSOR_SIZE,) where the call before has stopped.
        rules: the limits.
        until: units of work at which to stop.
        has_address: whether the residency that the call before has asked about has an address.

    Returns:
        FINISHED, PAUSED or NEEDS_ADDRESS.
    """
    slot = t.ints[SIZES, SLOTS] - 1
    if cursor[ASKED] == 1:
        cursor[ASKED] = 0
        conclude(t, cursor, slot, has_address)
    while cursor[AT] < len(queue):
        if t.state[COUNTS, WORK] >= until:
            return PAUSED
        segment = queue[cursor[AT]]
        if cursor[ACCESS] < 0:
            cursor[ACCESS] = t.ints[SEGMENT_FIRST, segment]
        access = cursor[ACCESS]
        t.state[COUNTS, WORK] += 1
        if access > t.ints[SEGMENT_LAST, segment]:
            cursor[AT] += 1
            cursor[ACCESS] = -1
            continue
        covering = t.state[ACCESS_SLOT, access]
        proposed = False
        before_s, moved = t.seconds[TOTALS, BUSY_S], t.seconds[TOTALS, LINEAR]
        if cursor[STAGE] == BEGIN:
            cursor[STAGE], cursor[TRIED] = EXTEND, 0
            if covering < 0 and t.ints[ACCESS_READS, access] == 1:
                cursor[STAGE] = PREFETCH
                cursor[STARTED] = list_starts(t, access, rules)
        elif cursor[STAGE] == PREFETCH:
            if cursor[TRIED] == cursor[STARTED]:
                cursor[STAGE] = BEGIN
                cursor[ACCESS] += 1
                continue
            start = t.state[STARTS, cursor[TRIED]]
            cursor[TRIED] += 1
            proposed = propose_prefetch(t, slot, access, start, rules)
            cursor[LOW] = cursor[HIGH] = access
            cursor[LIFTED] = 0
        else:
            low, reached = access, access
            if covering >= 0:
                low, reached = covering, t.state[SLOT_LAST, covering]
            high = next_end(cursor, reached, t.ints[SEGMENT_LAST, segment], rules)
            if high <= reached:
                cursor[STAGE] = BEGIN
                cursor[ACCESS] = reached + 1
                continue
            cursor[TRIED] += 1
            cuts = t.state[ACCESS_SLOT, high]
            if cuts >= 0 and t.state[SLOT_LAST, cuts] > high:
                continue
            cursor[LOW], cursor[HIGH] = low, high
            cursor[LIFTED] = lift(t, low, high)
            proposed = propose(t, slot, low, high, NOWHERE, NOWHERE) == POSSIBLE
        if not proposed and cursor[LIFTED] == 0:
            continue
        size = t.ints[SEGMENT_ALIGNED, segment]
        start, end = t.state[SLOT_START, slot], t.state[SLOT_END, slot]
        if proposed and fits_during(t, size, start, end):
            account(t, slot, cursor[LOW], cursor[HIGH], 1)
            if improves(t, before_s, moved):
                cursor[ASKED] = 1
                return NEEDS_ADDRESS
            account(t, slot, cursor[LOW], cursor[HIGH], -1)
            if cursor[STAGE] == PREFETCH:  # all of the copy is hidden: no other start gains more
                cursor[TRIED] = cursor[STARTED]
        put_back(t, cursor)
    return FINISHED


@compiled
def conclude(t: Tables, cursor: Ints, slot: int, has_address: bool) -> None:
    """Take the residency in the trial slot, or undo it and put back what it replaced."""
    low, high = cursor[LOW], cursor[HIGH]
    if not has_address:
        account(t, slot, low, high, -1)
        put_back(t, cursor)
        return
    for k in range(cursor[LIFTED]):
        t.state[SLOT_LAST, t.state[LIFTED_SLOTS, k]] = NOWHERE
    cursor[LIFTED] = 0
    copy_slot(t, slot, low)
    cover(t, low, high, 1)
    cursor[TAKEN] += 1
    if cursor[STAGE] == PREFETCH:
        cursor[STAGE], cursor[TRIED] = EXTEND, 0
    else:
        cursor[STAGE] = BEGIN
        cursor[ACCESS] = high + 1


@compiled
def lift(t: Tables, low: int, high: int) -> int:
    """Credit the residencies between two accesses, and list their slots; returns how many."""
    count = 0
    access = low
    while access <= high:
        slot = t.state[ACCESS_SLOT, access]
        if slot >= 0:
            account(t, slot, slot, t.state[SLOT_LAST, slot], -1)
            t.state[LIFTED_SLOTS, count] = slot
            count += 1
            access = t.state[SLOT_LAST, slot]
        access += 1
    return count


@compiled
def put_back(t: Tables, cursor: Ints) -> None:
    """Charge lifted residencies again."""
    for k in range(cursor[LIFTED]):
        slot = t.state[LIFTED_SLOTS, k]
        account(t, slot, slot, t.state[SLOT_LAST, slot], 1)
    cursor[LIFTED] = 0


@compiled
def next_end(cursor: Ints, reached: int, last: int, rules: Rules) -> int:
    """Last access of the next longer residency, the furthest first; `reached` when all were tried.

    All of them where they are few, else at distances from `reached` that halve: a segment of many
    uses would take the cube of their number.
    """
    if last - reached <= rules.max_run_ends:
        return int(max(last - cursor[TRIED], reached))
    cursor[SKIPPED] = 1
    return int(reached + ((last - reached) >> cursor[TRIED]))


@compiled
def propose_prefetch(t: Tables, slot: int, access: int, start: int, rules: Rules) -> bool:
    """A residency of one use whose fill begins at a step, into a slot; False without idle time."""
    segment = t.ints[ACCESS_SEGMENT, access]
    use = t.ints[ACCESS_STEP, access]
    if not fits_during(t, t.ints[SEGMENT_ALIGNED, segment], start, use + 1):
        return False
    least = rules.min_hidden_fraction * t.ints[SEGMENT_BYTES, segment]
    room = 0.0
    for step in range(start, use):
        if int(room) >= least:
            break
        room += idle_bytes(t, FILL, segment, step)
        t.state[COUNTS, WORK] += 1
    if int(room) < least:
        return False
    if needs_spill(t, access, access):
        if propose(t, slot, access, access, NOWHERE, NOWHERE) != POSSIBLE:
            return False
    else:
        clear_slot(t, slot, use, use + 1)
    spread(t, slot, FILL, segment, start, use, False)
    t.state[SLOT_START, slot] = t.moves[2 * slot + FILL, 0]
    t.state[SLOT_READY, slot] = last_move(t, slot, FILL) + 1
    if rules.max_outstanding > 0 and outstanding(t, slot) >= rules.max_outstanding:
        return False
    if access > t.ints[SEGMENT_FIRST, segment]:
        # Here before an earlier use, for which it was not worth it?
        return bool(last_move(t, slot, FILL) >= t.ints[ACCESS_STEP, access - 1])
    return True


@compiled
def outstanding(t: Tables, slot: int) -> int:
    """How many copies into fast memory share a step with that of a slot, at most."""
    begin, end = t.state[SLOT_START, slot], t.state[SLOT_READY, slot]
    count = 0
    for access in range(t.ints[SIZES, ACCESSES]):
        t.state[COUNTS, WORK] += 1
        if t.state[SLOT_LAST, access] < 0 or t.state[SLOT_MOVES + FILL, access] == 0:
            continue
        first = t.moves[2 * access + FILL, 0]
        count += first < end and begin < t.state[SLOT_READY, access]
    return count


@compiled
def list_starts(t: Tables, access: int, rules: Rules) -> int:
    """List the steps at which a prefetch may begin, by distance from the preferred overlap ratio.

    The computing time from a step to the use grows with the distance of the step, so the starts are
    those of two lists merged: back from the preferred one, and on from it. Of equal ones the step
    nearer to the use comes first.

    Returns:
        How many.
    """
    segment = t.ints[ACCESS_SEGMENT, access]
    if t.ints[SEGMENT_LINK + FILL, segment] < 0:
        return 0
    rate = min(
        t.floats[SEGMENT_LINK_RATE + FILL, segment], t.floats[SEGMENT_HOME_RATE + FILL, segment]
    )
    setup_s = t.floats[SEGMENT_SETUP_S + FILL, segment]
    copy_s = setup_s + t.ints[SEGMENT_BYTES, segment] / rate
    most_s = rules.max_overlap_ratio * (setup_s + rules.memory_bytes / rate)
    use = t.ints[ACCESS_STEP, access]
    overhead = RESOURCE + t.ints[SIZES, RESOURCES] + OVERHEAD
    ratio = overhead + ELAPSED - OVERHEAD
    low = free_from(t, access)
    elapsed_s = 0.0
    begin, count = 0, 0
    for step in range(use - 1, low - 1, -1):
        elapsed_s += t.seconds[STEP_BUSY, step] + t.seconds[overhead, step]
        t.seconds[ratio, count] = elapsed_s / copy_s
        if elapsed_s > most_s:
            break
        if t.seconds[ratio, count] < rules.min_overlap_ratio:
            begin = count + 1
        count += 1
    t.state[COUNTS, WORK] += count + 1
    wish = rules.preferred_overlap_ratio
    above = begin
    while above < count and t.seconds[ratio, above] < wish:
        above += 1
    below = above
    listed = 0
    while listed < rules.max_prefetch_starts and (below > begin or above < count):
        nearer = above == count
        if below > begin and not nearer:
            product = t.seconds[ratio, below - 1] * t.seconds[ratio, above]
            nearer = product >= wish * wish
        if not nearer:
            t.state[STARTS, listed] = use - 1 - above
            listed += 1
            above += 1
            continue
        same = below - 1
        while same > begin and t.seconds[ratio, same - 1] == t.seconds[ratio, below - 1]:
            same -= 1
        for back in range(same, below):
            if listed < rules.max_prefetch_starts:
                t.state[STARTS, listed] = use - 1 - back
                listed += 1
        below = same
    return listed
