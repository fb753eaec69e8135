"""`ilp`: COSMA's published integer program (arXiv 2311.18246), for comparison and for trust.

One program over operator order, residency and addresses; `ilp_model` has its constraints. PuLP
writes it, CBC or another installed solver solves it. `cpsat` answers the same questions faster.

What the paper calls tensors are the buffers of the problem (`cosma_tensors`). The plan's
non-compulsory bytes are the program's objective plus `Program.uncounted_bytes`, less what the
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
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.solvers.cosma import question as cosma
from ullage.solvers.cosma.ilp_backend import DEFAULT, Outcome, run
from ullage.solvers.cosma.ilp_model import CosmaModel
from ullage.solvers.cosma.ilp_solution import solution_of
from ullage.solvers.cosma.plan import plan_of
from ullage.solvers.cosma.question import (
    Answer,
    Question,
    better_plan,
    finished,
    question_of,
    quick_plan,
    reserve_s,
)
from ullage.solvers.registry import SolverOptions, parameters_of

SUMMARY = "COSMA's published ILP in PuLP: order, residency and addresses in one program"
OBJECTIVES = cosma.OBJECTIVES
DEFAULTS: Mapping[str, Any] = {
    "solver": DEFAULT,
    **cosma.DEFAULTS,
    "relative_gap": 0.0,
    "time_limit_s": 60.0,
}
WRITE_SHARE = 0.4  # of the time at most, for writing the program
ROUNDING = 1e-6  # of an objective in whole units


class _OutOfTimeError(Exception):
    """The program is too large to be written in time."""


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The plan of COSMA's ILP; see `answer`."""
    return answer(problem, target, options).plan


def answer(problem: Problem, target: Target, options: SolverOptions) -> Answer:
    """Solve COSMA's ILP.

    A quick plan (`greedy`, for `peak` `no-spill`) stands in where the ILP finds none that is
    better; a note says so.

    Raises:
        InfeasibleError: an operator's operands do not fit.
        UsageError: the target is not of COSMA's kind, or a parameter makes no sense.
    """
    chosen = parameters_of(options, DEFAULTS)
    limit = min(options.remaining_s(), float(chosen["time_limit_s"]))
    now = time.monotonic()
    asked = question_of("ilp", problem, target, options, chosen, DEFAULTS)
    reserve = reserve_s(limit, asked.program)
    try:
        model = _write(asked, now + WRITE_SHARE * limit)
    except _OutOfTimeError:
        unwritten = Answer(quick_plan(asked), "unwritten", None, None, 0, 0)
        return finished(asked, unwritten, "ilp: the program is too large to be written in time")
    size = (len(model.lp.variables()), len(model.lp.constraints))
    options.progress(f"ilp: {size[0]} variables, {size[1]} constraints, {chosen['solver']}")
    try:
        outcome = run(
            model.lp,
            str(chosen["solver"]),
            until=now + limit - reserve,
            relative_gap=float(chosen["relative_gap"]),
            seed=options.seed,
        )
    except KeyboardInterrupt:
        quick = quick_plan(asked)
        told = replace(quick, options={**quick.options, "interrupted": True})
        return finished(asked, Answer(told, "unknown", None, None, *size), "ilp: interrupted")
    return _answered(asked, model, outcome, size)


def _write(asked: Question, until: float) -> CosmaModel:
    def check() -> None:
        if time.monotonic() > until:
            raise _OutOfTimeError

    return CosmaModel(asked.program, asked.form, check)


def _answered(
    asked: Question, model: CosmaModel, outcome: Outcome, size: tuple[int, int]
) -> Answer:
    bound: float | None = None
    if outcome.bound is not None:
        bound = float(_rounded_up(outcome.bound) * model.cost_unit)
    objective: float | None = None
    plan: Plan | None = None
    notes: list[str] = []
    if outcome.has_solution:
        units = sum(v.varValue * c for v, c in model.lp.objective.items())
        objective = float(round(units) * model.cost_unit)
        plan = plan_of(asked, solution_of(model), notes)
        note = "ilp: the limit came before the proof" * (outcome.status != "optimal")
        if outcome.status == "optimal" and not asked.chosen["relative_gap"]:
            bound = objective  # what the solver prints is rounded
    elif outcome.status == "infeasible":
        note = "ilp: the program has no solution (addresses may change between spills only)"
    else:
        note = "ilp: no solution in time"
    best = better_plan(asked, plan, proven=outcome.status == "optimal")
    return finished(asked, Answer(best, outcome.status, objective, bound, *size), *notes, note)


def _rounded_up(bound: float) -> int:
    """The least whole number that is not below a bound, but for the solver's tolerance."""
    return int(np.ceil(bound - ROUNDING * max(1.0, abs(bound))))
