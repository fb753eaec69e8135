"""The bound of `fluid` alone, for plans of solvers that prove none: its relaxation, not rounded."""

from dataclasses import replace

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import value_of
from ullage.solvers import reductions
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.multi_tier.solver import bound_of_tiers
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import relax
from ullage.solvers.interface import SPILLING_OBJECTIVES
from ullage.solvers.paths.network import needs_detour
from ullage.solvers.paths.streaming import home_assignment
from ullage.solvers.state.segments import segments_of, uses_are_whole

# Share of the time for the program between home and the fastest tier, where there are more tiers.
DIRECT_SHARE = 0.3


def fluid_bound(problem: Problem, known: float, budget: Budget) -> Bound | None:
    """The lower bound that `fluid` proves for a problem; None where it knows none in time.

    Args:
        problem: the problem.
        known: the objective's value of a legal plan, in its unit.
        budget: the time; rounds of the relaxation that it does not allow are left out.
    """
    if problem.objective not in SPILLING_OBJECTIVES or budget.is_over():
        return None
    problem = reductions.reduce(problem)
    if not uses_are_whole(problem):  # what bounds plans that may split tensors bounds the others
        problem = replace(problem, target=replace(problem.target, split_operands=True))
    options = FluidOptions()
    if len(problem.target.tiers) == 2:
        relaxation = relax(problem, segments_of(problem), known, options, budget)
        if relaxation is None or relaxation.bound is None:
            return None
        return Bound(relaxation.bound, "fluid-lp")
    try:
        direct = None
        if not needs_detour(problem.target):  # its prices are good ones to begin with
            at_home = value_of(home_assignment(problem))
            shared = budget.share(DIRECT_SHARE)
            direct = relax(problem, segments_of(problem), at_home, options, shared)
        return bound_of_tiers(problem, options, budget, direct)
    except InfeasibleError:  # no streaming plan to begin with, where a solver found another
        return None
