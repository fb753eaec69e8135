"""`auto`: a portfolio under one deadline; the best plan wins.

Members run one after the other, cheap ones first. The best plan so far is always kept: when the
deadline comes, a member fails or the user presses Ctrl-C, it is the answer. An exact solver follows
while it may pay: for the time left where a deadline was given and the best plan is not proven best,
for some seconds, which a note names, where none was given and the plan is far above its bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ullage.compiler.common.errors import (
    InfeasibleError,
    TimeLimitError,
    UllageError,
    UsageError,
)
from ullage.compiler.ir.assignment import assignment_of
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import Bound
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution, Solver, StopReason
from ullage.solvers.parameters import parameter
from ullage.solvers.paths.network import needs_detour
from ullage.solvers.registry import find_solver
from ullage.solvers.run import Outcome, run_solver

# Seconds without which the exact solver is not run: it needs about a second to begin.
LEAST_REFINE_S = 2.0
# Member that proves a bound. Of programs with more parts than `MANY_PARTS` it is run first, and the
# others only where its plan is further above its bound than `FAR_PARTS`: they pack thousands of
# short residencies, which takes them ten times as long, and exact solvers are for whole tensors.
BOUNDING = "fluid"
MANY_PARTS = 300
FAR_PARTS = 0.05
# Seconds of each of them where there is no time limit.
PARTS_PATIENCE_S = 5.0
# Member whose plan leaves everything at home.
NO_MOVES = "all-slow"
# Relative distance from its bound within which a plan is proven best.
PROVEN = 1e-6
# Relative distance from its bound beyond which a plan is worth more seconds than were asked for.
FAR = 0.01


@dataclass(frozen=True)
class PortfolioOptions:
    """Parameters of `auto`."""

    members: str = parameter(
        "greedy,msa,fluid,all-slow,no-spill", "names of the solvers to run, in their order"
    )
    refine: str = parameter("cpsat", "exact solver for plans that are not proven best; empty: none")
    patience_s: float = parameter(
        4.0,
        "seconds of the exact solver where no time limit is given and the plan is more than 1 % "
        "above its bound; 0: none",
        least=0,
    )
    seed: int = parameter(0, "of all members")


def solve(problem: Problem, options: PortfolioOptions, budget: Budget) -> Solution:
    """The best plan of the members that know the objective.

    Raises:
        InfeasibleError: no member found a plan because there is none.
        UsageError: no member can plan for this target.
        ContractError: no member found a plan, and one broke its contract.
        TimeLimitError: the deadline passed before any plan.
        KeyboardInterrupt: interrupted before any plan.
    """
    members = [name.strip() for name in options.members.split(",") if name.strip()]
    if not members or "auto" in members:
        raise UsageError(f"members of auto must be other solvers, not {options.members!r}")
    members = [m for m in members if problem.objective in find_solver(m).objectives]
    if problem.latency_limit_s is not None:
        members = [m for m in members if find_solver(m).keeps_limit]
    refiner = options.refine.strip()
    if refiner:
        find_solver(refiner)  # raises at once for an unknown name
    race = _Race(problem)
    has_many_parts = problem.program.is_cut and problem.program.parts > MANY_PARTS
    if has_many_parts:
        members.sort(key=lambda name: name != BOUNDING)
    for number, name in enumerate(members if has_many_parts else (*members, refiner)):
        if has_many_parts and race.gap() <= FAR_PARTS:
            break
        allowed = budget
        if has_many_parts and name != BOUNDING and budget.deadline is None:
            allowed = budget.at_most(PARTS_PATIENCE_S)
        if number == len(members):
            if not _worth_refining(refiner, race, budget, options.patience_s):
                break
            if budget.deadline is None:
                allowed = budget.at_most(options.patience_s)
                race.notes.append(
                    f"auto: {race.gap():.1%} above the bound, so {refiner} had "
                    f"{options.patience_s:g} s as well (--time-limit gives more or less)"
                )
        if budget.is_over():
            race.leave_out(members[number:])
            break
        budget.progress(f"solving with {name}")
        try:
            outcome = run_solver(name, problem, allowed, seed=options.seed)
            race.enter(outcome)
            if outcome.interrupted:
                race.interrupted = True
                break
        except UllageError as error:  # of any kind: members may be a third party's
            race.miss(name, error)
        except KeyboardInterrupt:
            if race.best is None:
                raise
            race.interrupted = True
            break
    return race.solution(time_is_over=budget.is_over())


class _Race:
    """The members' results so far.

    Attributes:
        best: the best outcome.
        bound: the best bound that any member of ours has proven.
        notes: notes for the user.
        interrupted: the user interrupted.
        makers: the solvers of the plans so far; a member may hand in the plan of another one.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.best: Outcome | None = None
        self.bound: Bound | None = None
        self.notes: list[str] = []
        self.interrupted = False
        self.makers: set[str] = set()
        self._refusal: UllageError | None = None
        self._failure: UllageError | None = None
        self._late: TimeLimitError | None = None

    def enter(self, outcome: Outcome) -> None:
        """Keep an outcome if it is the best so far; its bound if that is the highest so far."""
        plan = outcome.plan
        self.makers.add(plan.solver)
        if plan.lower_bound is not None and (
            self.bound is None or plan.lower_bound > self.bound.value
        ):
            self.bound = Bound(plan.lower_bound, plan.bound_source)
        if self.best is None or outcome.value < self.best.value:
            self.best = outcome

    def gap(self) -> float:
        """How far the best plan is above the best bound; infinite without one."""
        if self.best is None or self.bound is None or self.bound.value <= 0:
            return math.inf
        return self.best.value / self.bound.value - 1

    def miss(self, name: str, error: UllageError) -> None:
        """Note a member without a plan: it may not know such targets, be too slow, or broken."""
        if isinstance(error, InfeasibleError | UsageError):
            self._refusal = self._refusal or error
        elif isinstance(error, TimeLimitError):
            self._late = self._late or error
        else:
            self._failure = self._failure or error
        self.notes.append(f"auto: {name} found no plan: {error.message}")

    def leave_out(self, names: Sequence[str]) -> None:
        """Note members that time left out, but for those whose plan another one handed in.

        Nothing is lost with the plan that moves no data.
        """
        left = [name for name in names if name not in self.makers and name != NO_MOVES]
        if left:
            self.notes.append(f"auto: the time limit left out {', '.join(left)}")

    def solution(self, *, time_is_over: bool) -> Solution:
        """The best plan with the best bound; raises where there is none."""
        if self.best is None:
            late = self._late or TimeLimitError(
                "the time limit was over before any solver had a plan; give more (--time-limit)"
            )
            proven = self._refusal is not None and self._refusal.details.get("proven", True)
            if time_is_over and self._refusal is not None and not proven:
                raise TimeLimitError(
                    f"found no plan in time: {self._refusal.message}, or search for longer "
                    "(--time-limit)",
                    self._refusal.details,
                )
            raise self._refusal or self._failure or late
        best = self.best
        bound = self.bound
        if bound is not None and bound.value > best.value * (1 + PROVEN):
            bound = None  # contradicted by a verified plan of another member
            self.notes.append("auto: a member's bound is contradicted by another's plan; not used")
        ended: StopReason = best.solution.stop_reason
        ended = "interrupted" if self.interrupted or best.interrupted else ended
        if time_is_over and ended == "finished":
            ended = "time limit"
        return replace(
            best.solution,
            assignment=assignment_of(best.plan),
            bound=bound,
            stop_reason=ended,
            notes=(*best.plan.notes, *self.notes),
            made_by=best.plan.solver,
        )


def _worth_refining(name: str, race: _Race, budget: Budget, patience_s: float) -> bool:
    """Whether an exact solver of whole tensors may still find something better in time.

    Plans of operands that may be cut are worth it only where they are far from their bound.
    """
    best, problem = race.best, race.problem
    if not name or best is None or problem.objective not in find_solver(name).objectives:
        return False
    if problem.latency_limit_s is not None and not find_solver(name).keeps_limit:
        return False
    if needs_detour(problem.target):
        return False  # exact solvers move data in one hop
    unlimited = budget.deadline is None
    if (patience_s <= 0) if unlimited else (budget.remaining_s() < LEAST_REFINE_S):
        return False
    if unlimited or problem.target.split_operands:
        return FAR < race.gap() < math.inf
    return race.bound is None or best.value > race.bound.value * (1 + PROVEN)


SOLVER = Solver(
    "auto",
    "portfolio: runs the other solvers under one deadline and keeps the best plan",
    solve,
    PortfolioOptions,
    ("latency", "traffic", "energy", "peak"),
    keeps_limit=True,
)
