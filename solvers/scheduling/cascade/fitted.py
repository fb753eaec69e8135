"""Groups of which every part fits, where operators reach the fastest memory only.

Estimates are near what parts need, not equal to it: layouts and alignment add some bytes. So groups
are lowered, and those whose steps need too much are replaced, until all of them fit.
"""

from collections.abc import Sequence

import numpy as np

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.solvers.scheduling.cascade.estimate import GroupEstimate, OrderFacts, alone
from ullage.solvers.scheduling.cascade.fitting import too_large
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import SchedulingTask, schedule_of
from ullage.solvers.state.segments import segments_of

# Share of the memory that an operator's part may take, from one attempt to the next.
SHRINK = 0.9
# Attempts for one operator; the last ones look for parts of a tenth of the memory.
ATTEMPTS = 22


class FittedGroups:
    """Groups of which every part fits.

    Args:
        task: the task.
        facts: the graph in its order; `fitting_bytes` is not None.
    """

    def __init__(self, task: SchedulingTask, facts: OrderFacts) -> None:
        self.task, self.facts = task, facts
        self._attempts: dict[int, int] = {}
        self._singles: dict[tuple[int, int], GroupEstimate | None] = {}

    def singles(self) -> list[Cascade]:
        """Each operator by itself, cut where it must be.

        Raises:
            InfeasibleError: an operator cannot be cut until it fits.
            UsageError: a value cannot be made in such parts.
        """
        return self._repaired([self._single(p) for p in range(len(self.facts.order))])

    def repaired(self, groups: Sequence[Cascade]) -> list[Cascade] | None:
        """The groups, those that do not fit replaced; None where a value cannot be made so.

        Raises:
            InfeasibleError: an operator cannot be cut until it fits.
        """
        try:
            return self._repaired(groups)
        except UsageError:
            return None

    def schedule(self, groups: Sequence[Cascade]) -> Schedule:
        """The schedule of groups.

        Raises:
            UsageError: a group cannot be cut so.
        """
        schedule = schedule_of(self.task, self.facts, groups)
        if schedule is None:
            raise UsageError("the groups cannot be cut so")
        return schedule

    def cut(self, groups: Sequence[Cascade]) -> list[Cascade]:
        """The groups, with operators that do not fit whole cut."""
        return [
            self._single(g.first) if g.last - g.first == 1 and g.stripes == 1 else g for g in groups
        ]

    def _repaired(self, groups: Sequence[Cascade]) -> list[Cascade]:
        now = list(groups)
        place = {index: position for position, index in enumerate(self.facts.order)}
        while True:
            problem = self.task.problem_of(self.schedule(now))
            crowded = {place[operator] for operator in crowded_operators(problem)}
            if not crowded:
                return now
            now = [g for group in now for g in self._replaced(group, crowded)]

    def _replaced(self, group: Cascade, crowded: set[int]) -> list[Cascade]:
        """What takes the place of a group."""
        positions = range(group.first, group.last)
        if not crowded.intersection(positions):
            return [group]
        if len(positions) == 1:
            other = group
            while other == group:
                self._attempts[group.first] = self._attempts.get(group.first, 0) + 1
                other = self._single(group.first)
            return [other]
        return [self._single(position) for position in positions]

    def _single(self, position: int) -> Cascade:
        """An operator by itself, in parts that need the less memory the oftener it failed."""
        attempt = self._attempts.get(position, 0)
        key, facts = (position, attempt), self.facts
        if key not in self._singles:
            size = int((facts.fitting_bytes or 0) * SHRINK**attempt)
            options = [
                group
                for group in alone(facts, position, size)
                if not attempt or group.cascade.stripes > 1
            ]
            self._singles[key] = min(options, key=self._seconds, default=None)
        chosen = self._singles[key]
        if chosen is None or attempt > ATTEMPTS:
            raise too_large(self.task.graph, facts.operator(position), self.task.target)
        return chosen.cascade

    def _seconds(self, group: GroupEstimate) -> float:
        """Estimated time of an operator by itself, without what each of its groups moves."""
        rate = self.facts.seconds_per_byte
        again_bytes = (group.again_bytes or 0.0) - group.late_bytes
        seconds = max(group.compute_s, (group.weight_bytes + again_bytes) * rate)
        return seconds + group.late_bytes * rate


def crowded_operators(problem: Problem) -> set[int]:
    """The operators of which a step needs more than the fastest memory has."""
    fastest = problem.target.fastest
    needed = np.array([step.workspace_bytes for step in problem.steps], dtype=np.int64)
    unit = fastest.alignment_bytes
    for segment in segments_of(problem):
        if segment.must_be_fastest:
            for access in segment.accesses:
                needed[access.step] += -(-segment.size_bytes // unit) * unit
    steps = np.flatnonzero(needed > fastest.capacity_bytes)
    return {problem.steps[t].operator for t in steps.tolist()}
