"""Groups of which every part fits, where operators reach the fastest memory only.

Estimates are near what parts need, not equal to it: layouts and alignment add some bytes. So groups
are lowered, and those whose steps need too much are replaced, until all of them fit.
"""

import math
import time
from collections.abc import Sequence

import numpy as np

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.common.units import format_size
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Schedule
from ullage.solvers.budget import Budget
from ullage.solvers.packing.pages import page_size
from ullage.solvers.scheduling.cascade.estimate import GroupEstimate, OrderFacts, alone
from ullage.solvers.scheduling.cascade.fitting import least_grid_bytes, too_large
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import SchedulingTask, schedule_of
from ullage.solvers.state.segments import segments_of

# Share of the memory that an operator's part may take, from one attempt to the next.
SHRINK = 0.9
# Attempts for one operator; the last ones look for parts of a tenth of the memory.
ATTEMPTS = 22
# Failed attempts after which all operators around a large value are cut along one axis of it.
ALIGNED_FROM = 3
# Moves to an operator alone try parts of so many sizes ...
SMALLER = 8
# ... and are as likely where it runs with others.
ALONE_CHANCE = 0.2
# Share of the memory from which on a value is large: parts must not read all of it.
LARGE = 0.25
# Time that the quickest plan of a schedule takes, in multiples of looking at the schedule: it is
# lowered once more, what its parts read is verified, and its plan is made, verified and replayed.
# Measured: 14 for ResNet-50 in 914 parts, 19 for BERT in 2,297 and for GPT-2 in 2,935, of which
# those of a weight that is read in two ways have 60,000 cells; 20 for a network of 212 parts with
# 15,000 accesses, 22 for MobileNetV2 in 833 parts on a chip of three memories.
PLAN_LOOKS = 20.0
# More parts than are looked at in a second: what is assumed until the first schedule was.
LOOKED_AT_PER_S = 5000
# The same where nobody has set a limit, so that the first look does not take much longer than the
# search has: 4,200 for BERT in 2,561 parts, 1,500 for SqueezeNet in 22,471.
SURELY_LOOKED_AT_PER_S = 2000
# Accesses of a schedule's segments beyond which no other groups are taken: the linear program of a
# plan takes some 10 s of CPU for 25,000 of them, and a minute for 40,000. First cuts may need more.
MOST_ACCESSES = 25_000
# No limit of time.
UNLIMITED = Budget()


class FittedGroups:
    """Groups of which every part fits.

    Args:
        task: the task.
        facts: the graph in its order; `fitting_bytes` is not None.

    Attributes:
        task: the task; a search that leaves more time for the plan sets that one.
        plan_s: seconds that the quickest plan of the last groups made to fit takes, about.
        most_accesses: accesses that a schedule's segments have at most: those of a cut that was
            needed may be more than `MOST_ACCESSES`.
    """

    def __init__(self, task: SchedulingTask, facts: OrderFacts) -> None:
        self.task, self.facts = task, facts
        self.plan_s, self.most_accesses = 0.0, MOST_ACCESSES
        self._each_s = 0.0  # seconds of the quickest plan for each access
        self._attempts: dict[int, int] = {}
        self._singles: dict[tuple[int, int, int | None], GroupEstimate | None] = {}
        self._along: dict[int, int] = {}  # by position the axis of its outermost loop
        self._smallest: dict[
            int, int
        ] = {}  # by position the bytes of the smallest part that failed
        self._in_pages = True  # whether parts must fit in whole pages
        self._aligned: set[int] = set()  # positions whose large values are cut along one axis

    def singles(self, budget: Budget = UNLIMITED) -> list[Cascade]:
        """Each operator by itself, cut where it must be.

        Args:
            budget: the time to find them, and to plan them.

        Raises:
            TimeLimitError: they are not found while there is time to plan them.
            InfeasibleError: an operator cannot be cut until it fits.
            UsageError: a value cannot be made in such parts.
        """
        count = len(self.facts.order)
        self._forget()
        found = self.repaired([self._single(p) for p in range(count)], budget)
        if found is None:  # once more, where no neighbour decides along which axis
            self._forget()
            self._aligned.update(range(count))
            found = self._repaired([self._single(p) for p in range(count)], budget)
        return found

    def _forget(self) -> None:
        """Begin anew, as if no group had failed."""
        self._along.clear()
        self._attempts.clear()
        self._aligned.clear()

    def repaired(
        self, groups: Sequence[Cascade], budget: Budget = UNLIMITED
    ) -> list[Cascade] | None:
        """The groups, those that do not fit replaced; None where that leads nowhere.

        Args:
            groups: the groups.
            budget: the time to find them, and to plan them.

        Raises:
            TimeLimitError: they are not found while there is time to plan them.
        """
        try:
            return self._repaired(groups, budget)
        except (InfeasibleError, UsageError):
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

    def fits(self, groups: Sequence[Cascade]) -> bool:
        """Whether groups can be cut so, every part of them fits, and a plan takes little time.

        Slices take whole pages, in which parts of many cells may not fit that fit otherwise. Unless
        a cut that was needed is such a one, parts must fit in pages.
        """
        try:
            problem = self.task.problem_of(self.schedule(groups))
        except UsageError:
            return False
        if crowded_operators(problem, in_pages=self._in_pages):
            return False
        accesses = accesses_of(problem)
        return accesses <= self.most_accesses and accesses * self._each_s <= self._left_s()

    def _left_s(self) -> float:
        """Seconds between the end of the search and that of the job: those of the plan."""
        search, job = self.task.budget.deadline, self.task.job.deadline
        return math.inf if search is None or job is None else job - search

    def moved(
        self,
        groups: Sequence[Cascade],
        at: int,
        estimates: Sequence[Sequence[GroupEstimate]],
        rng: np.random.Generator,
    ) -> list[Cascade] | None:
        """Groups with another one that ends where one of them does; None where there is no other.

        Operators that the other leaves to themselves run alone.

        Args:
            groups: the groups.
            at: the one that is replaced.
            estimates: by position, the groups that end there and are estimated to fit.
            rng: draws the group.
        """
        last = groups[at].last
        if groups[at].last - groups[at].first == 1 or rng.random() < ALONE_CHANCE:
            size = int((self.facts.fitting_bytes or 0) * SHRINK ** int(rng.integers(SMALLER)))
            options = list(alone(self.facts, last - 1, size))
        else:
            options = list(estimates[last - 1])
        if not options:
            return None
        chosen = options[int(rng.integers(len(options)))].cascade
        before = [g for g in groups if g.last <= chosen.first]
        begin = before[-1].last if before else 0
        left = [*range(begin, chosen.first)]
        if chosen.first > groups[at].first:
            before, left = list(groups[:at]), [*range(groups[at].first, chosen.first)]
        return [*before, *(self._single(p) for p in left), chosen, *groups[at + 1 :]]

    def _repaired(self, groups: Sequence[Cascade], budget: Budget) -> list[Cascade]:
        now = list(groups)
        place = {index: position for position, index in enumerate(self.facts.order)}
        # Without a deadline looks take the processor's time, and the plan all that it takes.
        is_free = budget.deadline is None
        clock = time.process_time if is_free else time.monotonic
        plan_looks = 0.0 if is_free else PLAN_LOOKS
        each_s = 1 / (SURELY_LOOKED_AT_PER_S if is_free else LOOKED_AT_PER_S)
        while True:
            schedule = self.schedule(now)
            parts = len(schedule.parts)
            # To look at them, and to plan them.
            if budget.remaining_s() <= (1 + plan_looks) * each_s * parts:
                raise self._too_late(parts, (1 + PLAN_LOOKS) * each_s * parts)
            begun = clock()
            problem = self.task.problem_of(schedule)
            crowded = {place[o]: needed for o, needed in crowded_operators(problem).items()}
            each_s = (clock() - begun) / max(1, parts)
            if not crowded:
                if budget.remaining_s() <= plan_looks * each_s * parts and not is_free:
                    raise self._too_late(parts, PLAN_LOOKS * each_s * parts)
                accesses = accesses_of(problem)
                self.most_accesses = max(self.most_accesses, accesses)
                self.plan_s = PLAN_LOOKS * each_s * parts
                self._each_s = self.plan_s / max(1, accesses)
                self._in_pages = not crowded_operators(problem, in_pages=True)
                return now
            again = set(crowded)
            for position, needed in crowded.items():
                self._smallest[position] = min(needed, self._smallest.get(position, needed))
                if self._attempts.get(position, 0) >= ALIGNED_FROM:
                    again |= self._align(position)
            now = [g for group in now for g in self._replaced(group, again, set(crowded))]

    def _too_late(self, parts: int, least_s: float) -> TimeLimitError:
        """The error where time ends before every part fits.

        Args:
            parts: of the schedule that would be looked at next.
            least_s: seconds to look at it and to plan it.
        """
        tier = self.facts.target.fastest
        return TimeLimitError(
            f"operators must be cut until all parts fit into {tier.name} "
            f"({format_size(tier.capacity_bytes)}), and to check the last cut into {parts} parts "
            f"and make the quickest plan of it takes about {least_s:.1f} s more",
            {"parts": parts, "least_s": least_s},
        )

    def _align(self, position: int) -> set[int]:
        """Cut all operators around an operator's large values along one axis of each value.

        Parts of neighbours along different axes meet in cells, and a part may have to read cells
        that are far larger than what it needs of them.

        Returns:
            The positions of those that are cut along another axis from now on.
        """
        facts, changed = self.facts, set[int]()
        if position in self._aligned:
            return changed
        self._aligned.add(position)
        operator = facts.operator(position)
        for name in dict.fromkeys((*operator.inputs, *operator.outputs)):
            is_large = facts.size(name) > LARGE * (facts.fitting_bytes or 0)
            if not is_large or facts.graph.values[name].kind == "weight":
                continue
            for user, axis in self._common_axis(name).items():
                if user not in self._along:
                    self._along[user] = axis
                    self._attempts[user] = 0
                    changed.add(user)
        return changed

    def _common_axis(self, name: str) -> dict[int, int]:
        """By position the output axis of each user of a value that goes along one axis of it.

        Of the axes along which all users can be cut, the longest is taken; nothing where there is
        none.
        """
        facts = self.facts
        readers = [p for p in facts.readers.get(name, ()) if p < len(facts.order)]
        shape = facts.graph.values[name].shape
        for axis in sorted(range(len(shape)), key=lambda a: -shape[a]):
            found: dict[int, int] = {}
            for reader in readers:
                reach = facts.operator(reader).reach
                for entry in reach.inputs if reach is not None else ():
                    axis_map = entry.axes[axis] if entry.name == name else None
                    if reach is None or axis_map is None or axis_map.axis == REDUCTION:
                        continue
                    if reach.axes[axis_map.axis] != "none":
                        found[reader] = axis_map.axis
            maker = facts.maker.get(name)
            reach = None if maker is None else facts.operator(maker).reach
            if maker is not None and reach is not None and reach.axes[axis] != "none":
                found[maker] = axis
            if shape[axis] > 1 and found.keys() >= {*readers, *([] if maker is None else [maker])}:
                return found
        return {}

    def _replaced(self, group: Cascade, again: set[int], crowded: set[int]) -> list[Cascade]:
        """What takes the place of a group.

        Args:
            group: the group.
            again: positions that are to be cut in another way.
            crowded: those of them that do not fit.
        """
        positions = range(group.first, group.last)
        if not again.intersection(positions):
            return [group]
        if len(positions) > 1:
            return [self._single(position) for position in positions]
        other = self._single(group.first)
        while other == group and group.first in crowded:
            self._attempts[group.first] = self._attempts.get(group.first, 0) + 1
            other = self._single(group.first)
        return [other]

    def _single(self, position: int) -> Cascade:
        """An operator by itself, in parts that need the less memory the oftener it failed."""
        attempt = self._attempts.get(position, 0)
        facts, along = self.facts, self._along.get(position)
        key = (position, attempt, along)
        if key not in self._singles:
            size = int((facts.fitting_bytes or 0) * SHRINK**attempt)
            options = self._options(position, size, along)
            if attempt:
                options = [group for group in options if group.cascade.is_cut]
            self._singles[key] = min(options, key=self._seconds, default=None)
        chosen = self._singles[key]
        if chosen is None or attempt > ATTEMPTS:
            graph, operator, target = facts.graph, facts.operator(position), facts.target
            found_bytes = self._smallest.get(position)
            if found_bytes is None and along is not None:  # as its neighbours need it to be cut
                found_bytes = least_grid_bytes(graph, operator, target, along)
            raise too_large(graph, operator, target, found_bytes)
        return chosen.cascade

    def _options(self, position: int, size: int, along: int | None) -> list[GroupEstimate]:
        """An operator by itself, with parts of at most some bytes.

        Args:
            position: the operator.
            size: bytes.
            along: the axis to cut; by no other one if that is enough, else inside its ranges. None:
                any.
        """
        options = list(alone(self.facts, position, size, along))
        if along is None:
            return options
        cut = [group for group in options if group.cascade.is_cut]
        return [group for group in cut if not group.cascade.inner] or cut or options

    def _seconds(self, group: GroupEstimate) -> float:
        """Estimated time of an operator by itself, without what each of its groups moves."""
        rate = self.facts.seconds_per_byte
        again_bytes = (group.again_bytes or 0.0) - group.late_bytes
        moved_s = (group.weight_bytes + again_bytes) * rate
        seconds = self.facts.together(group.compute_s, moved_s)
        return seconds + group.late_bytes * rate


def accesses_of(problem: Problem) -> int:
    """Number of accesses of all segments of a problem."""
    return sum(len(segment.accesses) for segment in segments_of(problem))


def crowded_operators(problem: Problem, *, in_pages: bool = False) -> dict[int, int]:
    """The operators of which a step needs more than the fastest memory has, with those bytes.

    Args:
        problem: the problem.
        in_pages: each segment takes whole pages, where slices do.
    """
    fastest, grain = problem.target.fastest, problem.target.slice_granularity_bytes
    needed = np.array([step.workspace_bytes for step in problem.steps], dtype=np.int64)
    padding = np.zeros_like(needed)  # behind what may lie on top
    unit = fastest.alignment_bytes
    is_paged = in_pages and grain > 0
    if is_paged:
        unit = page_size(fastest.capacity_bytes, grain, unit, problem.program.data_bytes)
    for segment in segments_of(problem):
        if segment.must_be_fastest:
            for access in segment.accesses:
                needed[access.step] += -(-segment.size_bytes // unit) * unit
                unused = 0 if is_paged else -segment.size_bytes % unit
                padding[access.step] = max(padding[access.step], unused)
    needed -= padding
    crowded: dict[int, int] = {}
    for t in np.flatnonzero(needed > fastest.capacity_bytes).tolist():
        operator = problem.steps[t].operator
        crowded[operator] = max(crowded.get(operator, 0), int(needed[t]))
    return crowded
