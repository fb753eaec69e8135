"""`--recompute auto`: which results to drop between uses and compute again.

1. Local search over sets of gaps (`copies`), from the set that drops nothing: one gap after the
   other is dropped, or kept again, in random order, and what the surrogate (`surrogate`) finds
   better stays. A pass looks at every gap; passes follow one another until one gains nothing. Sets
   that are as good are taken now and then, so that plateaus are crossed.
2. The sets at the ends of the passes are ranked by the fluid LPs of their schedules, which know
   when data moves.

Decisions are per tensor and gap, never per operator and step: what a step needs follows from them.
Whether the plan is better than the one without recomputation, the caller checks by planning both.
"""

from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import optimum, relax
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.valued import SchedulingTask
from ullage.solvers.scheduling.recompute.copies import (
    GapOf,
    RecomputeFacts,
    recompute_facts,
    schedule_of,
)
from ullage.solvers.scheduling.recompute.surrogate import surrogate_of
from ullage.solvers.state.segments import segments_of

# Options of the LPs that rank schedules: they need not be solved to the end.
OPTIONS = FluidOptions(window_steps=8, max_rounds=1)
# Sets that the surrogate values at most, times the number of gaps ...
PASSES = 8
# ... and altogether, where the job has no time limit.
MOST_VALUED = 6000
# Share of the time left for the surrogate; the rest is for the LPs.
SURROGATE_SHARE = 0.6
# Seconds of the search where the job has no time limit.
DEFAULT_BUDGET_S = 5.0
# Share of a job's time that the search takes where it has one.
LIMIT_SHARE = 0.5
# Places between two accesses below which dropping is not tried: nothing else needs the room.
LEAST_PLACES = 2
# Relative gain that counts, and the chance that an equal set is taken.
GAIN, EQUAL_CHANCE = 1e-7, 0.5
# Sets of which LPs are solved.
RANKED = 3


@dataclass(frozen=True)
class RecomputeResult:
    """What the search chose.

    Attributes:
        schedule: with copies of operators; whole where nothing is dropped.
        dropped: the gaps.
        valued: sets valued by the surrogate.
        is_cut_short: the time limit ended the search.
    """

    schedule: Schedule
    dropped: frozenset[GapOf]
    valued: int
    is_cut_short: bool


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
    search = _GapSearch(facts, problem, task, budget.share(SURROGATE_SHARE))
    sets = search.run()
    best = _ranked(task, facts, sets, budget)
    schedule = schedule_of(facts, best)
    if all(part.copy == 0 for part in schedule.parts):
        schedule = whole
    return RecomputeResult(schedule, best, search.valued, budget.is_over())


def _ranked(
    task: SchedulingTask, facts: RecomputeFacts, sets: list[frozenset[GapOf]], budget: Budget
) -> frozenset[GapOf]:
    """The set with the best LP of the last few; the last where there is no time, or no LP."""
    if len(sets) < 2:
        return sets[-1]
    values: dict[int, float] = {}
    for number in range(len(sets) - 1, max(-1, len(sets) - 1 - RANKED), -1):
        if budget.is_over():
            break
        value = _lp_value(task, schedule_of(facts, sets[number]), budget)
        if value is not None:
            values[number] = value
    return sets[min(values, key=lambda number: values[number])] if values else sets[-1]


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
    """

    def __init__(
        self, facts: RecomputeFacts, problem: Problem, task: SchedulingTask, budget: Budget
    ) -> None:
        self.facts = facts
        self.valued = 0
        self._budget = budget
        self._rng = np.random.default_rng(task.seed)
        self._value = surrogate_of(facts, problem).value

    def run(self) -> list[frozenset[GapOf]]:
        """The sets at the end of each pass, the best last; the first drops nothing."""
        last = {gap for gap in self.facts.gaps if self._ends(gap)}
        gaps = [gap for gap in self.facts.gaps if gap in last or self._is_long(gap)]
        kept = frozenset(last)
        best, value = set(last), self._value(last)
        sets = [kept]
        while self.valued < min(MOST_VALUED, PASSES * len(gaps)) and not self._budget.is_over():
            self._budget.progress(f"recomputation: {value:.6g}")
            before = value
            for at in self._rng.permutation(len(gaps)).tolist():
                if self._budget.is_over():
                    break
                best ^= {gaps[at]}
                other = self._value(best)
                self.valued += 1
                if other < value * (1 - GAIN):
                    value = other
                elif other > value or self._rng.random() >= EQUAL_CHANCE:
                    best ^= {gaps[at]}
            if value >= before:
                break
            sets.append(frozenset(best))
        return sets

    def _ends(self, gap: GapOf) -> bool:
        return gap.number == len(self.facts.results[gap.result].places) - 1

    def _is_long(self, gap: GapOf) -> bool:
        places = self.facts.results[gap.result].places
        return places[gap.number + 1] - places[gap.number] >= LEAST_PLACES
