"""`cpsat` for COSMA's problem (arXiv 2311.18246): the same questions as `ilp`, in a free order too.

1. In the problem's order: which tensors are kept between which uses (`cpsat_model`), with the sum
   of sizes limited by the capacity.
2. Addresses come after (`cpsat_place`). Where blocks provably do not fit, the solution is cut off
   and the model solved again. What (1) of the ILP forbids with addresses comes into the model only
   then: a solution of loads that has addresses is one of the whole problem.
3. In a free order the solution of 1 is the start; then pairs of operators are decided, too.

Parameters are those of `ilp` (order, weights, space, moves; `space=both` is `addresses` here).
"""

import time

from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.cosma.cpsat_place import held_of, solution_of
from ullage.solvers.cosma.cpsat_search import WORKERS, Search, settle
from ullage.solvers.cosma.plan import plan_of
from ullage.solvers.cosma.precedence import pinned, precedence_of
from ullage.solvers.cosma.question import (
    Answer,
    CosmaOptions,
    better_solution,
    finished,
    question_of,
    quick_solution,
    reserve_s,
)

# Share of the time left for the problem's order, before a free one.
FIXED_SHARE = 0.3


def answer(problem: Problem, options: CosmaOptions, budget: Budget, workers: int = 0) -> Answer:
    """Solve COSMA's problem.

    Raises:
        InfeasibleError: an operator's operands do not fit.
        UsageError: the target is not of COSMA's kind, or a parameter makes no sense.
    """
    limited = budget.at_most(options.time_limit_s)
    question = question_of("cpsat", problem, options, budget)
    left_s = limited.remaining_s() - reserve_s(limited, question.program)
    search = Search(question, time.monotonic() + left_s, workers or WORKERS)
    flow = precedence_of(question.program)
    identity = tuple(range(len(question.program.steps)))
    fixed = pinned(flow, identity, 0)
    if not question.form.free_order:
        settle(search, fixed, identity, search.until, whole=True)
        return _answered(search)
    settle(search, fixed, identity, search.after(FIXED_SHARE), whole=False)
    if search.best is not None and search.best[0] == 0:
        search.bound = 0
        return _answered(search)
    settle(search, flow, identity, search.until, whole=True)
    return _answered(search)


def _answered(search: Search) -> Answer:
    """The answer of a search, with its plan."""
    question, unit = search.question, search.cost_unit
    bound = None if search.bound is None else float(search.bound * unit)
    notes: list[str] = list(search.notes)
    if search.best is None:
        if search.status == "infeasible":
            note = "cpsat: the problem has no solution (addresses may change between spills only)"
            bound = None
        else:
            note = "cpsat: no solution in time"
        answered = Answer(quick_solution(question), search.status, None, bound, *search.size)
        return finished(question, answered, *notes, note, interrupted=search.interrupted)
    units, choice, offsets = search.best
    status = "optimal" if search.is_closed() else "feasible"
    if status == "feasible":
        notes.append("cpsat: the limit came before the proof")
    held = held_of(question.program, choice)
    plan = plan_of(question, solution_of(question.program, choice, held, offsets), notes)
    best = better_solution(question, plan, proven=status == "optimal")
    answered = Answer(best, status, float(units * unit), bound, *search.size)
    return finished(question, answered, *notes, interrupted=search.interrupted)
