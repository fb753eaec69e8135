"""The value of an order: the optimum of its fluid LP, of the whole graph or of a stretch of it.

The LP's optimum is a lower bound of the order's plans, which are mostly within a percent of it. A
stretch of the order is a problem of its own: what comes from before is an input, what is needed
behind it an output, and memory is smaller by what the whole solution keeps there all the time. Its
value says little by itself, but it ranks the orders of the operators in its middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.graph import Graph, Kind, Value
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.lower import build_program
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import Relaxation, optimum, relax
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.lp_value import lost_by_step
from ullage.solvers.state.segments import Segment, segments_of

# Options of the LPs: windows open little, since hundreds are solved.
OPTIONS = FluidOptions(window_steps=16, max_rounds=3)
# Factor of the reference's value that steps of other orders may take.
ROOM = 2.0
# Share of the mean weight that every place has: windows are also tried where nothing stalls.
LEAST_WEIGHT = 0.02


@dataclass(frozen=True)
class OrderingTask:
    """A graph, a target and the objective of its order.

    Attributes:
        graph: the graph.
        target: the chip.
        aliases: what may share bytes.
        steady_state: inferences repeat for ever.
        objective: name of the objective.
        seed: random seed of the search.
        budget: the time of the search.
    """

    graph: Graph
    target: Target
    aliases: AliasOptions
    steady_state: bool
    objective: str
    seed: int
    budget: Budget


@dataclass(frozen=True)
class Valued:
    """An order with its LP.

    Attributes:
        order: operator indices.
        value: optimum of the LP, a small price on slow traffic included, in the objective's unit.
        problem: the problem of the order.
        segments: the segments of the problem.
        relaxation: the LP, solved.
    """

    order: tuple[int, ...]
    value: float
    problem: Problem
    segments: tuple[Segment, ...]
    relaxation: Relaxation


def reference_value(task: OrderingTask, order: Sequence[int]) -> float:
    """Value of the plan with everything in its home tier: the LP's scale.

    Raises:
        InfeasibleError: there is no such plan.
        UsageError: the target has no way for it.
    """
    return run_solver("all-slow", problem_of(task, order)).value


def problem_of(task: OrderingTask, order: Sequence[int]) -> Problem:
    """The problem of an order."""
    program = build_program(
        task.graph,
        order,
        order_name="joint",
        aliases=task.aliases,
        dma_steps=task.target.dma_steps,
        steady_state=task.steady_state,
    )
    return Problem(program, task.target, task.objective)


def value_of(task: OrderingTask, order: Sequence[int], reference: float) -> Valued | None:
    """Solve the LP of an order; None when the deadline came first or its operands do not fit."""
    problem = problem_of(task, order)
    segments = segments_of(problem)
    try:
        relaxation = relax(problem, segments, ROOM * reference, OPTIONS, task.budget)
    except (InfeasibleError, UsageError):
        return None
    if relaxation is None:
        return None
    value, axis = optimum(problem, relaxation), relaxation.axis
    return Valued(tuple(order), value, axis.problem, axis.segments, relaxation)


def stall_weights(valued: Valued) -> Floats:
    """(N,) for each place of an order the time or price lost there; positive.

    Latency: the time that its step takes beyond computing. Else the price of space in its step.
    """
    lost = lost_by_step(valued.relaxation)
    at = {step.operator: t for t, step in enumerate(valued.problem.steps)}
    weights = np.array([lost[at[o]] if o in at else 0.0 for o in valued.order])
    mean = float(weights.mean()) if len(weights) else 0.0
    return np.asarray(weights + (LEAST_WEIGHT * mean or 1.0), dtype=np.float64)


def kept_through_bytes(valued: Valued, first: int, last: int) -> int:
    """Bytes that the solution keeps from before one operator to behind another, unused between."""
    at = {step.operator: t for t, step in enumerate(valued.problem.steps)}
    places = [at[o] for o in valued.order[first:last] if o in at]
    if not places:
        return 0
    low, high = min(places), max(places)
    values, kept = valued.relaxation.solution.values, 0.0
    for gap in valued.relaxation.fluid.gaps:
        if gap.kept >= 0 and gap.access and gap.end > high:
            segment = valued.segments[gap.segment]
            if segment.accesses[gap.access - 1].step < low:
                kept += float(values[gap.kept]) * segment.size_bytes
    return int(kept)


def stretch_of(task: OrderingTask, order: Sequence[int], reserved_bytes: int) -> OrderingTask:
    """A stretch of an order as a task of its own; operator i of it is `order[i]`."""
    graph = task.graph
    operators = [graph.operators[i] for i in order]
    made = {name for operator in operators for name in operator.outputs}
    inside = set(order)
    wanted = set(graph.outputs)
    for index, operator in enumerate(graph.operators):
        if index not in inside:
            wanted.update(operator.inputs)
    values: dict[str, Value] = {}
    for operator in operators:
        for name in (*operator.inputs, *operator.outputs):
            values[name] = _seen_inside(graph.values[name], name in made, name in wanted)
    small = Graph(
        name=graph.name,
        values=values,
        operators=tuple(operators),
        inputs=tuple(name for name, value in values.items() if value.kind == "input"),
        outputs=tuple(name for name in values if name in made and name in wanted),
    )
    fastest = task.target.fastest
    room = max(fastest.capacity_bytes // 8, fastest.capacity_bytes - reserved_bytes)
    return replace(task, graph=small, target=task.target.with_fast_memory(room), steady_state=False)


def _seen_inside(value: Value, made: bool, wanted: bool) -> Value:
    """A value of the graph as a value of a stretch: the kind that it has there."""
    kind: Kind = value.kind
    if value.kind != "weight":
        kind = "activation" if made else "input"
        kind = "output" if made and wanted else kind
    return replace(value, kind=kind)
