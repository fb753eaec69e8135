"""`ilp`: COSMA's published integer program (arXiv 2311.18246), for comparison and for trust.

One program over operator order, residency and addresses; `ilp_model` has its constraints. PuLP
writes it, CBC or another installed solver solves it. `cpsat` answers the same questions faster.

What the paper calls tensors are the buffers of the problem (`ilp_tensors`). The plan's
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
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ullage.compiler.errors import UsageError
from ullage.compiler.plan import Plan
from ullage.compiler.problem import Problem
from ullage.hwmodels.cost import objective_value, score
from ullage.hwmodels.target import Target
from ullage.solvers.cpsat_size import cuts_nothing
from ullage.solvers.ilp_backend import DEFAULT, Outcome, run
from ullage.solvers.ilp_model import CosmaModel, Form
from ullage.solvers.ilp_plan import plan_of
from ullage.solvers.ilp_tensors import Program, program_of
from ullage.solvers.registry import SolverOptions, find_solver, parameters_of

SUMMARY = "COSMA's published ILP in PuLP: order, residency and addresses in one program"
OBJECTIVES = ("traffic", "peak")
DEFAULTS: Mapping[str, Any] = {
    "solver": DEFAULT,
    "order": "fixed",
    "weights": "auto",
    "space": "addresses",
    "moves": "no",
    "relative_gap": 0.0,
    "time_limit_s": 60.0,
}
CHOICES = {
    "order": ("fixed", "free"),
    "weights": ("auto", "yes", "no"),
    "space": ("addresses", "load", "both"),
    "moves": ("no", "yes"),
}
RESERVE_SHARE, LEAST_RESERVE_S = 0.05, 0.1  # of the time, for the plan
WRITE_SHARE = 0.4  # of the time at most, for writing the program
ROUNDING = 1e-6  # of an objective in whole units


class _OutOfTimeError(Exception):
    """The program is too large to be written in time."""


@dataclass(frozen=True)
class Answer:
    """What came of it.

    Attributes:
        plan: the best plan.
        status: of the ILP: `optimal`, `feasible`, `infeasible`, `unknown` (no solution in time)
            or `unwritten` (no time to write it).
        objective: non-compulsory bytes, or the peak in bytes, of the ILP's solution.
        bound: of the ILP's objective.
        variables: how many the ILP has.
        constraints: how many the ILP has.
    """

    plan: Plan
    status: str
    objective: float | None
    bound: float | None
    variables: int
    constraints: int


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
    for name, able in CHOICES.items():
        if chosen[name] not in able:
            raise UsageError(f"ilp: {name} is one of {', '.join(able)}, not {chosen[name]!r}")
    if options.objective not in OBJECTIVES:
        raise UsageError(
            f"ilp minimises {' or '.join(OBJECTIVES)}, not {options.objective}; --objective "
            "traffic, or --solver cpsat"
        )
    limit = min(options.remaining_s(), float(chosen["time_limit_s"]))
    now = time.monotonic()
    weights, target, notes = _weights(target, str(chosen["weights"]))
    program = program_of(problem, target, weights=weights)
    form = _form(program, chosen, options)
    quick = _quick(problem, target, options)
    reserve = max(LEAST_RESERVE_S, RESERVE_SHARE * limit)
    try:
        model = _write(program, form, now + WRITE_SHARE * limit)
    except _OutOfTimeError:
        note = "ilp: the program is too large to be written in time"
        return _closing(Answer(quick, "unwritten", None, None, 0, 0), notes, note, options, chosen)
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
        told = replace(quick, options={**quick.options, "interrupted": True})
        found = Answer(told, "unknown", None, None, *size)
        return _closing(found, notes, "ilp: interrupted", options, chosen)
    return _answered(model, outcome, quick, notes, options, chosen, size)


def _weights(target: Target, asked: str) -> tuple[bool, Target, list[str]]:
    """Whether weights are tensors, the target on which they are, and what to tell."""
    demanded = target.must_be_fastest("weight")
    if asked == "no" and demanded:
        raise UsageError(
            f"{target.name} demands weights in {target.fastest.name}, so they are tensors; leave "
            "out --param weights=no"
        )
    if asked != "yes" or demanded:
        return demanded, target, []
    note = f"ilp: weights=yes: planned for {target.name} with weights_in_fastest=true"
    return True, replace(target, weights_in_fastest=True), [note]


def _form(program: Program, chosen: Mapping[str, Any], options: SolverOptions) -> Form:
    free = chosen["order"] == "free"
    shared = [buffer.name for buffer in program.problem.buffers if len(buffer.values) > 1]
    if free and shared:
        raise UsageError(
            f"ilp: another order would change what shares bytes ({shared[0]!r} and "
            f"{len(shared) - 1} more do); COSMA shares nothing. Use --no-alias"
        )
    space = chosen["space"]
    return Form(
        free_order=free,
        peak=options.objective == "peak",
        addresses=space != "load",
        load=space != "addresses",
        moves=chosen["moves"] == "yes",
    )


def _quick(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    name = "no-spill" if options.objective == "peak" else "greedy"
    quick = replace(options, parameters={})
    return find_solver(name).solve(problem, target, quick)


def _write(program: Program, form: Form, until: float) -> CosmaModel:
    def check() -> None:
        if time.monotonic() > until:
            raise _OutOfTimeError

    return CosmaModel(program, form, check)


def _answered(
    model: CosmaModel,
    outcome: Outcome,
    quick: Plan,
    notes: list[str],
    options: SolverOptions,
    chosen: Mapping[str, Any],
    size: tuple[int, int],
) -> Answer:
    bound = None if outcome.bound is None else _rounded_up(outcome.bound) * model.cost_unit
    objective: float | None = None
    plan: Plan | None = None
    if outcome.has_solution:
        units = sum(v.varValue * c for v, c in model.lp.objective.items())
        objective = float(round(units) * model.cost_unit)
        plan = plan_of(model, options, notes)
        note = "ilp: the limit came before the proof" * (outcome.status != "optimal")
    elif outcome.status == "infeasible":
        note = "ilp: the program has no solution (addresses may change between spills only)"
    else:
        note = "ilp: no solution in time"
    best = quick
    if plan is not None:
        own, other = (objective_value(score(p), options.objective) for p in (plan, quick))
        best = plan if own <= other else quick
    answered = Answer(best, outcome.status, objective, bound, *size)
    answered = replace(answered, plan=_bounded(model, answered))
    return _closing(answered, notes, note, options, chosen)


def _rounded_up(bound: float) -> int:
    """The least whole number that is not below a bound, but for the solver's tolerance."""
    return int(np.ceil(bound - ROUNDING * max(1.0, abs(bound))))


def _bounded(model: CosmaModel, found: Answer) -> Plan:
    """The plan with what the ILP proved of it."""
    plan, program = found.plan, model.program
    if found.bound is None or not _is_certified(model):
        return plan
    bound = found.bound
    if not model.form.peak:
        bound += program.uncounted_bytes()[0]
    told = {**plan.options, "whole_bound": bound}
    if model.form.peak or cuts_nothing(program.problem, program.target, program.atoms):
        return replace(plan, lower_bound=bound, bound_source="ilp", options=told)
    return replace(plan, options=told)


def _is_certified(model: CosmaModel) -> bool:
    """Whether every legal plan of whole tensors is a solution of the ILP.

    As published it does not know plans that move a tensor between two operators; and a weight that
    is fetched twice needs less memory than its peak counts.
    """
    program, form = model.program, model.form
    if not form.peak:
        return form.moves or not form.addresses
    return not any(
        len(t.readers) > 1 and t.atom >= 0 and program.atoms[t.atom].kind == "weight"
        for t in program.tensors
    )


def _closing(
    found: Answer,
    notes: list[str],
    note: str,
    options: SolverOptions,
    chosen: Mapping[str, Any],
) -> Answer:
    """Name, options and notes of the plan."""
    plan = found.plan
    said = [*plan.notes, *notes, *([note] if note else [])]
    if plan.solver != "ilp":
        said.append(f"ilp: the plan is that of {plan.solver}")
    kept = {k: v for k, v in plan.options.items() if k in {"whole_bound", "interrupted"}}
    told = {**{k: v for k, v in chosen.items() if v != DEFAULTS[k]}, **kept}
    finished = replace(
        plan,
        solver="ilp",
        objective=options.objective,
        seed=options.seed,
        options=told,
        notes=tuple(said),
    )
    return replace(found, plan=finished)
