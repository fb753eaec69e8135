"""`evolution`: evolution strategies on the heuristic's order, the best plan is kept.

What `rl` does without a network: the second baseline that an agent must beat, at equal numbers of
simulator calls (`simulations`).
"""

from ullage.compiler.ir.problem import Problem
from ullage.rl_agent.solver import OBJECTIVES, PlainOptions, solve_plain
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution, Solver


def solve(problem: Problem, options: PlainOptions, budget: Budget) -> Solution:
    """The best plan of all tries.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        TimeLimitError: less time than compiling the kernels may take.
    """
    return solve_plain(problem, options, budget, "evolution", "evolution")


SOLVER = Solver(
    "evolution",
    "evolution strategies on greedy's order, without a network: a baseline for rl",
    solve,
    PlainOptions,
    OBJECTIVES,
)
