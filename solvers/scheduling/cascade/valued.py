"""The value of groups: the optimum of the fluid LP of their schedule."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Part, Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.parts import lower_schedule
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import relax
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.stripes import Cascade, cascade_parts
from ullage.solvers.scheduling.lp_value import lost_by_step, optimum
from ullage.solvers.state.segments import segments_of

# Options of the LPs: windows open little, since many are solved.
OPTIONS = FluidOptions(window_steps=16, max_rounds=3)
# Name of schedules that this room chooses.
CASCADE = "cascade"


@dataclass(frozen=True)
class SchedulingTask:
    """A graph in an order, a target and the objective of its schedule.

    Attributes:
        graph: the graph.
        order: operator indices.
        target: the chip.
        aliases: what may share bytes.
        steady_state: inferences repeat for ever.
        objective: `latency` (s), `traffic` (bytes) or `energy` (J).
        seed: random seed of the search.
        budget: the time of the search.
    """

    graph: Graph
    order: tuple[int, ...]
    target: Target
    aliases: AliasOptions
    steady_state: bool
    objective: str
    seed: int
    budget: Budget

    def problem_of(self, schedule: Schedule) -> Problem:
        """The problem of a schedule of the graph.

        Raises:
            UsageError: the schedule is none of the graph's.
        """
        program = lower_schedule(
            self.graph,
            schedule,
            aliases=self.aliases,
            dma_steps=self.target.dma_steps,
            steady_state=self.steady_state,
        )
        return Problem(program, self.target, self.objective)


@dataclass(frozen=True)
class ValuedGroups:
    """Groups with the LP of their schedule.

    Attributes:
        cascades: the groups in the order.
        schedule: their parts.
        value: optimum of the LP in the objective's unit.
        lost: (G,) for each group what its steps lose: seconds beyond computing for latency, else
            the price of memory; at least 0.
    """

    cascades: tuple[Cascade, ...]
    schedule: Schedule
    value: float
    lost: Floats


def schedule_of(
    task: SchedulingTask, facts: OrderFacts, cascades: Sequence[Cascade]
) -> Schedule | None:
    """The schedule of groups; None where they cannot be cut so."""
    parts: list[Part] = []
    for cascade in cascades:
        made = cascade_parts(task.graph, task.order, cascade, facts.readers)
        if made is None:
            return None
        parts += made
    schedule = Schedule(CASCADE, tuple(parts))
    return Schedule.whole(task.order) if schedule.is_whole else schedule


def value_groups(
    task: SchedulingTask, facts: OrderFacts, cascades: Sequence[Cascade], reference: float
) -> ValuedGroups | None:
    """Solve the LP of groups; None where they cannot be cut so, or time is over first.

    Args:
        task: the task.
        facts: the graph in its order.
        cascades: the groups.
        reference: value of a legal plan, in the objective's unit.
    """
    schedule = schedule_of(task, facts, cascades)
    if schedule is None:
        return None
    try:
        problem = task.problem_of(schedule)
        known = max(reference, run_solver("all-slow", problem).value)
        relaxation = relax(problem, segments_of(problem), known, OPTIONS, task.budget)
    except (InfeasibleError, UsageError):
        return None
    if relaxation is None:
        return None
    place = {index: position for position, index in enumerate(task.order)}
    group_of = np.zeros(len(task.order) + 1, dtype=np.int64)
    for number, cascade in enumerate(cascades):
        group_of[cascade.first : cascade.last] = number
    by_group = np.zeros(len(cascades))
    steps, lost = relaxation.axis.problem.steps, lost_by_step(relaxation)
    for step, loss in zip(steps, lost.tolist(), strict=True):
        if step.operator >= 0:
            by_group[group_of[place[step.operator]]] += loss
    return ValuedGroups(tuple(cascades), schedule, optimum(problem, relaxation), by_group)
