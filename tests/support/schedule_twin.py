"""The schedule game in plain Python, with the tables of the dynamic program itself."""

from dataclasses import dataclass, field

import numpy as np

from ullage.compiler.ir.reach import REDUCTION
from ullage.rl_agent.schedule.tables import ScheduleInstance
from ullage.solvers.scheduling.cascade.estimate import STRIPES, GroupEstimate
from ullage.solvers.scheduling.cascade.stripes import Cascade


@dataclass
class ScheduleTwin:
    """A game: groups that are closed as (position behind the last, place in its table)."""

    instance: ScheduleInstance
    first: int = 0
    cursor: int = 1
    closed: list[tuple[int, int]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_over(self) -> bool:
        """Whether all operators are decided."""
        return self.first == self.instance.operators

    def legal(self) -> dict[int, int]:
        """By legal action the place of the group in the table of the cursor; -1 to extend."""
        if self.is_over:
            return {}
        found = {self.action_of(c.cascade): at for at, c in self._ending(self.cursor)}
        if any(self._ending(last) for last in range(self.cursor + 1, self.instance.operators + 1)):
            found[0] = -1
        return found

    def play(self, action: int) -> None:
        """Extend the running group, or close it."""
        at = self.legal()[action]
        if at < 0:
            self.cursor += 1
            return
        chain = self.instance.chain
        table = chain.table(self.cursor)
        self.seconds += float(table.own_s[at])
        if self.closed:
            last, before = self.closed[-1]
            one = chain.table(last).rows(np.array([before]))
            self.seconds += float(chain.between(one, table, np.array([at]))[0, 0])
        self.closed.append((self.cursor, at))
        self.first = self.cursor
        self.cursor = min(self.cursor + 1, self.instance.operators)

    def cascades(self) -> tuple[Cascade, ...]:
        """The groups that are closed."""
        return tuple(self.instance.chain.table(last).groups[at].cascade for last, at in self.closed)

    def action_of(self, cascade: Cascade) -> int:
        """The number of the action that closes a group so."""
        if cascade.stripes == 1:
            return 1
        facts = self.instance.facts
        operator = facts.operator(cascade.last - 1)
        assert operator.reach is not None
        axis = 3
        if cascade.axis != REDUCTION:
            shape = facts.graph.values[operator.outputs[0]].shape
            before = range(cascade.axis)
            axis = sum(shape[a] > 1 and operator.reach.axes[a] != "none" for a in before)
        return 2 + len(STRIPES) * axis + STRIPES.index(cascade.stripes)

    def _ending(self, last: int) -> list[tuple[int, GroupEstimate]]:
        groups = self.instance.chain.table(last).groups
        return [(at, g) for at, g in enumerate(groups) if g.cascade.first == self.first]
