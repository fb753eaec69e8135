"""A problem being solved by `cpsat` or `divide`: the best plan so far, bounds, the time left."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ullage.compiler.common.errors import (
    ContractError,
    InfeasibleError,
    OwnPlanError,
    TimeLimitError,
)
from ullage.compiler.ir.assignment import Assignment, assignment_of
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.hwmodels.bounds import Bound, order_free_bound
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.exact.residencies import residencies_of_plan
from ullage.solvers.heuristics.msa import MsaOptions, whole_plan
from ullage.solvers.interface import SPILLING_OBJECTIVES, StopReason
from ullage.solvers.registry import find_solver
from ullage.solvers.run import run_solver
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.prefetch import has_fetches, prefetched_residencies
from ullage.solvers.state.segments import Segment, segments_of

logger = logging.getLogger(__name__)

# Names of the quick solvers, the fastest first.
QUICK = ("msa", "greedy", "fluid")
# Share of the time left, after the quick solvers, of a search for times of mandatory transfers.
FETCH_SHARE = 0.2
# Relative distance from its bound within which a plan is optimal.
SAME = 1e-9


@dataclass
class Job:
    """A problem being solved.

    Attributes:
        solver: name of the solver.
        problem: the problem.
        segments: the segments of the problem.
        budget: the time; always with a deadline.
        free: lower bound that needs no solver, of any order.
        certified: the best lower bound of all legal plans.
        best: the best plan so far, with its value before it.
        maker: name of the solver that made the best plan.
        own: the best plan that this solver made itself, with its value before it.
        notes: notes for the user.
        whole_bound: lower bound of the plans that keep segments whole.
        interrupted: the user interrupted.
        cut_short: a search ended at its limit, before its proof.
    """

    solver: str
    problem: Problem
    segments: tuple[Segment, ...]
    budget: Budget
    free: Bound
    certified: Bound
    best: tuple[float, Assignment] | None = None
    maker: str = ""
    own: tuple[float, Assignment] | None = None
    notes: list[str] = field(default_factory=list)
    whole_bound: float | None = None
    interrupted: bool = False
    cut_short: bool = False

    @property
    def target(self) -> Target:
        """The chip."""
        return self.problem.target

    @property
    def stop_reason(self) -> StopReason:
        """Why the solver ended."""
        if self.interrupted:
            return "interrupted"
        return "time limit" if self.cut_short or self.budget.is_over() else "finished"

    def remaining_s(self) -> float:
        """Seconds until the solver must end."""
        return self.budget.remaining_s()

    def offer(self, plan: Assignment, maker: str) -> float:
        """Keep a plan if it is the best so far; returns its value."""
        value = value_of(plan)
        if maker == self.solver and (self.own is None or value < self.own[0]):
            self.own = (value, plan)
        if self.best is None or value < self.best[0]:
            self.best, self.maker = (value, plan), maker
            self.budget.on_improvement(value)
        self._distrust()
        return value

    def keep_own(self) -> None:
        """Let the best plan be one that this solver made itself.

        Raises:
            OwnPlanError: it made none.
        """
        if self.own is None:
            why = (
                "which is proven best, so that nothing is left to improve"
                if self.is_closed()
                else "and found none better in its time; give more (--time-limit)"
            )
            raise OwnPlanError(
                f"{self.solver} has no plan of its own: it began with that of {self.maker}, {why}"
            )
        self.best, self.maker = self.own, self.solver

    def trust(self, bound: Bound) -> None:
        """Take over a certified bound where it is better."""
        if bound.value > self.certified.value:
            self.certified = bound
            self._distrust()

    def _distrust(self) -> None:
        """Drop a bound above the value of a legal plan: it is false, whoever proved it."""
        bound = self.certified
        if self.best is not None and self.best[0] < bound.value - SAME * abs(bound.value):
            self.notes.append(
                f"{self.solver}: the bound of {bound.source}, {bound.value:.9g}, is contradicted "
                f"by a legal plan of {self.best[0]:.9g}; it is not used"
            )
            logger.warning("%s", self.notes[-1])
            self.certified = self.free

    def is_closed(self) -> bool:
        """Whether the best plan is as good as the certified bound."""
        return self.best is not None and self.best[0] <= self.certified.value * (1 + SAME)


def new_job(solver: str, problem: Problem, budget: Budget, time_limit_s: float) -> Job:
    """A job that ends at the deadline, or after some seconds where that is less."""
    free = order_free_bound(problem)
    return Job(solver, problem, segments_of(problem), budget.at_most(time_limit_s), free, free)


def work_on(job: Job, hint_share: float, improve: Callable[[Job], None]) -> None:
    """Take the quick solvers' best plan and improve it; Ctrl-C keeps what is there.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
        TimeLimitError: the deadline came before any plan.
        KeyboardInterrupt: it came before any plan.
    """
    refusal: InfeasibleError | None = None
    try:
        refusal = quick_plans(job, hint_share)
        improve(job)
    except KeyboardInterrupt:
        if job.best is None:
            raise
        job.interrupted = True
    if job.best is None:
        raise refusal or TimeLimitError(
            "the time limit was over before any plan was found; give more (--time-limit)"
        )


def quick_plans(job: Job, hint_share: float) -> InfeasibleError | None:
    """Plans of whole segments, and bounds, from quick solvers; the first refusal if there was one.

    Args:
        job: the job.
        hint_share: share of its time left that they get.
    """
    refusal: InfeasibleError | None = None
    took = 0.0  # by the slowest so far; the next will take longer
    quick = job.budget.share(hint_share).for_member()
    for name in QUICK:
        if job.problem.objective not in find_solver(name).objectives:
            continue
        if job.best is not None and quick.remaining_s() < took:
            continue
        job.budget.progress(f"{job.solver}: starting from {name}")
        begun = time.monotonic()
        try:
            answer = run_solver(name, job.problem, quick)
        except InfeasibleError as error:
            refusal = refusal or error
            continue
        except ContractError as error:  # a defect of one of ours; the others may do
            job.notes.append(error.message)
            logger.warning("%s", error.message)
            continue
        took = max(took, time.monotonic() - begun)
        if answer.plan.lower_bound is not None:
            job.trust(Bound(answer.plan.lower_bound, answer.plan.bound_source))
        assignment = assignment_of(answer.plan)
        if residencies_of_plan(assignment, job.segments) is not None:
            job.offer(assignment, name)
    if job.best is not None and job.maker != "fluid":  # which searches for them itself
        search_fetches(job, job.budget.share(FETCH_SHARE), 0)
    if job.best is None and refusal is None and job.problem.objective in SPILLING_OBJECTIVES:
        try:  # quick plans cut operands that must be brought
            job.offer(whole_plan(job.problem, MsaOptions(), quick).assignment, "msa")
        except InfeasibleError as error:
            refusal = error
    return refusal


def search_fetches(job: Job, budget: Budget, seed: int) -> bool:
    """Search for other times of the best plan's mandatory transfers; whether that made it better.

    Args:
        job: the job.
        budget: the time.
        seed: of the search.
    """
    if job.best is None or budget.is_over():
        return False
    before, plan = job.best
    residencies = residencies_of_plan(plan, job.segments)
    if residencies is None or not has_fetches(job.problem, job.segments):
        return False
    better = prefetched_residencies(
        job.problem, job.segments, residencies, budget.for_member(), searches=True, seed=seed
    )
    job.offer(assemble(job.problem, job.segments, better), job.solver)
    return job.best[0] < before
