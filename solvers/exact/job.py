"""What `cpsat` knows of the problem at hand: the best plan so far, bounds, the time left."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import order_free_bound
from ullage.hwmodels.cost import objective_value, score
from ullage.solvers.exact.residencies import stays_of_plan
from ullage.solvers.registry import SolverOptions, find_solver
from ullage.solvers.state.segments import Atom, atoms_of

logger = logging.getLogger(__name__)

QUICK = ("msa", "greedy", "fluid")  # the fastest first
SAME = 1e-9  # relative: a plan this near to the bound is optimal


@dataclass
class Job:
    """A problem being solved.

    Attributes:
        problem: the problem.
        target: the chip.
        atoms: of the problem.
        options: what was asked.
        chosen: parameters of the solver.
        until: `time.monotonic()` value to end at.
        free: bound that needs no solver, and its source.
        certified: the best bound of all legal plans, and its source.
        best: the best plan so far, and its value before it.
        notes: what must be told.
        whole_bound: bound of the plans that keep atoms whole.
        interrupted: the user interrupted.
    """

    problem: Problem
    target: Target
    atoms: tuple[Atom, ...]
    options: SolverOptions
    chosen: Mapping[str, Any]
    until: float
    free: tuple[float, str]
    certified: tuple[float, str]
    best: tuple[float, Plan] | None = None
    notes: list[str] = field(default_factory=list)
    whole_bound: float | None = None
    interrupted: bool = False

    def remaining_s(self) -> float:
        """Seconds until the solver must end."""
        return self.until - time.monotonic()

    def offer(self, plan: Plan) -> float:
        """Keep a plan if it is the best so far; its value."""
        value = objective_value(score(plan), self.options.objective)
        if self.best is None or value < self.best[0]:
            self.best = (value, plan)
            self.options.on_improvement(value)
        self._distrust()
        return value

    def trust(self, bound: float, source: str) -> None:
        """Take over a certified bound where it is better."""
        if bound > self.certified[0]:
            self.certified = (bound, source)
            self._distrust()

    def _distrust(self) -> None:
        """A bound above the value of a legal plan is false, whoever proved it."""
        bound, source = self.certified
        if self.best is not None and self.best[0] < bound - SAME * abs(bound):
            self.notes.append(
                f"cpsat: the bound of {source}, {bound:.9g}, is contradicted by a legal plan of "
                f"{self.best[0]:.9g}; it is not used"
            )
            logger.warning("%s", self.notes[-1])
            self.certified = self.free

    def is_closed(self) -> bool:
        """Whether the best plan is as good as the certified bound."""
        return self.best is not None and self.best[0] <= self.certified[0] * (1 + SAME)


def new_job(
    problem: Problem, target: Target, options: SolverOptions, chosen: Mapping[str, Any]
) -> Job:
    """A job that ends at the deadline, or after the parameter `time_limit_s` where that is less."""
    limit_s = min(options.remaining_s(), float(chosen["time_limit_s"]))
    known = order_free_bound(problem, target, options.objective)
    free = (known.value, known.source)
    atoms = atoms_of(problem, target)
    return Job(problem, target, atoms, options, chosen, time.monotonic() + limit_s, free, free)


def work_on(job: Job, improve: Callable[[Job], None]) -> None:
    """Take the quick solvers' best plan and improve it; Ctrl-C keeps what is there.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
        TimeLimitError: the deadline came before any plan.
        KeyboardInterrupt: it came before any plan.
    """
    refusal: InfeasibleError | None = None
    try:
        refusal = quick_plans(job)
        improve(job)
    except KeyboardInterrupt:
        if job.best is None:
            raise
        job.interrupted = True
    if job.best is None:
        raise refusal or TimeLimitError(
            "the time limit was over before any plan was found; give more (--time-limit)"
        )


def quick_plans(job: Job) -> InfeasibleError | None:
    """Plans of whole atoms, and bounds, from quick solvers; why there is none."""
    refusal: InfeasibleError | None = None
    objective = job.options.objective
    took = 0.0  # by the slowest so far; the next will take longer
    until = time.monotonic() + float(job.chosen["hint_share"]) * job.remaining_s()
    for name in QUICK:
        solver = find_solver(name)
        begun = time.monotonic()
        if objective not in solver.objectives or (job.best and begun + took > until):
            continue
        job.options.progress(f"cpsat: starting from {name}")
        try:
            quick = job.options.for_member(deadline=until)
            plan = solver.solve(job.problem, job.target, quick)
        except InfeasibleError as error:
            refusal = refusal or error
            continue
        took = max(took, time.monotonic() - begun)
        bound = plan.lower_bound
        if bound is not None:
            job.trust(bound, plan.bound_source)
        if stays_of_plan(plan, job.atoms) is not None and not find_violations(plan, limit=1):
            job.offer(plan)
    return refusal
