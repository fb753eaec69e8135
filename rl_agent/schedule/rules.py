"""The rules of the schedule game, and the dynamic program over all games: compiled.

A group [first, last) is closed behind a group that ends at `first`. What both pay is what
`Chain.between` says, here for one pair; `tests/support/schedule_twin.py` plays the same game with
the tables of the dynamic program itself.
"""

from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.rl_agent.schedule.tables import ACTIONS, EXTEND, GroupArrays
from ullage.solvers.engine.jit import compiled, entry
from ullage.solvers.scheduling.cascade.estimate import LONGEST

# Rows of `GroupArrays.rules`.
CAPACITY, RATE, TRANSFER_WEIGHT, GRAIN = range(4)
# Rows of `GameState.counts`: one past the last operator of the running group, its first operator,
# groups that are closed, 1 where the game is over.
CURSOR, FIRST, CLOSED, OVER = range(4)
COUNTS = 4
# No group.
NONE = -1


class GameState(NamedTuple):
    """A game in progress, N operators.

    Attributes:
        counts: (COUNTS,) see `CURSOR`.
        rows: (N,) rows of the groups that are closed.
        seconds: (1,) what they pay.
        allowed: (G,) whether a group may be chosen; the game learns of groups that cannot be cut.
        furthest: (N + 1,) by first operator: the last position at which a group may be closed.
        mask: (ACTIONS,) legal actions.
    """

    counts: Ints
    rows: Ints
    seconds: Floats
    allowed: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    furthest: Ints
    mask: "np.ndarray[tuple[int], np.dtype[np.bool_]]"


def state_of(arrays: GroupArrays) -> GameState:
    """A state to play in; `begin_game` sets it up."""
    operators = len(arrays.begin) - 2
    return GameState(
        np.zeros(COUNTS, dtype=np.int64),
        np.zeros(operators, dtype=np.int64),
        np.zeros(1),
        np.ones(len(arrays.first), dtype=np.bool_),
        np.zeros(operators + 1, dtype=np.int64),
        np.zeros(ACTIONS, dtype=np.bool_),
    )


@compiled
def between_s(a: GroupArrays, one: int, other: int) -> float:
    """Seconds that a group pays together with the one in front of it."""
    capacity = a.rules[CAPACITY]
    used = max(a.back_bytes[one], a.front_bytes[other])
    live = a.crossing_bytes[a.first[other]]
    spilled = min(max(live - (capacity - used), 0.0), live) / max(1.0, live)
    moved = spilled * (a.produced_bytes[one] + a.consumed_bytes[other])
    if a.axes[one] != a.axes[other] and a.stripes[one] > 1 and a.stripes[other] > 1:
        moved += a.stripes[one] * a.stripes[other] * a.rules[GRAIN]
    seconds: float = a.rules[TRANSFER_WEIGHT] * moved / a.rules[RATE] * a.between_scale[other]
    return seconds


@compiled
def find_furthest(a: GroupArrays, s: GameState) -> None:
    """Where groups may be closed at most, by their first operator."""
    s.furthest[:] = 0
    for last in range(1, len(a.begin) - 1):
        for row in range(a.begin[last], a.begin[last + 1]):
            if s.allowed[row]:
                s.furthest[a.first[row]] = last


@compiled
def find_mask(a: GroupArrays, s: GameState) -> None:
    """The legal actions of the running group."""
    s.mask[:] = False
    if s.counts[OVER]:
        return
    cursor, first = s.counts[CURSOR], s.counts[FIRST]
    s.mask[EXTEND] = s.furthest[first] > cursor
    if cursor - first > LONGEST:
        return
    for action in range(EXTEND + 1, ACTIONS):
        row = a.row_of[cursor, cursor - first, action]
        s.mask[action] = row >= 0 and s.allowed[row]


@entry
def begin_game(a: GroupArrays, s: GameState) -> None:
    """Begin: the first operator is the running group. What cannot be cut is known from before."""
    s.counts[:] = 0
    s.counts[CURSOR] = 1
    s.seconds[0] = 0.0
    find_furthest(a, s)
    find_mask(a, s)


@entry
def play(a: GroupArrays, s: GameState, action: int) -> float:
    """Play a legal action.

    Returns:
        Seconds that a group which it closes pays, itself and together with the one in front.
    """
    paid = 0.0
    if action == EXTEND:
        s.counts[CURSOR] += 1
    else:
        cursor, first = s.counts[CURSOR], s.counts[FIRST]
        row = a.row_of[cursor, cursor - first, action]
        paid = a.own_s[row]
        if s.counts[CLOSED]:
            paid += between_s(a, s.rows[s.counts[CLOSED] - 1], row)
        s.rows[s.counts[CLOSED]] = row
        s.counts[CLOSED] += 1
        s.seconds[0] += paid
        s.counts[FIRST] = cursor
        if cursor == len(a.begin) - 2:
            s.counts[OVER] = 1
        else:
            s.counts[CURSOR] = cursor + 1
    find_mask(a, s)
    return paid


@entry
def forbid(a: GroupArrays, s: GameState, row: int) -> bool:
    """Strike a group out: its operators cannot be cut so.

    Returns:
        Whether the running group begins again with its first operator, since it could not be closed
        any more.
    """
    s.allowed[row] = False
    find_furthest(a, s)
    find_mask(a, s)
    if s.mask.any():
        return False
    s.counts[CURSOR] = s.counts[FIRST] + 1
    find_mask(a, s)
    return True


@entry
def decode(a: GroupArrays, best_s: Floats, before: Ints, rows: Ints) -> int:
    """The groups of the smallest sum: the dynamic program over all games.

    Args:
        a: the groups.
        best_s: (G,) scratch: the smallest sum of what ends with a group.
        before: (G,) scratch: the group in front of it.
        rows: (N,) where the rows of the groups go, the last one first.

    Returns:
        How many there are.
    """
    operators = len(a.begin) - 2
    for last in range(1, operators + 1):
        for row in range(a.begin[last], a.begin[last + 1]):
            first = a.first[row]
            least, previous = 0.0, NONE
            if first > 0:
                least = np.inf
                for one in range(a.begin[first], a.begin[first + 1]):
                    total = best_s[one]
                    if total < least:
                        total += between_s(a, one, row)
                        if total < least:
                            least, previous = total, one
            best_s[row], before[row] = least + a.own_s[row], previous
    row = a.begin[operators]
    for other in range(a.begin[operators], a.begin[operators + 1]):
        if best_s[other] < best_s[row]:
            row = other
    count = 0
    while row != NONE:
        rows[count] = row
        count += 1
        row = before[row]
    return count
