"""Groups that need the least fast memory without a spill while a limit of the latency is kept.

The less memory, the more stripes, and the less room for weights that are fetched ahead: with all
of them read in place, most networks are slower than they may be. The LP of a schedule says both at
once: its variable is the size of the memory, its constraint the limit (`coarse`).

Local search begins with the best of the groups that dynamic programs choose for ever smaller sizes:
those that fit and take the least time (`peak`), and those of the least latency if spills were
allowed (`chain`), which seldom need one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ullage.compiler.ir.schedule import Schedule
from ullage.hwmodels.cost import exceeds_limit
from ullage.solvers.scheduling.cascade.chain import choose_groups
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.peak import PeakSearch
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.two_tiers import with_two_tiers
from ullage.solvers.scheduling.cascade.valued import Judge, SchedulingTask, ValuedGroups

# Ratio of two sizes that dynamic programs are asked about, ...
SMALLER = 0.8
# ... and how many there are at most.
MOST_SIZES = 16
# Dynamic programs for each size: the weight of compute time where nothing may leave, ...
FITTING_WEIGHTS = (1.0, 0.7, None)
# ... and that with the price of a part where spills are allowed.
PROGRAMS = ((None, 1e-5), (0.5, 5e-5))


class LimitedStart:
    """The groups with which the search for the smallest memory under a limit begins.

    Attributes:
        judge: values groups by the size of the memory that they need under the limit.
        tried: the groups that were valued.
        singles: whole operators, valued; None where time was over first.
        best: the best of all, None where time was over first.
        sure: the same on a finer axis of time.
    """

    def __init__(self, task: SchedulingTask) -> None:
        """Value what dynamic programs choose, until the task's time is over.

        Args:
            task: the graph in its order, the target, the objective `peak` and the limit.
        """
        whole = Schedule.whole(task.order)
        search = PeakSearch(task, OrderFacts.of(task.graph, task.order, task.problem_of(whole)))
        singles = [Cascade(p, p + 1) for p in range(len(task.order))]
        plain = search.valued(singles)
        size_bytes = max(1, plain.live_bytes if plain else task.target.fastest.capacity_bytes)
        # Sizes of the LP are told in shares of the capacity.
        target = with_two_tiers(task.target).with_fast_memory(size_bytes)
        apart = task.target.homes["weight"] != task.target.homes["input"]
        task = replace(task, target=target, weights_apart=apart)
        self._facts = OrderFacts.of(task.graph, task.order, task.problem_of(whole))
        self.judge = Judge(task, self._facts)
        self.tried: set[tuple[Cascade, ...]] = {tuple(singles)}
        self.singles = self.judge.value(singles)
        ranked = [] if self.singles is None else [self.singles]
        limit_s = task.limit_s or 0.0
        for groups in self._chosen(search, size_bytes):
            if task.budget.is_over():
                break
            if tuple(groups) in self.tried:
                continue
            if exceeds_limit(search.compute_s(groups), limit_s) and ranked:
                continue  # whatever the size
            self.tried.add(tuple(groups))
            valued = self.judge.value(groups)
            if valued is not None:
                ranked.append(valued)
        ranked.sort(key=lambda valued: valued.worth)
        self.best: ValuedGroups | None = None
        self.sure: ValuedGroups | None = None
        for valued in ranked:
            if self.sure is not None and valued.worth >= self.sure.worth:
                break  # no finer axis makes it better
            finely = self.judge.surely(valued)
            if finely is not None and (self.sure is None or finely.worth < self.sure.worth):
                self.best, self.sure = valued, finely
                task.budget.progress(f"cascades: {finely.value:.6g} bytes")

    def _chosen(self, search: PeakSearch, size_bytes: int) -> Iterator[Sequence[Cascade]]:
        """What dynamic programs choose for ever smaller sizes."""
        task, target = self.judge.task, self.judge.task.target
        if not search.estimates:
            return
        for number in range(MOST_SIZES):
            sized = target.with_fast_memory(round(size_bytes * SMALLER**number))
            for weight in FITTING_WEIGHTS:
                fitting = search.groups_within(sized.fastest.capacity_bytes, weight)
                if fitting is None:
                    return
                compute_s = search.compute_s(fitting)
                if weight == 1.0 and exceeds_limit(compute_s, task.limit_s or 0.0):
                    return  # the quickest parts that fit compute for longer than they may
                yield fitting
            facts = replace(self._facts, target=sized)
            for weight, price in PROGRAMS:
                yield choose_groups(facts, search.estimates, sized, weight, price)
