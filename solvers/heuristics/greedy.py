"""`greedy`: Belady's idea for a program known in advance.

Between two uses of a tensor there is a gap. Gaps are closed (the tensor stays in fast memory) in
the order of their length, so that what is used soonest is kept, as long as space lasts and the
latency does not grow. Then single uses that hold a step back are fetched ahead into idle time of
the link, and results that hold a step back are written behind it. One pass, no search.
"""

from dataclasses import dataclass

from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.parameters import parameter
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.greedy_moves import close_gaps, hide_single_uses
from ullage.solvers.state.place import drop_what_no_longer_pays, notes_on_size, place_stays
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import atoms_of


@dataclass(frozen=True)
class GreedyOptions:
    """Parameters of `greedy`."""

    prefetch_window_steps: int = parameter(
        64,
        "how many steps before a use its fetch may begin, and after it its write-back end",
        least=1,
    )


def solve(problem: Problem, options: GreedyOptions, budget: Budget) -> Solution:
    """The greedy plan.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    window = options.prefetch_window_steps
    atoms = atoms_of(problem)
    occupancy = Occupancy(problem, atoms)
    nothing_kept = occupancy.mark()
    close_gaps(occupancy, window, budget)
    if problem.objective == "latency":
        hide_single_uses(occupancy, window, budget)
    notes = notes_on_size(occupancy, "greedy")
    if place_stays(occupancy, budget.is_over):
        # Each stay paid beside the others; without those that found no hole it may not.
        while not budget.is_over() and drop_what_no_longer_pays(occupancy):
            pass
        if occupancy.worse_than(nothing_kept):
            occupancy = Occupancy(problem, atoms)
            place_stays(occupancy)
    cut_short = budget.is_over()
    if cut_short:
        notes += ("greedy: the time limit ended the pass over gaps and uses early",)
    return Solution(
        assemble(problem, atoms, [stay for _, _, stay in occupancy.all_stays()]),
        stop_reason="time limit" if cut_short else "finished",
        notes=notes,
    )


SOLVER = Solver(
    "greedy",
    "Belady-like: keep what is used soonest, then prefetch and write behind",
    solve,
    GreedyOptions,
)
