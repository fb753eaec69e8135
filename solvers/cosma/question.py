"""COSMA's problem (arXiv 2311.18246) as `ilp` and `cpsat` are asked it, and what they answer.

Objectives are `traffic` (non-compulsory bytes) and `peak` (the largest sum of resident bytes; no
spills, no addresses).
"""

from dataclasses import dataclass, replace
from typing import Protocol

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.assignment import Assignment, assignment_of
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.cosma.tensors import CosmaProgram, program_of
from ullage.solvers.interface import Solution
from ullage.solvers.run import run_solver
from ullage.solvers.state.segments import cuts_nothing

OBJECTIVES = ("traffic", "peak")
YES_NO_AUTO = ("auto", "yes", "no")
SPACES = ("addresses", "load", "both")
RESERVE_SHARE, LEAST_RESERVE_S = 0.05, 0.1  # of the time, for the plan
SECONDS_PER_OPERATOR = 1e-3  # of a quick plan


class CosmaOptions(Protocol):
    """What `ilp` and `cpsat` have in common.

    Attributes:
        order: `fixed` or `free`.
        weights: `auto` (as the target demands), `yes` or `no`: weights are tensors too.
        space: `addresses`, `load` or `both`: what limits the fastest tier.
        moves: `yes` or `no`: a tensor may leave and come back between two operators.
        time_limit_s: seconds without a deadline.
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
    def seed(self) -> int: ...  # noqa: D102


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
        solution: the best plan, with what was proven of it.
        status: of the exact solver: `optimal`, `feasible`, `infeasible`, `unknown` (no solution in
            time) or `unwritten` (no time to write its model).
        objective: non-compulsory bytes, or the peak in bytes, of its solution.
        bound: of that objective.
        variables: of the model.
        constraints: of the model.
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
        solver: name of the solver that was asked.
        problem: as asked.
        program: tensors and operators.
        form: which problem is meant.
        options: of the solver.
        budget: the time.
        notes: what must be told.
    """

    solver: str
    problem: Problem
    program: CosmaProgram
    form: Form
    options: CosmaOptions
    budget: Budget
    notes: tuple[str, ...]


def question_of(solver: str, problem: Problem, options: CosmaOptions, budget: Budget) -> Question:
    """Check what is asked and get ready.

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
    asked = Question(solver, problem, program, form, options, budget, notes)
    if not form.peak and not _fits(program):
        quick_solution(asked)  # which says what is too large
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


def quick_solution(asked: Question) -> Solution:
    """A plan to fall back on: that of `greedy`, for `peak` of `no-spill`.

    Raises:
        InfeasibleError: an operator's operands do not fit.
    """
    name = "no-spill" if asked.form.peak else "greedy"
    outcome = run_solver(name, asked.program.problem, asked.budget.for_member())
    note = f"{asked.solver}: the plan is that of {name}"
    return Solution(assignment_of(outcome.plan), notes=(*outcome.plan.notes, note))


def better_solution(asked: Question, found: Assignment | None, *, proven: bool) -> Solution:
    """A plan, or the quick one where that is better.

    It can be better than a solution that is proven where the question forbids what plans may do:
    tensors that move between two operators, and a weight kept that is no tensor.
    """
    if found is None:
        return quick_solution(asked)
    narrow = asked.form.addresses and not asked.form.moves and not asked.form.peak
    if proven and not narrow and not asked.program.uncounted_bytes()[1]:
        return Solution(found)
    quick = quick_solution(asked)
    return Solution(found) if value_of(found) <= value_of(quick.assignment) else quick


def reserve_s(budget: Budget, program: CosmaProgram) -> float:
    """Seconds of the time left that are kept for the plan."""
    share = max(LEAST_RESERVE_S, budget.share(RESERVE_SHARE).remaining_s())
    return share + SECONDS_PER_OPERATOR * len(program.steps)


def finished(asked: Question, found: Answer, *notes: str, interrupted: bool = False) -> Answer:
    """The answer with bound and notes, on the target that was asked."""
    solution = found.solution
    own, plan = asked.problem.target, solution.assignment
    target = own.with_fast_memory(plan.target.fastest.capacity_bytes) if asked.form.peak else own
    solution = replace(
        solution,
        assignment=replace(plan, problem=plan.problem.on(target)),
        notes=(*solution.notes, *asked.notes, *(note for note in notes if note)),
        stop_reason="interrupted" if interrupted else "finished",
    )
    return replace(found, solution=_bounded(asked, found, solution))


def _bounded(asked: Question, found: Answer, solution: Solution) -> Solution:
    """The solution with what was proven of it."""
    program = asked.program
    if found.bound is None or not _is_certified(asked):
        return solution
    bound = found.bound
    if not asked.form.peak:
        bound += program.uncounted_bytes()[0]
    solution = replace(solution, statistics={**solution.statistics, "whole_bound": bound})
    if asked.form.peak or cuts_nothing(program.problem, program.segments):
        return replace(solution, bound=Bound(bound, asked.solver))
    return solution


def _is_certified(asked: Question) -> bool:
    """Whether every legal plan of whole tensors is a solution of the program.

    As published it does not know plans that move a tensor between two operators; and a weight that
    is fetched twice needs less memory than its peak counts.
    """
    program, form = asked.program, asked.form
    if not form.peak:
        return form.moves or not form.addresses
    return not any(
        len(t.readers) > 1 and t.segment >= 0 and program.segments[t.segment].kind == "weight"
        for t in program.tensors
    )
