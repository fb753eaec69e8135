"""Compiled: the steps in which a fill or a spill moves its bytes, and those in which it may.

step       0     1     2     3     4     5     6
accesses         write             [read ......]     the residency serves the last three steps
fill                   ###   ##                      after the write, in idle link time
start                  ^
ready                              ^
"""

import math

from ullage.solvers.engine.jit import compiled
from ullage.solvers.engine.tables import (
    ACCESS_LAST_WRITE,
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESS_STEP,
    ACCESS_WANTED,
    CAPACITY,
    COUNTS,
    FILL,
    MAX_MOVES,
    REACH,
    RESOURCE,
    SEGMENT_BYTES,
    SEGMENT_FAST_RATE,
    SEGMENT_FIRST,
    SEGMENT_GIVEN,
    SEGMENT_HOME,
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
    SPILL,
    STEP_BUSY,
    STEP_LOAD,
    STEPS,
    WINDOW,
    WORK,
    Tables,
)

# Bytes added to the idle bytes of a step: a number that is whole but for rounding stays whole. The
# time that they take on the link tells the growth of two steps apart from rounding, too.
SPARE_BYTES = 1e-6


@compiled
def spread(t: Tables, slot: int, way: int, segment: int, low: int, high: int, late: bool) -> None:
    """Spread the bytes of a transfer over idle steps of [low, high).

        idle bytes     0   4   9   2      8 bytes late in steps [0, 4)
        moves                  6   2      the last steps first

    Bytes that find no idle step go where most bytes move, among equals to the latest step. Without
    any idle step all go into the step that grows least, among equals into the first looked at.

    Args:
        t: the tables.
        slot: its moves are overwritten.
        way: FILL or SPILL.
        segment: whose bytes move.
        low: first step allowed.
        high: one past the last; larger than `low`.
        late: the last steps are taken first, else the first ones.
    """
    home = RESOURCE + t.ints[SEGMENT_HOME, segment]
    link = t.ints[SEGMENT_LINK + way, segment]
    home_rate = t.floats[SEGMENT_HOME_RATE + way, segment]
    fast_rate = t.floats[SEGMENT_FAST_RATE + way, segment]
    link_rate = t.floats[SEGMENT_LINK_RATE + way, segment]
    setup_s = t.floats[SEGMENT_SETUP_S + way, segment]
    row = 2 * slot + way
    rest_bytes = t.ints[SEGMENT_BYTES, segment]
    count = 0
    step, by = (high - 1, -1) if late else (low, 1)
    cheapest, least_growth = step, math.inf
    while low <= step < high and rest_bytes > 0 and count < MAX_MOVES:
        part = min(rest_bytes, int(idle_bytes(t, way, segment, step) + SPARE_BYTES))
        if part > 0:
            t.moves[row, count] = step
            t.moves[row, MAX_MOVES + count] = part
            count += 1
            rest_bytes -= part
        elif count == 0:
            grown = max(
                t.seconds[home, step] + rest_bytes / home_rate,
                t.seconds[RESOURCE, step] + rest_bytes / fast_rate,
                t.seconds[link, step] + rest_bytes / link_rate + setup_s,
            )
            grown -= t.seconds[STEP_BUSY, step]
            if grown < least_growth - SPARE_BYTES / link_rate:
                cheapest, least_growth = step, grown
        t.state[COUNTS, WORK] += 1
        step += by
    if count == 0:
        t.moves[row, 0] = cheapest
        t.moves[row, MAX_MOVES] = 0
        count = 1
    best = 0
    for k in range(1, count):
        more = t.moves[row, MAX_MOVES + k] - t.moves[row, MAX_MOVES + best]
        if more > 0 or (more == 0 and not late):
            best = k
    t.moves[row, MAX_MOVES + best] += rest_bytes
    if late:  # ascending steps
        for k in range(count // 2):
            other = count - 1 - k
            step, part = t.moves[row, k], t.moves[row, MAX_MOVES + k]
            t.moves[row, k] = t.moves[row, other]
            t.moves[row, MAX_MOVES + k] = t.moves[row, MAX_MOVES + other]
            t.moves[row, other], t.moves[row, MAX_MOVES + other] = step, part
    t.state[SLOT_MOVES + way, slot] = count


@compiled
def idle_bytes(t: Tables, way: int, segment: int, step: int) -> float:
    """Bytes of a segment that a transfer could move in a step at no cost."""
    busy = t.seconds[STEP_BUSY, step]
    home = RESOURCE + t.ints[SEGMENT_HOME, segment]
    room = min(
        (busy - t.seconds[home, step]) * t.floats[SEGMENT_HOME_RATE + way, segment],
        (busy - t.seconds[RESOURCE, step]) * t.floats[SEGMENT_FAST_RATE + way, segment],
    )
    link = t.ints[SEGMENT_LINK + way, segment]
    free = max(busy - t.seconds[link, step] - t.floats[SEGMENT_SETUP_S + way, segment], 0.0)
    return float(max(min(room, free * t.floats[SEGMENT_LINK_RATE + way, segment]), 0.0))


@compiled
def place_fill(t: Tables, slot: int, access: int, low: int) -> None:
    """Fill, first and ready step of the residency in a slot that begins with an access.

    The last bytes arrive no earlier than the step of the segment's access before.

    Args:
        t: the tables.
        slot: of the residency.
        access: its first access.
        low: first step of the fill; before the access's.
    """
    segment = t.ints[ACCESS_SEGMENT, access]
    begin = t.ints[ACCESS_STEP, access]
    spread(t, slot, FILL, segment, low, begin, True)
    if access > t.ints[SEGMENT_FIRST, segment]:
        used = t.ints[ACCESS_STEP, access - 1]
        if last_move(t, slot, FILL) < used:
            spread(t, slot, FILL, segment, used, begin, True)
    t.state[SLOT_START, slot] = t.moves[2 * slot + FILL, 0]
    t.state[SLOT_READY, slot] = last_move(t, slot, FILL) + 1


@compiled
def place_spill(t: Tables, slot: int, segment: int, low: int, high: int) -> None:
    """Spill of the residency in a slot in steps [low, high), to whose end the residency lasts."""
    spread(t, slot, SPILL, segment, low, high, False)
    t.state[SLOT_END, slot] = max(t.state[SLOT_END, slot], last_move(t, slot, SPILL) + 1)


@compiled
def last_move(t: Tables, slot: int, way: int) -> int:
    """Last step of a transfer that has moves."""
    return int(t.moves[2 * slot + way, t.state[SLOT_MOVES + way, slot] - 1])


@compiled
def earliest_fit(t: Tables, size: int, low: int, high: int, own_low: int, own_high: int) -> int:
    """Smallest step s in [low, high] such that `size` bytes fit during [s, high).

    In steps [own_low, own_high) the same bytes are counted already.
    """
    for step in range(high - 1, low - 1, -1):
        own = size if own_low <= step < own_high else 0
        if t.state[STEP_LOAD, step] - own + size > t.ints[SIZES, CAPACITY]:
            return step + 1
    return low


@compiled
def latest_fit(t: Tables, size: int, low: int, high: int, own_high: int) -> int:
    """Largest step s in [low, high] such that `size` bytes fit during [low, s).

    In steps before `own_high` the same bytes are counted already.
    """
    for step in range(low, high):
        own = size if step < own_high else 0
        if t.state[STEP_LOAD, step] - own + size > t.ints[SIZES, CAPACITY]:
            return step
    return int(max(low, high))


@compiled
def at_home_before(t: Tables, access: int) -> bool:
    """Whether the home tier holds current data just before an access."""
    segment = t.ints[ACCESS_SEGMENT, access]
    first = t.ints[SEGMENT_FIRST, segment]
    write = t.ints[ACCESS_LAST_WRITE, access - 1] if access > first else -1
    if write < first:
        return bool(t.ints[SEGMENT_GIVEN, segment] == 1)
    at = t.state[ACCESS_SLOT, write]
    if at < 0:
        return True
    while at < access:  # what a residency has written is at home when it, or one behind, spilled
        last = t.state[SLOT_LAST, at]
        if last < 0:
            at += 1
        elif t.state[SLOT_MOVES + SPILL, at] > 0:
            return True
        else:
            at = last + 1
    return False


@compiled
def needs_spill(t: Tables, first: int, last: int) -> bool:
    """Whether a residency for accesses first..last must leave a copy at home when it ends."""
    if t.ints[ACCESS_WANTED, last] == 0:
        return False
    return t.ints[ACCESS_LAST_WRITE, last] >= first or not at_home_before(t, first)


@compiled
def last_write(t: Tables, first: int, last: int) -> int:
    """Step of the last write among accesses first..last, -1 without one."""
    write = t.ints[ACCESS_LAST_WRITE, last]
    return int(t.ints[ACCESS_STEP, write]) if write >= first else -1


@compiled
def free_from(t: Tables, first: int) -> int:
    """First step in which a fill before an access may move bytes.

    By then home has the data, and the residency before has ended. Residencies that have ended
    before the fill's window are not looked for.
    """
    start = t.ints[SEGMENT_FIRST, t.ints[ACCESS_SEGMENT, first]]
    step = 0
    if first > start:
        step = last_write(t, start, first - 1) + 1
        far = t.ints[ACCESS_STEP, first] - t.ints[SIZES, WINDOW] - t.ints[SIZES, REACH]
        for access in range(first - 1, start - 1, -1):
            slot = t.state[ACCESS_SLOT, access]
            if slot >= 0:
                return int(max(step, t.state[SLOT_END, slot]))
            if t.ints[ACCESS_STEP, access] < far:
                break
    return step


@compiled
def next_start(t: Tables, last: int) -> int:
    """First step of the next residency of the same segment; the number of steps without one.

    Residencies that begin behind a spill's window are not looked for.
    """
    far = t.ints[ACCESS_STEP, last] + t.ints[SIZES, WINDOW] + t.ints[SIZES, REACH]
    for access in range(last + 1, t.ints[SEGMENT_LAST, t.ints[ACCESS_SEGMENT, last]] + 1):
        slot = t.state[ACCESS_SLOT, access]
        if slot >= 0:
            return int(t.state[SLOT_START, slot])
        if t.ints[ACCESS_STEP, access] > far:
            break
    return int(t.ints[SIZES, STEPS])
