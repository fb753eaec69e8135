"""Compiled: simulated annealing over residencies of whole tensors, with ejection.

A move changes the residencies of one tensor around one access: it enters the fastest tier, leaves
it, or a residency is cut, extended or timed anew. Residencies in its way are ejected and come back
in parts where they still fit; room that remains is offered to other tensors nearby:

    there is room for one tensor     b  ################
    `a` enters and ejects `b`        a       *****
    `b` comes back in two parts      b  #####     ######

The whole counts as one move: accepted by its cost (Kirkpatrick, Gelatt and Vecchi, "Optimization by
simulated annealing", Science 220, 1983), and only when all of it gets addresses.
"""

import math

from ullage.solvers.annealing.address import place_new
from ullage.solvers.annealing.moves import (
    back_to_best,
    cost_of,
    count_all,
    keep_best,
    log_is_full,
    remove_residency,
    undo_to,
)
from ullage.solvers.annealing.residencies import insert_residency
from ullage.solvers.annealing.tables import (
    BEST,
    EJECTED,
    EJECTED_LAST,
    LOGGED,
    MAX_LOG,
    MOVES_TAKEN,
    MOVES_TRIED,
    RANDOM,
)
from ullage.solvers.engine.jit import compiled, entry, inlined
from ullage.solvers.engine.tables import (
    ACCESS_LAST_WRITE,
    ACCESS_RANK,
    ACCESS_READS,
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESS_STEP,
    ACCESS_WANTED,
    ACCESSES,
    CAPACITY,
    COUNTS,
    IN_ORDER,
    LISTED,
    LIVE,
    SEGMENT_ALIGNED,
    SEGMENT_FIRST,
    SEGMENT_LAST,
    SEGMENT_LASTING,
    SEGMENT_MUST,
    SIZES,
    SLOT_END,
    SLOT_LAST,
    SLOT_SEGMENT,
    SLOT_START,
    STEP_LOAD,
    STEPS,
    TOTALS,
    WORK,
    Tables,
)

# Most residencies that one move may eject; a move that needs more is illegal.
MAX_EJECTED = 12
# Most tensors that are offered the room that remains after a move.
FILLERS = 4
# Accesses in program order: how far from the moved access the offers are drawn.
NEAR = 24
# Steps before its first access from which a residency ejects others, so that its fill has room.
BACK_STEPS = 8
# The same, more rarely, for fills that take as long as several operators compute.
FAR_BACK_STEPS = 64
# Tasks of `work_on`.
BEGIN, RESTART, MOVE = range(3)
# Share of the cost by which it must fall to count as better: rounding of running sums stays below.
LEAST_GAIN = 1e-9


@compiled
def _random(t: Tables, count: int) -> int:
    """A number from 0 to count - 1 (Park and Miller's generator)."""
    t.state[COUNTS, RANDOM] = t.state[COUNTS, RANDOM] * 48271 % 2147483647
    return int(t.state[COUNTS, RANDOM] * count // 2147483647)


@compiled
def _share(t: Tables) -> float:
    """A number in (0, 1)."""
    t.state[COUNTS, RANDOM] = t.state[COUNTS, RANDOM] * 48271 % 2147483647
    return float(t.state[COUNTS, RANDOM] / 2147483647.0)


@compiled
def _insert_must(t: Tables, first: int, last: int) -> bool:
    """Residencies of one access each where operators reach the tensor in the fastest tier only.

    Returns:
        False where one does not fit; True for tensors that operators reach at home, too.
    """
    if not t.ints[SEGMENT_MUST, t.ints[ACCESS_SEGMENT, first]]:
        return True
    for access in range(first, last + 1):
        if t.state[ACCESS_SLOT, access] < 0 and (
            log_is_full(t) or not insert_residency(t, access, access)
        ):
            return False
    return True


@inlined
def _clear(t: Tables, first: int, last: int, back: int, ejected: int) -> int:
    """Eject residencies, drawn at random, until one over accesses first..last fits.

    Returns:
        How many are ejected in all, into rows EJECTED and EJECTED_LAST; -1 where it cannot fit.
    """
    segment = t.ints[ACCESS_SEGMENT, first]
    size = t.ints[SEGMENT_ALIGNED, segment]
    low, high = t.ints[ACCESS_STEP, first], t.ints[ACCESS_STEP, last] + 1
    if t.ints[ACCESS_READS, first]:
        low = max(0, low - back)
    whole = first == t.ints[SEGMENT_FIRST, segment] and last == t.ints[SEGMENT_LAST, segment]
    if t.ints[SEGMENT_LASTING, segment] and whole and _random(t, 2) == 0:
        low, high = 0, t.ints[SIZES, STEPS]
    write = t.ints[ACCESS_LAST_WRITE, last]
    if t.ints[ACCESS_WANTED, last] and write >= first and t.ints[ACCESS_STEP, write] + 1 == high:
        high = min(high + 1, t.ints[SIZES, STEPS])
    for step in range(low, high):
        while t.state[STEP_LOAD, step] + size > t.ints[SIZES, CAPACITY]:
            ejectable = -1
            candidates = 0
            for position in range(t.state[COUNTS, LIVE]):
                slot = t.state[LISTED, position]
                covers = t.state[SLOT_START, slot] <= step < t.state[SLOT_END, slot]
                last_of = t.state[SLOT_LAST, slot]
                if covers and last_of >= 0 and t.ints[SLOT_SEGMENT, slot] != segment:
                    if t.ints[SEGMENT_MUST, t.ints[SLOT_SEGMENT, slot]] and last_of == slot:
                        use = t.ints[ACCESS_STEP, slot]
                        if use - 1 <= step <= use + 1:
                            continue  # the shortest residency that it can have
                    candidates += 1
                    if _random(t, candidates) == 0:
                        ejectable = slot
            t.state[COUNTS, WORK] += t.state[COUNTS, LIVE] // 8
            if ejectable < 0 or ejected >= MAX_EJECTED or log_is_full(t):
                return -1
            t.state[EJECTED, ejected] = ejectable
            t.state[EJECTED_LAST, ejected] = t.state[SLOT_LAST, ejectable]
            ejected += 1
            remove_residency(t, ejectable)
    return ejected


@inlined
def _regrow(t: Tables, first: int, last: int) -> None:
    """Bring an ejected residency back: whole where it fits, else in the largest parts that pay."""
    access = first
    while access <= last:
        if t.state[ACCESS_SLOT, access] >= 0:
            access += 1
            continue
        reach = access
        while reach < last and t.state[ACCESS_SLOT, reach + 1] < 0:
            reach += 1
        placed = False
        while reach >= access and not log_is_full(t):
            mark, before = t.state[COUNTS, LOGGED], cost_of(t)
            if insert_residency(t, access, reach):
                if cost_of(t) <= before:
                    placed = True
                    break
                undo_to(t, mark)
            reach -= 1
        access = reach + 1 if placed else access + 1


@inlined
def _offer(t: Tables, access: int) -> None:
    """Insert a residency at an access, joined with its neighbours, where the cost falls."""
    segment = t.ints[ACCESS_SEGMENT, access]
    if t.state[ACCESS_SLOT, access] >= 0 or t.state[COUNTS, LOGGED] > MAX_LOG // 2:
        return
    before, mark = cost_of(t), t.state[COUNTS, LOGGED]
    first, last = access, access
    if access > t.ints[SEGMENT_FIRST, segment] and _random(t, 4) > 0:
        left = t.state[ACCESS_SLOT, access - 1]
        first = left if left >= 0 else access - (_random(t, 2))
    if access < t.ints[SEGMENT_LAST, segment] and _random(t, 4) > 0:
        right = t.state[ACCESS_SLOT, access + 1]
        last = t.state[SLOT_LAST, right] if right >= 0 else access + (_random(t, 2))
    _take_away(t, first, last)
    if not insert_residency(t, first, last) or cost_of(t) >= before:
        undo_to(t, mark)


@compiled
def _take_away(t: Tables, first: int, last: int) -> None:
    """Remove the residencies that cover any of the accesses first..last of one tensor."""
    access = first
    while access <= last:
        slot = t.state[ACCESS_SLOT, access]
        if slot >= 0:
            access = t.state[SLOT_LAST, slot]
            remove_residency(t, slot)
        access += 1


@inlined
def _force(t: Tables, first: int, last: int) -> bool:
    """Insert a residency over accesses first..last and eject what is in its way.

    Returns:
        False, with the changes in the log, where it cannot be inserted.
    """
    _take_away(t, first, last)
    back = 1
    draw = _random(t, 6)
    if draw < 2:
        back += _random(t, BACK_STEPS if draw == 0 else FAR_BACK_STEPS)
    ejected = _clear(t, first, last, back, 0)
    if ejected < 0 or log_is_full(t) or not insert_residency(t, first, last):
        return False
    for k in range(ejected):
        slot, end = t.state[EJECTED, k], t.state[EJECTED_LAST, k]
        _regrow(t, slot, end)
        if not _insert_must(t, slot, end):
            return False
    return True


@inlined
def _cut(t: Tables, access: int, first: int, last: int, kind: int) -> bool:
    """Change the residency of accesses first..last at one access.

        kind 0-2  removed            ........
        kind 3    ends before        ####....     `access` is the fifth of eight
        kind 4    begins behind      .....###
        kind 5    split in two       ####|####
        kind 9    its transfers placed anew

    Kinds 3 and 5 at its first access remove it; kind 4 at its last one splits it.

    Returns:
        False, with the changes in the log, where a part does not fit any more.
    """
    remove_residency(t, first)
    for part in range(2):
        low, high = first, last
        if kind < 3:
            break
        if kind > 5 or (kind == 3 and access > first) or (kind == 4 and access < last):
            if part == 1:
                break
            if kind == 3:
                high = access - 1
            elif kind == 4:
                low = access + 1
        elif access > first:
            low, high = (first, access - 1) if part == 0 else (access, last)
        else:
            break
        if not insert_residency(t, low, high):
            return False
    return _insert_must(t, first, max(last, first))


@inlined
def _one_move(t: Tables) -> bool:
    """Change the decisions around an access drawn at random; False when that turned out illegal.

    A tensor that an operator reaches at home gets a residency, and what is in its way is ejected;
    or a residency is cut, extended or timed anew.
    """
    number = t.ints[SIZES, ACCESSES]
    access = t.ints[IN_ORDER, _random(t, number)]
    segment = t.ints[ACCESS_SEGMENT, access]
    begin, end = t.ints[SEGMENT_FIRST, segment], t.ints[SEGMENT_LAST, segment]
    slot = t.state[ACCESS_SLOT, access]
    kind = _random(t, 10)
    left = right = False  # extended on which side
    if slot < 0:
        first, last = access, access
        if kind == 0:
            first, last = begin, end
        else:
            left, right = kind % 2 == 0, kind % 3 == 0
    else:
        first, last = slot, t.state[SLOT_LAST, slot]
        if kind in (6, 7):
            left = first > begin and (kind == 6 or last == end)
            right = not left
    if slot >= 0 and (kind < 6 or kind == 9):
        if not _cut(t, access, first, last, kind):
            return False
    else:
        if left and first > begin:
            neighbour = t.state[ACCESS_SLOT, first - 1]
            first = neighbour if neighbour >= 0 else first - 1
        if right and last < end:
            neighbour = t.state[ACCESS_SLOT, last + 1]
            last = t.state[SLOT_LAST, neighbour] if neighbour >= 0 else last + 1
        if not _force(t, first, last):
            return False
    for _ in range(_random(t, FILLERS + 1)):
        at = t.ints[ACCESS_RANK, access] + _random(t, 2 * NEAR + 1) - NEAR
        if 0 <= at < number and not log_is_full(t):
            _offer(t, t.ints[IN_ORDER, at])
    return True


@entry
def work_on(t: Tables, task: int, until: int, hot: float, cool: float) -> None:
    """Begin, go on from the best decisions, or `anneal`: one entry, so that all compiles once.

    Args:
        t: the tables.
        task: BEGIN, RESTART or MOVE; the other arguments are of MOVE alone.
        until: units of work at which it stops.
        hot: temperature at the beginning, in units of the objective.
        cool: temperature at the end.
    """
    if task == RESTART:
        back_to_best(t)
    if task != MOVE:
        count_all(t)
    if task == BEGIN:
        t.seconds[TOTALS, BEST] = cost_of(t)
        keep_best(t)
    if task != MOVE or t.ints[SIZES, ACCESSES] == 0:
        return
    since = t.state[COUNTS, WORK]
    temperature = hot
    while t.state[COUNTS, WORK] < until:
        if t.state[COUNTS, MOVES_TRIED] % 32 == 0:
            temperature = hot * (cool / hot) ** ((t.state[COUNTS, WORK] - since) / (until - since))
        t.state[COUNTS, MOVES_TRIED] += 1
        t.state[COUNTS, WORK] += 8
        t.state[COUNTS, LOGGED] = 0
        before = cost_of(t)
        accepted = False
        if _one_move(t):
            change = cost_of(t) - before
            bar = -temperature * math.log(_share(t))
            accepted = change <= bar and place_new(t)
        if not accepted:
            undo_to(t, 0)
            continue
        t.state[COUNTS, MOVES_TAKEN] += 1
        if cost_of(t) < t.seconds[TOTALS, BEST] * (1.0 - LEAST_GAIN):
            t.seconds[TOTALS, BEST] = cost_of(t)
            keep_best(t)


def begin(t: Tables) -> None:
    """Charge what the residencies of new tables cost, and keep them as the best so far."""
    work_on(t, BEGIN, 0, 0.0, 0.0)


def restart(t: Tables) -> None:
    """Go on from the best decisions."""
    work_on(t, RESTART, 0, 0.0, 0.0)


def anneal(t: Tables, until: int, hot: float, cool: float) -> None:
    """Move until `until` units of work are done in all.

    Args:
        t: the tables.
        until: where to stop; a unit is about one step of a program that a kernel reads.
        hot: temperature at the beginning, in units of the objective.
        cool: temperature at the end; geometric in between.
    """
    work_on(t, MOVE, until, hot, cool)
