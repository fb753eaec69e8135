"""Anytime traces: the value of a solver's best plan over the time it has been solving.

value   |--+
        |  +-----+            each step down is an improvement (seconds, value)
        |        +--------
        +------------------- seconds since solving began
"""

import logging
from collections.abc import Sequence

logger = logging.getLogger(__name__)

# (seconds since solving began, value of the best plan so far)
Improvement = tuple[float, float]

# Relative difference below which two values are the same: sums in another order differ by less.
SAME = 1e-9
# Relative difference by which a solver's claim may be below the cost model's value unlogged.
TRUSTED = 1e-5


def trace_of(
    improvements: Sequence[Improvement], begun: float, solve_s: float, value: float
) -> tuple[Improvement, ...]:
    """The trace of a solver that has ended, from the improvements that it reported.

    Args:
        improvements: (`time.monotonic()` value, value of the objective) pairs, ascending in time.
        begun: `time.monotonic()` value when solving began.
        solve_s: seconds of solving, the time of a final plan that the solver did not report.
        value: value of the plan that was returned, by the cost model.

    Returns:
        Improvements only, the last with exactly `value`. What a solver reports is its own claim: a
        report below `value` counts as `value`, since no better plan was returned, and is logged
        unless the difference is rounding.
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
    """The trace of two runs, the second of which began `later_s` seconds after the first."""
    trace = list(first)
    for at, value in second:
        if not trace or value < trace[-1][1]:
            trace.append((at + later_s, value))
    return tuple(trace)
