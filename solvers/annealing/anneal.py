"""Compiled: simulated annealing over runs of whole tensors, with ejection.

A move changes the runs of one tensor around one access: it enters, leaves, is cut, extended or
timed anew. What is in its way leaves (ejection) and comes back in pieces where it still fits; room
that is left is offered to other tensors nearby. The whole counts as one move: accepted by its cost
(Kirkpatrick, Gelatt and Vecchi, 1983), and only when all of it finds addresses.

This module imports numba; import it where it is needed.
"""

import math

from ullage.solvers.annealing.address import place_new
from ullage.solvers.annealing.moves import (
    compiled,
    copy_run,
    cost_of,
    count_all,
    log_is_full,
    remove_run,
    undo_to,
)
from ullage.solvers.annealing.runs import insert_run
from ullage.solvers.annealing.tables import (
    ALIVE,
    BEST,
    BEST_ALIVE,
    BEST_LIVE,
    BESTS,
    BY_STEP,
    CHOICES,
    COUNTS,
    END,
    FIRST,
    LAST,
    LAST_WRITE,
    LASTING,
    LIVE,
    LOAD,
    LOGGED,
    MAX_LOG,
    MOVES_TAKEN,
    MOVES_TRIED,
    MUST,
    NOW,
    OWNER,
    RANDOM,
    RANK,
    READS,
    ROOM,
    RUN_LAST,
    RUN_OF,
    SCRATCH,
    SEGMENT,
    START,
    STEP,
    STEPS,
    TAKEN,
    TOTALS,
    WANTED,
    WORK,
    Tables,
)

MAX_EJECTED = 12
FILLERS = 4  # tensors that are offered the room left by a move
NEAR = 24  # how far away in the list of accesses by step
BACK_STEPS = 8  # steps before the first access that a fill may clear for itself
LEAST_GAIN = 1e-9  # of the cost, to count as better: rounding of running sums stays below


@compiled
def _random(t: Tables, count: int) -> int:
    """A number from 0 to count - 1 (Park and Miller's generator)."""
    t.i[COUNTS, RANDOM] = t.i[COUNTS, RANDOM] * 48271 % 2147483647
    return int(t.i[COUNTS, RANDOM] * count // 2147483647)


@compiled
def _share(t: Tables) -> float:
    """A number in (0, 1)."""
    t.i[COUNTS, RANDOM] = t.i[COUNTS, RANDOM] * 48271 % 2147483647
    return float(t.i[COUNTS, RANDOM] / 2147483647.0)


@compiled
def _insert_must(t: Tables, first: int, last: int) -> bool:
    """Singles for accesses that operators cannot do without; True for other tensors."""
    if not t.i[MUST, t.i[SEGMENT, first]]:
        return True
    for access in range(first, last + 1):
        if t.i[RUN_OF, access] < 0 and (log_is_full(t) or not insert_run(t, access, access)):
            return False
    return True


@compiled
def _clear(t: Tables, first: int, last: int, back: int, ejected: int) -> int:
    """Eject runs until one over accesses fits; returns how many, -1 for failure."""
    segment = t.i[SEGMENT, first]
    size = t.i[TAKEN, segment]
    low, high = t.i[STEP, first], t.i[STEP, last] + 1
    if t.i[READS, first]:
        low = max(0, low - back)
    whole = first == t.i[FIRST, segment] and last == t.i[LAST, segment]
    if t.i[LASTING, segment] and whole and _random(t, 2) == 0:
        low, high = 0, t.i[COUNTS, STEPS]
    write = t.i[LAST_WRITE, last]
    if t.i[WANTED, last] and write >= first and t.i[STEP, write] + 1 == high:
        high = min(high + 1, t.i[COUNTS, STEPS])
    for step in range(low, high):
        while t.i[LOAD, step] + size > t.i[ROOM, step]:
            chosen = -1
            seen = 0
            for position in range(t.i[COUNTS, LIVE]):
                slot = t.i[ALIVE, position]
                covers = t.runs[NOW, START, slot] <= step < t.runs[NOW, END, slot]
                last_of = t.runs[NOW, RUN_LAST, slot]
                if covers and last_of >= 0 and t.i[OWNER, slot] != segment:
                    if t.i[MUST, t.i[OWNER, slot]] and last_of == slot:
                        continue
                    seen += 1
                    if _random(t, seen) == 0:
                        chosen = slot
            t.i[COUNTS, WORK] += t.i[COUNTS, LIVE] // 8
            if chosen < 0 or ejected >= MAX_EJECTED or log_is_full(t):
                return -1
            t.i[SCRATCH + 2, ejected] = chosen
            t.i[SCRATCH + 3, ejected] = t.runs[NOW, RUN_LAST, chosen]
            ejected += 1
            remove_run(t, chosen)
    return ejected


@compiled
def _regrow(t: Tables, first: int, last: int) -> None:
    """Bring an ejected run back: whole where it fits, else in the largest pieces that pay."""
    access = first
    while access <= last:
        if t.i[RUN_OF, access] >= 0:
            access += 1
            continue
        reach = access
        while reach < last and t.i[RUN_OF, reach + 1] < 0:
            reach += 1
        placed = False
        while reach >= access and not log_is_full(t):
            mark, before = t.i[COUNTS, LOGGED], cost_of(t)
            if insert_run(t, access, reach):
                if cost_of(t) <= before:
                    placed = True
                    break
                undo_to(t, mark)
            reach -= 1
        access = reach + 1 if placed else access + 1


@compiled
def _offer(t: Tables, access: int) -> None:
    """Let a tensor stay at an access, joined with its neighbours, where that just pays."""
    segment = t.i[SEGMENT, access]
    if t.i[RUN_OF, access] >= 0 or t.i[COUNTS, LOGGED] > MAX_LOG // 2:
        return
    before, mark = cost_of(t), t.i[COUNTS, LOGGED]
    first, last = access, access
    if access > t.i[FIRST, segment] and _random(t, 4) > 0:
        left = t.i[RUN_OF, access - 1]
        first = left if left >= 0 else access - (_random(t, 2))
    if access < t.i[LAST, segment] and _random(t, 4) > 0:
        right = t.i[RUN_OF, access + 1]
        last = t.runs[NOW, RUN_LAST, right] if right >= 0 else access + (_random(t, 2))
    _take_away(t, first, last)
    if not insert_run(t, first, last) or cost_of(t) >= before:
        undo_to(t, mark)


@compiled
def _take_away(t: Tables, first: int, last: int) -> None:
    """Remove the runs that lie inside a range of accesses of one tensor."""
    access = first
    while access <= last:
        slot = t.i[RUN_OF, access]
        if slot >= 0:
            access = t.runs[NOW, RUN_LAST, slot]
            remove_run(t, slot)
        access += 1


@compiled
def _enter(t: Tables, access: int) -> bool:
    """A tensor that an operator reaches at home comes in."""
    segment = t.i[SEGMENT, access]
    first, last = access, access
    kind = _random(t, 10)
    if kind == 0:
        first, last = t.i[FIRST, segment], t.i[LAST, segment]
    else:
        if access > t.i[FIRST, segment] and kind % 2 == 0:
            left = t.i[RUN_OF, access - 1]
            first = left if left >= 0 else access - 1
        if access < t.i[LAST, segment] and kind % 3 == 0:
            right = t.i[RUN_OF, access + 1]
            last = t.runs[NOW, RUN_LAST, right] if right >= 0 else access + 1
    return _force(t, first, last)


@compiled
def _force(t: Tables, first: int, last: int) -> bool:
    """A run over accesses, whatever is in its way."""
    _take_away(t, first, last)
    back = 1 + (_random(t, BACK_STEPS) if _random(t, 3) == 0 else 0)
    ejected = _clear(t, first, last, back, 0)
    if ejected < 0 or log_is_full(t) or not insert_run(t, first, last):
        return False
    for k in range(ejected):
        slot, end = t.i[SCRATCH + 2, k], t.i[SCRATCH + 3, k]
        _regrow(t, slot, end)
        if not _insert_must(t, slot, end):
            return False
    return True


@compiled
def _change(t: Tables, access: int, slot: int) -> bool:
    """A run leaves, is cut, is extended, or is timed anew."""
    segment = t.i[SEGMENT, access]
    first, last = slot, t.runs[NOW, RUN_LAST, slot]
    kind = _random(t, 10)
    if kind < 3:
        remove_run(t, slot)
    elif kind < 6:
        remove_run(t, slot)
        if kind == 3 and access > first:
            if not insert_run(t, first, access - 1):
                return False
        elif kind == 4 and access < last:
            if not insert_run(t, access + 1, last):
                return False
        elif access > first and not (
            insert_run(t, first, access - 1) and insert_run(t, access, last)
        ):
            return False
    elif kind < 8:
        if first > t.i[FIRST, segment] and (kind == 6 or last == t.i[LAST, segment]):
            left = t.i[RUN_OF, first - 1]
            first = left if left >= 0 else first - 1
        elif last < t.i[LAST, segment]:
            right = t.i[RUN_OF, last + 1]
            last = t.runs[NOW, RUN_LAST, right] if right >= 0 else last + 1
        return _force(t, first, last)
    elif kind == 8:
        return _force(t, first, last)
    else:
        remove_run(t, slot)
        if not insert_run(t, first, last):
            return False
    return _insert_must(t, slot, max(last, slot))


@compiled
def _one_move(t: Tables) -> bool:
    """Change the decisions; False when that turned out illegal."""
    number = t.i[COUNTS, CHOICES]
    access = t.i[BY_STEP, _random(t, number)]
    slot = t.i[RUN_OF, access]
    if not (_enter(t, access) if slot < 0 else _change(t, access, slot)):
        return False
    for _ in range(_random(t, FILLERS + 1)):
        at = t.i[RANK, access] + _random(t, 2 * NEAR + 1) - NEAR
        if 0 <= at < number and not log_is_full(t):
            _offer(t, t.i[BY_STEP, at])
    return True


@compiled
def _keep_best(t: Tables) -> None:
    """The decisions now are the best."""
    for position in range(t.i[COUNTS, LIVE]):
        slot = t.i[ALIVE, position]
        t.i[BEST_ALIVE, position] = slot
        copy_run(t, NOW, slot, BESTS, slot)
    t.i[COUNTS, BEST_LIVE] = t.i[COUNTS, LIVE]
    t.f[TOTALS, BEST] = cost_of(t)


@compiled
def restart(t: Tables) -> None:
    """Go on from the best decisions."""
    undo_to(t, 0)
    while t.i[COUNTS, LIVE] > 0:
        t.i[COUNTS, LOGGED] = 0
        remove_run(t, t.i[ALIVE, t.i[COUNTS, LIVE] - 1])
    for position in range(t.i[COUNTS, BEST_LIVE]):
        slot = t.i[BEST_ALIVE, position]
        copy_run(t, BESTS, slot, NOW, slot)
        t.i[ALIVE, position] = slot
    t.i[COUNTS, LIVE] = t.i[COUNTS, BEST_LIVE]
    count_all(t)


@compiled
def begin(t: Tables) -> None:
    """Account new tables; what they hold is the best so far."""
    count_all(t)
    _keep_best(t)


@compiled
def anneal(t: Tables, until: int, hot: float, cool: float) -> None:
    """Move until `until` units of work are done in all.

    Args:
        t: the tables.
        until: where to stop; work counts steps looked at.
        hot: temperature at the beginning, in units of the objective.
        cool: temperature at the end; geometric in between.
    """
    since = t.i[COUNTS, WORK]
    if t.i[COUNTS, CHOICES] == 0 or until <= since:
        return
    temperature = hot
    while t.i[COUNTS, WORK] < until:
        if t.i[COUNTS, MOVES_TRIED] % 32 == 0:
            temperature = hot * (cool / hot) ** ((t.i[COUNTS, WORK] - since) / (until - since))
        t.i[COUNTS, MOVES_TRIED] += 1
        t.i[COUNTS, WORK] += 8
        t.i[COUNTS, LOGGED] = 0
        before = cost_of(t)
        accepted = False
        if _one_move(t):
            change = cost_of(t) - before
            bar = -temperature * math.log(_share(t))
            accepted = change <= bar and place_new(t)
        if not accepted:
            undo_to(t, 0)
            continue
        t.i[COUNTS, MOVES_TAKEN] += 1
        if cost_of(t) < t.f[TOTALS, BEST] * (1.0 - LEAST_GAIN):
            _keep_best(t)
