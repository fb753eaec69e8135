"""The value of groups: the optimum of a fluid LP of their schedule.

It is that of a coarse axis of time (`coarse`), in some milliseconds. Where operands must be in the
fastest tier, every step counts by itself in short plans; in long ones on the finer axis, on which
only stretches are valued. Where DMA-only steps stand between others for another reason, it is the
LP of the plan's own steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Part, Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.parts import lower_schedule
from ullage.hwmodels.bounds import live_bytes_by_step
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import optimum, relax
from ullage.solvers.lp.named_basis import NamedBasis
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.coarse.profile import Profiles
from ullage.solvers.scheduling.cascade.coarse.program import CoarseProgram, coarse_program
from ullage.solvers.scheduling.cascade.coarse.value import coarse_value
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.stripes import Cascade, cascade_parts, runs_thrice
from ullage.solvers.scheduling.lp_value import lost_by_step
from ullage.solvers.state.segments import segments_of

# Options of the LPs: windows open little, since many are solved.
OPTIONS = FluidOptions(window_steps=16, max_rounds=3)
# Coarse steps of a group of many stripes at most ...
DETAIL = 6
# ... and where the value of a whole schedule is to be nearer that of its own steps.
FINE_DETAIL = 64
# The same two where operands must be in the fastest tier: at last, every step counts by itself.
FITTED_DETAIL = 6
EVERY_STEP = 1 << 20
# Price of a part, as a share of the value.
PART_PRICE = 3e-6
# Where operands must be in the fastest tier, parts read many cells of what others make along other
# axes: that is what the linear program of a plan takes time for. So many accesses count as a part.
ACCESSES_PER_PART = 12
# Accesses from which on a coarse program is long: it takes seconds to solve, so that the next one
# starts from its basis, and is not solved on the finer axis, which takes several times as long.
LONG_ACCESSES = 5000
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
        objective: `latency` (s), `traffic` (bytes), `energy` (J) or `peak` (bytes).
        seed: random seed of the search.
        budget: the time of the search.
        job: that of the whole job. Where whole operators do not fit, the first schedule that does
            is looked for until there is no time to plan it.
        most_parts: steps of a schedule at most, so that there is time to plan it, where a core is
            all its own; None for any. Where operands must be in the fastest tier, as many as the
            first schedule that fits has.
        limit_s: of the latency, where the peak is minimised under one.
        weights_apart: weights come through another port than inputs (with a limit only).
        most_values: linear programs that are solved at most, so that searches may be compared at
            equal numbers of them; None for any number.
    """

    graph: Graph
    order: tuple[int, ...]
    target: Target
    aliases: AliasOptions
    steady_state: bool
    objective: str
    seed: int
    budget: Budget
    most_parts: int | None = None
    limit_s: float | None = None
    weights_apart: bool = False
    most_values: int | None = None
    job: Budget = field(default_factory=Budget)

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
        value: optimum of the LP in the objective's unit.
        lost: (G,) seconds that the steps of each group take beyond computing.
        room: (G,) price of the whole memory during each group, in the objective's unit.
        parts: steps that run an operator or a part of one; more where they have so many accesses
            that planning them takes as long as that of more parts (`ACCESSES_PER_PART`).
        plan_accesses: (G,) about those of the segments of the plan, where operands must be in the
            fastest tier.
    """

    cascades: tuple[Cascade, ...]
    value: float
    lost: Floats
    room: Floats
    parts: int
    plan_accesses: Floats = field(default_factory=lambda: np.zeros(0))

    @property
    def worth(self) -> float:
        """What groupings are compared by: of those that are nearly as good, few parts are better.

        They are planned sooner, and lose less to the rounding of slices.
        """
        return self.value * (1.0 + PART_PRICE * self.parts)


def schedule_of(
    task: SchedulingTask, facts: OrderFacts, cascades: Sequence[Cascade]
) -> Schedule | None:
    """The schedule of groups; None where one of them cannot be cut so."""
    if runs_thrice(cascades):
        return None
    parts: list[Part] = []
    for cascade in cascades:
        made = cascade_parts(task.graph, task.order, cascade, facts.readers)
        if made is None:
            return None
        parts += made
    schedule = Schedule(CASCADE, tuple(parts))
    return Schedule.whole(task.order) if schedule.is_whole else schedule


def lowered_groups(
    task: SchedulingTask, facts: OrderFacts, cascades: Sequence[Cascade]
) -> tuple[Schedule, Problem] | None:
    """The schedule of groups and its problem; None where one of them cannot be cut so."""
    schedule = schedule_of(task, facts, cascades)
    if schedule is None:
        return None
    try:
        return schedule, task.problem_of(schedule)
    except UsageError:
        return None


class Judge:
    """Values groupings of one order.

    Attributes:
        task: the graph in its order, the target and the objective.
        facts: the graph in its order.
        solved: linear programs solved so far, of stretches and on finer axes as well.
    """

    def __init__(self, task: SchedulingTask, facts: OrderFacts) -> None:
        self.task, self.facts = task, facts
        self.solved = 0
        self._profiles: Profiles | None = None
        self._fine: Profiles | None = None
        self._has_axis = False  # where operands must fit: once the first schedule was valued
        self._long = np.inf, NamedBasis({}, {})  # the least value of long programs, its basis
        if facts.fitting_bytes is not None:
            self._profiles = Profiles(facts, task.target, task.aliases, FITTED_DETAIL)
            self._fine = Profiles(facts, task.target, task.aliases, EVERY_STEP)
        elif not task.target.dma_steps.between:
            self._profiles = Profiles(facts, task.target, task.aliases, DETAIL)
            self._fine = Profiles(facts, task.target, task.aliases, FINE_DETAIL)

    @property
    def judges_stretches(self) -> bool:
        """Whether it values the groups of a stretch of the order, too: a limit is of all of it."""
        return self._profiles is not None and self.task.limit_s is None

    @property
    def judges_finely(self) -> bool:
        """Whether it knows a finer axis of time."""
        return self._fine is not None

    def is_over(self) -> bool:
        """Whether time is over, or as many linear programs were solved as may be."""
        most = self.task.most_values
        return self.task.budget.is_over() or (most is not None and self.solved >= most)

    def value(
        self, cascades: Sequence[Cascade], *, fine: bool = False, most: float = np.inf
    ) -> ValuedGroups | None:
        """The value of groups that make up the order, or a stretch of it.

        None where they cannot be cut so, or it is over first (`is_over`). The value of a stretch
        says little by itself, but ranks the groups in its middle.

        Args:
            cascades: the groups.
            fine: on a finer axis of time, which takes some times as long; not where the coarse one
                has thousands of accesses.
            most: of a value above it nothing else is asked: it may be too low.
        """
        task, groups = self.task, tuple(cascades)
        if self.is_over():
            return None
        if self._profiles is None:
            self.solved += 1
            return self._value_exactly(groups)
        if runs_thrice(groups):
            return None
        program = coarse_program(self._profiles, groups)
        if program is not None and self._takes_every_step(program):
            program = coarse_program(self._profiles, groups)
        is_long = program is not None and program.accesses > LONG_ACCESSES
        if fine and self._fine is not None and not is_long:
            program = coarse_program(self._fine, groups)
        if program is None:
            return None
        parts = program.parts
        if self.facts.fitting_bytes is not None:
            parts = max(parts, int(program.plan_accesses.sum()) // ACCESSES_PER_PART)
        if task.most_parts is not None and parts > task.most_parts:
            return None
        # Long ones of the whole order are mostly those of the best so far, and so is their basis.
        # (Measured where operands may lie anywhere; elsewhere groups are long for another reason.)
        is_everywhere = groups[-1].last - groups[0].first == len(self.facts.order)
        is_warm = is_long and is_everywhere and self.facts.fitting_bytes is None
        self.solved += 1
        found = coarse_value(
            program,
            task.target,
            task.objective,
            task.budget,
            steady_state=task.steady_state,
            limit_s=task.limit_s,
            weights_apart=task.weights_apart,
            start=self._long[1] if is_warm else None,
        )
        if found is None:
            return None
        value = found.value
        if found.basis is not None and value < self._long[0]:
            self._long = value, found.basis
        # A memory is no smaller than what is live in the plan's steps.
        if task.limit_s is not None and value <= most:
            live = self._live_bytes(groups)
            if live is None:
                return None
            value = max(value, live)
        lost = _by_group(found.lost, program.group_of, len(groups))
        room = _by_group(found.room, program.group_of, len(groups))
        return ValuedGroups(groups, value, lost, room, parts, program.plan_accesses)

    def surely(self, valued: ValuedGroups) -> ValuedGroups | None:
        """The value of groups on a finer axis of time; None where time is over first.

        A search finds what a coarse axis flatters; this tells. Where operands must be in the
        fastest tier, the finer axis is that of all steps, and too long for a whole graph.
        """
        if self._fine is None or self.facts.fitting_bytes is not None:
            return valued
        return self.value(valued.cascades, fine=True)

    def _takes_every_step(self, program: CoarseProgram) -> bool:
        """Whether every step counts by itself from now on: the first schedule's plan is short.

        That is where operands must be in the fastest tier; elsewhere plans have more steps.
        """
        if self.facts.fitting_bytes is None or self._has_axis:
            return False
        self._has_axis = True
        is_short = bool(program.plan_accesses.sum() <= LONG_ACCESSES)
        if is_short:
            self._profiles, self._fine = self._fine, None
        return is_short

    def _live_bytes(self, cascades: Sequence[Cascade]) -> float | None:
        """Most live bytes of any step, without weights; None where groups cannot be cut so."""
        lowered = lowered_groups(self.task, self.facts, cascades)
        if lowered is None:
            return None
        problem = lowered[1]
        return float(live_bytes_by_step(problem, problem.target).max(initial=0))

    def _value_exactly(self, groups: tuple[Cascade, ...]) -> ValuedGroups | None:
        """The value by the LP of the plan's own steps; None where operands do not fit."""
        task = self.task
        schedule = schedule_of(task, self.facts, groups)
        if schedule is None:
            return None
        try:
            problem = task.problem_of(schedule)
            known = run_solver("all-slow", problem).value
            relaxation = relax(problem, segments_of(problem), known, OPTIONS, task.budget)
        except (InfeasibleError, UsageError):
            return None
        if relaxation is None:
            return None
        group_at = np.full(len(task.graph.operators) + 1, -1)  # the last for steps without any
        for number, cascade in enumerate(groups):
            group_at[list(task.order[cascade.first : cascade.last])] = number
        steps = relaxation.axis.problem.steps
        group_of = group_at[[step.operator for step in steps]]
        builder, solution = relaxation.fluid.builder, relaxation.solution
        prices = builder.space_prices(solution.duals) * builder.unit
        room = prices * task.target.fastest.capacity_bytes
        return ValuedGroups(
            groups,
            optimum(problem, relaxation),
            _by_group(lost_by_step(relaxation), group_of, len(groups)),
            _by_group(room, group_of, len(groups)),
            problem.program.parts,
        )


def _by_group(figures: Floats, group_of: Ints, groups: int) -> Floats:
    """(G,) the sum of the figures of each group's steps; -1 stands for no group."""
    known = group_of >= 0
    sums = np.zeros(groups)
    np.add.at(sums, group_of[known], figures[known])
    return sums
