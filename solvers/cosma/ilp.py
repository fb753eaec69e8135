"""`ilp`: COSMA's published integer program (arXiv 2311.18246), for comparison and for trust.

One program over operator order, residency and addresses; `ilp_model` has its constraints. PuLP
writes it, CBC or another installed solver solves it. `cpsat` answers the same questions faster.

What the paper calls tensors are the buffers of the problem (`tensors`). The plan's
non-compulsory bytes are the program's objective plus `CosmaProgram.uncounted_bytes`, less what the
program moves for nothing when it is stopped early.

Parameters:
    solver: `CBC`, or a solver that PuLP finds on this machine.
    order: `fixed` (the problem's) or `free` (the program chooses it; nothing may share bytes).
    weights: `auto` (tensors where the target demands them in the fastest tier), `yes`, `no`.
    space: `addresses` (constraints 9-11, as published), `load` (the sum of resident bytes at each
        step; addresses are sought afterwards) or `both`.
    moves: `no`, or `yes`: a tensor may be spilled and retrieved between two operators, so that it
        comes back to another address. (1) forbids that as published.
    relative_gap: stop when this is proven.
    time_limit_s: for CBC and all, where no deadline is given.
    own_plan: an error instead of a quick plan where the program gives none.
"""

import time
from dataclasses import dataclass

import numpy as np

from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.cosma.ilp_backend import DEFAULT, IlpOutcome, run
from ullage.solvers.cosma.ilp_model import CosmaModel
from ullage.solvers.cosma.ilp_solution import solution_of
from ullage.solvers.cosma.plan import plan_of
from ullage.solvers.cosma.question import (
    OBJECTIVES,
    SPACES,
    YES_NO_AUTO,
    Answer,
    Question,
    better_solution,
    finished,
    question_of,
    quick_solution,
    reserve_s,
)
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.parameters import parameter

# Share of the time left that writing the program may take.
WRITE_SHARE = 0.4
# Relative error of an objective that is a whole number of units.
ROUNDING = 1e-6


class _ProgramTooLargeError(Exception):
    """The program is too large to be written in time."""


@dataclass(frozen=True)
class IlpOptions:
    """Parameters of `ilp`."""

    solver: str = parameter(DEFAULT, "solver of the program, as PuLP names it")
    order: str = parameter(
        "fixed", "operators in the given order, or in any", choices=("fixed", "free")
    )
    weights: str = parameter(
        "auto", "weights are tensors too: as the target demands, or so", choices=YES_NO_AUTO
    )
    space: str = parameter(
        "addresses", "what limits fast memory: addresses, live bytes, or both", choices=SPACES
    )
    moves: str = parameter(
        "no", "a tensor may leave and come back between two operators", choices=("no", "yes")
    )
    relative_gap: float = parameter(0.0, "gap at which the search ends", least=0)
    time_limit_s: float = parameter(60.0, "seconds where there is no other limit", least=0)
    own_plan: bool = parameter(
        False, "its own plan, even where one that it is held against or begins with is better"
    )
    seed: int = parameter(0, "of the search")


def solve(problem: Problem, options: IlpOptions, budget: Budget) -> Solution:
    """The plan of COSMA's ILP; see `answer`."""
    return answer(problem, options, budget).solution


def answer(problem: Problem, options: IlpOptions, budget: Budget) -> Answer:
    """Solve COSMA's ILP.

    A quick plan (`greedy`, for `peak` `no-spill`) stands in where the ILP finds none that is
    better; a note says so.

    Raises:
        InfeasibleError: an operator's operands do not fit.
        UsageError: the target is not of COSMA's kind, or a parameter makes no sense.
    """
    limited = budget.at_most(options.time_limit_s)
    question = question_of("ilp", problem, options, budget)
    reserve = reserve_s(limited, question.program)
    try:
        model = _write(question, limited.share(WRITE_SHARE))
    except _ProgramTooLargeError:
        unwritten = Answer(quick_solution(question), "unwritten", None, None, 0, 0)
        return finished(question, unwritten, "ilp: the program is too large to be written in time")
    size = (len(model.lp.variables()), len(model.lp.constraints))
    budget.progress(f"ilp: {size[0]} variables, {size[1]} constraints, {options.solver}")
    try:
        outcome = run(
            model.lp,
            options.solver,
            until=time.monotonic() + limited.remaining_s() - reserve,
            relative_gap=options.relative_gap,
            seed=options.seed,
        )
    except KeyboardInterrupt:
        unknown = Answer(quick_solution(question), "unknown", None, None, *size)
        return finished(question, unknown, "ilp: interrupted", interrupted=True)
    return _answered(question, model, outcome, size, exact=not options.relative_gap)


def _write(question: Question, budget: Budget) -> CosmaModel:
    """Write the program, as long as the time lasts."""

    def check() -> None:
        if budget.is_over():
            raise _ProgramTooLargeError

    return CosmaModel(question.program, question.form, check)


def _answered(
    question: Question,
    model: CosmaModel,
    outcome: IlpOutcome,
    size: tuple[int, int],
    *,
    exact: bool,
) -> Answer:
    """The answer from what the solver of the program returned."""
    bound: float | None = None
    if outcome.bound is not None:
        bound = float(_rounded_up(outcome.bound) * model.cost_unit)
    objective: float | None = None
    plan: Assignment | None = None
    notes: list[str] = []
    if outcome.has_solution:
        units = sum(v.varValue * c for v, c in model.lp.objective.items())
        objective = float(round(units) * model.cost_unit)
        plan = plan_of(question, solution_of(model), notes)
        note = "ilp: the limit came before the proof" * (outcome.status != "optimal")
        if outcome.status == "optimal" and exact:
            bound = objective  # what the solver prints is rounded
    elif outcome.status == "infeasible":
        note = "ilp: the program has no solution (addresses may change between spills only)"
    else:
        note = "ilp: no solution in time"
    best = better_solution(question, plan, proven=outcome.status == "optimal")
    return finished(question, Answer(best, outcome.status, objective, bound, *size), *notes, note)


def _rounded_up(bound: float) -> int:
    """The least whole number that is not below a bound, but for the solver's tolerance."""
    return int(np.ceil(bound - ROUNDING * max(1.0, abs(bound))))


SOLVER = Solver(
    "ilp",
    "COSMA's published ILP in PuLP: order, residency and addresses in one program",
    solve,
    IlpOptions,
    OBJECTIVES,
    chooses_order=True,
)
