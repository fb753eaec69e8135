"""The groups of a graph as tables of numbers: what the game, the decode and the policy work on.

The groups, what each pays for itself, and what two neighbours pay together are those of the dynamic
program that `--schedule cascade` begins with (`solvers.scheduling.cascade.chain`).

    last       1      2          3                    groups by the position behind their last
    groups     [0,1)  [1,2)      [2,3) [1,3) [0,3)    operator; each in some axes and stripes
    row        0      1          2     3 4   5 6 7
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Schedule
from ullage.solvers.scheduling.cascade.chain import Chain, GroupTable, estimated_groups
from ullage.solvers.scheduling.cascade.estimate import (
    AXES,
    LONGEST,
    STRIPES,
    GroupEstimate,
    OrderFacts,
)
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import SchedulingTask

# Actions: the next operator joins the running group, ...
EXTEND = 0
# ... or the group is closed: one operator that runs whole, ...
WHOLE = 1
# ... or stripes, from here on: by axis (the reduction is the last one), then by their number.
FIRST_CUT = 2
ACTIONS = FIRST_CUT + (AXES + 1) * len(STRIPES)


class GroupArrays(NamedTuple):
    """Groups and what they cost, for compiled code: N operators, G groups.

    Attributes:
        begin: (N + 2,) row of the first group that ends at a position; rows go by position.
        first: (G,) position of the first operator.
        action: (G,) the action that closes the group so.
        row_of: (N + 1, LONGEST + 1, ACTIONS) the row of the group that ends at a position, has that
            many operators and is closed so; -1 for none.
        own_s: (G,) see `GroupTable`, as are the rows that follow.
        between_scale: (G,)
        front_bytes: (G,)
        back_bytes: (G,)
        consumed_bytes: (G,)
        produced_bytes: (G,)
        axes: (G,)
        stripes: (G,)
        crossing_bytes: (N + 1,) bytes of computed values that are live at a position.
        rules: (4,) capacity (bytes), rate of the second memory (bytes/s), weight of transfers,
            bytes that a cell is rounded up by (`Chain.rules`).
    """

    begin: Ints
    first: Ints
    action: Ints
    row_of: Ints
    own_s: Floats
    between_scale: Floats
    front_bytes: Floats
    back_bytes: Floats
    consumed_bytes: Floats
    produced_bytes: Floats
    axes: Floats
    stripes: Floats
    crossing_bytes: Floats
    rules: Floats


@dataclass(frozen=True)
class ScheduleInstance:
    """A graph in its order, ready to be played.

    Attributes:
        task: the graph, its order, the target and the objective.
        facts: the graph as estimates need it.
        chain: the dynamic program whose costs these are.
        groups: (G) the groups by row.
        arrays: the same as numbers.
        whole_s: (N,) what each operator pays where all run whole, itself and with the one before.
    """

    task: SchedulingTask
    facts: OrderFacts
    chain: Chain
    groups: tuple[GroupEstimate, ...]
    arrays: GroupArrays
    whole_s: Floats

    @property
    def operators(self) -> int:
        """Number of operators, N."""
        return len(self.facts.order)

    def cascades(self, rows: Sequence[int]) -> tuple[Cascade, ...]:
        """The groups of some rows."""
        return tuple(self.groups[row].cascade for row in rows)


def instance_of(
    task: SchedulingTask, is_late: Callable[[], bool] | None = None
) -> ScheduleInstance:
    """Set up the game of a task.

    Args:
        task: the graph in its order, the target and the objective.
        is_late: whether time is over; None: the task's budget.

    Raises:
        TimeLimitError: time is over first.
        UsageError: there is nothing to decide, or operands of parts must all lie in the fastest
            memory: which groups fit there is found by lowering them, not by these estimates.
    """
    if not task.order:
        raise UsageError(f"nothing to decide: {task.graph.name} has no operators")
    facts = OrderFacts.of(task.graph, task.order, task.problem_of(Schedule.whole(task.order)))
    if facts.fitting_bytes is not None:
        raise UsageError(
            f"the schedule game is for targets whose operators access operands in any memory; "
            f"{task.target.name} needs them in {task.target.fastest.name}: use --schedule cascade"
        )
    estimates = estimated_groups(facts, is_late or task.budget.is_over)
    if estimates is None:
        raise TimeLimitError("time was over before all groups were estimated; give more time")
    return instance_from(task, facts, Chain(facts, estimates, task.target, None))


def instance_from(task: SchedulingTask, facts: OrderFacts, chain: Chain) -> ScheduleInstance:
    """The game whose groups and costs are those of a dynamic program."""
    count = len(facts.order)
    tables = [chain.table(last) for last in range(1, count + 1)]
    groups = tuple(group for table in tables for group in table.groups)
    begin = np.zeros(count + 2, dtype=np.int64)
    begin[2:] = np.cumsum([len(table.groups) for table in tables])
    action = np.array([_action_of(facts, group.cascade) for group in groups], dtype=np.int64)
    row_of = np.full((count + 1, LONGEST + 1, ACTIONS), -1, dtype=np.int64)
    for row, group in enumerate(groups):
        cascade = group.cascade
        row_of[cascade.last, cascade.last - cascade.first, action[row]] = row

    def joined(name: str) -> Floats:
        return np.concatenate([np.asarray(getattr(table, name)) for table in tables])

    rules = np.array(chain.rules)
    arrays = GroupArrays(
        begin,
        np.concatenate([table.firsts for table in tables]).astype(np.int64),
        action,
        row_of,
        joined("own_s"),
        joined("between_scale"),
        joined("front_bytes"),
        joined("back_bytes"),
        joined("consumed_bytes"),
        joined("produced_bytes"),
        joined("axes"),
        joined("stripes"),
        chain.crossing_bytes,
        rules,
    )
    return ScheduleInstance(task, facts, chain, groups, arrays, _whole_seconds(chain, tables))


def _action_of(facts: OrderFacts, cascade: Cascade) -> int:
    """The action that closes a group so, or in the nearest number of stripes that actions name.

    Where operands must fit, groups have as many stripes as it takes.
    """
    if not cascade.is_cut:
        return WHOLE
    rung = min(range(len(STRIPES)), key=lambda i: abs(math.log(STRIPES[i] / cascade.stripes)))
    slot = AXES
    if cascade.axis != REDUCTION:
        operator = facts.operator(cascade.last - 1)
        shape = facts.graph.values[operator.outputs[0]].shape
        reach = operator.reach
        cut = [a for a, n in enumerate(shape) if n > 1 and reach and reach.axes[a] != "none"]
        slot = cut.index(cascade.axis)
    return FIRST_CUT + slot * len(STRIPES) + rung


def _whole_seconds(chain: Chain, tables: Sequence[GroupTable]) -> Floats:
    """(N,) what whole operators pay, each for itself and together with the one before it."""
    seconds = np.zeros(len(tables))
    for place, table in enumerate(tables):
        row = np.array([0])  # an operator that runs whole is the first of its table
        seconds[place] = table.own_s[0]
        if place:
            seconds[place] += chain.between(tables[place - 1].rows(row), table, row)[0, 0]
    return seconds
