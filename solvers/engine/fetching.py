"""Compiled: when mandatory operands are fetched and stored, for given residencies.

Operators reach such operands in the fastest tier only, so each residency has a fill before its
first use, or a spill behind a write. In its shortest form the fill takes the step before the use;
from there it may grow to earlier steps as far as there is room, one residency after the other:

    step           0     1     2     3     4     5
    shortest                         fill [use]          the DMA-only step before
    early          ###   ###         -    [use]          idle link time from the earliest step on
    late                       ###   ##   [use]          ... the latest ones

Which residency takes idle link time and room first decides what is left for others:
`fetch_search` looks for an order.
"""

from ullage.solvers.engine.addresses import find_hole, is_free
from ullage.solvers.engine.costs import charge_transfer, copy_slot
from ullage.solvers.engine.jit import compiled
from ullage.solvers.engine.proposals import TOLERANCE
from ullage.solvers.engine.tables import (
    ACCESS_SEGMENT,
    ACCESS_STEP,
    ADDRESSES,
    BUSY_S,
    COUNTS,
    FILL,
    MAX_MOVES,
    NOWHERE,
    SEGMENT_ALIGNED,
    SEGMENT_BYTES,
    SEGMENT_LAST,
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
    TOTALS,
    WINDOW,
    WORK,
    Tables,
)
from ullage.solvers.engine.transfers import (
    SPARE_BYTES,
    earliest_fit,
    free_from,
    idle_bytes,
    last_write,
    latest_fit,
    next_start,
    place_spill,
)

# Ways to place a fill: idle steps from the earliest possible one on, from the latest one back, and
# from a step between them on.
EARLY, LATE, BETWEEN = range(3)
# How often a residency is tried, with fewer steps for its transfers each time.
ATTEMPTS = 3


@compiled
def count_transfers(t: Tables, slot: int, sign: int) -> None:
    """Charge fill and spill of a slot, and the bytes that lie there for them alone (sign -1: not).

    Args:
        t: the tables.
        slot: of the residency.
        sign: 1 or -1.
    """
    segment = t.ints[ACCESS_SEGMENT, slot]
    charge_transfer(t, slot, FILL, segment, sign)
    charge_transfer(t, slot, SPILL, segment, sign)
    size = sign * t.ints[SEGMENT_ALIGNED, segment]
    for step in range(t.state[SLOT_START, slot], t.ints[ACCESS_STEP, slot]):
        t.state[STEP_LOAD, step] += size
    last = t.ints[ACCESS_STEP, t.state[SLOT_LAST, slot]]
    for step in range(last + 1, t.state[SLOT_END, slot]):
        t.state[STEP_LOAD, step] += size


@compiled
def shorten(t: Tables, slot: int) -> None:
    """Give a residency its shortest transfers: the steps right before its use and behind its write.

    These take no room that longer ones did not.
    """
    count_transfers(t, slot, -1)
    segment = t.ints[ACCESS_SEGMENT, slot]
    begin = t.ints[ACCESS_STEP, slot]
    size = t.ints[SEGMENT_BYTES, segment]
    if t.state[SLOT_MOVES + FILL, slot] > 0:
        t.moves[2 * slot + FILL, 0], t.moves[2 * slot + FILL, MAX_MOVES] = begin - 1, size
        t.state[SLOT_MOVES + FILL, slot] = 1
        t.state[SLOT_START, slot], t.state[SLOT_READY, slot] = begin - 1, begin
    if t.state[SLOT_MOVES + SPILL, slot] > 0:
        last = t.state[SLOT_LAST, slot]
        step = max(last_write(t, slot, last) + 1, begin)
        t.moves[2 * slot + SPILL, 0], t.moves[2 * slot + SPILL, MAX_MOVES] = step, size
        t.state[SLOT_MOVES + SPILL, slot] = 1
        t.state[SLOT_END, slot] = max(t.ints[ACCESS_STEP, last], step) + 1
    count_transfers(t, slot, 1)


@compiled
def place_fetch(t: Tables, slot: int, access: int, low: int, early: bool) -> None:
    """The fill of a residency in idle steps before its use; bytes too many go to its last step.

    Steps in which few bytes could move are left out, so that the moves suffice for all bytes.

    Args:
        t: the tables.
        slot: of the residency; its fill is overwritten.
        access: its first access.
        low: first step allowed; before the use.
        early: the first steps are taken first, else the last ones.
    """
    segment = t.ints[ACCESS_SEGMENT, access]
    begin, row = t.ints[ACCESS_STEP, access], 2 * slot + FILL
    rest_bytes = t.ints[SEGMENT_BYTES, segment]
    least = -(-rest_bytes // (MAX_MOVES - 1))
    count = 0
    step, by = (low, 1) if early else (begin - 1, -1)
    while low <= step < begin and rest_bytes > 0:
        part = min(rest_bytes, int(idle_bytes(t, FILL, segment, step) + SPARE_BYTES))
        if part >= min(least, rest_bytes):
            t.moves[row, count], t.moves[row, MAX_MOVES + count] = step, part
            count += 1
            rest_bytes -= part
        step += by
        t.state[COUNTS, WORK] += 1
    if count == 0:
        t.moves[row, 0], t.moves[row, MAX_MOVES] = begin - 1, 0
        count = 1
    if not early:  # ascending steps
        for k in range(count // 2):
            other = count - 1 - k
            step, part = t.moves[row, k], t.moves[row, MAX_MOVES + k]
            t.moves[row, k] = t.moves[row, other]
            t.moves[row, MAX_MOVES + k] = t.moves[row, MAX_MOVES + other]
            t.moves[row, other], t.moves[row, MAX_MOVES + other] = step, part
    t.moves[row, MAX_MOVES + count - 1] += rest_bytes
    t.state[SLOT_MOVES + FILL, slot] = count
    t.state[SLOT_START, slot] = t.moves[row, 0]
    t.state[SLOT_READY, slot] = t.moves[row, count - 1] + 1


@compiled
def has_address(t: Tables, slot: int) -> bool:
    """Whether the residency in a slot has an address, that which it has or another one.

    Where the tables say that there are no addresses at all, live bytes alone count.
    """
    if t.ints[SIZES, ADDRESSES] == 0:
        return True
    size = t.ints[SEGMENT_BYTES, t.ints[ACCESS_SEGMENT, slot]]
    if is_free(t, slot, size, slot, NOWHERE):
        return True
    offset = find_hole(t, slot, size, slot, NOWHERE)
    if offset < 0:
        return False
    t.state[SLOT_OFFSET, slot] = offset
    return True


@compiled
def place_again(t: Tables, slot: int, way: int, at: int) -> None:
    """Place the transfers of a residency anew, where that takes no longer and it has an address.

    Where there is none it is tried with half of the steps, and half of these.

    Args:
        t: the tables.
        slot: of the residency.
        way: EARLY, LATE or BETWEEN, of its fill.
        at: of BETWEEN: where its first step lies, in 1024ths of the steps that there are.
    """
    spare = t.ints[SIZES, SLOTS] - 1
    before_s = t.seconds[TOTALS, BUSY_S]
    copy_slot(t, slot, spare)
    count_transfers(t, slot, -1)
    segment = t.ints[ACCESS_SEGMENT, slot]
    size, begin = t.ints[SEGMENT_ALIGNED, segment], t.ints[ACCESS_STEP, slot]
    last = t.state[SLOT_LAST, slot]
    end = t.ints[ACCESS_STEP, last] + 1
    fills, spills = t.state[SLOT_MOVES + FILL, slot] > 0, t.state[SLOT_MOVES + SPILL, slot] > 0
    low = begin
    if fills:
        low = max(free_from(t, slot), begin - t.ints[SIZES, WINDOW])
        low = earliest_fit(t, size, low, begin, 0, 0)
        t.state[COUNTS, WORK] += begin - low
        if way == BETWEEN:
            low += (begin - low) * at // 1024
    limit = end
    if spills:
        limit = next_start(t, last)
        if last < t.ints[SEGMENT_LAST, segment]:
            limit = min(limit, t.ints[ACCESS_STEP, last + 1])
        limit = latest_fit(t, size, end, min(limit, end + t.ints[SIZES, WINDOW]), 0)
    placed = False
    for _ in range(ATTEMPTS):
        if fills and low < begin:
            place_fetch(t, slot, slot, low, way != LATE)
        if spills:
            after = max(last_write(t, slot, last) + 1, t.state[SLOT_READY, slot])
            if after >= limit:
                break
            charge_transfer(t, slot, FILL, segment, 1)
            t.state[SLOT_END, slot] = end
            place_spill(t, slot, segment, after, limit)
            charge_transfer(t, slot, FILL, segment, -1)
        if has_address(t, slot):
            placed = True
            break
        low, limit = (low + begin + 1) // 2, (end + limit) // 2
    if placed:
        count_transfers(t, slot, 1)
        if t.seconds[TOTALS, BUSY_S] <= before_s * (1.0 + TOLERANCE):
            return
        count_transfers(t, slot, -1)
    copy_slot(t, spare, slot)
    count_transfers(t, slot, 1)
