"""The reference: everything at home, and only what operators cannot do without is fetched."""

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.place import place_stays
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import atoms_of


def home_assignment(problem: Problem) -> Assignment:
    """Nothing is kept; data moves between home and the fastest tier only.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    occupancy = Occupancy(problem, atoms_of(problem))
    place_stays(occupancy)
    return assemble(problem, occupancy.atoms, [stay for _, _, stay in occupancy.all_stays()])
