"""Anytime traces: how good a solver's best plan was after how many seconds."""

import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)

Improvement = tuple[float, float]  # seconds since solving began, value of the best plan so far

SAME = 1e-9  # relative: sums in another order differ by less
TRUSTED = 1e-5  # relative: a claim may be so much below the cost model's figure


def trace_of(
    improvements: Sequence[Improvement], begun: float, solve_s: float, value: float
) -> tuple[Improvement, ...]:
    """The trace of a solver that has ended, from what it told on the way.

    Args:
        improvements: (`time.monotonic()` value, value of the objective) pairs, ascending in time.
        begun: `time.monotonic()` value when solving began.
        solve_s: seconds of solving; when the plan was there that was not told of.
        value: of the plan that was returned, by the cost model.

    Returns:
        Improvements only, the last with exactly `value`. What a solver tells is its own claim: one
        below `value` counts as `value`, as no better plan came of it, and is logged where it is
        no rounding.
    """
    trace: list[Improvement] = []
    for at, claimed in improvements:
        if claimed < value * (1 - TRUSTED):
            logger.warning("a solver claimed %.9g on the way to a plan of %.9g", claimed, value)
        exact = value if claimed <= value * (1 + SAME) else claimed
        if not trace or exact < trace[-1][1] * (1 - SAME):
            trace.append((at - begun, exact))
    if not trace or trace[-1][1] > value:
        trace.append((solve_s, value))
    return tuple(trace)


def joined(
    first: Sequence[Improvement], second: Sequence[Improvement], later_s: float
) -> tuple[Improvement, ...]:
    """The trace of two runs one after the other; the second began `later_s` after the first."""
    trace = list(first)
    for at, value in second:
        if not trace or value < trace[-1][1]:
            trace.append((at + later_s, value))
    return tuple(trace)
