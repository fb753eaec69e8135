"""`--recompute auto`: a model in a schedule in which whole operators run again.

It is searched for behind the plan in which each runs once, and inside the order of that plan. What
the search proposes is planned as any schedule is; the better of the two plans is the answer.
"""

import time
from dataclasses import dataclass, replace

from ullage.compiler.common.units import counted, format_time
from ullage.compiler.driver.cascades import WholePlan, beside_whole_text, schedule_name
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.summary_text import percent
from ullage.compiler.frontend import Ordering, Prepared, in_order
from ullage.compiler.ir.plan import Plan
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import planned_order
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.budget import Budget


def recomputing(prepared: Prepared, options: CompileOptions, budget: Budget) -> Prepared:
    """A prepared model in the schedule that the search finds; the same where it finds none.

    Args:
        prepared: the model with operators that run once.
        options: how to compile.
        budget: the time of the job.

    Raises:
        TimeLimitError: time was over before an order was lowered.
    """
    from ullage.solvers.scheduling.cascade.valued import SchedulingTask
    from ullage.solvers.scheduling.recompute.search import recompute_until

    begun = time.monotonic()
    order = planned_order(prepared.graph, prepared.model)
    options.progress("choosing what to compute again")
    found = recompute_until(
        SchedulingTask(
            graph=prepared.graph,
            order=order,
            target=prepared.target,
            aliases=alias_options(prepared.target, alias=options.alias),
            steady_state=options.steady_state,
            objective=options.minimised,
            seed=options.seed,
            budget=budget,
        )
    )
    if found.schedule.is_whole:
        return replace(prepared, schedule_s=time.monotonic() - begun)
    again = in_order(
        prepared.graph,
        prepared.target,
        Ordering(order, prepared.notes),
        options.frontend,
        path=prepared.model["path"],
        started=prepared.started,
        schedule=found.schedule,
    )
    return replace(
        again,
        notes=prepared.notes,
        import_s=prepared.import_s,
        order_s=prepared.order_s,
        schedule_s=time.monotonic() - begun,
        geometry=prepared.geometry,
        is_cut_short=found.is_cut_short,
        limit_s=prepared.limit_s,
    )


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
