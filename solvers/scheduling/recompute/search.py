"""`--recompute auto`: which results to drop between uses and compute again.

1. Local search over sets of gaps (`copies`), from the best of the set that drops nothing and those
   that others would choose (`known`): one gap after the other is dropped, or kept again, in random
   order, and what the surrogate (`surrogate`) finds better stays. A pass looks at every gap; passes
   follow one another until one gains nothing. Sets that are as good are taken now and then, so that
   plateaus are crossed. From an optimum the search goes on with some gaps changed that belong to
   one window of the order (iterated local search; Lourenco, Martin and Stutzle, 2003).
   It begins a second time with the best of the sets that a relaxation repeats (`bound`), which
   also proves what no schedule of the order falls below.
2. The best on the way, and the best of each family that others would choose, are ranked by the
   fluid LPs of their schedules, which know when data moves.

Decisions are per tensor and gap, never per operator and step: what a step needs follows from them.
Whether the plan is better than the one without recomputation, the caller checks by planning both.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.hwmodels.bounds import Bound
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import optimum, relax
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.valued import SchedulingTask
from ullage.solvers.scheduling.recompute.bound import (
    Solved,
    bound_of,
    relaxed_sets,
    solved_relaxations,
    streaming_s,
)
from ullage.solvers.scheduling.recompute.copies import (
    DROPPED,
    KEPT,
    STAYS,
    GapOf,
    RecomputeFacts,
    first_runs,
    recompute_facts,
    schedule_of,
)
from ullage.solvers.scheduling.recompute.kernels import Flags
from ullage.solvers.scheduling.recompute.known import (
    checkpoint_sets,
    ends,
    knapsack_sets,
    redone_sets,
)
from ullage.solvers.scheduling.recompute.order_items import OrderItems, order_items, why_no_items
from ullage.solvers.scheduling.recompute.surrogate import surrogate_of
from ullage.solvers.state.segments import segments_of

# Options of the LPs that rank schedules: they need not be solved to the end.
OPTIONS = FluidOptions(window_steps=16, max_rounds=3)
# Sets that the surrogate values at most, and operators of all of them together: some two seconds.
MOST_VALUED, MOST_OPERATORS = 25_000, 8_000_000
# Places of the order whose gaps are changed together, and shares of them, to leave an optimum.
KICKS, KICK_SHARES = (8, 16, 32, 64), (0.1, 0.3, 0.6)
# Optima in a row that are no better after which the search ends.
PATIENCE = 60
# Sets between two looks at the clock.
CLOCK_EVERY = 16
# Share of the time left for the surrogate; the rest is for the LPs.
SURROGATE_SHARE = 0.6
# Share of the time left for the relaxations.
RELAXED_SHARE = 0.4
# Seconds of the search where the job has no time limit.
DEFAULT_BUDGET_S = 10.0
# Share of a job's time that the search takes where it has one.
LIMIT_SHARE = 0.5
# Places between two accesses below which dropping is not tried: nothing else needs the room.
LEAST_PLACES = 2
# Relative gain that counts, and the chance that an equal set is taken.
GAIN, EQUAL_CHANCE = 1e-7, 0.5
# Share by which the best set must be better than none, for operators to run again.
LEAST_GAIN = 1e-3
# Sets of the search of which LPs are solved: between these numbers, and about so many operators in
# all of them.
RANKED, RANKED_OPERATORS = (2, 6), 1000


@dataclass(frozen=True)
class RecomputeResult:
    """What the search chose.

    Attributes:
        schedule: with copies of operators; whole where nothing is dropped.
        dropped: the gaps.
        valued: sets valued by the surrogate.
        is_cut_short: the time limit ended the search.
        bound: latency that no schedule falls below in which operators run for the first time in the
            order, or in that of the schedule, with any repetitions; None where nothing is proven.
    """

    schedule: Schedule
    dropped: frozenset[GapOf]
    valued: int
    is_cut_short: bool
    bound: Bound | None = None


def recompute_until(task: SchedulingTask) -> RecomputeResult:
    """The best schedule found in a share of the job's time; without a limit in some seconds."""
    unlimited = task.budget.deadline is None
    budget = task.budget.at_most(DEFAULT_BUDGET_S) if unlimited else task.budget.share(LIMIT_SHARE)
    return recompute(task, budget)


def recompute(task: SchedulingTask, budget: Budget) -> RecomputeResult:
    """The best schedule found; see the module's description.

    Args:
        task: the graph in its order, the target and the objective.
        budget: the time.
    """
    whole = Schedule.whole(task.order)
    facts = recompute_facts(task.graph, task.order, task.aliases)
    problem = task.problem_of(whole)
    items, solved = _relaxed(task, budget.share(RELAXED_SHARE))
    bound = bound_of(solved)
    relaxed = [] if items is None else relaxed_sets(facts, items, solved)
    search = _GapSearch(facts, problem, task, budget.share(SURROGATE_SHARE))
    sets = search.run(relaxed)
    ranked = _ranked_sets(len(task.order))
    chosen = dict.fromkeys([*sets[: -ranked - 1 : -1], *search.rivals[::-1]])
    # Sets that delay operators and repeat none are orders, which are chosen before (`--order`).
    repeating = [dropped for dropped in chosen if _repeats(facts, dropped)]
    best = _ranked(task, facts, repeating, budget) if repeating else frozenset[GapOf]()
    schedule = schedule_of(facts, best)
    # Of what others would choose the surrogate may see no gain where the linear programs do.
    pays = best in search.rivals or search.gains(sets)
    if not repeating or not pays or not _is_legal(task, schedule):
        schedule = whole
    elif bound is not None and (order := first_runs(facts, schedule)) != task.order:
        # The answer is this plan or that without repetitions: what is proven holds in both orders.
        other = bound_of(_relaxed(replace(task, order=order), budget)[1])
        bound = None if other is None else min(bound, other, key=lambda one: one.value)
    return RecomputeResult(schedule, best, search.valued, budget.is_over(), bound)


def _relaxed(task: SchedulingTask, budget: Budget) -> tuple[OrderItems | None, list[Solved]]:
    """The items of an order and its relaxations; none where nothing is proven of it.

    Args:
        task: the graph in its order, the target and the objective.
        budget: the time.
    """
    problem = task.problem_of(Schedule.whole(task.order))
    if why_no_items(problem):
        return None, []
    items = order_items(task.graph, task.order, task.aliases, problem)
    if items is None or not items.operators:
        return None, []
    budget.progress("relaxing recomputation")
    return items, solved_relaxations(items, streaming_s(items), budget)


def _ranked_sets(operators: int) -> int:
    """How many sets of the search are ranked by their LPs."""
    return min(max(RANKED[0], RANKED_OPERATORS // max(1, operators)), RANKED[1])


def _repeats(facts: RecomputeFacts, dropped: frozenset[GapOf]) -> bool:
    """Whether an operator runs again where these gaps are dropped."""
    return any(part.copy for part in schedule_of(facts, dropped).parts)


def _is_legal(task: SchedulingTask, schedule: Schedule) -> bool:
    """Whether every part finds what it reads, by symbolic execution."""
    try:
        task.problem_of(schedule)
    except UsageError:
        return False
    return True


def _ranked(
    task: SchedulingTask, facts: RecomputeFacts, sets: list[frozenset[GapOf]], budget: Budget
) -> frozenset[GapOf]:
    """The set with the best LP; the first where there is no time, or no LP."""
    values: dict[int, float] = {}
    for number, dropped in enumerate(sets):
        if budget.is_over():
            break
        value = _lp_value(task, schedule_of(facts, dropped), budget)
        if value is not None:
            values[number] = value
    return sets[min(values, key=lambda number: values[number])] if values else sets[0]


def _lp_value(task: SchedulingTask, schedule: Schedule, budget: Budget) -> float | None:
    """Optimum of the LP of a schedule; None where it has none in time."""
    try:
        problem = task.problem_of(schedule)
        known = run_solver("all-slow", problem).value
        relaxation = relax(problem, segments_of(problem), known, OPTIONS, budget)
    except (InfeasibleError, UsageError):
        return None
    return None if relaxation is None else optimum(problem, relaxation)


class _GapSearch:
    """Local search over sets of dropped gaps.

    Attributes:
        facts: the graph in its order.
        valued: sets valued so far.
        rivals: the best of each family of sets that others would choose, or the best two.
    """

    def __init__(
        self, facts: RecomputeFacts, problem: Problem, task: SchedulingTask, budget: Budget
    ) -> None:
        self.facts = facts
        self.valued = 0
        self.rivals: list[frozenset[GapOf]] = []
        self._budget = budget
        self._rng = np.random.default_rng(task.seed)
        self._surrogate = surrogate_of(facts, problem)
        self._rivals_each = 2 if _ranked_sets(len(facts.order)) > RANKED[0] else 1
        self._most = min(MOST_VALUED, MOST_OPERATORS // max(1, len(facts.order)))
        self._gaps = [gap for gap in facts.gaps if self._may_pay(gap)]
        self._made_at = [self.facts.results[gap.result].places[0] for gap in self._gaps]
        self._is_last = [
            gap.number == len(facts.results[gap.result].places) - 1 for gap in self._gaps
        ]
        self._flag_of = np.array([self._surrogate.flag_of(gap) for gap in self._gaps], np.int64)

    def run(self, relaxed: Collection[frozenset[GapOf]] = ()) -> list[frozenset[GapOf]]:
        """Sets ever better by the surrogate, the best last; the first drops nothing.

        The search begins with the best of the sets that drop nothing, or what others would drop.

        Args:
            relaxed: sets of which the best is another place to begin.
        """
        gone = self._flags(ends(self.facts))
        sets = [self._set(gone)]
        best = self._surrogate.value(gone)
        knapsacks = knapsack_sets(self.facts, self._surrogate.compute_s)
        for family in (redone_sets(self.facts), checkpoint_sets(self.facts), knapsacks):
            if self._budget.is_over():
                break
            known = [self._flags(dropped) for dropped in family]
            values = [self._surrogate.value(flags) for flags in known]
            self.valued += len(known)
            in_order = np.argsort(values, kind="stable")[: self._rivals_each].tolist()
            self.rivals += [self._set(known[number]) for number in reversed(in_order)]
            at = in_order[0]
            if values[at] < best * (1 - GAIN):
                best, gone = values[at], known[at]
                sets.append(self._set(gone))
        starts = self._best_of(relaxed)
        idle = 0
        current = gone.copy()
        while idle < PATIENCE and self.valued < self._most and not self._budget.is_over():
            self._budget.progress(f"recomputation: {best:.6g}")
            value = self._descend(current)
            if value < best * (1 - GAIN):
                best, gone, idle = value, current.copy(), 0
                sets.append(self._set(gone))
            else:
                idle += 1
            current = starts.pop() if starts else self._kicked(gone)
        return sets

    def gains(self, sets: Sequence[frozenset[GapOf]]) -> bool:
        """Whether the last set is better than the first by enough to run operators again."""
        first, last = (self._surrogate.value(self._flags(one)) for one in (sets[0], sets[-1]))
        return last < first * (1 - LEAST_GAIN)

    def _best_of(self, sets: Collection[frozenset[GapOf]]) -> list[Flags]:
        """The best of some sets by the surrogate; none of none, or where time is over."""
        known = [self._flags(dropped) for dropped in sets] if not self._budget.is_over() else []
        self.valued += len(known)
        values = [self._surrogate.value(flags) for flags in known]
        return [known[int(np.argmin(values))]] if known else []

    def _descend(self, gone: Flags) -> float:
        """Passes until one gains nothing; changes `gone`. The value at the end."""
        value = np.inf
        while not self._budget.is_over() and self.valued < self._most:
            before, value = value, self._pass(gone, self._surrogate.value(gone))
            if value >= before * (1 - GAIN):
                break
        return min(value, self._surrogate.value(gone))

    def _kicked(self, gone: Flags) -> Flags:
        """The set with some gaps changed whose results are made around one place of the order."""
        kicked = gone.copy()
        width = int(self._rng.choice(KICKS))
        first = int(self._rng.integers(max(1, len(self.facts.order) - width)))
        inside = [at for at, place in enumerate(self._made_at) if first <= place < first + width]
        share = self._rng.choice(KICK_SHARES)
        for at in inside:
            if self._rng.random() < share:
                kicked[self._flag_of[at]] = self._another(at, kicked[self._flag_of[at]])
        return kicked

    def _pass(self, gone: Flags, value: float) -> float:
        """Drop each gap, or keep it, in random order; changes `gone`. The value at the end."""
        for number, at in enumerate(self._rng.permutation(len(self._gaps)).tolist()):
            if number % CLOCK_EVERY == 0 and self._budget.is_over():
                break
            flag = self._flag_of[at]
            before = gone[flag]
            gone[flag] = self._another(at, before)
            other = self._surrogate.value(gone)
            self.valued += 1
            if other < value * (1 - GAIN):
                value = other
            elif other > value or self._rng.random() >= EQUAL_CHANCE:
                gone[flag] = before
        return value

    def _another(self, at: int, state: int) -> int:
        """Another state of a gap: of the two of one behind the last access, any."""
        if not self._is_last[at]:
            return DROPPED if state == KEPT else KEPT
        return int((state + 1 + self._rng.integers(2)) % 3)

    def _flags(self, dropped: Collection[GapOf]) -> Flags:
        gone = np.zeros(self._surrogate.first_gap[-1], dtype=np.uint8)
        for gap, flag in zip(self._gaps, self._flag_of, strict=True):
            if gap in dropped:
                gone[flag] = DROPPED
            elif replace(gap, stays=True) in dropped:
                gone[flag] = STAYS
        return gone

    def _set(self, gone: Flags) -> frozenset[GapOf]:
        return frozenset(
            replace(gap, stays=bool(gone[flag] == STAYS))
            for gap, flag in zip(self._gaps, self._flag_of, strict=True)
            if gone[flag] != KEPT
        )

    def _may_pay(self, gap: GapOf) -> bool:
        """Whether dropping is tried: something happens in the gap; always behind the last use."""
        places = self.facts.results[gap.result].places
        if gap.number == len(places) - 1:
            return True
        return places[gap.number + 1] - places[gap.number] >= LEAST_PLACES
