"""What a fluid LP says of an order or a schedule: its optimum, and what each step loses."""

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.solvers.fluid.two_tier.relaxation import Relaxation


def optimum(problem: Problem, relaxation: Relaxation) -> float:
    """Optimum of the LP in the objective's unit, a small price on slow traffic included.

    Args:
        problem: the problem that was relaxed.
        relaxation: its LP, solved.
    """
    builder = relaxation.fluid.builder
    value = relaxation.solution.objective + builder.constant + builder.tie_constant
    value *= builder.unit
    if builder.is_timed:
        value += float(overhead_seconds(problem).sum())
    return float(value)


def lost_by_step(relaxation: Relaxation) -> Floats:
    """(T,) what each step of the LP's time axis loses.

    Latency: the seconds that it takes beyond computing. Else the price of space in it.
    """
    builder, solution = relaxation.fluid.builder, relaxation.solution
    if builder.is_timed:
        elapsed = solution.values[builder.elapsed] * builder.unit
        lost: Floats = np.maximum(0.0, elapsed - compute_seconds(relaxation.axis.problem)[0])
        return lost
    return builder.space_prices(solution.duals)
