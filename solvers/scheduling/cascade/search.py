"""`cascade`: which operators run stripe by stripe together, for an objective on a target.

1. The schedule of whole operators is valued by its fluid LP.
2. Dynamic programs over the order (`chain`), with a few weights of computing against transfers and
   a few prices of a part, give a few ways to group it; each is valued by its LP.
3. Local search from the best (`moves`): a group where steps wait, or where memory is dear, gets
   other stripes, another axis, blocks of a second one, or other ends; or the groups of a window
   around it are chosen anew by the dynamic program, with estimates that vary. In long graphs the
   LP of the stretch around the change judges first (`stretch`). What improves the LP of the whole
   graph, on a finer axis of time as well, is kept, until the deadline or until nothing improves.

The result is never worse by the LP than whole operators. Whether its plan is no worse either, the
caller checks by planning both.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.chain import (
    PART_PRICE,
    Chain,
    Estimates,
    estimated_groups,
)
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.fitted import FittedGroups
from ullage.solvers.scheduling.cascade.limited import LimitedStart
from ullage.solvers.scheduling.cascade.moves import random_move
from ullage.solvers.scheduling.cascade.peak import PeakSearch
from ullage.solvers.scheduling.cascade.stretch import changed_span, inside
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.twins import with_twins
from ullage.solvers.scheduling.cascade.valued import (
    Judge,
    SchedulingTask,
    ValuedGroups,
    schedule_of,
)

# Seconds of the processor that the search takes where the job has no time limit, ...
DEFAULT_BUDGET_S = 3.0
# ... and parts of its schedule at most: their plan takes about two seconds more.
DEFAULT_PARTS = 800
# Seconds of the processor that a first cut that fits may take there, where operators must be cut.
FIRST_CUT_S = 8.0
# Share of the time left that the search takes where there is a limit; the rest is for the plan, ...
SEARCH_SHARE = 0.6
# ... of which so many parts are sure to be planned in a second: half as many as were measured.
PARTS_PER_S = 200
# On a busy machine they are fewer, by the share of a core that is measured for so long at least.
LEAST_SHARE_S = 0.1
# More parts are never chosen: `fluid` solves their linear program in blocks, and loses by that.
MOST_PARTS = FluidOptions().whole_steps
# Dynamic programs that are tried: weight of compute time (None: whichever takes longer, group by
# group), and price of a part.
PROGRAMS = ((None, 1e-5), (0.5, 5e-5), (None, 2e-4), (0.5, 1e-5), (None, 5e-5), (0.5, 2e-4))
# The same where a policy corrects the costs of the groups: its program, and these two.
POLICY = "policy"
POLICY_PROGRAMS = ((POLICY, PART_PRICE), (POLICY, 1e-4), (None, PART_PRICE))
# The same where all operands of a part must fit, which leaves few groups to choose from.
FITTED_PROGRAMS = ((0.1, PART_PRICE), (0.5, PART_PRICE), (None, PART_PRICE))
# Share of the time after which no more of them are tried, once there is one.
PROGRAMS_SHARE = 0.5
# Of what they find, so many are valued on the finer axis of time as well, the best first; one that
# gains there is enough where that share of the time is over.
SURE_PROGRAMS = 2
# Factor on the price of a part where a dynamic program takes more parts than time can plan.
DEARER = 2.0
# Moves that are tried at most.
LIMIT_TRIES = 5000
# Moves in a row without gain after which the search ends, for each group.
PATIENCE_EACH = 40
# Times that the search goes on from groups some moves away from the best, the moves, and its
# patience there, for each group.
KICKS = 1000
KICK_MOVES = 2
KICK_PATIENCE_EACH = 3
# Operators on either side of what changes that belong to its stretch ...
MARGIN = 6
# ... and where operands of parts must fit, so that operators have many parts.
FITTED_MARGIN = 2
# Parts beyond which gains of stretches are added up where operands of parts must fit, and the LP of
# the whole graph judges them all together after so many of them, and at the end.
LONG_PARTS = 300
CHECKED_GAINS = 6
# Groups whose estimated accesses are more than so many times those that a plan may have are not
# lowered to count them.
ESTIMATED_ACCESSES = 1.1
# Share of the accesses that a plan may have from which on moves begin where many of them are.
CROWDED_SHARE = 0.9
# Operators of a graph up to which each move is judged by the LP of the whole graph at once.
DIRECT_OPERATORS = 24
# Relative gain of a value below which it is within the tolerance of the LP.
GAIN = 1e-5
# Where all operands of a part must fit, share of moves to groups that are estimated to fit.
ESTIMATED_CHANCE = 0.5
# Relative distance from the best on the coarse axis within which groups are valued on the finer
# one as well: the coarse one flatters some more than others.
NEARLY = 5e-3
# Share of moves that choose the groups of a window anew, operators of the window at most, and the
# standard deviation at most of the logarithm of what its estimates are multiplied with.
REGROUPED_CHANCE = 0.2
POLICY_REGROUPED_CHANCE = 0.4  # the same where a policy corrects what groups cost
MOST_REGROUPED = 10
REGROUPED_SPREAD = 0.4
# Weight that all groups have together, beside 1 for all that wait and 1 for all that crave room.
LEAST_WEIGHT = 0.3


# Weight of compute time of a dynamic program, see `PROGRAMS` and `POLICY`.
Weight = float | str | None
# Another dynamic program over the same groups, with other costs: from a task, its graph in its
# order, and the program.
Correct = Callable[[SchedulingTask, OrderFacts, Chain], Chain]


@dataclass(frozen=True)
class CascadeResult:
    """A schedule, and what it is worth beside whole operators.

    Attributes:
        schedule: the schedule; whole operators where no other is better.
        cascades: its groups.
        value: optimum of its LP in the objective's unit; None where it could not be solved.
        whole_value: that of whole operators.
        tries: moves tried.
        gains: how many of them were taken.
        is_cut_short: the time limit of the job ended the search.
    """

    schedule: Schedule
    cascades: tuple[Cascade, ...] = ()
    value: float | None = None
    whole_value: float | None = None
    tries: int = 0
    gains: int = 0
    is_cut_short: bool = False


def cascade_schedule(
    task: SchedulingTask, *, tries: int = LIMIT_TRIES, correct: Correct | None = None
) -> CascadeResult:
    """The best schedule found by the task's deadline.

    Unless the deadline ends the search, the result depends on the task and its seed alone. Where
    operators must be cut to fit, a first schedule that fits is the result if time ends behind it.

    Args:
        task: the graph in its order, the target and the objective.
        tries: moves to try at most.
        correct: corrects the costs of the groups: the search begins with what they say is best, and
            proposes groups by them.

    Raises:
        InfeasibleError: an operator has no part that fits where all of its operands must.
        TimeLimitError: operators must be cut, and none of the cuts tried while there was time fits.
    """
    programs_budget = task.budget.share(PROGRAMS_SHARE)
    clocks = time.monotonic(), time.process_time()
    whole = Schedule.whole(task.order)
    problem = task.problem_of(whole)
    singles = [Cascade(p, p + 1) for p in range(len(task.order))]
    facts = OrderFacts.of(task.graph, task.order, problem)
    judge = Judge(task, facts)
    fitted = None if facts.fitting_bytes is None else FittedGroups(task, facts)
    must_cut = fitted is not None and not _is_feasible(problem)
    # Where operators must be cut, one by one they are far worse than groups, and many parts.
    best = start = None if must_cut else judge.value(singles)
    sure = start
    estimates = estimated_groups(facts, task.budget.is_over)
    if task.most_parts is not None:
        most = round(task.most_parts * _core_share(*clocks))
        task = replace(task, most_parts=max(len(task.order), most))
    # Where operands must fit, the first groups have as many parts as it takes.
    judge.task = task if fitted is None else replace(task, most_parts=None)
    seen: set[tuple[Cascade, ...]] = set() if must_cut else {tuple(singles)}
    latest: list[Cascade] = []
    corrected = None if correct is None else partial(correct, task, facts)
    chains = _Chains(facts, estimates or [], task.target, corrected)
    candidates: list[ValuedGroups] = []
    untold: list[Sequence[Cascade]] = []  # groups that time left without a value
    for weight, price in chains.programs if estimates is not None else ():
        if judge.is_over() or (candidates and programs_budget.is_over()):
            break
        if fitted is None:
            groups = _groups_in_time(task, chains, weight, price)
        else:
            groups = chains.of(weight, price).best(0, len(facts.order))
            is_needed = must_cut and not latest
            fitting = _fitting(fitted, groups, task, is_needed=is_needed)
            if fitting is None:
                break
            groups = latest = fitting
            if is_needed:
                parts = len(fitted.schedule(groups).parts)
                task = _with_time_for(task, parts / _core_share(*clocks), fitted.plan_s)
                fitted.task = replace(fitted.task, budget=task.budget)
                judge.task = replace(judge.task, budget=task.budget)
        if tuple(groups) in seen:
            continue
        seen.add(tuple(groups))
        valued = judge.value(groups)
        if valued is not None and (best is None or valued.worth < best.worth * (1 - GAIN)):
            candidates.append(valued)
        elif valued is None and judge.is_over():
            untold.append(groups)
    for number, valued in enumerate(sorted(candidates, key=lambda v: v.worth)[:SURE_PROGRAMS]):
        if number and best is not start and programs_budget.is_over():
            break  # the rest of the time is for moves
        finely = judge.surely(valued)
        if finely is not None and (sure is None or finely.worth < sure.worth * (1 - GAIN)):
            best, sure = valued, finely
            task.budget.progress(f"cascades: {finely.value:.6g}")
        elif finely is None and judge.is_over():
            untold.insert(0, valued.cascades)
            break
    if fitted is None and best is start and untold:
        # Their plan is compared with that of whole operators: it tells what time left unknown.
        return CascadeResult(schedule_of(task, facts, untold[0]) or whole, tuple(untold[0]))
    if best is None or sure is None:
        if fitted is None or not must_cut:
            return CascadeResult(whole)
        latest = latest or fitted.singles(task.job)
        return CascadeResult(fitted.schedule(latest), tuple(latest))
    if task.most_parts is not None:
        judge.task = replace(task, most_parts=max(task.most_parts, best.parts))
    search = _LocalSearch(judge, best, sure, seen, fitted, chains)
    search.improve(tries)
    return CascadeResult(
        schedule=schedule_of(task, facts, search.best.cascades) or whole,
        cascades=search.best.cascades,
        value=search.sure.value,
        whole_value=None if start is None else start.value,
        tries=search.tries,
        gains=search.gains,
    )


def _is_feasible(problem: Problem) -> bool:
    """Whether a problem has a plan."""
    try:
        run_solver("all-slow", problem)
    except InfeasibleError:
        return False
    return True


def _core_share(wall_s: float, processor_s: float) -> float:
    """Share of a core that this process has had since both clocks; 1 for a moment ago."""
    passed_s = time.monotonic() - wall_s
    if passed_s < LEAST_SHARE_S:
        return 1.0
    return min(1.0, (time.process_time() - processor_s) / passed_s)


def _fitting(
    fitted: FittedGroups, groups: Sequence[Cascade], task: SchedulingTask, *, is_needed: bool
) -> list[Cascade] | None:
    """Groups that fit instead of those given; None where time is over first.

    Args:
        fitted: makes groups fit.
        groups: the groups.
        task: with the time of the search and of the job.
        is_needed: without them there is no schedule, so that they may take all the job's time.

    Raises:
        InfeasibleError: an operator has no part that fits.
        TimeLimitError: they are needed, and not found while there is time to plan them.
    """
    budget = task.job if is_needed else task.budget
    try:
        return fitted.repaired(groups, budget) or fitted.singles(budget)
    except TimeLimitError:
        if is_needed:
            raise
        return None


def _with_time_for(task: SchedulingTask, parts: float, least_s: float) -> SchedulingTask:
    """The task of a search that leaves time to plan so many parts before the job ends.

    Args:
        task: the task.
        parts: of the schedule.
        least_s: seconds of its quickest plan, which takes longer where parts meet in many cells.
    """
    if task.job.deadline is None:
        return task
    left_s = task.job.remaining_s() - max(least_s, parts / PARTS_PER_S)
    return replace(task, budget=task.budget.until(time.monotonic() + left_s))


class _Chains:
    """The dynamic programs of a search, whose tables are built once.

    Attributes:
        facts: the graph in its order.
        estimates: by position, the estimates of the groups that end there.
    """

    def __init__(
        self,
        facts: OrderFacts,
        estimates: Sequence[Estimates],
        target: Target,
        correct: Callable[[Chain], Chain] | None = None,
    ) -> None:
        self.facts, self.estimates = facts, estimates
        self._target, self._correct = target, correct
        self._known: dict[tuple[Weight, float], Chain] = {}

    @property
    def programs(self) -> Sequence[tuple[Weight, float]]:
        """Weight of compute time and price of a part of each program that is tried."""
        if self._correct is not None:
            return POLICY_PROGRAMS
        return PROGRAMS if self.facts.fitting_bytes is None else FITTED_PROGRAMS

    @property
    def has_policy(self) -> bool:
        """Whether a policy corrects the costs of groups."""
        return self._correct is not None

    def of(self, weight: Weight, price: float) -> Chain:
        """The program with a weight of compute time and a price of a part (`choose_groups`).

        Args:
            weight: `POLICY`: that of None, with costs corrected.
            price: of a part.
        """
        key = weight, price
        if key not in self._known:
            if isinstance(weight, str):
                plain = self.of(None, price)
                self._known[key] = plain if self._correct is None else self._correct(plain)
            else:
                self._known[key] = Chain(self.facts, self.estimates, self._target, weight, price)
        return self._known[key]


def _groups_in_time(
    task: SchedulingTask, chains: _Chains, weight: Weight, price: float
) -> list[Cascade]:
    """The groups of a dynamic program; of dearer parts while there are too many to be planned."""
    parts_of = {g.cascade: g.parts for ending in chains.estimates for g in ending}
    most = math.inf if task.most_parts is None else task.most_parts
    while True:
        groups = chains.of(weight, price).best(0, len(chains.facts.order))
        if sum(parts_of[group] for group in groups) <= most or task.budget.is_over():
            return groups
        price *= DEARER


def schedule_until(task: SchedulingTask, correct: Correct | None = None) -> CascadeResult:
    """The schedule found within its share of the job's time; without a limit within some seconds.

    It has no more parts than can be planned in the rest of the time.

    Args:
        task: the graph in its order, the target and the objective.
        correct: see `cascade_schedule`; not for the peak.
    """
    budget = task.budget
    if budget.deadline is None:
        limited, parts = budget.at_most_work(DEFAULT_BUDGET_S), DEFAULT_PARTS
        job = budget.at_most_work(FIRST_CUT_S)
    else:
        job = budget
        limited = budget.share(SEARCH_SHARE)
        parts = round(PARTS_PER_S * (budget.remaining_s() - limited.remaining_s()))
    most_parts = max(len(task.order), min(MOST_PARTS, parts))
    limited_task = replace(task, budget=limited, most_parts=most_parts, job=job)
    if task.objective == "peak":
        result = peak_schedule(limited_task)
    else:
        result = cascade_schedule(limited_task, correct=correct)
    is_cut_short = budget.deadline is not None and limited.is_over()
    return replace(result, is_cut_short=is_cut_short)


def peak_schedule(task: SchedulingTask) -> CascadeResult:
    """The schedule with the least live bytes found by the task's deadline."""
    if task.limit_s is not None:
        return limited_schedule(task)
    whole = Schedule.whole(task.order)
    search = PeakSearch(task, OrderFacts.of(task.graph, task.order, task.problem_of(whole)))
    best = search.smallest()
    if best is None:
        return CascadeResult(whole)
    return CascadeResult(best.schedule, best.cascades, float(best.live_bytes))


def limited_schedule(task: SchedulingTask, *, tries: int = LIMIT_TRIES) -> CascadeResult:
    """The schedule that needs the least memory under the task's limit of the latency."""
    whole = Schedule.whole(task.order)
    start = LimitedStart(task)
    best, sure = start.best, start.sure
    if best is None or sure is None:
        return CascadeResult(whole)
    chains = _Chains(start.judge.facts, (), task.target)
    search = _LocalSearch(start.judge, best, sure, start.tried, None, chains)
    search.improve(tries)
    return CascadeResult(
        schedule=schedule_of(task, start.judge.facts, search.best.cascades) or whole,
        cascades=search.best.cascades,
        value=search.sure.value,
        whole_value=None if start.singles is None else start.singles.value,
        tries=search.tries,
        gains=search.gains,
    )


class _LocalSearch:
    """Moves on groups, judged by the LP: of the stretch around a change first, then of all."""

    def __init__(
        self,
        judge: Judge,
        best: ValuedGroups,
        sure: ValuedGroups,
        seen: set[tuple[Cascade, ...]],
        fitted: FittedGroups | None,
        chains: _Chains,
    ) -> None:
        self.judge, self.task, self.facts = judge, judge.task, judge.facts
        self.best, self.sure = best, sure  # the same groups, by the coarse and by the fine axis
        self.tries = self.gains = 0
        self._told = sure.worth  # the best that progress has shown
        self._seen = seen
        self._fitted, self._estimates = fitted, chains.estimates
        self._checked, self._checked_gains = best, 0  # the best that was valued as a whole
        self._stretches: dict[tuple[tuple[Cascade, ...], bool], ValuedGroups | None] = {}
        self._rng = np.random.default_rng(judge.task.seed)
        self._chains: list[Chain] = []
        if len(chains.estimates) == len(self.facts.order):
            self._chains = [chains.of(weight, price) for weight, price in chains.programs]
        self._regrouped_chance = POLICY_REGROUPED_CHANCE if chains.has_policy else REGROUPED_CHANCE

    def improve(self, tries: int) -> None:
        """Try moves until the tries, the time or the patience end.

        Iterated local search (Lourenco, Martin, Stuetzle, Handbook of Metaheuristics 2003): where
        no move gains, a few moves that need not gain lead away from the best, and the search goes
        on from there.
        """
        self._climb_surely(tries, PATIENCE_EACH)
        best, sure = self.best, self.sure
        for _ in range(KICKS):
            if self.tries >= tries or self.judge.is_over():
                break
            away = self._kicked(best)
            if away is None:
                continue
            self.best = away
            self._climb(tries, KICK_PATIENCE_EACH)
            if self.best.worth < best.worth * (1 + NEARLY):
                finely = self._surely()
                if finely is not None and finely.worth < sure.worth * (1 - GAIN):
                    best, sure = self.best, finely
                    self._checked = finely
        self.best, self.sure = best, sure

    def _climb_surely(self, tries: int, patience: int) -> None:
        """Climb; back to the start where the finer axis says that it was better."""
        best = self.best
        self._climb(tries, patience)
        finely = self._surely()
        if finely is not None and finely.worth > self.sure.worth:
            self.best = best
            if self._is_long and self._checked.worth < self.sure.worth:
                self.best = self.sure = self._checked
        else:  # where time is over, every gain was one on the finer axis of its stretch
            self.sure = finely or self.best

    def _surely(self) -> ValuedGroups | None:
        """The value of the best, of the whole graph on the finest axis; None where time is over."""
        if self._is_long:
            return self.judge.value(self.best.cascades, fine=self._fitted is None)
        return self.judge.surely(self.best)

    def _kicked(self, start: ValuedGroups) -> ValuedGroups | None:
        """Groups a few moves away from others; None where such moves lead nowhere new."""
        groups = start.cascades
        for _ in range(KICK_MOVES):
            moved = self._moved(groups, start)
            if moved is not None and len(moved) == len(groups):  # the start's groups are numbered
                groups = tuple(moved)
        if groups in self._seen:
            return None
        self._seen.add(groups)
        self.tries += 1
        if self._fitted is not None and not self._fitted.fits(groups):
            return None
        return self.judge.value(groups)

    def _climb(self, tries: int, patience: int) -> None:
        """Try moves until one in `patience` for each group no longer gains."""
        idle = 0
        while self.tries < tries and not self.judge.is_over():
            if idle > patience * len(self.best.cascades):
                break
            idle += 1
            groups = self._moved(self.best.cascades, self.best)
            if groups is None or tuple(groups) in self._seen:
                continue
            self._seen.add(tuple(groups))
            self.tries += 1
            if self._ranks(groups) and self._take_everywhere(groups):
                idle = 0
                self._check()

    def _check(self) -> None:
        """Value the whole graph after some gains of stretches; back to before where it lost."""
        if not self._is_long or self.gains < self._checked_gains + CHECKED_GAINS:
            return
        self._checked_gains = self.gains
        valued = self.judge.value(self.best.cascades)
        if valued is None:  # time is over
            return
        if valued.worth < self._checked.worth:
            self._checked = valued
        self.best = self._checked

    def _take_everywhere(self, groups: Sequence[Cascade]) -> bool:
        """Take a move, and the same in all layers that are alike if that gains, too.

        Where operands of parts must fit, all layers come first: one alone need not gain.
        """
        before = self.best.cascades
        if self._fitted is None and not self._take(groups):
            return False
        twins = with_twins(self.facts, before, groups)
        if twins is None or tuple(twins) in self._seen:
            return self._fitted is None or self._take(groups)
        self._seen.add(tuple(twins))
        self.tries += 1
        if self._fitted is not None:
            return self._take(twins) or self._take(groups)
        valued = self.judge.value(twins)  # the move itself gains on the finer axis, too
        if valued is not None and valued.worth < self.best.worth * (1 - GAIN):
            self.best = valued
            self.gains += 1
        return True

    def _moved(self, groups: Sequence[Cascade], valued: ValuedGroups) -> list[Cascade] | None:
        """Groups after a move near one that waits by a value of as many groups; None for no move.

        What then does not fit is cut.
        """
        at = self._waiting_group(valued)
        if self._chains and self._rng.random() < self._regrouped_chance:
            made = self._regrouped(groups, at)
            return made if self._fitted is None else self._fitted.cut(made)
        if self._fitted is None:
            return random_move(self.facts, groups, at, self._rng)
        if self._rng.random() < ESTIMATED_CHANCE:
            return self._fitted.moved(groups, at, self._estimates, self._rng)
        moved = random_move(self.facts, groups, at, self._rng)
        return None if moved is None else self._fitted.cut(moved)

    def _regrouped(self, groups: Sequence[Cascade], at: int) -> list[Cascade]:
        """Other groups in a window around one: those of a dynamic program whose estimates vary."""
        begin = end = at
        operators = int(self._rng.integers(2, MOST_REGROUPED + 1))
        while groups[end].last - groups[begin].first < operators:
            if begin == 0 and end == len(groups) - 1:
                break
            if end == len(groups) - 1 or (begin > 0 and self._rng.random() < 0.5):
                begin -= 1
            else:
                end += 1
        chain = self._chains[int(self._rng.integers(len(self._chains)))]
        spread = REGROUPED_SPREAD * float(self._rng.random())
        window = groups[begin].first, groups[end].last
        made = chain.best(*window, self._rng, spread)
        return [*groups[:begin], *made, *groups[end + 1 :]]

    def _ranks(self, groups: Sequence[Cascade]) -> bool:
        """Whether the stretch around a change gains; True in short graphs."""
        if len(self.facts.order) <= DIRECT_OPERATORS or not self.judge.judges_stretches:
            return True
        return self._stretch_gains(groups, fine=False)

    def _stretch_gains(self, groups: Sequence[Cascade], *, fine: bool) -> bool:
        """Whether the stretch around a change of the best gains."""
        span = self._span(groups)
        now = self._stretch(inside(self.best.cascades, span), fine=fine)
        then = self._stretch(inside(groups, span), fine=fine)
        return now is None or (then is not None and then.worth < now.worth * (1 - GAIN))

    def _span(self, groups: Sequence[Cascade]) -> tuple[int, int]:
        """The stretch around a change of the best."""
        margin = MARGIN if self._fitted is None else FITTED_MARGIN
        return changed_span(self.facts, self.best.cascades, groups, margin)

    def _stretch(self, groups: tuple[Cascade, ...], *, fine: bool) -> ValuedGroups | None:
        """Value of a stretch, kept."""
        if (groups, fine) not in self._stretches:
            self._stretches[groups, fine] = self.judge.value(groups, fine=fine)
        return self._stretches[groups, fine]

    @property
    def _is_long(self) -> bool:
        """Whether the LP of the whole graph takes too long to be solved for every gain."""
        return self._fitted is not None and self.best.parts > LONG_PARTS

    def _patched(self, groups: Sequence[Cascade]) -> ValuedGroups | None:
        """The value of groups by what the stretch around their change gains; the rest as before."""
        best, span = self.best, self._span(groups)
        old = inside(best.cascades, span)
        now = self._stretch(old, fine=False)
        then = self._stretch(inside(groups, span), fine=False)
        if now is None or then is None:
            return None
        begin = best.cascades.index(old[0])
        end = begin + len(old)
        return ValuedGroups(
            tuple(groups),
            best.value + then.value - now.value,
            np.concatenate([best.lost[:begin], then.lost, best.lost[end:]]),
            np.concatenate([best.room[:begin], then.room, best.room[end:]]),
            best.parts + then.parts - now.parts,
            np.concatenate(
                [best.plan_accesses[:begin], then.plan_accesses, best.plan_accesses[end:]]
            ),
        )

    def _take(self, groups: Sequence[Cascade]) -> bool:
        if self._is_long:
            valued = self._patched(groups)
        else:
            valued = self.judge.value(groups, most=self.best.worth)
        if valued is None or valued.worth >= self.best.worth * (1 - GAIN):
            return False
        is_finer = self.judge.judges_stretches and self.judge.judges_finely
        if is_finer and not self._stretch_gains(groups, fine=True):
            return False
        if not self._may_fit(valued, groups):
            return False
        self.best = valued
        self.gains += 1
        if valued.worth < self._told * (1 - GAIN):
            self._told = valued.worth
            shown = f"{valued.value:.6g}, {self.gains} gains in {self.tries} tries"
            self.task.budget.progress(f"cascades: {shown}")
        return True

    def _may_fit(self, valued: ValuedGroups, groups: Sequence[Cascade]) -> bool:
        """Whether groups fit and may be planned, where operands must fit."""
        if self._fitted is None:
            return True
        known = self.best.plan_accesses.sum()
        if valued.plan_accesses.sum() > max(known, self._fitted.most_accesses * ESTIMATED_ACCESSES):
            return False
        return self._fitted.fits(groups)

    def _waiting_group(self, valued: ValuedGroups) -> int:
        """A group, likelier the more its steps wait, and the dearer memory is meanwhile.

        Where operands of parts must fit, most groups wait for weights that no grouping hides, and
        only the price of memory counts (measured on EfficientNet-B0); unless the plan's LP has
        nearly as many accesses as it may have: then also how many each group adds.
        """
        weights = np.full(len(valued.lost), LEAST_WEIGHT / len(valued.lost))
        most = math.inf if self._fitted is None else self._fitted.most_accesses
        is_crowded = valued.plan_accesses.sum() > CROWDED_SHARE * most
        figures = [valued.lost] if self._fitted is None or is_crowded else []
        figures += [valued.room, valued.plan_accesses] if is_crowded else [valued.room]
        for shares in figures:
            if shares.sum() > 0:
                weights += shares / shares.sum()
        return int(self._rng.choice(len(weights), p=weights / weights.sum()))
