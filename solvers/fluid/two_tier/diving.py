"""Weights kept for the next inference almost whole: kept whole, where the rest costs a set-up.

In steady state the LP keeps any fraction of a weight, and the rest of it costs the rest of a
set-up. In a plan the rest costs a whole set-up, however small it is. So the fractions nearest to 1
are fixed there, and the LP is solved again, in which the others make up for it:

    kept     A 0.96     B 0.55     C 0.40
             A 1        B 0.51     C 0.40       4 % of A would have cost as much as 45 % of B

This is the diving heuristic of mixed-integer programming (Berthold, Primal heuristics for mixed
integer programs, 2006). The bound is that of the LP in which nothing is fixed.
"""

import math
from dataclasses import replace

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import Relaxation
from ullage.solvers.lp.solve import solve_lp_in_turn

# How often the LP is solved again, and the share of the open fractions that is fixed each time.
ROUNDS, FIXED_SHARE = 6, 0.34
# Fractions that differ by less are equal.
SAME = 1e-6


def dive(relaxation: Relaxation, options: FluidOptions, budget: Budget) -> Relaxation | None:
    """The LP with fractions of weights fixed at 1 whose rests take less time than their set-ups.

    Args:
        relaxation: the LP, solved.
        options: parameters of `fluid`.
        budget: the time.

    Returns:
        The same program with another solution, and the bound that it had; None where there is
        nothing to fix, or no solution was found.
    """
    variables, setups = _kept_with_setups(relaxation)
    program, solution = relaxation.fluid.program, relaxation.solution
    for _ in range(ROUNDS):
        left_s = budget.remaining_s()
        missing = 1.0 - solution.values[variables]
        chosen = np.flatnonzero((missing > SAME) & (missing < setups))
        if not len(chosen) or left_s <= 0:
            break
        chosen = chosen[np.argsort(missing[chosen], kind="stable")]
        nearest = variables[chosen[: math.ceil(FIXED_SHARE * len(chosen))]]
        low = program.low.copy()
        low[nearest] = program.high[nearest]
        tried = replace(program, low=low)
        found = solve_lp_in_turn(
            tried,
            solver=options.lp_solver,
            time_limit_s=None if math.isinf(left_s) else left_s,
            may_be_infeasible=True,
        )
        if found is None:  # they do not fit together, or the time is over
            break
        program, solution = tried, found
    if program is relaxation.fluid.program:
        return None
    return replace(relaxation, solution=solution)


def _kept_with_setups(relaxation: Relaxation) -> tuple[Ints, Floats]:
    """Fractions kept for the next inference of what must be in the fastest tier.

    Returns:
        (K,) their variables; (K,) the part of each segment that moves in the time of a set-up.
    """
    problem, segments = relaxation.axis.problem, relaxation.axis.segments
    target = problem.target
    variables: list[int] = []
    setups: list[float] = []
    for gap in relaxation.fluid.gaps:
        segment = segments[gap.segment]
        link = target.link(segment.home, target.fastest.name)
        if not gap.wraps or gap.kept < 0 or link is None or not segment.must_be_fastest:
            continue
        home_rate = target.tier(segment.home).read_bytes_per_s
        rate = min(home_rate, link.bandwidth_bytes_per_s)
        variables.append(gap.kept)
        setups.append(link.setup_s * rate / segment.size_bytes)
    return np.array(variables, dtype=np.int64), np.array(setups)
