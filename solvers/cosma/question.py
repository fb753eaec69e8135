"""COSMA's problem (arXiv 2311.18246): the question that `ilp` and `cpsat` solve, and their answer.

Objectives are `traffic` (non-compulsory bytes) and `peak` (the largest sum of resident bytes; no
spills, no addresses).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from ullage.compiler.common.errors import OwnPlanError, UsageError
from ullage.compiler.ir.assignment import Assignment, assignment_of
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.cosma.tensors import CosmaProgram, program_of
from ullage.solvers.interface import Solution, StopReason
from ullage.solvers.run import run_solver
from ullage.solvers.state.segments import cuts_nothing

# Objectives of COSMA's problem.
OBJECTIVES = ("traffic", "peak")
# Values of the parameter `weights`.
YES_NO_AUTO = ("auto", "yes", "no")
# Values of the parameter `space`.
SPACES = ("addresses", "load", "both")
# Share of the time left that is kept for making the plan ...
RESERVE_SHARE = 0.05
# ... in seconds at least, ...
LEAST_RESERVE_S = 0.1
# ... to which the seconds of a quick plan are added, for each operator.
SECONDS_PER_OPERATOR = 1e-3


class CosmaOptions(Protocol):
    """The options that `ilp` and `cpsat` have in common.

    Attributes:
        order: `fixed` or `free`.
        weights: `auto` (as the target demands), `yes` or `no`: weights are tensors too.
        space: `addresses`, `load` or `both`: what limits the fastest tier.
        moves: `yes` or `no`: a tensor may leave and come back between two operators.
        time_limit_s: seconds without a deadline.
        own_plan: an error instead of a quick plan.
        seed: of the search.
    """

    @property
    def order(self) -> str: ...  # noqa: D102 - above
    @property
    def weights(self) -> str: ...  # noqa: D102
    @property
    def space(self) -> str: ...  # noqa: D102
    @property
    def moves(self) -> str: ...  # noqa: D102
    @property
    def time_limit_s(self) -> float: ...  # noqa: D102
    @property
    def own_plan(self) -> bool: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


# Why a solver of COSMA's problem ended, by the status of its answer (see `Answer`).
ENDED_BY: Mapping[str, StopReason] = {
    "optimal": "finished",
    "infeasible": "finished",
    "feasible": "time limit",
    "unknown": "time limit",
    "unwritten": "time limit",
}


@dataclass(frozen=True)
class Form:
    """The variant of the problem. Numbers of constraints are those of `ilp_model`.

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
    """The answer of an exact solver.

    Attributes:
        solution: the best plan, with its bound and notes.
        status: of the exact solver: `optimal`, `feasible`, `infeasible`, `unknown` (no solution in
            time) or `unwritten` (no time to write its model).
        objective: non-compulsory bytes, or the peak in bytes, of its solution.
        bound: lower bound of that objective.
        variables: number of variables of the model.
        constraints: number of constraints of the model.
    """

    solution: Solution
    status: str
    objective: float | None
    bound: float | None
    variables: int
    constraints: int


@dataclass(frozen=True)
class Question:
    """A problem of COSMA's kind, ready to be modelled.

    Attributes:
        solver: name of the solver.
        problem: the problem, on the target as given.
        program: tensors and operators.
        form: the variant of the problem.
        options: options of the solver.
        budget: the time.
        notes: notes for the user.
    """

    solver: str
    problem: Problem
    program: CosmaProgram
    form: Form
    options: CosmaOptions
    budget: Budget
    notes: tuple[str, ...]


def question_of(solver: str, problem: Problem, options: CosmaOptions, budget: Budget) -> Question:
    """Check a problem and make it ready.

    Raises:
        InfeasibleError: an operator's operands do not fit.
        UsageError: the target is not of COSMA's kind, or a parameter makes no sense.
    """
    if problem.objective not in OBJECTIVES:
        raise UsageError(
            f"COSMA's problem is to minimise {' or '.join(OBJECTIVES)}, not {problem.objective}; "
            "--objective traffic, or cpsat in a fixed order"
        )
    weights, target, notes = _weights(solver, problem.target, options.weights)
    program = program_of(problem.on(target), weights=weights)
    form = _form(solver, program, options)
    question = Question(solver, problem, program, form, options, budget, notes)
    if not form.peak and not _fits(program):
        _quick_solution(question)  # which says what is too large
    return question


def _weights(solver: str, target: Target, option: str) -> tuple[bool, Target, tuple[str, ...]]:
    """Whether weights are tensors, the target on which they are, and notes about that."""
    demanded = target.must_be_fastest("weight")
    if option == "no" and demanded:
        raise UsageError(
            f"{target.name} demands weights in {target.fastest.name}, so they are tensors; leave "
            "out --param weights=no"
        )
    if option != "yes" or demanded:
        return demanded, target, ()
    note = f"{solver}: weights=yes: planned for {target.name} with weights_in_fastest=true"
    return True, replace(target, weights_in_fastest=True), (note,)


def _form(solver: str, program: CosmaProgram, options: CosmaOptions) -> Form:
    free = options.order == "free"
    shared = [buffer.name for buffer in program.problem.buffers if len(buffer.values) > 1]
    if free and shared:
        raise UsageError(
            f"{solver}: another order would change what shares bytes ({shared[0]!r} and "
            f"{len(shared) - 1} more do); COSMA shares nothing. Use --no-alias"
        )
    space = options.space
    return Form(
        free_order=free,
        peak=program.problem.objective == "peak",
        addresses=space != "load",
        load=space != "addresses",
        moves=options.moves == "yes",
    )


def _fits(program: CosmaProgram) -> bool:
    """Whether each operator's operands, results and workspace fit."""
    capacity = program.target.fastest.capacity_bytes // program.unit_bytes
    for operator in range(len(program.steps)):
        room = (capacity - program.scratch_units(operator)) * program.unit_bytes
        if program.demand_bytes(operator) > room:
            return False
    return True


def quick_solution(question: Question) -> Solution:
    """A plan to fall back on: that of `greedy`, for `peak` of `no-spill`.

    Raises:
        InfeasibleError: an operator's operands do not fit.
        OwnPlanError: the options ask for the solver's own plan.
    """
    solution = _quick_solution(question)
    if question.options.own_plan:
        raise OwnPlanError(
            f"{question.solver} has no plan of its own, only {solution.made_by} has one; give more "
            "time (--time-limit)"
        )
    return solution


def _quick_solution(question: Question) -> Solution:
    name = "no-spill" if question.form.peak else "greedy"
    outcome = run_solver(name, question.program.problem, question.budget.for_member())
    note = f"{question.solver}: the plan is that of {name}"
    return Solution(assignment_of(outcome.plan), notes=(*outcome.plan.notes, note), made_by=name)


def better_solution(question: Question, assignment: Assignment | None, *, proven: bool) -> Solution:
    """A plan as a solution, or the quick plan where that is better.

    The quick plan can be better than a proven solution where the question forbids what plans may
    do: move a tensor between two operators, or keep a weight that is no tensor.
    """
    if assignment is None:
        return quick_solution(question)
    if question.options.own_plan:
        return Solution(assignment)
    narrow = question.form.addresses and not question.form.moves and not question.form.peak
    if proven and not narrow and not question.program.uncounted_bytes()[1]:
        return Solution(assignment)
    quick = quick_solution(question)
    return Solution(assignment) if value_of(assignment) <= value_of(quick.assignment) else quick


def reserve_s(budget: Budget, program: CosmaProgram) -> float:
    """Seconds of the time left that are kept for making the plan."""
    share = max(LEAST_RESERVE_S, budget.share(RESERVE_SHARE).remaining_s())
    return share + SECONDS_PER_OPERATOR * len(program.steps)


def finished(question: Question, answer: Answer, *notes: str, interrupted: bool = False) -> Answer:
    """The answer with bound and notes, on the target as given."""
    solution = answer.solution
    given_target, plan = question.problem.target, solution.assignment
    target = (
        given_target.with_fast_memory(plan.target.fastest.capacity_bytes)
        if question.form.peak
        else given_target
    )
    solution = replace(
        solution,
        assignment=replace(plan, problem=plan.problem.on(target)),
        notes=(*solution.notes, *question.notes, *(note for note in notes if note)),
        stop_reason="interrupted" if interrupted else ENDED_BY[answer.status],
    )
    return replace(answer, solution=_bounded(question, answer, solution))


def _bounded(question: Question, answer: Answer, solution: Solution) -> Solution:
    """The solution with the bound that was proven of it."""
    program = question.program
    if answer.bound is None or not _is_certified(question):
        return solution
    bound = answer.bound
    if question.form.peak:
        # Rooms are rounded up to the alignment, the highest address of a plan is not.
        bound = max(
            0.0, bound - max((t.room_bytes - t.size_bytes for t in program.tensors), default=0)
        )
    else:
        bound += program.uncounted_bytes()[0]
    solution = replace(solution, statistics={**solution.statistics, "whole_bound": bound})
    if question.form.peak or cuts_nothing(program.problem, program.segments):
        return replace(solution, bound=Bound(bound, question.solver))
    return solution


def _is_certified(question: Question) -> bool:
    """Whether every legal plan of whole tensors is a solution of the program.

    As published it does not know plans that move a tensor between two operators; and a weight that
    is fetched twice needs less memory than its peak counts.
    """
    program, form = question.program, question.form
    if not form.peak:
        return form.moves or not form.addresses
    return not any(
        len(t.readers) > 1 and t.segment >= 0 and program.segments[t.segment].is_constant
        for t in program.tensors
    )
