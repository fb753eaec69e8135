"""Groups that need the least fast memory without a spill: patch-based inference with line buffers.

Between operators that run whole, a tensor is alive with all of its rows. In a cascade only some of
them are, so that the peak moves to what cannot be cut any more (MCUNetV2, Lin et al., NeurIPS 2021,
recomputes the halos of patches; here rows of a halo stay). For a size of memory a dynamic program
over the order takes the groups that fit into it and cost the least time; bisection finds the
smallest size for which there are such groups, and local search around the step with most live
bytes goes on from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.hwmodels.bounds import live_bytes_by_step
from ullage.solvers.scheduling.cascade.chain import (
    Estimates,
    GroupFigures,
    crossing_bytes,
    estimated_groups,
    together_each,
)
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.moves import random_move
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import SchedulingTask, lowered_groups

# Relative difference of two sizes at which bisection ends.
CLOSE = 0.005
# Moves of the local search in a row without gain after which it ends by default.
PATIENCE = 150
# Multiples of a size within which groups may be by their estimates.
FACTORS = (1.3, 1.2, 1.1, 1.05, 1.0, 0.95, 0.9, 0.8, 0.7)


@dataclass(frozen=True)
class PeakGroups:
    """Groups with the live bytes of their schedule.

    Attributes:
        cascades: the groups.
        schedule: their parts.
        live_bytes: largest sum of live bytes of any step, workspace included: what a packing
            without gaps needs.
        seconds: estimated latency, weights read from where they are.
    """

    cascades: tuple[Cascade, ...]
    schedule: Schedule
    live_bytes: int
    seconds: float


class PeakSearch:
    """Groups for ever less memory.

    Attributes:
        task: the graph in its order and the target; its objective does not matter.
        facts: the same for estimates.
        estimates: by position, those of the groups that end there; none where time was over.
    """

    def __init__(self, task: SchedulingTask, facts: OrderFacts) -> None:
        self.task, self.facts = task, facts
        self.estimates = estimated_groups(facts, task.budget.is_over) or []
        self._crossing = crossing_bytes(facts)
        self._weight_s_per_byte = 1 / task.target.home("weight").read_bytes_per_s
        self._estimate_of = {g.cascade: g for groups in self.estimates for g in groups}
        self._needs = [self._needs_of(groups.figures) for groups in self.estimates]
        self._rng = np.random.default_rng(task.seed)

    def smallest(self, patience: int = PATIENCE) -> PeakGroups | None:
        """The groups with the smallest peak found; None where time was over before any.

        Args:
            patience: moves in a row without gain after which the search ends.
        """
        count = len(self.facts.order)
        best = self.valued([Cascade(p, p + 1) for p in range(count)])
        if not self.estimates or best is None:
            return best
        low, high = 0, best.live_bytes
        while high - low > CLOSE * high and not self.task.budget.is_over():
            middle = (low + high) // 2
            groups = self.groups_within(middle)
            valued = None if groups is None else self.valued(groups)
            if valued is not None and valued.live_bytes < best.live_bytes:
                best = valued
            low, high = (middle, high) if valued is None else (low, middle)
        return self.improved(best, patience)

    def within(self, size_bytes: int) -> PeakGroups | None:
        """The groups of the least estimated time found whose live bytes fit into a size.

        Estimates may be too high or too low, so that several sizes are tried for them.
        """
        best: PeakGroups | None = None
        seen: set[tuple[Cascade, ...]] = set()
        for factor in FACTORS:
            groups = self.groups_within(round(factor * size_bytes))
            if groups is None or tuple(groups) in seen:
                continue
            seen.add(tuple(groups))
            valued = self.valued(groups)
            if valued is None or valued.live_bytes > size_bytes:
                continue
            if best is None or valued.seconds < best.seconds:
                best = valued
        return best

    def groups_within(
        self, size_bytes: int, compute_weight: float | None = None
    ) -> list[Cascade] | None:
        """The groups with the least estimated time of those that fit by their estimates.

        Args:
            size_bytes: the size that they fit into.
            compute_weight: None: a group takes as long as its computing or its weights, whichever
                is longer. Else the weight of compute time, from 0 to 1, in a sum with theirs: where
                weights come while other groups compute, sums over the whole order count.
        """
        count = len(self.facts.order)
        best = np.full(count + 1, np.inf)
        best[0] = 0.0
        choice: list[Cascade | None] = [None] * (count + 1)
        for last in range(1, count + 1):
            groups, needs = self.estimates[last - 1], self._needs[last - 1]
            own_s = self._seconds(groups.figures, size_bytes - needs, compute_weight)
            seconds = best[groups.figures.firsts] + np.where(needs > size_bytes, np.inf, own_s)
            row = int(seconds.argmin())
            if seconds[row] < np.inf:
                best[last], choice[last] = seconds[row], groups[row].cascade
        cascades: list[Cascade] = []
        end = count
        while end > 0:
            chosen = choice[end]
            if chosen is None:
                return None
            cascades.append(chosen)
            end = chosen.first
        return cascades[::-1]

    def compute_s(self, groups: Sequence[Cascade]) -> float:
        """Estimated compute time of groups that dynamic programs choose, in s."""
        return sum(self._estimate_of[group].compute_s for group in groups)

    def valued(self, groups: Sequence[Cascade]) -> PeakGroups | None:
        """Groups with their live bytes; None where they cannot be cut so."""
        lowered = lowered_groups(self.task, self.facts, groups)
        if lowered is None:
            return None
        schedule, problem = lowered
        live = _needed_by_step(problem)
        return PeakGroups(tuple(groups), schedule, int(live.max()), self._latency(groups))

    def improved(self, best: PeakGroups, patience: int) -> PeakGroups:
        """Local search around the step with most live bytes, until time or patience end."""
        idle = 0
        seen = {best.cascades}
        while idle < patience and not self.task.budget.is_over():
            idle += 1
            at = self._fullest_group(best)
            groups = random_move(self.facts, best.cascades, at, self._rng, again=False)
            if groups is None or tuple(groups) in seen:
                continue
            seen.add(tuple(groups))
            valued = self.valued(groups)
            if valued is None:
                continue
            if (valued.live_bytes, valued.seconds) < (best.live_bytes, best.seconds):
                best, idle = valued, 0
                self.task.budget.progress(f"cascades: peak {valued.live_bytes} bytes")
        return best

    def _fullest_group(self, valued: PeakGroups) -> int:
        """The group of the step with most live bytes, or one beside it."""
        problem = self.task.problem_of(valued.schedule)
        step = int(_needed_by_step(problem).argmax())
        operators = [problem.steps[t].operator for t in range(step, -1, -1)]
        operator = next((o for o in operators if o >= 0), problem.steps[-2].operator)
        position = self.facts.order.index(operator)
        at = next(i for i, g in enumerate(valued.cascades) if g.first <= position < g.last)
        beside = at + int(self._rng.integers(-1, 2))
        return min(len(valued.cascades) - 1, max(0, beside))

    def _needs_of(self, groups: GroupFigures) -> Floats:
        """(G,) estimated live bytes while each group runs."""
        passing = self._crossing[groups.firsts] - groups.consumed_bytes
        ends = np.maximum(groups.consumed_bytes, groups.produced_bytes)
        return np.asarray(passing + groups.kept_bytes + np.where(groups.stripes == 1, 0.0, ends))

    def _seconds(
        self, groups: GroupFigures, room_bytes: Floats, compute_weight: float | None = None
    ) -> Floats:
        """(G,) estimated time of groups with so much room each beside what they need."""
        moved_bytes = groups.weight_bytes + groups.read_again(room_bytes)
        moved_s = moved_bytes * self._weight_s_per_byte
        if compute_weight is None:
            return together_each(self.facts, groups.compute_s, moved_s)
        return np.asarray(compute_weight * groups.compute_s + (1 - compute_weight) * moved_s)

    def _latency(self, groups: Sequence[Cascade]) -> float:
        """Estimated latency of groups, as far as there are estimates, with no room for weights."""
        known = Estimates(self._estimate_of[g] for g in groups if g in self._estimate_of)
        return float(self._seconds(known.figures, np.zeros(len(known))).sum())


def _needed_by_step(problem: Problem) -> NDArray[np.int64]:
    """(T,) live bytes and workspace of each step."""
    workspace = np.array([step.workspace_bytes for step in problem.steps], dtype=np.int64)
    return live_bytes_by_step(problem, problem.target) + workspace
