"""`cpsat` for COSMA's problem (arXiv 2311.18246): the same questions as `ilp`, in a free order too.

1. In the problem's order: what stays between uses (`cpsat_cosma_model`), the sum of sizes against
   the capacity.
2. Addresses come after (`cpsat_cosma_place`). Where blocks provably do not fit, the solution is cut
   off and the model solved again. What (1) of the ILP forbids with addresses comes into the model
   only then: a solution of loads that has addresses is one of the whole problem.
3. In a free order the solution of 1 is the start. Windows of operators are reordered first where
   the whole is large; then the whole is solved, which gives the bound.

Parameters are those of `ilp` (order, weights, space, moves; `space=both` is `addresses` here).
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ullage.compiler.plan import Plan
from ullage.compiler.problem import Problem
from ullage.hwmodels.target import Target
from ullage.solvers.cosma import Answer, Form, Question, better_plan, finished, question_of
from ullage.solvers.cosma_order import Precedence, pinned, precedence_of
from ullage.solvers.cosma_plan import plan_of
from ullage.solvers.cpsat_cosma_choice import Choice, choice_of, hint
from ullage.solvers.cpsat_cosma_model import CosmaChoice
from ullage.solvers.cpsat_cosma_place import (
    blocks_of,
    cut_off,
    held_of,
    solution_of,
)
from ullage.solvers.cpsat_place import place
from ullage.solvers.cpsat_search import Ended, run
from ullage.solvers.registry import SolverOptions, parameters_of

RESERVE_SHARE, LEAST_RESERVE_S = 0.05, 0.1  # of the time, for the plan
LEAST_S = 0.05  # less time is not worth a search
PLACE_SHARE, MOST_PLACE_S = 0.25, 10.0  # of the time left, for one search for addresses
SLACK_SHARES = (0.02, 0.05, 0.1)  # of the memory left free where addresses are the obstacle
WRITE_SHARE = 0.4  # of the time left at most, for writing a model
ROUNDING = 1e-6  # of a bound in whole units
FIXED_SHARE = 0.3  # of the time, for the problem's order before a free one
PARAMETERS: Mapping[str, Any] = {"linearization_level": 2}

logger = logging.getLogger(__name__)


@dataclass
class Search:
    """A question being answered.

    Attributes:
        asked: the question.
        until: `time.monotonic()` value to end at.
        best: the best solution with its objective in units, and offsets where there are any.
        bound: in units; no solution of the question has a smaller objective.
        status: `infeasible`, or `unknown` while there is no solution.
        size: variables and constraints of the largest model.
        interrupted: the user interrupted.
        cost_unit: bytes of a unit.
        notes: what must be told.
    """

    asked: Question
    until: float
    best: tuple[int, Choice, tuple[int, ...] | None] | None = None
    bound: int | None = None
    status: str = "unknown"
    size: tuple[int, int] = (0, 0)
    interrupted: bool = False
    cost_unit: int = 1
    notes: list[str] = field(default_factory=list)

    def remaining_s(self) -> float:
        """Seconds left."""
        return 0.0 if self.interrupted else self.until - time.monotonic()

    def offer(self, units: int, choice: Choice, offsets: tuple[int, ...] | None) -> None:
        """Keep a solution if it is the best so far."""
        if self.best is None or units < self.best[0]:
            self.best = (units, choice, offsets)

    def is_closed(self) -> bool:
        """Whether the best solution meets the bound."""
        return self.best is not None and self.bound is not None and self.best[0] <= self.bound


def answer(
    problem: Problem, target: Target, options: SolverOptions, defaults: Mapping[str, Any]
) -> Answer:
    """Solve COSMA's problem.

    Raises:
        InfeasibleError: an operator's operands do not fit.
        UsageError: the target is not of COSMA's kind, or a parameter makes no sense.
    """
    now = time.monotonic()
    chosen = parameters_of(options, defaults)
    limit = min(options.remaining_s(), float(chosen["time_limit_s"]))
    asked = question_of("cpsat", problem, target, options, chosen, defaults)
    search = Search(asked, now + limit - max(LEAST_RESERVE_S, RESERVE_SHARE * limit))
    flow = precedence_of(asked.program)
    identity = tuple(range(len(asked.program.steps)))
    fixed = pinned(flow, identity, 0)
    if not asked.form.free_order:
        settle(search, fixed, identity, 1.0, whole=True)
    else:
        settle(search, fixed, identity, FIXED_SHARE, whole=False)
        if search.best is None or search.best[0] > 0:
            settle(search, flow, identity, 1.0, whole=True)
        else:
            search.bound = 0
    return _answered(search)


def settle(
    search: Search, precedence: Precedence, preferred: Sequence[int], share: float, *, whole: bool
) -> None:
    """Solve under a precedence: by loads, then with what addresses ask where they do not fit.

    Args:
        search: takes solutions, and the bound where the precedence is the whole question's.
        precedence: orders that are allowed.
        preferred: order of what does not matter.
        share: of the time left.
        whole: the precedence is the question's own.
    """
    until = time.monotonic() + share * search.remaining_s()
    form = search.asked.form
    if form.peak or not form.addresses:
        _solve(search, form, precedence, preferred, until, whole=whole)
        return
    loads = replace(form, addresses=False)
    if _solve(search, loads, precedence, preferred, until, whole=whole):
        return
    if _solve(search, form, precedence, preferred, until, whole=whole):
        return
    for slack in SLACK_SHARES:  # what is left is time for plans, not for proofs
        if search.best is not None or until - time.monotonic() < LEAST_S:
            return
        _solve(search, form, precedence, preferred, until, whole=False, slack_share=slack)


class _OutOfTimeError(Exception):
    """The model is too large to be written in time."""


def _model(
    search: Search, form: Form, precedence: Precedence, slack_share: float, until: float
) -> CosmaChoice | None:
    """The model, None where there is no time to write it."""
    program = search.asked.program
    stop = time.monotonic() + WRITE_SHARE * (until - time.monotonic())

    def check() -> None:
        if time.monotonic() > stop:
            raise _OutOfTimeError

    capacity = program.target.fastest.capacity_bytes // program.unit_bytes
    try:
        model = CosmaChoice(
            program, form, precedence, slack_units=round(slack_share * capacity), check=check
        )
    except _OutOfTimeError:
        search.notes.append("cpsat: the model of the free order is too large to be written in time")
        return None
    search.cost_unit = model.cost_unit
    size = (len(model.model.proto.variables), len(model.model.proto.constraints))
    search.size = max(search.size, size)
    return model


def _solve(
    search: Search,
    form: Form,
    precedence: Precedence,
    preferred: Sequence[int],
    until: float,
    *,
    whole: bool,
    slack_share: float = 0.0,
) -> bool:
    """Solve one model, cutting off what has no addresses; whether nothing is left to do."""
    asked = search.asked
    if search.remaining_s() < LEAST_S:
        return True
    model = _model(search, form, precedence, slack_share, until)
    if model is None:
        return True
    if search.best is not None:
        hint(model, search.best[1])
    while True:
        ended = _run(search, model, until)
        if whole and not slack_share:
            _take_bound(search, ended)
        if not ended.has_solution:
            if ended.infeasible and whole and search.best is None:
                search.status = "infeasible"
            return ended.infeasible
        units = round(ended.solver.objective_value)
        choice = choice_of(model, ended.solver.value, preferred)
        if not asked.form.addresses or form.peak:
            search.offer(units, choice, None)
            return True
        held = held_of(asked.program, choice)
        blocks = blocks_of(asked.program, choice, held)
        limit = min(MOST_PLACE_S, PLACE_SHARE * max(0.0, until - time.monotonic()))
        placed = place(
            blocks, asked.program.target, asked.options.seed, limit, shrinks=form.addresses
        )
        if placed.offsets is not None:
            search.offer(units, choice, placed.offsets)
            return True
        late = min(until - time.monotonic(), search.remaining_s()) < LEAST_S
        if placed.conflict is None or not form.addresses or late:
            return False
        cut_off(model, choice, held, blocks, placed.conflict)


def _run(search: Search, model: CosmaChoice, until: float) -> Ended:
    asked = search.asked

    def report(objective: float, bound: float) -> None:
        value, least = (round(v) * model.cost_unit for v in (objective, bound))
        asked.options.progress(f"cpsat: {value} bytes, bound {least}")

    ended = run(
        model.model,
        limit_s=min(until - time.monotonic(), search.remaining_s()),
        workers=int(asked.chosen["num_workers"]),
        relative_gap=0.0,
        seed=asked.options.seed,
        report=report,
        parameters=PARAMETERS,
    )
    search.interrupted = search.interrupted or ended.interrupted
    return ended


def _take_bound(search: Search, ended: Ended) -> None:
    """What CP-SAT proved, where the model allows all that the question does."""
    if ended.infeasible:
        return
    bound = max(0, math.ceil(ended.solver.best_objective_bound - ROUNDING))
    search.bound = max(bound, search.bound or 0)


def _answered(search: Search) -> Answer:
    """The answer with its plan."""
    asked, unit = search.asked, search.cost_unit
    bound = None if search.bound is None else float(search.bound * unit)
    notes: list[str] = list(search.notes)
    if search.best is None:
        if search.status == "infeasible":
            note = "cpsat: the problem has no solution (addresses may change between spills only)"
            bound = None
        else:
            note = "cpsat: no solution in time"
        answered = Answer(_told(search, asked.quick), search.status, None, bound, *search.size)
        return finished(asked, answered, *notes, note)
    units, choice, offsets = search.best
    status = "optimal" if search.is_closed() else "feasible"
    if status == "feasible":
        notes.append("cpsat: the limit came before the proof")
    held = held_of(asked.program, choice)
    plan = plan_of(asked, solution_of(asked.program, choice, held, offsets), notes)
    best = _told(search, better_plan(asked, plan))
    return finished(asked, Answer(best, status, float(units * unit), bound, *search.size), *notes)


def _told(search: Search, plan: Plan) -> Plan:
    """The plan, saying that the user interrupted where that is so."""
    if not search.interrupted:
        return plan
    return replace(plan, options={**plan.options, "interrupted": True})
