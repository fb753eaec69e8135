"""`greedy`: Belady's idea for a program known in advance.

Between two uses of a tensor there is a gap. Gaps are closed (the tensor is kept in fast memory) in
the order of their length, so that what is used soonest is kept, as long as space lasts and the
latency does not grow. Gaps that do not pay alone are closed together with their neighbours where
that pays. Then operands that a step would wait for are fetched ahead, in idle time of
the link, and results that a step would wait for are stored later. One pass, no search.

Where operands must be brought to where operators reach them, and may come in pieces or cross
several links, the same ideas hold for each piece: those used first go first, each to the times and
tiers that cost least beside the others (`solvers.paths.greedy`).
"""

from dataclasses import dataclass

from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.parameters import parameter
from ullage.solvers.paths.greedy import by_first_use, solution_of_pieces
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.greedy_moves import keep_what_pays
from ullage.solvers.state.place import drop_what_no_longer_pays, notes_on_size, place_residencies
from ullage.solvers.state.prefetch import prefetched
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


@dataclass(frozen=True)
class GreedyOptions:
    """Parameters of `greedy`."""

    prefetch_window_steps: int = parameter(
        64,
        "how many steps before a use its fetch may begin, and after it its write-back end",
        least=1,
    )


def solve(problem: Problem, options: GreedyOptions, budget: Budget) -> Solution:
    """Plan by closing gaps; see the module's description.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    return solution_of_pieces(
        problem, (by_first_use,), budget, lambda: _whole_plan(problem, options, budget)
    )


def _whole_plan(problem: Problem, options: GreedyOptions, budget: Budget) -> Solution:
    """The plan in which segments stay whole.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    window = options.prefetch_window_steps
    segments = segments_of(problem)
    state = ResidencyState(problem, segments)
    nothing_kept = state.mark()
    keep_what_pays(state, window, budget, hides=problem.objective == "latency")
    notes = notes_on_size(state, "greedy")
    if place_residencies(state, budget.is_over):
        # Each residency paid beside the others; without those that found no hole it may not.
        while not budget.is_over() and drop_what_no_longer_pays(state):
            pass
        if state.worse_than(nothing_kept):
            state = ResidencyState(problem, segments)
            place_residencies(state)
    state = prefetched(state, budget)
    cut_short = budget.is_over()
    if cut_short:
        notes += ("greedy: the time limit ended the pass over gaps and uses early",)
    return Solution(
        assemble(problem, segments, [residency for _, _, residency in state.all_residencies()]),
        stop_reason="time limit" if cut_short else "finished",
        notes=notes,
    )


SOLVER = Solver(
    "greedy",
    "Belady-like: keep what is used soonest, then prefetch and write behind",
    solve,
    GreedyOptions,
)
