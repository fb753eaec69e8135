"""What each operator of a plan costs: the table of the terminal, of `--json --verbose`, the report.

Times are the cost model's: steps follow each other, so an operator begins where the step before
ends. Transfers in the step of an operator run beside it and mostly serve others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.part_names import axis_names_of, operator_name
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.program import DMA_STEP
from ullage.hwmodels.compute.model import StepTimes
from ullage.hwmodels.cost import Score, bottleneck
from ullage.hwmodels.traffic import dma_charges, operand_charges, tier_bytes


@dataclass(frozen=True)
class StepFigures:
    """T steps over M tiers (fastest first) and L links (in the target's order).

    Attributes:
        start_s: (T,) when each step begins, in seconds from the start of the inference.
        stall_s: (T,) seconds in which the compute unit waits for data: neither computing nor
            overhead.
        utilisation: (T,) share of the step in which the compute unit computes; 0 for a step that
            takes no time.
        bound_by: (T,) what determines the step's length: `compute`, a tier, a link, `overhead`,
            or `idle`.
        operand_bytes: (M, T) bytes that operators read and write in each tier.
        moved_bytes: (L, T) bytes that DMA moves over each link.
    """

    start_s: Floats
    stall_s: Floats
    utilisation: Floats
    bound_by: tuple[str, ...]
    operand_bytes: Floats
    moved_bytes: Floats


def step_figures(plan: Plan, cost: Score) -> StepFigures:
    """The figures of every step.

    Args:
        plan: a legal plan.
        cost: its score.
    """
    steps = len(plan.problem.steps)
    elapsed, compute = cost.elapsed_s, cost.compute_by_step
    begins = np.concatenate([[0.0], elapsed.cumsum()])[:steps]
    share = np.divide(compute, elapsed, out=np.zeros(steps), where=elapsed > 0)
    read, written = tier_bytes(operand_charges(plan), plan.target, steps)
    return StepFigures(
        start_s=begins,
        stall_s=np.maximum(elapsed - compute - cost.overhead_by_step, 0.0),
        utilisation=np.minimum(share, 1.0),
        bound_by=bottleneck(cost),
        operand_bytes=read + written,
        moved_bytes=dma_charges(plan).moved,
    )


def operator_steps(plan: Plan) -> list[int]:
    """The steps that run an operator, in order."""
    return [t for t, step in enumerate(plan.problem.steps) if step.kind != DMA_STEP]


@dataclass(frozen=True)
class OperatorTime:
    """The time of an operator, all its parts together.

    Attributes:
        name: its name, without ranges.
        kind: its type.
        steps: the steps that run it or a part of it, ascending.
        elapsed_s: how long they take.
        stall_s: seconds of them in which the compute unit waits for data.
        bound_by: what determines the length of most of that time.
    """

    name: str
    kind: str
    steps: tuple[int, ...]
    elapsed_s: float
    stall_s: float
    bound_by: str


def slowest_operators(plan: Plan, cost: Score, count: int) -> list[OperatorTime]:
    """The operators that take longest, at most `count`, the worst first; ties in step order."""
    figures = step_figures(plan, cost)
    parts: dict[int, list[int]] = {}
    for t in operator_steps(plan):
        parts.setdefault(plan.problem.steps[t].operator, []).append(t)
    times: list[OperatorTime] = []
    for steps in parts.values():
        seconds: dict[str, float] = {}
        for t in steps:
            name = figures.bound_by[t]
            seconds[name] = seconds.get(name, 0.0) + float(cost.elapsed_s[t])
        first = plan.problem.steps[steps[0]]
        times.append(
            OperatorTime(
                name=operator_name(first),
                kind=first.kind,
                steps=tuple(steps),
                elapsed_s=float(cost.elapsed_s[steps].sum()),
                stall_s=float(figures.stall_s[steps].sum()),
                bound_by=max(seconds, key=seconds.__getitem__),
            )
        )
    return sorted(times, key=lambda one: (-one.elapsed_s, one.steps[0]))[:count]


def operators_detail(
    plan: Plan, cost: Score, steps: Sequence[int] | None = None
) -> list[dict[str, Any]]:
    """Rows of `operators_detail` (docs/cli.md lists the keys), in step order unless given.

    Args:
        plan: a legal plan.
        cost: its score.
        steps: steps of the operators wanted, default all.
    """
    figures = step_figures(plan, cost)
    times = StepTimes(plan.target)
    tiers, links = plan.target.tiers, plan.target.links
    used = [i for i in range(len(links)) if figures.moved_bytes[i].any()]
    rows: list[dict[str, Any]] = []
    for t in operator_steps(plan) if steps is None else steps:
        step, elapsed_s = plan.problem.steps[t], float(cost.elapsed_s[t])
        rows.append(
            {
                "step": t,
                "name": step.name,
                "kind": step.kind,
                "operator": operator_name(step),
                "ranges": {
                    name: [r.start, r.end]
                    for name, r in zip(axis_names_of(step), step.ranges, strict=True)
                },
                "start_s": float(figures.start_s[t]),
                "elapsed_s": elapsed_s,
                "share": elapsed_s / cost.latency_s if cost.latency_s else 0.0,
                "compute_s": float(cost.compute_by_step[t]),
                "overhead_s": float(cost.overhead_by_step[t]),
                "stall_s": float(figures.stall_s[t]),
                "utilisation": float(figures.utilisation[t]),
                "mac_utilisation": times.mac_utilisation(step, float(cost.compute_by_step[t])),
                "bound_by": figures.bound_by[t],
                "macs": step.macs,
                "bytes": {
                    tier.name: round(float(figures.operand_bytes[m, t]))
                    for m, tier in enumerate(tiers)
                },
                "dma_bytes": {links[i].name: round(float(figures.moved_bytes[i, t])) for i in used},
            }
        )
    return rows
