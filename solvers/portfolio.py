"""`auto`: a portfolio under one deadline; the best plan wins.

Members run one after the other, cheap ones first, each in a share of the time that is left; without
a deadline they have some seconds of the processor together, and a note says whom these cut short.
The best plan so far is always kept: when the time is over, a member fails or the user presses
Ctrl-C, it is the answer. An exact solver follows while it may pay: for the time left where a
deadline was given and the best plan is not proven best, for some seconds, which a note names, where
none was given and the plan is far above its bound.

With `jobs` members race in processes of their own. What they find is taken in the same order, so
that the answer is the same; those that no longer matter then are ended.
"""

import math
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import NamedTuple

from ullage.compiler.common.engines import ENGINES, HANDING_OVER_S, open_engine
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
from ullage.solvers.parameters import ParameterValue, parameter
from ullage.solvers.paths.greedy import brings_operands
from ullage.solvers.paths.network import needs_detour
from ullage.solvers.registry import find_solver
from ullage.solvers.run import Outcome, run_solver

# Seconds without which the exact solver is not run: it needs about a second to begin.
LEAST_REFINE_S = 2.0
# Member that proves a bound. It is run first where the others take longer: where operands must be
# brought in pieces, and of programs with more parts than `MANY_PARTS`, of which the others are run
# only where its plan is further above its bound than `FAR_PARTS`: they pack thousands of short
# residencies, which takes them ten times as long, and exact solvers are for whole tensors.
BOUNDING = "fluid"
MANY_PARTS = 300
FAR_PARTS = 0.05
# Seconds of each of them where there is no time limit.
PARTS_PATIENCE_S = 5.0
# Members that the one with a bound holds its plan against; with them beside it, it need not.
HEURISTICS = ("greedy", "msa")
# What members count in shares of the time, others 1; those that take moments have all that is left.
WEIGHTS = {BOUNDING: 2.0, "all-slow": 0.0, "no-spill": 0.0}
# Share of it of the one that proves a bound where it is first. Where operands must be brought in
# pieces nobody else follows if this cuts it short: in what is left none makes up for what it lacks.
FIRST_SHARE = 0.9
# A plan of such operands no further above its bound is enough.
PIECES_GAP = 1e-3
# Parts of a program that the seconds of the processor are for; longer ones have more in proportion.
WORK_PARTS = 1000
# Library of the member that proves a bound, and seconds of the processor that importing it takes:
# nothing interrupts that.
LIBRARY, IMPORT_S = "ortools", 0.4
# Member whose plan leaves everything at home.
NO_MOVES = "all-slow"
# Relative distance from its bound within which a plan is proven best.
PROVEN = 1e-6
# Relative distance at which two values are the same but for rounding: nothing is below a bound.
SAME = 1e-12
# Relative distance from its bound beyond which a plan is worth more seconds than were asked for.
FAR = 0.01


@dataclass(frozen=True)
class PortfolioOptions:
    """Parameters of `auto`."""

    members: str = parameter(
        "greedy,msa,fluid,all-slow,no-spill", "names of the solvers to run, in their order"
    )
    refine: str = parameter("cpsat", "exact solver for plans that are not proven best; empty: none")
    work_s: float = parameter(
        8.0,
        "seconds of the processor that members have together where no time limit is given, more in "
        f"proportion for programs of more than {WORK_PARTS} parts",
        least=0,
    )
    patience_s: float = parameter(
        4.0,
        "seconds of the exact solver where no time limit is given and the plan is more than 1 % "
        "above its bound; 0: none",
        least=0,
    )
    jobs: int = parameter(
        1, "members that race side by side, in processes; 1: one after the other", least=1
    )
    engine: str = parameter("processes", "what runs the processes of a race", choices=ENGINES)
    seed: int = parameter(0, "of all members")


def work_for(problem: Problem, seconds: float) -> float:
    """Seconds of the processor that all members have for a problem without a time limit.

    Args:
        problem: the problem.
        seconds: those of a program of up to `WORK_PARTS` parts.
    """
    return seconds * max(1.0, problem.program.parts / WORK_PARTS)


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
    has_many_parts = problem.program.is_cut and problem.program.parts > MANY_PARTS
    if has_many_parts or brings_operands(problem):
        members.sort(key=lambda name: name != BOUNDING)
    if has_many_parts:
        refiner = ""
    work = budget
    if budget.deadline is None:
        work = budget.at_most_work(work_for(problem, options.work_s))
    field = _Field(
        problem,
        tuple(members),
        refiner,
        options,
        budget,
        work,
        work.remaining_s() if budget.deadline is None else math.inf,
        has_many_parts,
    )
    race = _Race(problem)
    if options.jobs == 1 and options.engine == ENGINES[0]:
        _run_in_turn(field, race)
    else:
        _run_side_by_side(field, race)
    return race.solution(time_is_over=budget.deadline is not None and budget.is_over())


class _Field(NamedTuple):
    """Who runs, and how.

    Attributes:
        problem: the problem.
        members: names in their order.
        refiner: an exact solver that comes last, where it pays; empty: none.
        options: of the portfolio.
        budget: of all.
        work: of the members; where there is no deadline, it ends after some work.
        work_s: seconds of the processor of that work, infinite with a deadline.
        has_many_parts: the program has more than `MANY_PARTS`.
    """

    problem: Problem
    members: tuple[str, ...]
    refiner: str
    options: PortfolioOptions
    budget: Budget
    work: Budget
    work_s: float
    has_many_parts: bool

    @property
    def names(self) -> tuple[str, ...]:
        """All in their order."""
        return (*self.members, *([self.refiner] if self.refiner else []))

    def most_s(self, number: int) -> float:
        """Seconds that one has at most, however long the deadline is."""
        if self.budget.deadline is not None:
            return math.inf
        if number == len(self.members):
            return self.options.patience_s
        if self.has_many_parts and self.members[number] != BOUNDING:
            return PARTS_PATIENCE_S
        return math.inf

    def share(self, number: int) -> float:
        """Share of the time left that one has in its turn."""
        if number == len(self.members):
            return 1.0
        if number == 0 and self.members[0] == BOUNDING and len(self.members) > 1:
            return FIRST_SHARE
        weights = [WEIGHTS.get(name, 1.0) for name in self.members[number:]]
        return weights[0] / sum(weights) if weights[0] else 1.0

    def allowed(self, number: int) -> Budget:
        """The time of one in its turn."""
        part = self.budget if number == len(self.members) else self.work
        return part.share(self.share(number)).at_most(self.most_s(number))

    def parameters(self, number: int) -> Mapping[str, ParameterValue]:
        """Parameters of one: what others are asked for anyway need not be made twice."""
        if self.names[number] == BOUNDING and set(HEURISTICS) <= set(self.members):
            return {"own_plan": True}
        return {}

    def is_late(self, race: "_Race", number: int) -> bool:
        """Whether there is no time for another member; without a deadline there is until a plan."""
        if self.work.is_over():
            return self.budget.deadline is not None or race.best is not None
        if brings_operands(self.problem) and race.is_cut_short(BOUNDING):
            return True
        loads = self.names[number] == BOUNDING and LIBRARY not in sys.modules
        return loads and not self.work.has_time_for(IMPORT_S)

    def is_decided(self, race: "_Race", number: int) -> bool:
        """Whether the one that is next in turn makes no difference, nor any behind it."""
        enough = PIECES_GAP if brings_operands(self.problem) else SAME
        if race.gap() <= (FAR_PARTS if self.has_many_parts else enough):
            return True
        return number == len(self.members) and not _is_worth_refining(self, race)


def _run_in_turn(field: _Field, race: "_Race") -> None:
    """Run one after the other.

    Raises:
        KeyboardInterrupt: interrupted before any plan.
    """
    left_out: list[str] = []
    for number, name in enumerate(field.names):
        if field.is_decided(race, number):
            break
        is_refiner = number == len(field.members)
        if is_refiner and not _has_time_to_refine(field):
            break
        if is_refiner:
            race.note_patience(field)
        elif field.is_late(race, number):
            left_out.append(name)
            continue
        field.budget.progress(f"solving with {name}")
        try:
            outcome = run_solver(
                name,
                field.problem,
                field.allowed(number),
                parameters=field.parameters(number),
                seed=field.options.seed,
            )
            race.enter(outcome, name, is_member=not is_refiner)
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
    race.leave_out(left_out, field)


class _Runner(NamedTuple):
    """One that races in a process. Picklable.

    Attributes:
        name: of the solver.
        problem: the problem.
        seed: of everything random.
        ends: `time.time()` value of the deadline: clocks of two machines agree on that alone.
        most_s: seconds from its start.
        work_s: of its process.
        parameters: of the solver.
    """

    name: str
    problem: Problem
    seed: int
    ends: float
    most_s: float
    work_s: float
    parameters: Mapping[str, ParameterValue]


def _run(runner: _Runner) -> Outcome | UllageError:
    """What comes of one that races; its time begins now."""
    left_s = min(runner.most_s, runner.ends - time.time())
    budget = Budget(None if math.isinf(left_s) else time.monotonic() + left_s)
    budget = budget.at_most_work(runner.work_s)
    try:
        return run_solver(
            runner.name, runner.problem, budget, parameters=runner.parameters, seed=runner.seed
        )
    except UllageError as error:
        return error


def _run_side_by_side(field: _Field, race: "_Race") -> None:
    """Race in processes; what comes of it is taken in order, until the rest makes no difference.

    Raises:
        KeyboardInterrupt: interrupted before any plan.
    """
    names = field.names
    if field.refiner and not _has_time_to_refine(field):
        names = field.members
    ends = math.inf
    if field.budget.deadline is not None:
        ends = time.time() + field.budget.remaining_s()
    runners = [
        _Runner(
            name,
            field.problem,
            field.options.seed,
            ends,
            field.most_s(number),
            math.inf if number == len(field.members) else field.work_s,
            field.parameters(number),
        )
        for number, name in enumerate(names)
    ]
    found: dict[int, Outcome | UllageError] = {}
    taken = 0

    def take(number: int) -> None:
        """Take what came of one."""
        outcome = found[number]
        if isinstance(outcome, UllageError):
            race.miss(names[number], outcome)
            return
        if number == len(field.members):
            race.note_patience(field)
        race.enter(outcome, names[number], is_member=number < len(field.members))
        if race.best is outcome:
            field.budget.on_improvement(outcome.value)

    field.budget.progress(f"racing {', '.join(names)}")
    try:
        with (
            open_engine(field.options.engine, field.options.jobs) as engine,
            closing(engine.run(_run, runners, _waited_until(field.budget))) as results,
        ):
            for number, outcome in results:
                found[number] = outcome
                while taken in found and not field.is_decided(race, taken):
                    take(taken)
                    taken += 1
                field.budget.progress(f"{names[number]} is done, {taken} of {len(names)} count")
                if taken == len(names) or field.is_decided(race, taken):
                    return
    except KeyboardInterrupt:
        race.interrupted = True
    for number in sorted(number for number in found if number >= taken):
        take(number)
    if race.interrupted and race.best is None:
        raise KeyboardInterrupt
    left_out = [name for number, name in enumerate(field.members) if number not in found]
    race.leave_out(left_out, field)


def _waited_until(budget: Budget) -> float:
    """`time.monotonic()` value until which results are waited for."""
    return math.inf if budget.deadline is None else budget.deadline + HANDING_OVER_S


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
        self._cut_short: list[str] = []  # members whose time was over before they were done

    def enter(self, outcome: Outcome, name: str, *, is_member: bool) -> None:
        """Keep an outcome if it is the best so far; its bound if that is the highest so far.

        Args:
            outcome: the outcome.
            name: of the solver that was run.
            is_member: it is no exact solver behind the members.
        """
        plan = outcome.plan
        self.makers.add(plan.solver)
        if is_member and outcome.solution.stop_reason == "time limit":
            self._cut_short.append(name)
        if plan.lower_bound is not None and (
            self.bound is None or plan.lower_bound > self.bound.value
        ):
            self.bound = Bound(plan.lower_bound, plan.bound_source)
        if self.best is None or outcome.value < self.best.value:
            self.best = outcome

    def is_cut_short(self, name: str) -> bool:
        """Whether a member has a plan and a bound that more time would better."""
        return name in self._cut_short and self.bound is not None

    def gap(self) -> float:
        """How far the best plan is above the best bound; infinite without one."""
        if self.best is None or self.bound is None or self.bound.value <= 0:
            return math.inf
        return self.best.value / self.bound.value - 1

    def note_patience(self, field: _Field) -> None:
        """Note that an exact solver had seconds that nobody asked for."""
        if field.budget.deadline is None:
            self.notes.append(
                f"auto: {self.gap():.1%} above the bound, so {field.refiner} had "
                f"{field.options.patience_s:g} s as well (--time-limit gives more or less)"
            )

    def miss(self, name: str, error: UllageError) -> None:
        """Note a member without a plan: it may not know such targets, be too slow, or broken."""
        if isinstance(error, InfeasibleError | UsageError):
            self._refusal = self._refusal or error
        elif isinstance(error, TimeLimitError):
            self._late = self._late or error
        else:
            self._failure = self._failure or error
        self.notes.append(f"auto: {name} found no plan: {error.message}")

    def leave_out(self, names: Sequence[str], field: _Field) -> None:
        """Note members that time left out, but for those whose plan another one handed in.

        Nothing is lost with the plan that moves no data. Where nobody has set a limit, those that
        the seconds of the processor cut short are noted as well.
        """
        left = [name for name in names if name not in self.makers and name != NO_MOVES]
        if math.isinf(field.work_s):
            if left:
                self.notes.append(f"auto: the time limit left out {', '.join(left)}")
            return
        late = [f"cut {' and '.join(self._cut_short)} short"] if self._cut_short else []
        late += [f"left out {' and '.join(left)}"] if left else []
        if late:
            self.notes.append(
                f"auto: {field.work_s:.2g} s of the processor, which it has without a time limit, "
                f"{' and '.join(late)} (--time-limit gives more)"
            )

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


def _is_worth_refining(field: _Field, race: _Race) -> bool:
    """Whether an exact solver of whole tensors may still find something better.

    Plans of operands that may be cut are worth it only where they are far from their bound.
    """
    best, problem = race.best, field.problem
    if best is None or not _can_refine(field):
        return False
    if field.budget.deadline is None or problem.target.split_operands:
        return FAR < race.gap() < math.inf
    return race.bound is None or best.value > race.bound.value * (1 + PROVEN)


def _can_refine(field: _Field) -> bool:
    """Whether the exact solver knows such problems."""
    refiner, problem = find_solver(field.refiner), field.problem
    if problem.objective not in refiner.objectives:
        return False
    if problem.latency_limit_s is not None and not refiner.keeps_limit:
        return False
    return not needs_detour(problem.target)  # exact solvers move data in one hop


def _has_time_to_refine(field: _Field) -> bool:
    """Whether the exact solver has so much time that it can begin."""
    if field.budget.deadline is None:
        return field.options.patience_s > 0
    return field.budget.has_time_for(LEAST_REFINE_S)


SOLVER = Solver(
    "auto",
    "portfolio: runs the other solvers under one deadline and keeps the best plan",
    solve,
    PortfolioOptions,
    ("latency", "traffic", "energy", "peak"),
    keeps_limit=True,
)
