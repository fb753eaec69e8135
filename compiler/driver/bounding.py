"""The best bound known for a plan, whichever solver made it.

A gap says how far a plan is from the best there may be. So that it means the same in every row and
report, a plan whose solver proved nothing gets the bound of `fluid`'s relaxation, where that comes
quickly: in `QUICK_S` seconds, and in the time that a limit leaves.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ullage.compiler.driver.result import OPTIMAL_GAP, Compiled, best_bound, gap_of
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import BOUND_TOLERANCE, Bound
from ullage.solvers.bounds.schedules import (
    TRIVIAL,
    ScheduleBounds,
    memory_bounds,
    schedule_bounds,
    why_unbounded,
)
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.bound import fluid_bound

# Processor seconds that a relaxation may take for its bound alone: on a busy machine as on another.
QUICK_S = 5.0
# Steps of the longest program that is relaxed: longer ones take more than those seconds.
MOST_STEPS = 2000
# Processor seconds that the bound over all schedules may take (docs/bounds.md).
EVERY_SCHEDULE_S = 10.0
# Why there is no such bound where its seconds, or those of the job, were over first ...
NO_TIME = "no time was left"
# ... and where it was worked out and says nothing: it excludes no size of the memory.
NO_SIZE = "what is proven of the latency is within the limit, whatever the size of the fast memory"
# What `fluid` calls its bounds (the second one: with whole set-ups and rows).
FLUID = ("fluid-lp", "fluid-whole")


def with_best_bound(plan: Plan, value: float, budget: Budget) -> Plan:
    """The plan with the best bound known: its solver's, one that needs none, or `fluid`'s.

    Args:
        plan: the plan.
        value: its objective's value, in its unit.
        budget: the time; none is spent where the gap is closed, `fluid` has had its say, or the
            program is longer than `MOST_STEPS`.
    """
    known = best_bound(plan)
    gap = gap_of(value, known)
    if plan.bound_source in FLUID or (gap is not None and gap <= OPTIMAL_GAP):
        return plan
    if len(plan.problem.steps) > MOST_STEPS:
        return plan
    budget.progress("bounding")
    found = fluid_bound(plan.problem, value, budget.at_most_work(QUICK_S))
    if found is None or found.value <= known.value:
        return plan
    if found.value > value * (1 + BOUND_TOLERANCE):
        note = f"the bound {found.value:.9g} of fluid is contradicted by this plan; it is not used"
        return replace(plan, notes=(*plan.notes, note))
    return bounded_by(plan, found)


def bounded_by(plan: Plan, bound: Bound) -> Plan:
    """The plan with a bound in the place of its solver's."""
    return replace(plan, lower_bound=bound.value, bound_source=bound.source)


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
        bounds = _schedule_bounds(
            compiled.plan.problem, compiled.graph, budget.at_most_work(EVERY_SCHEDULE_S)
        )
    except KeyboardInterrupt:  # the plan is complete; only its bound is the worse for it
        return replace(compiled, unbounded="interrupted", interrupted=True)
    if bounds is None:
        return replace(compiled, unbounded=NO_TIME)
    compiled = replace(compiled, unbounded="")
    if bounds.any_schedule.value > compiled.value * (1 + BOUND_TOLERANCE):
        reason = f"{bounds.any_schedule.value:.9g} is contradicted by this plan"
        return replace(compiled, unbounded=reason)
    if bounds.any_schedule.source == TRIVIAL:
        compiled = replace(compiled, unbounded=NO_SIZE)
        if bounds.whole_reductions.source == TRIVIAL:
            return compiled
    return replace(compiled, schedule_bounds=bounds)


def with_repetitions_bound(compiled: Compiled, found: Prepared) -> Compiled:
    """The same with the bound over all repetitions of an order, where the plan has that order.

    Args:
        compiled: a plan of a model.
        found: the model as a search for repetitions left it, with what it proved; `other` as it
            was before.
    """
    schedules = (_schedule(compiled.plan.model), _schedule(found.model))
    if schedules[0] != schedules[1] and found.other is not None:
        found = found.other
    bound = found.repetitions_bound
    if bound is None or compiled.plan.objective != "latency":
        return compiled
    if _schedule(compiled.plan.model) != _schedule(found.model):
        return compiled
    if bound.value > compiled.value * (1 + BOUND_TOLERANCE):
        told = f"the bound {bound.value:.9g} of {bound.source} is contradicted by this plan"
        return compiled.noted(f"{told}; it is not used")
    return replace(compiled, repetitions_bound=bound)


def _schedule(model: Mapping[str, Any]) -> tuple[object, object]:
    """What runs, as a plan's `model` describes it."""
    return model.get("operator_order"), model.get("schedule")


def _schedule_bounds(problem: Problem, graph: Graph, budget: Budget) -> ScheduleBounds | None:
    """Bounds over all schedules: of the latency, or of the memory under a limit of the latency."""
    if problem.latency_limit_s is None:
        return schedule_bounds(graph, problem.target, budget)
    return memory_bounds(graph, problem.target, problem.latency_limit_s, budget)


def with_every_schedule(compiled: Compiled, budget: Budget, started: float) -> Compiled:
    """The same with what bounds every schedule of the model, where time is left for that.

    Args:
        compiled: a plan of a model.
        budget: of the job.
        started: `time.monotonic()` value when the job began.
    """
    if compiled.interrupted:
        return replace(compiled, unbounded="interrupted")
    bounded = with_schedule_bounds(compiled, budget)
    return replace(bounded, total_s=time.monotonic() - started)
