"""`all-slow`: everything in its home tier, the worst legal plan and the reference for speed-ups."""

from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.parameters import NoOptions
from ullage.solvers.paths.network import needs_detour
from ullage.solvers.paths.streaming import home_assignment, streaming_assignment


def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
    """The plan that keeps nothing in the fastest tier.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    if needs_detour(problem.target):
        return Solution(streaming_assignment(problem, budget))
    return Solution(home_assignment(problem))


SOLVER = Solver(
    "all-slow",
    "everything in its home tier; only what operators cannot do without is fetched",
    solve,
    keeps_nothing=True,
)
