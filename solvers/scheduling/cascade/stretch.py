"""A stretch of an order as a task of its own: a quick judge of changes inside it.

What comes from before the stretch is an input, what is needed behind it an output, and memory is
smaller by what is alive from before to behind. The LP of a stretch takes a tenth of that of the
graph; its value says little by itself, but it ranks the groups in its middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.schedule import Schedule
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import SchedulingTask, value_groups
from ullage.solvers.scheduling.joint_value import OrderingTask, stretch_of

# Operators on either side of what changes that belong to its stretch.
MARGIN = 6


@dataclass(frozen=True)
class Stretch:
    """Positions [first, last) of an order as a task.

    Attributes:
        first: position of its first operator.
        last: one past the position of its last operator.
        task: the stretch; operator i of it is at position `first + i`.
        facts: the stretch in its order.
        reference: value of a legal plan of it.
    """

    first: int
    last: int
    task: SchedulingTask
    facts: OrderFacts
    reference: float

    @classmethod
    def of(cls, task: SchedulingTask, facts: OrderFacts, first: int, last: int) -> "Stretch | None":
        """The stretch of some positions; None where nothing of it can be planned."""
        ordering = OrderingTask(
            task.graph,
            task.target,
            task.aliases,
            task.steady_state,
            task.objective,
            task.seed,
            task.budget,
        )
        inside = stretch_of(ordering, task.order[first:last], _passing_bytes(facts, first, last))
        own = replace(
            task,
            graph=inside.graph,
            order=tuple(range(last - first)),
            target=inside.target,
            steady_state=False,
        )
        try:
            problem = own.problem_of(Schedule.whole(own.order))
            reference = run_solver("all-slow", problem).value
        except (InfeasibleError, UsageError):
            return None
        return cls(first, last, own, OrderFacts.of(own.graph, own.order, problem), reference)

    def value(self, groups: Sequence[Cascade]) -> float | None:
        """Optimum of the LP of groups that make up the stretch; None where there is none."""
        inside = [
            replace(g, first=g.first - self.first, last=g.last - self.first)
            for g in groups
            if self.first <= g.first and g.last <= self.last
        ]
        valued = value_groups(self.task, self.facts, inside, self.reference)
        return None if valued is None else valued.value


def changed_span(
    facts: OrderFacts, one: Sequence[Cascade], other: Sequence[Cascade]
) -> tuple[int, int]:
    """Positions around what differs between two groupings, cut where both have a boundary."""
    ends_of_one = {0, *(g.last for g in one)}
    common = sorted(ends_of_one & {0, *(g.last for g in other)})
    shared = set(one) & set(other)
    changed = [g for g in (*one, *other) if g not in shared]
    first, last = min(g.first for g in changed), max(g.last for g in changed)
    low = max((e for e in common if e <= max(0, first - MARGIN)), default=0)
    end = min(len(facts.order), last + MARGIN)
    high = min((e for e in common if e >= end), default=len(facts.order))
    return low, high


def _passing_bytes(facts: OrderFacts, first: int, last: int) -> int:
    """Bytes of values that are made before some positions and read behind them only."""
    total = 0
    for name, place in facts.maker.items():
        readers = facts.readers.get(name, ())
        if place >= first or not readers or max(readers) < last:
            continue
        if not any(first <= reader < last for reader in readers):
            total += facts.size(name)
    return total
