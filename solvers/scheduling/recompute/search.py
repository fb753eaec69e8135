"""`--recompute auto`: which results to drop between uses and compute again, and in which order.

1. Simulated annealing over orders of the operators and sets of gaps (`copies`) together, from the
   best of the set that drops nothing, those that others would choose (`known`), and those that a
   relaxation repeats (`bound`). A surrogate (`surrogate`) values each in a fraction of a
   millisecond. The temperature falls with the number of moves, not with time, so that the same
   seed finds the same; each of a few chains begins with the best of those before.
2. The best on the way, and of each family that others would choose, are ranked by the fluid LPs of
   their schedules, which know when data moves: as many as there is time for.

Decisions are per tensor and gap, never per operator and step: what a step needs follows from them.
Whether the plan is better than the one without recomputation, the caller checks by planning both.
The relaxation also proves what no schedule falls below that has the order, or that of the answer.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ullage.compiler.common.arrays import Ints
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
    GapOf,
    RecomputeFacts,
    first_runs,
    in_order,
    recompute_facts,
    schedule_of,
)
from ullage.solvers.scheduling.recompute.known import (
    checkpoint_sets,
    ends,
    knapsack_sets,
    redone_sets,
)
from ullage.solvers.scheduling.recompute.order_items import OrderItems, order_items, why_no_items
from ullage.solvers.scheduling.recompute.surrogate import (
    MOST_TIMES,
    Flags,
    RecomputeSurrogate,
    surrogate_of,
)
from ullage.solvers.state.segments import segments_of

# Options of the LPs that rank schedules: they need not be solved to the end.
OPTIONS = FluidOptions(window_steps=16, max_rounds=3)
# Moves at most, and operators in the orders of all of them: one to four seconds.
MOST_MOVES, MOST_OPERATORS = 200_000, 16_000_000
# Chains one after the other, each of so many moves or more: one of twice as many is worth more. Two
# where there are more moves than that, since in one alone everything hangs on its temperature.
CHAIN_MOVES = 25_000
# Temperatures at the beginning of each chain, and at the end of any, as shares of the value; two or
# three chains begin with the second.
HOT, COLD = (0.01, 0.03, 0.01, 0.003), 2e-4
# How many of the best on the way are ranked.
CANDIDATES = 12
# Moves between two looks at the clock.
CLOCK_EVERY = 500
# Share of the time left for the surrogate; the rest is for the LPs.
SURROGATE_SHARE = 0.6
# Share of the time left for the relaxations, and seconds of work at most.
RELAXED_SHARE, RELAXED_S = 0.4, 3.0
# Seconds of work of the search where the job has no time limit.
DEFAULT_BUDGET_S = 10.0
# Share of a job's time that the search takes where it has one.
LIMIT_SHARE = 0.5
# Relative gain that counts.
GAIN = 1e-7
# Share by which the best set must be better than none, for operators to run again.
LEAST_GAIN = 1e-3
# How many times as much a byte that is fetched again costs where results are not to be swapped.
UNSWAPPED = 1000.0
# Seconds of work for the LPs that rank schedules, and steps of the longest schedule that is ranked:
# what is longer takes seconds.
RANKED_S, RANKED_STEPS = 2.0, 300


@dataclass(frozen=True)
class Choice:
    """An order with the gaps in which results are dropped.

    Attributes:
        facts: the graph in that order.
        dropped: the gaps.
    """

    facts: RecomputeFacts
    dropped: frozenset[GapOf]

    @cached_property
    def schedule(self) -> Schedule:
        """What runs."""
        return schedule_of(self.facts, self.dropped)


@dataclass(frozen=True)
class RecomputeResult:
    """What the search chose.

    Attributes:
        schedule: with copies of operators, or each once in another order; that of the task where
            nothing is better.
        valued: moves valued by the surrogate, and sets before them.
        is_cut_short: the time limit ended the search.
        bound: latency that no schedule falls below in which operators run for the first time in the
            order of the task, with any repetitions; None where nothing is proven.
        own_bound: the same of the order in which they do in the schedule.
    """

    schedule: Schedule
    valued: int
    is_cut_short: bool
    bound: Bound | None = None
    own_bound: Bound | None = None


def recompute_until(task: SchedulingTask) -> RecomputeResult:
    """The best schedule found in a share of the job's time; without a limit in some seconds."""
    unlimited = task.budget.deadline is None
    if unlimited:
        return recompute(task, task.budget.at_most_work(DEFAULT_BUDGET_S))
    return recompute(task, task.budget.share(LIMIT_SHARE))


def recompute(task: SchedulingTask, budget: Budget) -> RecomputeResult:
    """The best schedule found; see the module's description.

    Args:
        task: the graph in its order, the target and the objective.
        budget: the time.
    """
    whole = Schedule.whole(task.order)
    facts = recompute_facts(task.graph, task.order, task.aliases)
    problem = task.problem_of(whole)
    items, solved = _relaxed(task, budget)
    bound = bound_of(solved)
    relaxed = [] if items is None else relaxed_sets(facts, items, solved)
    # Without a limit of the job each may take all of its seconds.
    part = budget if task.budget.deadline is None else budget.share(SURROGATE_SHARE)
    search = _GapSearch(facts, surrogate_of(facts, problem), task.seed, part)
    choices = search.run(relaxed)
    choices = [*choices[:1], *search.rivals, *choices[1:]]
    others = {one.schedule.parts: one for one in choices if one.schedule.parts != whole.parts}
    best = _ranked(task, list(others.values()), budget) if others else None
    # Of what others would choose the surrogate may see no gain where the linear programs do.
    if best is None or not (search.gains or best in search.rivals):
        return RecomputeResult(whole, search.valued, budget.is_over(), bound, bound)
    own, order = bound, first_runs(facts, best.schedule)
    if bound is not None and order != task.order:
        own = bound_of(_relaxed(replace(task, order=order), budget)[1])
    return RecomputeResult(best.schedule, search.valued, budget.is_over(), bound, own)


def without_swapping(task: SchedulingTask) -> Schedule:
    """The schedule of computing again alone: what is fetched again costs far more than its time.

    What no repetition makes room for is swapped all the same.

    Args:
        task: the graph in its order, the target and the objective.
    """
    facts = recompute_facts(task.graph, task.order, task.aliases)
    surrogate = surrogate_of(facts, task.problem_of(Schedule.whole(task.order)))
    dear = replace(surrogate, read_s=UNSWAPPED * surrogate.read_s)
    found = _first_legal(task, _GapSearch(facts, dear, task.seed, task.budget).run())
    return Schedule.whole(task.order) if found is None else found.schedule


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
    if task.budget.deadline is not None:
        budget = budget.share(RELAXED_SHARE)
    budget = replace(budget, work_ends=None).at_most_work(RELAXED_S)  # beside those of the search
    budget.progress("relaxing recomputation")
    return items, solved_relaxations(items, streaming_s(items), budget)


def _ranked(task: SchedulingTask, choices: Sequence[Choice], budget: Budget) -> Choice | None:
    """The choice with the best LP; the first that is legal where they are long. None of none."""
    begun = time.process_time()
    best: tuple[float, Choice] | None = None
    for choice in choices:
        if best is not None and (budget.is_over() or time.process_time() - begun > RANKED_S):
            break
        try:
            problem = task.problem_of(choice.schedule)
        except UsageError:
            continue
        if len(choices) == 1 or budget.is_over() or len(problem.steps) > RANKED_STEPS:
            return choice if best is None else best[1]
        value = _lp_value(problem, budget)
        if best is None or value < best[0]:
            best = value, choice
    return None if best is None else best[1]


def _first_legal(task: SchedulingTask, choices: Sequence[Choice]) -> Choice | None:
    """The first choice that symbolic execution allows; None of none."""
    for choice in choices:
        try:
            task.problem_of(choice.schedule)
        except UsageError:
            continue
        return choice
    return None


def _lp_value(problem: Problem, budget: Budget) -> float:
    """Optimum of the LP of a schedule; infinite where it has none in time."""
    try:
        known = run_solver("all-slow", problem).value
        relaxation = relax(problem, segments_of(problem), known, OPTIONS, budget)
    except InfeasibleError:
        return np.inf
    return np.inf if relaxation is None else optimum(problem, relaxation)


class _GapSearch:
    """Annealing of orders and sets of dropped gaps.

    Attributes:
        facts: the graph in its order.
        valued: sets and moves valued so far.
        rivals: the best of each family of sets that others would choose.
        gains: whether something was found that is better than dropping nothing by enough.
    """

    def __init__(
        self, facts: RecomputeFacts, surrogate: RecomputeSurrogate, seed: int, budget: Budget
    ) -> None:
        self.facts = facts
        self.valued = 0
        self.rivals: list[Choice] = []
        self.gains = False
        self._budget = budget
        self._rng = np.random.default_rng(seed)
        self._surrogate = surrogate
        self._moves = min(MOST_MOVES, MOST_OPERATORS // max(1, len(self._surrogate.running)))

    def run(self, relaxed: Collection[frozenset[GapOf]] = ()) -> list[Choice]:
        """The best on the way, the best one first; the beginning where time is over.

        The search begins with the best of the sets that drop nothing, or what others would drop.

        Args:
            relaxed: sets of which the best is another place to begin.
        """
        surrogate = self._surrogate
        gone = surrogate.flags_of(ends(self.facts))
        best = first = surrogate.value(gone)
        knapsacks = knapsack_sets(self.facts, surrogate.compute_s)
        for family in (redone_sets(self.facts), checkpoint_sets(self.facts), knapsacks, relaxed):
            if self._budget.is_over() or not family:
                continue
            known = [surrogate.flags_of(dropped) for dropped in family]
            values = [surrogate.value(flags) for flags in known]
            self.valued += len(known)
            at = int(np.argmin(values))
            if family is not relaxed:
                self.rivals.append(Choice(self.facts, list(family)[at]))
            if values[at] < best * (1 - GAIN):
                best, gone = values[at], known[at]
        found = self._chains(surrogate.running, gone, best)
        self.gains = bool(found) and found[0][0] < first * (1 - LEAST_GAIN)
        return [self._choice(running, flags) for _, running, flags in found]

    def _chains(self, running: Ints, gone: Flags, value: float) -> list[tuple[float, Ints, Flags]]:
        """(value, operators as they run once, flags), ever better on the way; the best first."""
        from ullage.solvers.scheduling.recompute.annealing import DRAWS, anneal

        surrogate = self._surrogate
        flags = np.array(sorted({surrogate.flag_of(gap) for gap in self.facts.gaps}), np.int64)
        least = 1 + (self._moves > CHAIN_MOVES)
        chains = min(len(HOT), max(least, self._moves // CHAIN_MOVES))
        hot = HOT[1:] if 1 < chains < len(HOT) else HOT
        moves = self._moves // chains
        found = [(value, running, gone)]
        for chain in range(chains if len(running) else 0):
            values = np.array([value, value])
            best = running.copy(), gone.copy()
            state = running.copy(), gone.copy(), *best, values
            heat = hot[chain] * (COLD / hot[chain]) ** np.linspace(0, 1, moves)
            for begin in range(0, moves, CLOCK_EVERY):
                if self._budget.is_over():
                    break
                self._budget.progress(f"recomputation: {values[1]:.6g}")
                temperatures = heat[begin : begin + CLOCK_EVERY]
                draws = self._rng.random((len(temperatures), DRAWS))
                anneal(state, flags, surrogate.arguments, MOST_TIMES, draws, temperatures)
                self.valued += len(temperatures)
                if values[1] < value * (1 - GAIN):
                    value = float(values[1])
                    found.append((value, best[0].copy(), best[1].copy()))
            value, running, gone = min(found, key=lambda one: one[0])
        return sorted(found, key=lambda one: one[0])[:CANDIDATES]

    def _choice(self, running: Ints, gone: Flags) -> Choice:
        facts = in_order(self.facts, running.tolist())
        return Choice(facts, self._surrogate.dropped(gone, facts))
