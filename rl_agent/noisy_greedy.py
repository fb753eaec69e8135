"""`noisy-greedy`: the heuristic's order with fresh noise at every try, the best plan is kept.

What `rl` does without a network and without learning from its tries: the first baseline that an
agent must beat, at equal numbers of simulator calls (`simulations`).
"""

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.rl_agent.solver import OBJECTIVES, PLAIN_DEFAULTS, solve_plain
from ullage.solvers.registry import SolverOptions

__all__ = ["DEFAULTS", "OBJECTIVES", "SUMMARY", "solve"]

SUMMARY = "greedy's order with noise, decoded again and again: a baseline for rl"
DEFAULTS = PLAIN_DEFAULTS


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The best plan found.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        UsageError: a parameter is wrong.
        TimeLimitError: less time than compiling the kernels may take.
    """
    return solve_plain(problem, target, options, "noisy-greedy", "noise")
