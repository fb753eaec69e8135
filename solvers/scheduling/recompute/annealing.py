"""Compiled: simulated annealing over orders and dropped gaps together.

A move changes what is done with a result behind one access, or the order inside a window:

    window      a  b  c  d  e           d reads b
    up          b  d  a  c  e           one operator with all that it needs comes first
    down        a  c  e  b  d           one operator with all that needs it comes last
    later       b  a  c ...             one operator moves as far as its readers let it
    earlier     ... d  c                one operator moves as far as its operands let it

What is worse is taken with a chance that falls with the temperature (Kirkpatrick, Gelatt and
Vecchi, Optimization by Simulated Annealing, 1983). Random numbers come from outside.
"""

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.common.kernel_cache import kernel
from ullage.solvers.scheduling.recompute.kernels import (
    Figures,
    Flags,
    Given,
    Listed,
    Rates,
    seconds,
)

# (order, gone, best_order, best_gone, values): operators as they run once, and what is done behind
# each access; the same of the best so far; seconds of both.
State = tuple[Ints, Flags, Ints, Flags, Floats]
# The arguments of `seconds` between order and flags.
Arguments = tuple[Listed, Given, Figures, Rates]
# Random numbers of a move.
DRAWS = 5
# Share of the moves that change the order.
ORDER_SHARE = 0.5
# Doublings of the longest window: up to 64 operators.
WINDOWS = 6
# States of a gap.
STATES = 3
# Ways in which the order is changed.
UP, DOWN, LATER, EARLIER = 0, 1, 2, 3
KINDS = 4


def _moved_block_of(
    order: Ints, moved: Ints, low: int, high: int, listed: Listed, marked: Flags, kind: int
) -> None:
    """Write a window into `moved` with one operator and its ancestors first, or descendants last.

    Args:
        order: operators as they run once.
        moved: the same where the window does not reach.
        low: first place of the window.
        high: its last place.
        listed: the graph.
        marked: (R,) zeros; they are zeros again in the end.
        kind: UP: the last operator and its ancestors come first; else the first one and its
            descendants last.
    """
    up = kind == UP
    read_first, read_of, write_first, write_of, _, _, _, _, _ = listed
    first = np.zeros(high - low + 1, dtype=np.uint8)
    for number in range(high - low + 1):
        at = high - low - number if up else number
        operator = order[low + at]
        follows = number == 0
        if up:
            for result in write_of[write_first[operator] : write_first[operator + 1]]:
                follows = follows or marked[result] == 1
        else:
            for result in read_of[read_first[operator] : read_first[operator + 1]]:
                follows = follows or marked[result] == 1
        first[at] = follows == up
        if follows and up:
            for result in read_of[read_first[operator] : read_first[operator + 1]]:
                marked[result] = 1
        elif follows:
            for result in write_of[write_first[operator] : write_first[operator + 1]]:
                marked[result] = 1
    place = low
    for wanted in (1, 0):
        for at in range(high - low + 1):
            if first[at] == wanted:
                moved[place] = order[low + at]
                place += 1
    marked[:] = 0


def _moved_one_of(order: Ints, moved: Ints, low: int, high: int, listed: Listed, kind: int) -> None:
    """Write a window into `moved` with its first operator later, or its last one earlier.

    It moves to the other end, or as far as its readers or operands let it.
    """
    later = kind == LATER
    read_first, read_of, write_first, write_of, _, _, _, _, _ = listed
    place, end, step = (low, high, 1) if later else (high, low, -1)
    operator = order[place]
    while place != end:
        other = order[place + step]
        writer, reader = (operator, other) if later else (other, operator)
        for result in read_of[read_first[reader] : read_first[reader + 1]]:
            for written in write_of[write_first[writer] : write_first[writer + 1]]:
                if result == written:
                    end = place
        if place != end:
            moved[place] = other
            place += step
    moved[place] = operator


_moved_block, _moved_one = kernel()(_moved_block_of), kernel()(_moved_one_of)


def _anneal(
    state: State,
    flags: Ints,
    arguments: Arguments,
    most_times: int,
    draws: Floats,
    temperatures: Floats,
) -> None:
    """Some moves.

    Args:
        state: what is now, and the best so far; changed.
        flags: accesses behind which something may be changed.
        arguments: the graph, what is read and never written, sizes and times, and rates.
        most_times: executions at most, in multiples of those of a schedule without repetitions.
        draws: (moves, DRAWS) random numbers from 0 to 1.
        temperatures: (moves,) as shares of what is now.
    """
    order, gone, best_order, best_gone, values = state
    listed, given_data, figures, rates = arguments
    moved = order.copy()
    marked = np.zeros(len(listed[4]), dtype=np.uint8)
    operators = len(order)
    for number in range(len(temperatures)):
        draw = draws[number]
        flag, before = -1, 0
        if len(flags) == 0 or draw[0] < ORDER_SHARE:
            if operators == 1:
                continue
            low = int(draw[1] * (operators - 1))
            width = 1 + int(draw[2] * 2 ** (1 + int(draw[3] * WINDOWS)))
            high = min(operators - 1, low + width)
            kind = int(draw[4] * KINDS)
            moved[:] = order
            if kind in (UP, DOWN):
                _moved_block(order, moved, low, high, listed, marked, kind)
            else:
                _moved_one(order, moved, low, high, listed, kind)
            if np.array_equal(moved[low : high + 1], order[low : high + 1]):
                continue
        else:
            flag = flags[int(draw[1] * len(flags))]
            before = gone[flag]
            gone[flag] = (before + 1 + int(draw[2] * (STATES - 1))) % STATES
        value = seconds(
            order if flag >= 0 else moved, listed, given_data, figures, rates, gone, most_times
        )
        # The draw is beyond the one that chose the kind of move.
        chance = draw[0] / ORDER_SHARE if flag < 0 else (draw[0] - ORDER_SHARE) / (1 - ORDER_SHARE)
        worse = value - values[0]
        if worse <= 0.0 or chance < np.exp(-worse / (temperatures[number] * values[0])):
            values[0] = value
            if flag < 0:
                order[:] = moved
        elif flag >= 0:
            gone[flag] = before
        if values[0] < values[1] * (1 - 1e-9):
            values[1] = values[0]
            best_order[:], best_gone[:] = order, gone


anneal = kernel()(_anneal)
