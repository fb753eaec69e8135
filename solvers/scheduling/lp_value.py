"""What a fluid LP says of an order or a schedule: what each step loses."""

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.fluid.two_tier.relaxation import Relaxation


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
