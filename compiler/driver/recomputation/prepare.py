"""A model in a schedule in which whole operators run again.

It is searched for behind the plan in which each runs once, and inside the order of that plan. What
the search proposes is planned as any schedule is; the better of the two plans is the answer.
"""

import time
from dataclasses import replace

from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.frontend import Ordering, Prepared, in_order
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import planned_order
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
    from ullage.solvers.scheduling.recompute.copies import RECOMPUTE
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
    prepared = replace(prepared, repetitions_bound=found.bound)
    taken_s = time.monotonic() - begun
    if found.schedule.is_whole and found.schedule.order == order:
        return replace(prepared, schedule_s=taken_s)
    frontend = options.frontend
    if found.schedule.is_whole:  # nothing runs again: it is an order
        order, frontend = found.schedule.order, replace(frontend, order=RECOMPUTE)
    again = in_order(
        prepared.graph,
        prepared.target,
        Ordering(order, prepared.notes),
        frontend,
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
        repetitions_bound=found.own_bound,
        other=prepared,
    )
