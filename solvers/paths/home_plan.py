"""The plan that keeps nothing: everything is at home, and only mandatory operands are fetched.

Solvers compare with it, and fall back on it.
"""

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


def home_assignment(problem: Problem) -> Assignment:
    """The assignment that keeps nothing; data moves between home and the fastest tier only.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    state = ResidencyState(problem, segments_of(problem))
    place_residencies(state)
    return assemble(
        problem, state.segments, [residency for _, _, residency in state.all_residencies()]
    )
