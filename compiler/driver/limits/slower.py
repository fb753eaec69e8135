"""`--slower-by`: the smallest fast memory without a spill, for plans that are nearly the fastest.

First the best latency is looked for, with all of the target's fast memory and spills allowed. Then
memory is made as small as it may be while the latency stays within the tolerance: in the schedule
that was given, or in cascades that are searched for under that limit, and in whole operators.

The first search may end early, with a plan that one of the second search beats: its answer, or one
that it made on its way. That is the fastest plan known then, and the limit is taken from it. Where
the answer keeps that stricter limit it is the smallest found under it, too: whatever keeps it keeps
the first. Where it does not, the peak is minimised again while there is time.
"""

import math
from dataclasses import replace

from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.refusals.remedies import Refusal, with_set_capacity
from ullage.compiler.driver.result import Compiled, LatencyLimit, best_bound
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.target import Target
from ullage.hwmodels.bounds import keeps_live_bytes, order_free_bound
from ullage.hwmodels.cost import objective_value
from ullage.solvers.fluid.smallest import FASTEST_SEEN
from ullage.solvers.registry import find_solver

# The option that has operators run in parts, and what does where cascades are for the latency.
IN_PARTS = "--schedule cascade"
LEFT_OUT = "leave --schedule out"


def for_best_latency(options: CompileOptions) -> CompileOptions:
    """The options with which the best latency is looked for."""
    fastest = replace(options, objective="latency", slower_by=None)
    if "latency" in find_solver(options.solver).objectives:
        return fastest
    return replace(fastest, solver="auto", parameters={})


def refused_for_peak(error: Refusal, target: Target) -> Refusal:
    """The refusal of a plan of the best latency, with remedies that the objective `peak` allows.

    It takes no `--fast-memory`; and where operands must be in fast memory, cascades are for the
    best latency alone, which searches for them where no schedule is named.

    Args:
        error: the refusal, with the remedies of objective `latency`.
        target: the chip.

    Returns:
        An error of the same kind and with the same figures.
    """
    found = with_set_capacity(error, target)
    if not target.dma_steps.between and not target.must_be_fastest("weight"):
        return found
    details = dict(found.details)
    if "remedies" in details:
        details["remedies"] = [r.replace(IN_PARTS, LEFT_OUT) for r in details["remedies"]]
    return type(found)(found.message.replace(IN_PARTS, LEFT_OUT), details)


def at_worst(fastest: Compiled, limit_s: float, why: str) -> Compiled:
    """The fastest plan as the answer where none without a spill was found that keeps the limit.

    It defines the limit, so that it keeps it, with all of the target's fast memory. It may spill,
    or read inputs where they are; its peak is what it uses.

    Args:
        fastest: the plan of the best latency.
        limit_s: the limit.
        why: why there is no other plan.
    """
    problem = fastest.plan.problem.within(limit_s)
    text = "the fastest plan is the answer"
    if not keeps_live_bytes(fastest.plan):
        text += ", which moves data out of fast memory or reads them elsewhere"
    plan = replace(
        fastest.plan,
        problem=problem,
        lower_bound=None,
        bound_source="",
        shadow_prices=(),
        notes=(*fastest.plan.notes, f"slower-by: {text}: {why}"),
    )
    value = objective_value(fastest.score, problem.objective)
    return replace(
        fastest,
        plan=plan,
        bound=best_bound(plan),
        anytime=((fastest.solve_s, value),),
        schedule_bounds=None,
        unbounded="the plan is that of the best latency",
        whole=None,
    )


def limit_from(fastest: Compiled, share: float) -> LatencyLimit:
    """The limit that the fastest plan sets.

    Args:
        fastest: the plan that the search for the best latency ended with.
        share: by which a plan may be slower.
    """
    return LatencyLimit(share, fastest.score.latency_s, fastest.bound.value)


def stricter_limit(
    answer: Compiled, fastest: Compiled, limit: LatencyLimit, *, own: bool = False
) -> LatencyLimit | None:
    """The limit that a faster plan sets, which was found while the peak was minimised.

    A plan that needs more memory than the chip has is none of the plans that a limit is taken from.

    Args:
        answer: the plan of the smallest peak under a limit.
        fastest: the plan that the search for the best latency ended with.
        limit: the limit, taken from that plan.
        own: look at the answer alone, at none that was found before it.

    Returns:
        None where no plan was faster.
    """
    seen_s = math.inf if own else answer.plan.statistics.get(FASTEST_SEEN, math.inf)
    own_s = math.inf if answer.plan.shortfall else answer.score.latency_s
    known_s = min(seen_s, own_s)
    if known_s >= limit.best_latency_s:
        return None
    bound_s = limit.best_bound_s
    if answer.plan.program != fastest.plan.program:
        bound_s = order_free_bound(answer.plan.problem.minimising("latency")).value
    return LatencyLimit(limit.slower_by, known_s, bound_s, limit.best_latency_s)


def limited(prepared: Prepared, limit_s: float) -> Prepared:
    """A model for the smallest peak under a limit of the latency.

    Args:
        prepared: the model as it was planned for latency.
        limit_s: the limit.
    """
    other = prepared.other
    return replace(
        prepared,
        problem=prepared.problem.within(limit_s),
        other=None if other is None else limited(other, limit_s),
    )
