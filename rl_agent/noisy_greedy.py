"""`noisy-greedy`: the heuristic's order with fresh noise at every try, the best plan is kept.

What `rl` does without a network and without learning from its tries: the first baseline that an
agent must beat, at equal numbers of simulator calls (`simulations`).
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
    return solve_plain(problem, options, budget, "noisy-greedy", "noise")


SOLVER = Solver(
    "noisy-greedy",
    "greedy's order with noise, decoded again and again: a baseline for rl",
    solve,
    PlainOptions,
    OBJECTIVES,
)
