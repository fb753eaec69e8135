"""What a plan computes again: counts for JSON, and texts for people."""

from dataclasses import dataclass

from ullage.compiler.common.units import counted, format_time
from ullage.compiler.driver.cascades import WholePlan, beside_whole_text, schedule_name
from ullage.compiler.driver.summary_text import percent
from ullage.compiler.ir.plan import Plan
from ullage.hwmodels.cost import compute_seconds


@dataclass(frozen=True)
class Recomputation:
    """What a plan computes again, as whole operators.

    Attributes:
        operators: how many operators run again.
        steps: how often they do, all together.
        compute_s: compute time of these steps.
    """

    operators: int
    steps: int
    compute_s: float


def recomputation_of(plan: Plan) -> Recomputation:
    """What whole operators of a plan compute again; parts of cascades do not count here."""
    again = [t for t, step in enumerate(plan.problem.steps) if step.copy and not step.ranges]
    return Recomputation(
        operators=len({plan.problem.steps[t].operator for t in again}),
        steps=len(again),
        compute_s=float(compute_seconds(plan.problem)[0][again].sum()),
    )


def recompute_texts(plan: Plan, slow_bytes: int, whole: WholePlan | None) -> list[str]:
    """What a plan computes again and what that saves; none where every operator runs once.

    Args:
        plan: the plan.
        slow_bytes: its slow traffic.
        whole: the plan in which each operator runs once that it was compared with, if any.
    """
    again = recomputation_of(plan)
    if not again.steps:
        return []
    compute_s = float(compute_seconds(plan.problem)[0].sum())
    texts = [
        f"{schedule_name(plan)}: {again.operators} of "
        f"{counted(plan.program.operators, 'operator')} run again, in "
        f"{counted(again.steps, 'step')} more; {format_time(again.compute_s)} of computing again "
        f"({percent(again.compute_s, compute_s - again.compute_s)} more)"
    ]
    if whole is not None:
        texts.append(beside_whole_text(plan, slow_bytes, whole, "each once"))
    return texts
