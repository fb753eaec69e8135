"""What an order is worth: the value of its fluid LP, of the whole graph or of a stretch of it.

The LP's optimum is what the best plan of an order can reach but for rounding; plans are mostly
within a percent of it. A stretch of the order is a problem of its own: what comes from before is an
input, what is needed behind it an output, and memory is smaller by what the whole solution keeps
there all the time. Its value says little by itself, but it ranks the orders of its middle.
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
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import Relaxation, relax
from ullage.solvers.run import run_solver
from ullage.solvers.state.segments import Segment, segments_of

OPTIONS = FluidOptions(window_steps=16, max_rounds=3)  # windows open little: LPs by the hundred
ROOM = 2.0  # a step of another order may take longer than any of the reference
LEAST_WEIGHT = 0.02  # of the mean: windows are sometimes tried where nothing stalls


@dataclass(frozen=True)
class OrderingTask:
    """A graph, a target and what is asked of its order.

    Attributes:
        graph: the graph.
        target: the chip.
        aliases: what may share bytes.
        steady_state: inferences repeat for ever.
        objective: what is to be minimised.
        seed: of the search.
        budget: its time.
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
        value: of the LP, a small price on slow traffic included, in the objective's unit.
        problem: of the order.
        segments: its segments.
        relaxation: the LP, solved.
    """

    order: tuple[int, ...]
    value: float
    problem: Problem
    segments: tuple[Segment, ...]
    relaxation: Relaxation


def reference_value(setting: OrderingTask, order: Sequence[int]) -> float:
    """Value of the plan with everything in its home tier: the LP's scale.

    Raises:
        InfeasibleError: there is no such plan.
        UsageError: the target has no way for it.
    """
    return run_solver("all-slow", problem_of(setting, order)).value


def problem_of(setting: OrderingTask, order: Sequence[int]) -> Problem:
    """The problem of an order."""
    program = build_program(
        setting.graph,
        order,
        order_name="joint",
        aliases=setting.aliases,
        dma_steps=setting.target.needs_dma_steps,
        steady_state=setting.steady_state,
    )
    return Problem(program, setting.target, setting.objective)


def value_of(setting: OrderingTask, order: Sequence[int], reference: float) -> Valued | None:
    """Solve the LP of an order; None when the deadline came first or its operands do not fit."""
    problem = problem_of(setting, order)
    segments = segments_of(problem)
    try:
        relaxation = relax(problem, segments, ROOM * reference, OPTIONS, setting.budget)
    except (InfeasibleError, UsageError):
        return None
    if relaxation is None:
        return None
    builder = relaxation.fluid.builder
    value = relaxation.solution.objective + builder.constant + builder.tie_constant
    value *= builder.unit
    if builder.is_timed:
        value += float(overhead_seconds(problem).sum())
    return Valued(tuple(order), value, problem, segments, relaxation)


def stall_weights(valued: Valued) -> Floats:
    """(N,) for each place of an order how much is lost there; positive.

    Latency: the time that its step takes beyond computing. Else the price of space in its step.
    """
    builder = valued.relaxation.fluid.builder
    solution = valued.relaxation.solution
    if builder.is_timed:
        elapsed = solution.values[builder.elapsed] * builder.unit
        lost = np.maximum(0.0, elapsed - compute_seconds(valued.problem)[0])
    else:
        lost = builder.space_prices(solution.duals)
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


def stretch_of(setting: OrderingTask, order: Sequence[int], reserved_bytes: int) -> OrderingTask:
    """A stretch of an order as a setting of its own; operator i of it is `order[i]`."""
    graph = setting.graph
    chosen = [graph.operators[i] for i in order]
    made = {name for operator in chosen for name in operator.outputs}
    inside = set(order)
    wanted = set(graph.outputs)
    for index, operator in enumerate(graph.operators):
        if index not in inside:
            wanted.update(operator.inputs)
    values: dict[str, Value] = {}
    for operator in chosen:
        for name in (*operator.inputs, *operator.outputs):
            values[name] = _seen_inside(graph.values[name], name in made, name in wanted)
    small = Graph(
        name=graph.name,
        values=values,
        operators=tuple(chosen),
        inputs=tuple(name for name, value in values.items() if value.kind == "input"),
        outputs=tuple(name for name in values if name in made and name in wanted),
    )
    fastest = setting.target.fastest
    room = max(fastest.capacity_bytes // 8, fastest.capacity_bytes - reserved_bytes)
    return replace(
        setting, graph=small, target=setting.target.with_fast_memory(room), steady_state=False
    )


def _seen_inside(value: Value, made: bool, wanted: bool) -> Value:
    """A value as a stretch sees it."""
    kind: Kind = value.kind
    if value.kind != "weight":
        kind = "activation" if made else "input"
        kind = "output" if made and wanted else kind
    return replace(value, kind=kind)
