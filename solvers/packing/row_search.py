"""Compiled: orders of strips that leave fewer bytes without room (`rows` says what a strip is).

A strip that found no room moves to an earlier place in the order, now and then one that is there
at the same time moves as well, all are placed anew, and what leaves no more over stays. Thousands
of orders are tried in the time in which plain Python tries a hundred; both try the same ones.
"""

import math

from ullage.compiler.common.arrays import Ints
from ullage.solvers.engine.jit import compiled, entry

# Rows of the table of strips: as the fields of `Strip`; TWIN is the strip at the end of the
# inference that has the same addresses, -1 for none, and TURN says which strips come first.
START, END, LOW, HIGH, CUT, TWIN, TURN = range(7)
# Rows of the table of orders: the one that is tried, and the best so far, ...
TRIED, BEST = range(2)
# ... of addresses that are taken: first, one past the last, first step, one past the last, ...
ADDRESS, UNTIL, SINCE, TO = range(4)
# ... and of holes: first address, one past the last.
HOLE, HOLE_END = range(2)
# Entries of the state: the last random number; the bytes without room in the best order; tries
# since fewer were found, and in all; the unit of addresses and the bytes of the memory, which stay.
RANDOM, LACKING, IDLE, TRIES, UNIT, CAPACITY = range(6)
# Places in the order by which a strip moves, about, and how often one beside it moves too.
REACH = 20.0
MOVE_BESIDE = 0.5
# Modulus and factor of the random numbers: Park and Miller, "Random number generators: good ones
# are hard to find" (1988), with the factor that they gave in 1993.
MODULUS, FACTOR = 2147483647, 48271


@entry
def try_orders(
    strips: Ints,
    orders: Ints,
    lacking: Ints,
    taken: Ints,
    holes: Ints,
    state: Ints,
    tries: int,
) -> None:
    """Try orders near the best one, until all strips have room or so many were tried.

    Args:
        strips: (7, N) the strips.
        orders: (2, M) strips in order; those that have the addresses of others are left out.
        lacking: (2, N) bytes of each strip without room, in the same two orders.
        taken: (4, ...) room for all runs.
        holes: (2, ...) room for a hole more than runs.
        state: (6,) see above.
        tries: orders to be tried.
    """
    for _ in range(tries):
        if state[LACKING] == 0:
            return
        for place in range(orders.shape[1]):
            orders[TRIED, place] = orders[BEST, place]
        failed = _pick_failed(lacking, state)
        _move(strips, orders, failed, int(REACH * math.log(_chance(state))))
        if _chance(state) < MOVE_BESIDE:
            beside = _pick_beside(strips, failed, state)
            angle = math.cos(2 * math.pi * _chance(state))
            normal = angle * math.sqrt(-2 * math.log(_chance(state)))
            _move(strips, orders, beside, int(REACH * normal))
        total = place_all(strips, orders, lacking, taken, holes, state)
        state[TRIES] += 1
        state[IDLE] += 1
        if total > state[LACKING]:
            continue
        if total < state[LACKING]:
            state[IDLE] = 0
        state[LACKING] = total
        for place in range(orders.shape[1]):
            orders[BEST, place] = orders[TRIED, place]
        for strip in range(lacking.shape[1]):
            lacking[BEST, strip] = lacking[TRIED, strip]


@compiled
def _chance(state: Ints) -> float:
    """A random number above 0 and below 1."""
    state[RANDOM] = state[RANDOM] * FACTOR % MODULUS
    return float(state[RANDOM] / MODULUS)


@compiled
def _pick_failed(lacking: Ints, state: Ints) -> int:
    """A strip that has no room in the best order."""
    count = 0
    for strip in range(lacking.shape[1]):
        count += lacking[BEST, strip] > 0
    left = int(count * _chance(state))
    for strip in range(lacking.shape[1]):
        if lacking[BEST, strip] > 0:
            if left == 0:
                return int(strip)
            left -= 1
    return 0


@compiled
def _pick_beside(strips: Ints, failed: int, state: Ints) -> int:
    """A strip that is there at the same time as another one, or that one."""
    start, end = strips[START, failed], strips[END, failed]
    count = 0
    for strip in range(strips.shape[1]):
        count += strips[START, strip] < end and start < strips[END, strip]
    left = int(count * _chance(state))
    for strip in range(strips.shape[1]):
        if strips[START, strip] < end and start < strips[END, strip]:
            if left == 0:
                return int(strip)
            left -= 1
    return failed


@compiled
def _move(strips: Ints, orders: Ints, strip: int, by: int) -> None:
    """Move a strip by some places in the order, among those whose turn is the same."""
    place, step = 0, 1 if by > 0 else -1
    while place < orders.shape[1] and orders[TRIED, place] != strip:
        place += 1
    if place == orders.shape[1]:  # it has the addresses of another one
        return
    for _ in range(abs(by)):
        other = place + step
        if not 0 <= other < orders.shape[1]:
            return
        if strips[TURN, orders[TRIED, other]] != strips[TURN, strip]:
            return
        orders[TRIED, place], orders[TRIED, other] = orders[TRIED, other], strip
        place = other


@compiled
def place_all(
    strips: Ints,
    orders: Ints,
    lacking: Ints,
    taken: Ints,
    holes: Ints,
    state: Ints,
) -> int:
    """Give strips addresses in the order that is tried; the bytes for which there is no room.

    As `rows` does, but for the runs, which are not told. It ends once more bytes have no room than
    in the best order.
    """
    count, total, room = 0, 0, taken.shape[1]
    unit, capacity = state[UNIT], state[CAPACITY]
    for place in range(orders.shape[1]):
        strip = orders[TRIED, place]
        twin = strips[TWIN, strip]
        found = _find_holes(strips, taken, holes, count, strip, twin, capacity)
        runs = 0
        low, end, cut = strips[LOW, strip], strips[HIGH, strip], strips[CUT, strip]
        missing = 0
        while low < end:
            size = (end - low + unit - 1) // unit * unit
            tightest, largest = -1, -1
            for hole in range(found):
                free = holes[HOLE_END, hole] - holes[HOLE, hole]
                if free >= end - low and (
                    tightest < 0 or free < holes[HOLE_END, tightest] - holes[HOLE, tightest]
                ):
                    tightest = hole
                if largest < 0 or free > holes[HOLE_END, largest] - holes[HOLE, largest]:
                    largest = hole
            at, until = tightest, end
            if tightest < 0:
                at = largest
                if largest >= 0 and cut > 0:
                    free = holes[HOLE_END, largest] - holes[HOLE, largest]
                    until = (low + free) // cut * cut
                if largest < 0 or cut == 0 or until <= low or count + 2 * runs + 4 > room:
                    missing = end - low
                    break
                size = (until - low + unit - 1) // unit * unit
            taken[ADDRESS, count + runs] = holes[HOLE, at]
            taken[UNTIL, count + runs] = holes[HOLE, at] + size
            holes[HOLE, at] += size
            runs += 1
            low = until
        lacking[TRIED, strip] = missing
        total += missing
        if twin >= 0:
            lacking[TRIED, twin] = missing
            total += missing
        if total > state[LACKING]:
            return int(total)
        if missing == 0:
            count = _take(strips, taken, count, runs, strip, twin)
    return int(total)


@compiled
def _find_holes(
    strips: Ints, taken: Ints, holes: Ints, count: int, strip: int, twin: int, capacity: int
) -> int:
    """Note the holes that are free while a strip, and its twin, are there; their number."""
    start, end = strips[START, strip], strips[END, strip]
    again, last = strips[START, twin], strips[END, twin]
    found, top = 0, 0
    for run in range(count):
        since, to = taken[SINCE, run], taken[TO, run]
        if (since < end and to > start) or (twin >= 0 and since < last and to > again):
            if taken[ADDRESS, run] > top:
                holes[HOLE, found], holes[HOLE_END, found] = top, taken[ADDRESS, run]
                found += 1
            top = max(top, taken[UNTIL, run])
    if capacity > top:
        holes[HOLE, found], holes[HOLE_END, found] = top, capacity
        found += 1
    return found


@compiled
def _take(strips: Ints, taken: Ints, count: int, runs: int, strip: int, twin: int) -> int:
    """Put the last runs among those before, by address; the number of runs then."""
    size = count + runs
    copies = 2 if twin >= 0 else 1
    for run in range(count, count + runs):  # a twin's are noted behind those of the strip
        if twin >= 0:
            taken[ADDRESS, run + runs] = taken[ADDRESS, run]
            taken[UNTIL, run + runs] = taken[UNTIL, run]
            taken[SINCE, run + runs], taken[TO, run + runs] = strips[START, twin], strips[END, twin]
        taken[SINCE, run], taken[TO, run] = strips[START, strip], strips[END, strip]
    size = count + copies * runs
    for run in range(count, size):
        address, until = taken[ADDRESS, run], taken[UNTIL, run]
        since, to = taken[SINCE, run], taken[TO, run]
        at = run
        while at > 0 and taken[ADDRESS, at - 1] > address:
            for row in range(4):
                taken[row, at] = taken[row, at - 1]
            at -= 1
        taken[ADDRESS, at], taken[UNTIL, at] = address, until
        taken[SINCE, at], taken[TO, at] = since, to
    return size
