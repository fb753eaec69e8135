"""Runs of `cpsat` on COSMA's problem: one precedence of operators, loads first, then addresses."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ullage.solvers.cosma.cpsat_choice import Choice, choice_of, hint
from ullage.solvers.cosma.cpsat_model import CosmaChoice
from ullage.solvers.cosma.cpsat_place import blocks_of, cut_off, held_of
from ullage.solvers.cosma.precedence import Precedence
from ullage.solvers.cosma.question import Form, Question
from ullage.solvers.lp.cp_sat import Ended, run
from ullage.solvers.packing.place_exactly import place

# Seconds without which a search is not begun.
LEAST_S = 0.05
# Share of the time left that one search for addresses gets ...
PLACE_SHARE = 0.25
# ... in seconds at most.
MOST_PLACE_S = 10.0
# Shares of the memory that are left free, one after the other, where there are no addresses.
SLACK_SHARES = (0.02, 0.05, 0.1)
# Share of the time left that writing a model may take.
WRITE_SHARE = 0.4
# Relative error of a bound that is a whole number of units.
ROUNDING = 1e-6
# Parameters of CP-SAT: clauses of the order are in the linear relaxation, too.
PARAMETERS: Mapping[str, Any] = {"linearization_level": 2}
# Threads of CP-SAT: one is repeatable, and on the networks of the paper faster to a proof than two
# or eight.
WORKERS = 1


@dataclass
class Search:
    """A question being answered.

    Attributes:
        question: the question.
        until: `time.monotonic()` value to end at.
        workers: threads of CP-SAT.
        best: the best solution with its objective in units, and offsets where there are any.
        bound: in units; no solution of the question has a smaller objective.
        status: `infeasible`, or `unknown` while there is no solution.
        size: variables and constraints of the largest model.
        interrupted: the user interrupted.
        cost_unit: bytes of a unit.
        notes: notes for the user.
    """

    question: Question
    until: float
    workers: int = WORKERS
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

    def after(self, share: float) -> float:
        """`time.monotonic()` value when a share of the time left will be over."""
        return time.monotonic() + share * self.remaining_s()

    def is_closed(self) -> bool:
        """Whether the best solution meets the bound."""
        return self.best is not None and self.bound is not None and self.best[0] <= self.bound


def settle(
    search: Search, precedence: Precedence, preferred: Sequence[int], until: float, *, whole: bool
) -> None:
    """Solve under a precedence: by loads first, and with addresses in the model if they do not fit.

    Args:
        search: takes solutions, and the bound where the precedence is the whole question's.
        precedence: orders that are allowed.
        preferred: order of what does not matter.
        until: `time.monotonic()` value to end at.
        whole: the precedence is the question's own.
    """
    until = min(until, search.until)
    form = search.question.form
    if form.peak or not form.addresses:
        solve_once(search, form, precedence, preferred, until, whole=whole)
        return
    loads = replace(form, addresses=False)
    if solve_once(search, loads, precedence, preferred, until, whole=whole):
        return
    if solve_once(search, form, precedence, preferred, until, whole=whole):
        return
    for slack in SLACK_SHARES:  # what is left is time for plans, not for proofs
        if search.best is not None or until - time.monotonic() < LEAST_S:
            return
        solve_once(search, form, precedence, preferred, until, whole=False, slack_share=slack)


class _OutOfTimeError(Exception):
    """The model is too large to be written in time."""


def _model(
    search: Search, form: Form, precedence: Precedence, slack_share: float, until: float
) -> CosmaChoice | None:
    """The model, None where there is no time to write it."""
    program = search.question.program
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


def solve_once(
    search: Search,
    form: Form,
    precedence: Precedence,
    preferred: Sequence[int],
    until: float,
    *,
    whole: bool,
    slack_share: float = 0.0,
) -> bool:
    """Solve one model, cut off solutions without addresses; whether nothing is left to do."""
    question = search.question
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
        if not question.form.addresses or form.peak:
            search.offer(units, choice, None)
            return True
        held = held_of(question.program, choice)
        blocks = blocks_of(question.program, choice, held)
        limit = min(MOST_PLACE_S, PLACE_SHARE * max(0.0, until - time.monotonic()))
        placed = place(
            blocks, question.program.target, question.options.seed, limit, shrinks=form.addresses
        )
        if placed.offsets is not None:
            search.offer(units, choice, placed.offsets)
            return True
        late = min(until - time.monotonic(), search.remaining_s()) < LEAST_S
        if placed.conflict is None or not form.addresses or late:
            return False
        cut_off(model, choice, held, blocks, placed.conflict)


def _run(search: Search, model: CosmaChoice, until: float) -> Ended:
    """Run CP-SAT on a model."""
    question = search.question

    def report(objective: float, bound: float) -> None:
        value, least = (round(v) * model.cost_unit for v in (objective, bound))
        question.budget.progress(f"cpsat: {value} bytes, bound {least}")

    ended = run(
        model.model,
        limit_s=min(until - time.monotonic(), search.remaining_s()),
        workers=search.workers,
        relative_gap=0.0,
        seed=question.options.seed,
        report=report,
        parameters=PARAMETERS,
    )
    search.interrupted = search.interrupted or ended.interrupted
    return ended


def _take_bound(search: Search, ended: Ended) -> None:
    """Take over CP-SAT's bound; the model must allow all that the question does."""
    if ended.infeasible:
        return
    bound = max(0, math.ceil(ended.solver.best_objective_bound - ROUNDING))
    search.bound = max(bound, search.bound or 0)
