"""`all-slow`: everything in its home tier, the worst legal plan and the reference for speed-ups."""

from collections.abc import Mapping
from typing import Any

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.solvers.fluid.multi_tier.network import needs_detour
from ullage.solvers.fluid.multi_tier.solver import frugal_plan
from ullage.solvers.registry import SolverOptions, parameters_of
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.place import place_stays
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import atoms_of

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
    occupancy = Occupancy(problem, target, atoms_of(problem, target))
    place_stays(occupancy)
    return assemble(
        problem,
        target,
        occupancy.atoms,
        [stay for _, _, stay in occupancy.all_stays()],
        solver="all-slow",
        objective=options.objective,
        seed=options.seed,
    )
