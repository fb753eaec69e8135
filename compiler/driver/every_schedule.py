"""The bound over all schedules of a model, where there is one (docs/bounds.md)."""

from dataclasses import replace

from ullage.compiler.driver.result import Compiled
from ullage.hwmodels.bounds import BOUND_TOLERANCE
from ullage.solvers.bounds.schedules import schedule_bounds, why_unbounded
from ullage.solvers.budget import Budget

# Seconds that the bound may take.
MOST_S = 10.0


def with_schedule_bounds(compiled: Compiled, budget: Budget) -> Compiled:
    """The same with a bound over all schedules of the model, or the reason why there is none.

    Args:
        compiled: a plan of a model.
        budget: of time.
    """
    reason = why_unbounded(compiled.plan.problem, compiled.graph)
    if reason or compiled.graph is None:
        return replace(compiled, unbounded=reason)
    budget.progress("bounding every schedule")
    try:
        bounds = schedule_bounds(compiled.graph, compiled.plan.target, budget.at_most(MOST_S))
    except KeyboardInterrupt:  # the plan is complete; only its bound is the worse for it
        return replace(compiled, unbounded="interrupted", interrupted=True)
    if bounds is None:
        return replace(compiled, unbounded="no time was left")
    if bounds.any_schedule.value > compiled.value * (1 + BOUND_TOLERANCE):
        reason = f"{bounds.any_schedule.value:.9g} s is contradicted by this plan"
        return replace(compiled, unbounded=reason)
    return replace(compiled, schedule_bounds=bounds)
