"""`all-slow`: everything in its home tier, the worst legal plan and the reference for speed-ups."""

from collections.abc import Mapping
from typing import Any

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.solvers.fluid.multi_tier.network import needs_detour
from ullage.solvers.fluid.multi_tier.solver import frugal_plan
from ullage.solvers.registry import SolverOptions, parameters_of
from ullage.solvers.state.home_plan import home_plan

SUMMARY = "everything in its home tier; only what operators cannot do without is fetched"
DEFAULTS: Mapping[str, Any] = {}


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The plan in which nothing is kept.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    parameters_of(options, DEFAULTS)
    if needs_detour(target):
        return frugal_plan(problem, target, options, "all-slow")
    return home_plan(problem, target, options, "all-slow")
