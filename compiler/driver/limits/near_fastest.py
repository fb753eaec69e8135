"""`--slower-by`: the two searches, for the best latency and for the smallest peak near it.

`slower` explains which plan the limit is taken from.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError
from ullage.compiler.common.units import format_time
from ullage.compiler.driver.bounding import NO_TIME, with_every_schedule
from ullage.compiler.driver.limits.job_time import budget_of, shared
from ullage.compiler.driver.limits.slower import (
    at_worst,
    for_best_latency,
    limit_from,
    limited,
    refused_for_peak,
    stricter_limit,
)
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled, LatencyLimit
from ullage.compiler.driver.schedules import check_searchable, is_searched, with_found_states
from ullage.compiler.frontend import Prepared
from ullage.hwmodels.cost import exceeds_limit
from ullage.solvers.bounds.schedules import ScheduleBounds

# Plans a prepared model.
Solve = Callable[[Prepared, CompileOptions], Compiled]

# Share of the time after reading in which the best latency is looked for.
FASTEST_SHARE = 0.4
# Share of the time of the smallest peak that is kept for its bound over all schedules.
BOUNDING_SHARE = 0.15


def solve_limited(
    prepared: Prepared, options: CompileOptions, solve: Solve, solve_fastest: Solve
) -> Compiled:
    """The plan of the smallest peak that is little slower than the fastest one.

    Args:
        prepared: the model, to be planned for latency.
        options: with `slower_by`.
        solve: plans the smallest peak.
        solve_fastest: plans for latency, without bounds that nobody is shown.

    Raises:
        InfeasibleError: there is no plan of the best latency.
        TimeLimitError: there was no time for one.
        KeyboardInterrupt: interrupted while the fastest plan was searched for.
    """
    options = with_found_states(options, prepared)
    if is_searched(options, prepared.target) and prepared.graph.operators:
        check_searchable(options, prepared.target)
    options.progress("the best latency")
    try:
        share_s = shared(prepared, options.time_limit_s, FASTEST_SHARE)
        fastest = solve_fastest(prepared, replace(for_best_latency(options), time_limit_s=share_s))
    except (InfeasibleError, TimeLimitError) as error:
        raise refused_for_peak(error, prepared.target) from error
    if fastest.interrupted:
        raise KeyboardInterrupt
    limit = limit_from(fastest, options.slower_by or 0.0)
    options.progress("the smallest peak")
    searched, shorter = limited(prepared, limit.limit_s), options
    if options.time_limit_s is not None:  # searches take all the time that they get
        shorter = replace(
            options,
            time_limit_s=shared(prepared, options.time_limit_s, 1 - BOUNDING_SHARE),
        )
    try:
        compiled = solve(searched, shorter)
    except (InfeasibleError, TimeLimitError) as error:
        compiled = at_worst(fastest, limit.limit_s, error.message)
    compiled, limit = _under_known(prepared, shorter, compiled, fastest, limit, solve)
    bounds = compiled.schedule_bounds
    if compiled.unbounded == NO_TIME or (bounds is not None and bounds.is_cut_short):
        again = with_every_schedule(compiled, budget_of(prepared, options), prepared.started)
        more = again.schedule_bounds
        if bounds is None or (more is not None and _is_higher(more, bounds)):
            compiled = again
    is_own = compiled.score.latency_s == limit.best_latency_s
    reference = "this plan takes" if is_own else "the best latency found is"
    note = (
        f"slower-by {100 * limit.slower_by:g} %: at most {format_time(limit.limit_s)}, as "
        f"{reference} {format_time(limit.best_latency_s)}"
    )
    if limit.surpassed_s is not None:
        note += (
            " (found while the peak was minimised; the search for the best latency ended with "
            f"{format_time(limit.surpassed_s)})"
        )
    total_s = time.monotonic() - prepared.started
    return replace(compiled.noted(note), limit=limit, total_s=total_s)


def _is_higher(one: ScheduleBounds, other: ScheduleBounds) -> bool:
    """Whether bounds of one problem say more than others of it."""
    return one.any_schedule.value > other.any_schedule.value


def _under_known(
    prepared: Prepared,
    options: CompileOptions,
    answer: Compiled,
    fastest: Compiled,
    limit: LatencyLimit,
    solve: Solve,
) -> tuple[Compiled, LatencyLimit]:
    """The plan of the smallest peak under the limit that the fastest plan known sets.

    Args:
        prepared: the model, to be planned for latency.
        options: how to minimise the peak again.
        answer: the plan of the smallest peak under a limit.
        fastest: the plan that the search for the best latency ended with.
        limit: the limit, taken from that plan.
        solve: plans it.

    Returns:
        The plan and its limit, both as they were where no faster plan is known.
    """
    known = stricter_limit(answer, fastest, limit)
    if known is None:
        return answer, limit
    if not exceeds_limit(answer.score.latency_s, known.limit_s):
        return _within(answer, known), known
    note = (
        "slower-by: the limit is of a slower plan than the fastest known, of "
        f"{format_time(known.best_latency_s)}, under whose limit no plan was found: "
    )
    try:
        return solve(limited(prepared, known.limit_s), options), known
    except (InfeasibleError, TimeLimitError) as error:
        told = answer.noted(note + error.message)
    except KeyboardInterrupt:
        told = replace(
            answer.noted(f"{note}interrupted"), interrupted=True, stop_reason="interrupted"
        )
    own = stricter_limit(told, fastest, limit, own=True)
    return (told, limit) if own is None else (_within(told, own), own)


def _within(compiled: Compiled, limit: LatencyLimit) -> Compiled:
    """The same plan of the smallest peak under another limit, which it keeps, too."""
    problem = compiled.plan.problem.within(limit.limit_s)
    return replace(compiled, plan=replace(compiled.plan, problem=problem))
