"""The best of the plans of a prepared model: in another order, whole, in parts, run again.

Each of them is planned in a share of the job's time (`in_order`); the first that is there stands
where time is over or Ctrl-C comes before the next one.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.common.units import objective_text
from ullage.compiler.driver.anytime import joined
from ullage.compiler.driver.bounding import bounded_by, with_repetitions_bound
from ullage.compiler.driver.cascades import WholePlan, whole_plan
from ullage.compiler.driver.limits.job_time import budget_of, shared
from ullage.compiler.driver.options import AUTO, DEFAULT_SOLVER, OFF, WHOLE, CompileOptions
from ullage.compiler.driver.recomputation.prepare import recomputing
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.schedules import (
    as_found_in_time,
    check_searchable,
    is_searched,
    scheduled,
    why_needless,
    why_whole,
    with_less_memory,
)
from ullage.compiler.driver.solving.in_order import QUICKEST, SHORT_STEPS, solve_in_order
from ullage.compiler.frontend import Prepared
from ullage.hwmodels.bounds import Bound, order_free_bound
from ullage.solvers.interface import StopReason
from ullage.solvers.portfolio import PortfolioOptions, work_for
from ullage.solvers.registry import find_solver

# Share of the time that solving in the file's order gets, where a joint order is solved too, and
# solving whole operators, where cascades are searched for behind that.
OTHER_SHARE = 0.4
# Seconds of the processor that the quickest solver has to end in where a share of a time limit cut
# `auto` short, before another schedule is searched for, and their share of the time left at most.
ENDING_S = 1.0
MOST_ENDING_SHARE = 0.5
# Share of the seconds of the processor that `auto` has without a time limit, for the plan of whole
# operators and for that of another schedule, each.
PART_SHARE = 0.55
# Whole operators are planned once more where the search for another schedule leaves this many times
# the seconds that their planning was cut short after.
MORE_TIME = 2.0


def solve_best(prepared: Prepared, options: CompileOptions, *, quick_bound: bool) -> Compiled:
    """Solve, verify and score a prepared model, in all the ways that the options ask for.

    Args:
        prepared: the model; with `other`, in another order or schedule, too.
        options: how to compile.
        quick_bound: bound each plan by `fluid`'s relaxation where its solver proves less.

    Raises:
        InfeasibleError: no legal plan exists, or none was found.
        TimeLimitError: time was over before any plan.
        UsageError: an option is wrong.
    """
    if prepared.graph.operators and "schedule" not in prepared.model:
        if options.recompute == AUTO:
            return _solve_with_recomputation(prepared, options, quick_bound=quick_bound)
        if is_searched(options, prepared.target):
            return _solve_with_cascades(prepared, options, quick_bound=quick_bound)
        if options.schedule is None:
            whole_options = replace(options, schedule=WHOLE)
            whole = solve_best(prepared, whole_options, quick_bound=quick_bound)
            return replace(whole, whole_because=why_whole(options, prepared.target))
    if prepared.other is None:
        return solve_in_order(prepared, options, quick_bound=quick_bound)
    if "schedule" in prepared.model:
        return _solve_beside_whole(prepared, prepared.other, options, quick_bound=quick_bound)
    return _solve_beside_file_order(prepared, prepared.other, options, quick_bound=quick_bound)


def _solve_beside_file_order(
    prepared: Prepared, file_order: Prepared, options: CompileOptions, *, quick_bound: bool
) -> Compiled:
    """The better of the plan in the joint order and that in the file's; the lower bound holds."""
    other = replace(file_order.on(prepared.target), started=prepared.started)
    begun = time.monotonic()
    own_s = shared(prepared, options.time_limit_s, OTHER_SHARE)
    plain: Compiled | None = None
    try:
        limited = replace(options, time_limit_s=own_s)
        plain = solve_in_order(other, limited, quick_bound=quick_bound)
        if plain.interrupted:
            return _bounded(plain, _free_bound(plain))
        between_s = time.monotonic() - begun
        result = solve_in_order(prepared, options, quick_bound=quick_bound)
    except (InfeasibleError, TimeLimitError):
        if plain is None:
            result = solve_in_order(prepared, options, quick_bound=quick_bound)
            return _bounded(result, _free_bound(result))
        note = "joint: no plan was found in the joint order; that of the file is used"
        return _bounded(plain.noted(note), _free_bound(plain))
    late = "time limit" in {plain.stop_reason, result.stop_reason} and not result.interrupted
    # Plans of several solvers or sizes may be of either order: what bounds them must hold in both.
    bound = min(result.bound, plain.bound, key=lambda bound: bound.value)
    now = time.monotonic()
    trace = joined(plain.anytime, result.anytime, between_s)
    if result.value > plain.value:
        note = (
            f"joint: the plan in the joint order ({result.value:.6g}) is worse than that in the "
            f"file's ({plain.value:.6g}), which is used"
        )
        result = plain.noted(note)
    timed = replace(result, solve_s=now - begun, total_s=now - prepared.started, anytime=trace)
    return _bounded(replace(timed, stop_reason="time limit") if late else timed, bound)


def _solve_with_cascades(
    prepared: Prepared, options: CompileOptions, *, quick_bound: bool
) -> Compiled:
    """The plan of whole operators, or a better one of cascades that are searched for behind it."""
    check_searchable(options, prepared.target)

    def search() -> Prepared:
        return scheduled(prepared, options, budget_of(prepared, options).deadline)

    return _solve_before(search, prepared, options, quick_bound=quick_bound)


def _solve_with_recomputation(
    prepared: Prepared, options: CompileOptions, *, quick_bound: bool
) -> Compiled:
    """The plan in which operators run once, or a better one in which some run again."""

    def search() -> Prepared:
        return recomputing(prepared, options, budget_of(prepared, options))

    return _solve_before(search, prepared, options, quick_bound=quick_bound)


def _solve_before(
    search: Callable[[], Prepared],
    prepared: Prepared,
    options: CompileOptions,
    *,
    quick_bound: bool,
) -> Compiled:
    """The plan of whole operators, or a better one of the schedule that a search behind it finds.

    Args:
        search: finds a schedule; the model as it is where none is better.
        prepared: the model.
        options: how to compile.
        quick_bound: as of `solve_prepared`.
    """
    begun = time.monotonic()
    half = _with_work(prepared, options)
    plain, refused = _whole_first(half, options, quick_bound=quick_bound)
    if not isinstance(refused, InfeasibleError):
        plain = _with_quickest(plain, prepared, options, begun)
    if plain is not None and (plain.interrupted or (reason := why_needless(plain))):
        return replace(plain, whole_because="interrupted" if plain.interrupted else reason)
    name = _alternative(options)
    try:
        found = search()
    except KeyboardInterrupt:
        if plain is None:
            raise
        return _interrupted(plain)
    except (InfeasibleError, TimeLimitError) as error:
        if plain is not None:
            return replace(plain, whole_because=f"no {name.found}: {error.message}")
        if isinstance(error, InfeasibleError) and isinstance(refused, InfeasibleError):
            raise with_less_memory(error, refused) from error
        raise
    if "schedule" in found.model or found.other is not prepared.other:
        found = found if plain is None else _with_work(found, options)
        result = _better_of(plain, found, options, begun, quick_bound=quick_bound)
        return with_repetitions_bound(result, found)
    if plain is None:
        whole_options = replace(options, schedule=WHOLE, recompute=OFF)
        plain = solve_best(prepared, whole_options, quick_bound=False)
    else:
        plain = _with_time_left(plain, prepared, options, begun, quick_bound=quick_bound)
    reason = f"no {name.text} found in {found.schedule_s:.1f} s {name.better}"
    plain = replace(plain, whole_because=reason, schedule_s=found.schedule_s)
    return _ended(with_repetitions_bound(plain, found), prepared)


def _with_work(part: Prepared, options: CompileOptions) -> Prepared:
    """A part of a job of two with its share of the seconds that `auto` has where none are given."""
    if options.solver != DEFAULT_SOLVER or options.time_limit_s is not None:
        return part
    if "work_s" in options.parameters:
        return part
    return replace(part, work_s=PART_SHARE * work_for(part.problem, PortfolioOptions().work_s))


def _whole_first(
    whole: Prepared, options: CompileOptions, *, quick_bound: bool
) -> tuple[Compiled | None, InfeasibleError | TimeLimitError | None]:
    """The plan of whole operators, in a share of the job's time; or why there is none.

    Operators that do not fit whole may fit in parts.
    """
    limited = replace(
        options,
        schedule=WHOLE,
        recompute=OFF,
        time_limit_s=shared(whole, options.time_limit_s, OTHER_SHARE),
    )
    try:
        return solve_best(whole, limited, quick_bound=quick_bound), None
    except (InfeasibleError, TimeLimitError) as error:
        return None, error


def _with_quickest(
    plain: Compiled | None, whole: Prepared, options: CompileOptions, begun: float
) -> Compiled | None:
    """The plan of whole operators, or a better one of the quickest solver, run to its end.

    A share of the time limit may have cut `auto` short before that one was done, or begun.

    Args:
        plain: the plan of whole operators, made in a share of the time; None where there is none.
        whole: the model with whole operators.
        options: how to compile.
        begun: `time.monotonic()` value when planning whole operators began.
    """
    solver = find_solver(QUICKEST)
    if options.time_limit_s is None or options.solver != DEFAULT_SOLVER:
        return plain
    is_cut_short = plain is None or plain.stop_reason == "time limit"
    knows = options.minimised in solver.objectives
    knows &= whole.problem.latency_limit_s is None or solver.keeps_limit
    if not is_cut_short or not knows or len(whole.problem.steps) > SHORT_STEPS:
        return plain
    quick = replace(
        options,
        solver=QUICKEST,
        parameters={},
        schedule=WHOLE,
        recompute=OFF,
        time_limit_s=shared(whole, options.time_limit_s, MOST_ENDING_SHARE),
    )
    between_s = time.monotonic() - begun
    try:
        found = solve_best(replace(whole, work_s=ENDING_S), quick, quick_bound=False)
    except (InfeasibleError, TimeLimitError, UsageError):  # or it does not know such targets
        return plain
    except KeyboardInterrupt:
        if plain is None:
            raise
        return _interrupted(plain)
    if plain is None:
        ended: StopReason = "interrupted" if found.interrupted else "time limit"
        return replace(found, requested_solver=options.solver, stop_reason=ended)
    best = found if found.value < plain.value else plain
    return replace(
        best,
        requested_solver=options.solver,
        solve_s=plain.solve_s + found.solve_s,
        anytime=joined(plain.anytime, found.anytime, between_s),
        interrupted=found.interrupted,
        stop_reason="interrupted" if found.interrupted else plain.stop_reason,
    )


def _with_time_left(
    plain: Compiled, whole: Prepared, options: CompileOptions, begun: float, *, quick_bound: bool
) -> Compiled:
    """The plan of whole operators, or a better one where its share ended early and much is left.

    Args:
        plain: the plan of whole operators, made in a share of the time.
        whole: the model with whole operators.
        options: how to compile.
        begun: `time.monotonic()` value when planning whole operators began.
        quick_bound: as of `solve_prepared`.
    """
    left_s = budget_of(whole, options).remaining_s()
    is_cut_short = options.time_limit_s is not None and plain.stop_reason == "time limit"
    if not is_cut_short or left_s < MORE_TIME * plain.solve_s:
        return plain
    between_s = time.monotonic() - begun
    whole_options = replace(options, schedule=WHOLE, recompute=OFF)
    try:
        again = solve_best(whole, whole_options, quick_bound=quick_bound)
    except (InfeasibleError, TimeLimitError):
        return plain
    except KeyboardInterrupt:
        return _interrupted(plain)
    best = plain if plain.value <= again.value else again
    return replace(
        best,
        solve_s=plain.solve_s + again.solve_s,
        anytime=joined(plain.anytime, again.anytime, between_s),
        interrupted=again.interrupted,
        stop_reason=again.stop_reason,
    )


def _solve_beside_whole(
    prepared: Prepared, whole: Prepared, options: CompileOptions, *, quick_bound: bool
) -> Compiled:
    """The better of the plan in parts and that of whole operators; each has its own bound."""
    whole = replace(whole.on(prepared.target), started=prepared.started)
    begun = time.monotonic()
    plain, _ = _whole_first(whole, options, quick_bound=quick_bound)
    if plain is not None and plain.interrupted:
        return plain
    return _better_of(plain, prepared, options, begun, quick_bound=quick_bound)


def _better_of(
    plain: Compiled | None,
    cut: Prepared,
    options: CompileOptions,
    begun: float,
    *,
    quick_bound: bool,
) -> Compiled:
    """The better of a plan of whole operators and that of a schedule, which is made here.

    Args:
        plain: the plan of whole operators; None where there is none.
        cut: the model in its schedule.
        options: how to compile.
        begun: `time.monotonic()` value when planning whole operators began.
        quick_bound: as of `solve_prepared`.
    """
    between_s = time.monotonic() - begun
    try:
        result = solve_in_order(cut, options, quick_bound=quick_bound)
    except (InfeasibleError, TimeLimitError) as error:
        if plain is None and isinstance(error, InfeasibleError):
            raise as_found_in_time(error, cut, options) from error
        if plain is None:
            raise
        reason = f"no plan of the {_alternative(options).text} was found: {error.message}"
        return _ended(replace(plain, whole_because=reason, schedule_s=cut.schedule_s), cut)
    except KeyboardInterrupt:
        if plain is None:
            raise
        return _interrupted(plain)
    if plain is None:
        return result
    interrupted = result.interrupted
    late = "time limit" in {plain.stop_reason, result.stop_reason} and not interrupted
    trace = joined(plain.anytime, result.anytime, between_s)
    whole: WholePlan | None = whole_plan(plain.value, plain.plan, result.plan)
    if result.value > plain.value:
        found, kept = (objective_text(one.value, one.plan.objective) for one in (result, plain))
        name = _alternative(options).text
        reason = f"the plan of the {name} found has {found}, this one {kept}"
        result, whole = replace(plain, whole_because=reason), None
    timed = replace(
        result,
        solve_s=time.monotonic() - begun - cut.schedule_s,
        schedule_s=cut.schedule_s,
        anytime=trace,
        interrupted=interrupted,
        stop_reason="time limit" if late else result.stop_reason,
        whole=whole,
    )
    return _ended(timed, cut)


class _Alternative(NamedTuple):
    """What the schedule beside that of whole operators is called.

    Attributes:
        text: its name.
        found: that it was found, in words.
        better: that it is better, in words.
    """

    text: str
    found: str
    better: str


def _alternative(options: CompileOptions) -> _Alternative:
    if options.recompute == AUTO:
        return _Alternative("recomputation", "recomputation was found", "is better")
    return _Alternative("cascades", "cascades were found", "are better")


def _interrupted(plain: Compiled) -> Compiled:
    """The plan of whole operators where Ctrl-C ended what followed it."""
    told = "interrupted before another schedule was planned"
    return replace(plain, whole_because=told, interrupted=True, stop_reason="interrupted")


def _ended(compiled: Compiled, prepared: Prepared) -> Compiled:
    """The same result, with the time of the whole job until now."""
    return replace(compiled, total_s=time.monotonic() - prepared.started)


def _free_bound(compiled: Compiled) -> Bound:
    """The bound of a plan's objective that holds in every order."""
    plan = compiled.plan
    return order_free_bound(plan.problem)


def _bounded(compiled: Compiled, bound: Bound) -> Compiled:
    """The same result with a bound no better than the one given."""
    return replace(compiled, plan=bounded_by(compiled.plan, bound), bound=bound)
