"""The reference plan: everything at home, and only what operators cannot do without is fetched."""

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.solvers.registry import SolverOptions
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.place import place_stays
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import atoms_of


def home_plan(problem: Problem, target: Target, options: SolverOptions, solver: str) -> Plan:
    """The plan in which nothing is kept, where data moves between home and the fastest tier only.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    occupancy = Occupancy(problem, target, atoms_of(problem, target))
    place_stays(occupancy)
    return assemble(
        problem,
        target,
        occupancy.atoms,
        [stay for _, _, stay in occupancy.all_stays()],
        solver=solver,
        objective=options.objective,
        seed=options.seed,
    )
