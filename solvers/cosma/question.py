"""COSMA's problem (arXiv 2311.18246) as `ilp` and `cpsat` are asked it, and what they answer.

Objectives are `traffic` (non-compulsory bytes) and `peak` (the largest sum of resident bytes; no
spills, no addresses).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.hwmodels.cost import objective_value, score
from ullage.solvers.cosma.tensors import Program, program_of
from ullage.solvers.registry import SolverOptions, find_solver
from ullage.solvers.state.segments import cuts_nothing

DEFAULTS: Mapping[str, Any] = {
    "order": "fixed",
    "weights": "auto",
    "space": "addresses",
    "moves": "no",
}
CHOICES = {
    "order": ("fixed", "free"),
    "weights": ("auto", "yes", "no"),
    "space": ("addresses", "load", "both"),
    "moves": ("no", "yes"),
}
OBJECTIVES = ("traffic", "peak")
RESERVE_SHARE, LEAST_RESERVE_S = 0.05, 0.1  # of the time, for the plan
SECONDS_PER_OPERATOR = 1e-3  # of a quick plan


@dataclass(frozen=True)
class Form:
    """Which of the problems is meant. Numbers are those of `ilp_model`.

    Attributes:
        free_order: steps of operators are decided too; else C is pinned to the problem's order.
        peak: minimise the largest sum of resident bytes: no S, no R, no addresses.
        addresses: constraints (9)-(11).
        load: the sum of resident bytes is at most the capacity, in every step. With addresses it
            follows from (9) and (10), and only their relaxation needs it.
        moves: S and R may both be 1, which (1) forbids though (4) would allow it: a tensor may
            leave and come back between two operators, to another address.
    """

    free_order: bool = False
    peak: bool = False
    addresses: bool = True
    load: bool = False
    moves: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of it.

    Attributes:
        plan: the best plan.
        status: of the exact solver: `optimal`, `feasible`, `infeasible`, `unknown` (no solution in
            time) or `unwritten` (no time to write its model).
        objective: non-compulsory bytes, or the peak in bytes, of its solution.
        bound: of that objective.
        variables: of the model.
        constraints: of the model.
    """

    plan: Plan
    status: str
    objective: float | None
    bound: float | None
    variables: int
    constraints: int


@dataclass(frozen=True)
class Question:
    """A problem of COSMA's kind, ready to be modelled.

    Attributes:
        solver: name of the solver that was asked.
        program: tensors and operators.
        form: which problem is meant.
        options: what was asked.
        chosen: parameters.
        changed: parameters that are not the solver's defaults.
        notes: what must be told.
    """

    solver: str
    program: Program
    form: Form
    options: SolverOptions
    chosen: Mapping[str, Any]
    changed: Mapping[str, Any]
    notes: tuple[str, ...]


def question_of(
    solver: str,
    problem: Problem,
    target: Target,
    options: SolverOptions,
    chosen: Mapping[str, Any],
    defaults: Mapping[str, Any],
) -> Question:
    """Check what is asked and get ready.

    Raises:
        InfeasibleError: an operator's operands do not fit.
        UsageError: the target is not of COSMA's kind, or a parameter makes no sense.
    """
    for name, able in CHOICES.items():
        if chosen[name] not in able:
            raise UsageError(f"{solver}: {name} is one of {', '.join(able)}, not {chosen[name]!r}")
    if options.objective not in OBJECTIVES:
        raise UsageError(
            f"COSMA's problem is to minimise {' or '.join(OBJECTIVES)}, not {options.objective}; "
            "--objective traffic, or cpsat in a fixed order"
        )
    weights, target, notes = _weights(solver, target, str(chosen["weights"]))
    program = program_of(problem, target, weights=weights)
    form = _form(solver, program, chosen, options)
    changed = {k: v for k, v in chosen.items() if v != defaults[k]}
    asked = Question(solver, program, form, options, chosen, changed, notes)
    if not form.peak and not _fits(program):
        quick_plan(asked)  # which says what is too large
    return asked


def _weights(solver: str, target: Target, asked: str) -> tuple[bool, Target, tuple[str, ...]]:
    """Whether weights are tensors, the target on which they are, and what to tell."""
    demanded = target.must_be_fastest("weight")
    if asked == "no" and demanded:
        raise UsageError(
            f"{target.name} demands weights in {target.fastest.name}, so they are tensors; leave "
            "out --param weights=no"
        )
    if asked != "yes" or demanded:
        return demanded, target, ()
    note = f"{solver}: weights=yes: planned for {target.name} with weights_in_fastest=true"
    return True, replace(target, weights_in_fastest=True), (note,)


def _form(solver: str, program: Program, chosen: Mapping[str, Any], options: SolverOptions) -> Form:
    free = chosen["order"] == "free"
    shared = [buffer.name for buffer in program.problem.buffers if len(buffer.values) > 1]
    if free and shared:
        raise UsageError(
            f"{solver}: another order would change what shares bytes ({shared[0]!r} and "
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


def _fits(program: Program) -> bool:
    """Whether each operator's operands, results and workspace fit."""
    capacity = program.target.fastest.capacity_bytes // program.unit_bytes
    for operator in range(len(program.steps)):
        room = (capacity - program.scratch_units(operator)) * program.unit_bytes
        if program.demand_bytes(operator) > room:
            return False
    return True


def quick_plan(asked: Question) -> Plan:
    """A plan to fall back on: that of `greedy`, for `peak` of `no-spill`.

    Raises:
        InfeasibleError: an operator's operands do not fit.
    """
    name = "no-spill" if asked.form.peak else "greedy"
    options = replace(asked.options, parameters={})
    return find_solver(name).solve(asked.program.problem, asked.program.target, options)


def better_plan(asked: Question, plan: Plan | None, *, proven: bool) -> Plan:
    """A plan, or the quick one where that is better.

    It can be better than a solution that is proven where the question forbids what plans may do:
    tensors that move between two operators, and a weight kept that is no tensor.
    """
    if plan is None:
        return quick_plan(asked)
    narrow = asked.form.addresses and not asked.form.moves and not asked.form.peak
    if proven and not narrow and not asked.program.uncounted_bytes()[1]:
        return plan
    quick, objective = quick_plan(asked), asked.options.objective
    own, other = (objective_value(score(p), objective) for p in (plan, quick))
    return plan if own <= other else quick


def reserve_s(limit_s: float, program: Program) -> float:
    """Seconds of a limit that are kept for the plan."""
    share = max(LEAST_RESERVE_S, RESERVE_SHARE * limit_s)
    return share + SECONDS_PER_OPERATOR * len(program.steps)


def finished(asked: Question, found: Answer, *notes: str) -> Answer:
    """The answer with name, options, bound and notes in its plan."""
    plan = _bounded(asked, found)
    said = [*plan.notes, *asked.notes, *(note for note in notes if note)]
    if plan.solver != asked.solver:
        said.append(f"{asked.solver}: the plan is that of {plan.solver}")
    kept = {k: v for k, v in plan.options.items() if k in {"whole_bound", "interrupted"}}
    named = replace(
        plan,
        solver=asked.solver,
        objective=asked.options.objective,
        seed=asked.options.seed,
        options={**asked.changed, **kept},
        notes=tuple(said),
    )
    return replace(found, plan=named)


def _bounded(asked: Question, found: Answer) -> Plan:
    """The plan with what was proven of it."""
    plan, program = found.plan, asked.program
    if found.bound is None or not _is_certified(asked):
        return plan
    bound = found.bound
    if not asked.form.peak:
        bound += program.uncounted_bytes()[0]
    told = {**plan.options, "whole_bound": bound}
    if asked.form.peak or cuts_nothing(program.problem, program.target, program.atoms):
        return replace(plan, lower_bound=bound, bound_source=asked.solver, options=told)
    return replace(plan, options=told)


def _is_certified(asked: Question) -> bool:
    """Whether every legal plan of whole tensors is a solution of the program.

    As published it does not know plans that move a tensor between two operators; and a weight that
    is fetched twice needs less memory than its peak counts.
    """
    program, form = asked.program, asked.form
    if not form.peak:
        return form.moves or not form.addresses
    return not any(
        len(t.readers) > 1 and t.atom >= 0 and program.atoms[t.atom].kind == "weight"
        for t in program.tensors
    )
