"""The main job: model -> graph -> order -> problem -> plan, verified and scored."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ullage.compiler import frontend
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.common.kernel_cache import compiling_told
from ullage.compiler.common.kernel_store import activity
from ullage.compiler.common.units import objective_text
from ullage.compiler.driver.anytime import Improvement, joined, trace_of
from ullage.compiler.driver.bounding import (
    bounded_by,
    with_best_bound,
    with_every_schedule,
    with_repetitions_bound,
)
from ullage.compiler.driver.cascades import WholePlan, whole_plan
from ullage.compiler.driver.limits.job_time import before_bounds, budget_of, shared
from ullage.compiler.driver.limits.near_fastest import solve_limited
from ullage.compiler.driver.limits.slower import for_best_latency
from ullage.compiler.driver.limits.then import FIRST_SHARE, minimise_then
from ullage.compiler.driver.options import (
    AUTO,
    DEFAULT_SOLVER,
    OBJECTIVES,
    OFF,
    SEARCHED,
    WHOLE,
    CompileOptions,
    check_applies,
    check_consistent,
    check_types,
    solver_of,
)
from ullage.compiler.driver.problem_files import is_taken_as_problem, of_problem
from ullage.compiler.driver.recomputation.prepare import recomputing
from ullage.compiler.driver.refusals.remedies import with_remedies
from ullage.compiler.driver.result import Compiled, best_bound
from ullage.compiler.driver.schedules import (
    as_found_in_time,
    check_searchable,
    is_searched,
    limit_text,
    phases_text,
    scheduled,
    why_needless,
    why_whole,
    with_found_states,
    with_less_memory,
)
from ullage.compiler.frontend import Ordering, Prepared, in_order
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order
from ullage.compiler.verify.problem_rules import check_problem
from ullage.hwmodels.bounds import Bound, order_free_bound
from ullage.hwmodels.catalog.registry import DEFAULT_TARGET, describe
from ullage.hwmodels.replay.replay import simulate
from ullage.solvers.bounds.schedules import why_unbounded
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solver, StopReason
from ullage.solvers.portfolio import PortfolioOptions, work_for
from ullage.solvers.registry import find_solver
from ullage.solvers.run import Outcome, run_solver
from ullage.solvers.scheduling.orders import JOINT, find_order

if TYPE_CHECKING:
    import onnx

# Share of the time that solving in the file's order gets, where a joint order is solved too, and
# solving whole operators, where cascades are searched for behind that.
OTHER_SHARE = 0.4
# Steps up to which reading and checking take so little that no time is kept for them beforehand.
SHORT_STEPS = 4000
# The first run of `all-slow` works out and imports what later ones find ready: where it took less
# than this share of the time left, a second one tells what checks will take.
AGAIN_SHARE = 0.1
# The same where it did import modules, so that a second one will take far less.
AGAIN_IMPORTED_SHARE = 0.5
# Time kept for verifying, scoring and replaying a plan, in multiples of that second run: 1.1 to 1.8
# were measured on programs of 58 to 5,002 steps.
CLOSING_SHARE = 2.5
# At most this share of the time left is kept for that: solving has the rest, however short.
MOST_CLOSING_SHARE = 0.4
# Solver that plans where `auto` has no plan in time: the quickest of its members that move data.
QUICKEST = "greedy"
# Seconds that it has at least then, and once more where they went into loading its kernels.
QUICKEST_S = 0.5
# Seconds of the processor that it has to end in where a share of a time limit cut `auto` short,
# before another schedule is searched for, and the share that they are of the time left at most.
ENDING_S = 1.0
MOST_ENDING_SHARE = 0.5
# Share of the seconds of the processor that `auto` has without a time limit, for the plan of whole
# operators and for that of another schedule, each.
PART_SHARE = 0.55
# Whole operators are planned once more where the search for another schedule leaves this many times
# the seconds that their planning was cut short after.
MORE_TIME = 2.0
# Time that the reference, the quickest plan and its checks take, in multiples of what reading took.
CHECKS_SHARE = 1.5
# Time without which a plan gets no bound of its own, in the same multiples: the relaxation of
# programs of 30 to 1,200 steps took 7 to 20 of them.
BOUND_SHARE = 20.0


def prepare(model: "Path | onnx.ModelProto", options: CompileOptions) -> Prepared:
    """Read a model and a target and build the problem, in the order that the options name.

    Cascades are not searched for here but by `solve_prepared`, behind the plan of whole operators.

    Raises:
        ModelError: the model cannot be read.
        UsageError: an option or the target is wrong.
    """
    if options.minimised not in OBJECTIVES:
        raise UsageError(
            f"unknown objective {options.minimised!r}; there are: {', '.join(OBJECTIVES)}"
        )
    check_consistent(options)
    if options.slower_by is not None:
        raise UsageError("slower_by (--slower-by) is an option of compile alone: leave it out")
    limit = options.time_limit_s
    if is_taken_as_problem(model):
        asked = of_problem(model, options)
        return _prepared_problem(asked.problem, asked.options).within(limit)
    begun = time.monotonic() if options.begun is None else options.begun
    deadline = None if limit is None else begun + limit
    choose = find_order(
        options.order,
        objective=options.minimised,
        seed=options.seed,
        steady_state=options.steady_state,
        budget=Budget(deadline, options.progress),
    )
    cut = options.schedule != WHOLE
    prepared = frontend.prepare(model, options.frontend, choose, deadline, with_geometry=cut)
    prepared = _beside_file_order(prepared, options).within(limit)
    if options.begun is not None:
        prepared = replace(prepared, started=begun)
    is_chosen_later = options.schedule is None or options.schedule in SEARCHED
    return prepared if is_chosen_later else scheduled(prepared, options, deadline)


def _beside_file_order(prepared: Prepared, options: CompileOptions) -> Prepared:
    """A prepared model, with the same in the file's order where a joint order was chosen."""
    graph = prepared.graph
    operator_order = prepared.model["operator_order"]
    if (
        options.order != JOINT
        or operator_order is None
        or tuple(operator_order) == model_order(graph)
    ):
        return prepared
    plain = in_order(
        graph,
        prepared.target,
        Ordering(model_order(graph)),
        replace(options.frontend, order="model"),
        path=prepared.model["path"],
        started=prepared.started,
    )
    plain = replace(plain, import_s=prepared.import_s, order_s=prepared.order_s)
    return replace(prepared, other=plain)


def compile_model(
    model: "Path | str | onnx.ModelProto", options: CompileOptions | None = None
) -> Compiled:
    """Compile a model into a verified, scored memory plan.

    Args:
        model: a path (also that of a problem file), the name of a known model, or a loaded model.
        options: how to compile, by default a latency-optimal plan for the default target.

    Raises:
        ModelError: the model cannot be read or planned.
        InfeasibleError: no legal plan exists.
        TimeLimitError: the limit was reached before any plan.
        UsageError: an option is wrong.
    """
    from ullage.compiler.importer.model_zoo import find_model

    chosen = options or CompileOptions()
    check_types(chosen)
    source = find_model(model) if isinstance(model, str) else model
    if is_taken_as_problem(source):
        asked = of_problem(source, chosen)
        return compile_problem(asked.problem, asked.options)
    solver_of(chosen)  # a wrong name is an error before a large model is read
    if not isinstance(source, Path) and not hasattr(source, "graph"):
        raise UsageError(
            f"a model is a path, a name or a loaded ONNX model, not {type(model).__name__}"
        )
    if chosen.slower_by is None:
        return _with_estimates(solve_prepared(prepare(source, chosen), chosen), chosen)
    check_consistent(chosen)
    fastest = prepare(source, for_best_latency(chosen))
    limited = solve_limited(fastest, chosen, solve_prepared, _solve_fastest)
    return _with_estimates(limited, chosen)


def _with_estimates(compiled: Compiled, options: CompileOptions) -> Compiled:
    """The same, with the figures of low confidence in the target's files that times follow from."""
    dtypes = {step.mac_dtype for step in compiled.plan.program.steps if step.macs}
    described = describe(options.target or DEFAULT_TARGET, options.overrides)
    return replace(compiled, estimates=described.estimates(dtypes))


def compile_part(
    model: Path, options: CompileOptions, share: float, *, quick_bound: bool = True
) -> Compiled:
    """Compile a model as one of several parts of a job.

    Reading may last until the job ends. What came before the job, and its other parts, count
    against its time, not against the share.

    Args:
        model: the model.
        options: how to compile, with the limit of the job and when that began (`begun`).
        share: of the time left after reading in which it is planned.
        quick_bound: as of `solve_prepared`.

    Returns:
        The plan, with the seconds of this part alone.

    Raises:
        ModelError: the model cannot be read or planned.
        InfeasibleError: no legal plan exists.
        TimeLimitError: time was over before any plan.
        UsageError: an option is wrong.
    """
    begun = time.monotonic()
    prepared = prepare(model, options)
    part = replace(options, time_limit_s=shared(prepared, options.time_limit_s, share))
    compiled = solve_prepared(prepared, part, quick_bound=quick_bound)
    return replace(compiled, total_s=time.monotonic() - begun)


def compile_problem(problem: Problem, options: CompileOptions | None = None) -> Compiled:
    """Compile a problem into a plan, for compilers that do not start from ONNX.

    Args:
        problem: program, target and objective.
        options: how to compile, by default with solver `auto`. What they say of objective, target,
            order or how a model is read must agree with the problem; left out, the problem's own
            count. Steady state is planned where either the problem or the options say so.

    Raises:
        InfeasibleError: no legal plan exists.
        TimeLimitError: the limit was reached before any plan.
        UsageError: an option is wrong or contradicts the problem, or a field of the problem is
            wrong; names it.
    """
    _check_problem(problem)
    asked = options or CompileOptions()
    check_types(asked)
    check_applies(asked, problem)
    chosen = replace(asked, objective=problem.objective)
    solver_of(chosen)
    prepared = _prepared_problem(problem, chosen).within(chosen.time_limit_s)
    if chosen.slower_by is None:
        return solve_prepared(prepared, chosen)
    fastest = replace(prepared, problem=prepared.problem.minimising("latency"))
    return solve_limited(fastest, chosen, solve_prepared, _solve_fastest)


def _prepared_problem(problem: Problem, options: CompileOptions) -> Prepared:
    """A problem ready to be solved, in steady state where either it or the options say so."""
    steady = problem.steady_state or options.steady_state
    requested = replace(problem, program=replace(problem.program, steady_state=steady))
    graph = Graph(problem.name, {}, (), (), ())
    described = {
        "name": problem.name,
        "path": None,
        "order": problem.program.order,
        "steady_state": steady,
    }
    started = time.monotonic() if options.begun is None else options.begun
    return Prepared(graph, requested, described, 0.0, started)


def _check_problem(problem: Problem) -> None:
    """Check a problem that others have built.

    Raises:
        UsageError: names the first field that is wrong.
    """
    if not isinstance(problem, Problem):
        raise UsageError(
            f"a Problem is needed, not {type(problem).__name__}; `problem_from_lists` builds one "
            "from lists, `compile_model` takes a model"
        )
    check_problem(problem)


def solve_prepared(
    prepared: Prepared, options: CompileOptions, *, quick_bound: bool = True
) -> Compiled:
    """Solve, verify and score a prepared model; in a joint order also in the file's order.

    The better plan of the two is returned, with a note where it is that of the file's order. Its
    bound is the lower of the two orders'. `options.progress` is called when kernels are compiled.

    Args:
        prepared: the model.
        options: how to compile.
        quick_bound: bound the plan by `fluid`'s relaxation where its solver proves less, and every
            schedule of the model.
    """
    try:
        return _solve_told(prepared, options, quick_bound=quick_bound)
    except (InfeasibleError, TimeLimitError) as error:
        raise with_remedies(error, prepared, options) from error


def _solve_told(prepared: Prepared, options: CompileOptions, *, quick_bound: bool) -> Compiled:
    """What `solve_prepared` does, with refusals as they are made."""
    with compiling_told(options.progress) as tell:
        told = replace(with_found_states(options, prepared), progress=tell)
        searched = told
        if quick_bound and not why_unbounded(prepared.problem, prepared.graph):
            searched = replace(told, time_limit_s=before_bounds(prepared, told.time_limit_s))
        if told.then is None:
            compiled = _solve_prepared(prepared, searched, quick_bound=quick_bound)
        else:
            first_s = shared(prepared, searched.time_limit_s, FIRST_SHARE)
            first = replace(told, time_limit_s=first_s)
            compiled = _solve_prepared(prepared, first, quick_bound=quick_bound)
            compiled = minimise_then(compiled, told, budget_of(prepared, searched))
            compiled = replace(compiled, total_s=time.monotonic() - prepared.started)
        if not quick_bound:
            return compiled
        return with_every_schedule(compiled, budget_of(prepared, told), prepared.started)


def _solve_fastest(prepared: Prepared, options: CompileOptions) -> Compiled:
    """A plan that sets a limit: nobody is shown its bounds."""
    return solve_prepared(prepared, options, quick_bound=False)


def _solve_prepared(prepared: Prepared, options: CompileOptions, *, quick_bound: bool) -> Compiled:
    if prepared.graph.operators and "schedule" not in prepared.model:
        if options.recompute == AUTO:
            return _solve_with_recomputation(prepared, options, quick_bound=quick_bound)
        if is_searched(options, prepared.target):
            return _solve_with_cascades(prepared, options, quick_bound=quick_bound)
        if options.schedule is None:
            whole_options = replace(options, schedule=WHOLE)
            whole = _solve_prepared(prepared, whole_options, quick_bound=quick_bound)
            return replace(whole, whole_because=why_whole(options, prepared.target))
    if prepared.other is None:
        return _solve_in_order(prepared, options, quick_bound=quick_bound)
    if "schedule" in prepared.model:
        return _solve_beside_whole(prepared, prepared.other, options, quick_bound=quick_bound)
    other = replace(prepared.other.on(prepared.target), started=prepared.started)
    begun = time.monotonic()
    own_s = shared(prepared, options.time_limit_s, OTHER_SHARE)
    plain: Compiled | None = None
    try:
        limited = replace(options, time_limit_s=own_s)
        plain = _solve_in_order(other, limited, quick_bound=quick_bound)
        if plain.interrupted:
            return _bounded(plain, _free_bound(plain))
        between_s = time.monotonic() - begun
        result = _solve_in_order(prepared, options, quick_bound=quick_bound)
    except (InfeasibleError, TimeLimitError):
        if plain is None:
            result = _solve_in_order(prepared, options, quick_bound=quick_bound)
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
        plain = _solve_prepared(prepared, whole_options, quick_bound=False)
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
        return _solve_prepared(whole, limited, quick_bound=quick_bound), None
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
        found = _solve_prepared(replace(whole, work_s=ENDING_S), quick, quick_bound=False)
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
        again = _solve_prepared(whole, whole_options, quick_bound=quick_bound)
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
        result = _solve_in_order(cut, options, quick_bound=quick_bound)
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


def _solve_in_order(prepared: Prepared, options: CompileOptions, *, quick_bound: bool) -> Compiled:
    """Solve, verify and score a prepared model in its order."""
    limit = options.time_limit_s
    deadline = None if limit is None else prepared.started + limit
    solver = solver_of(options)
    improvements: list[Improvement] = []
    budget = Budget(
        deadline,
        progress=options.progress,
        on_improvement=lambda value: improvements.append((time.monotonic(), value)),
    )
    if budget.is_over():
        raise TimeLimitError(
            f"the time limit{limit_text(prepared, options)} was over before solving began "
            f"({phases_text(prepared)}); give more time (--time-limit)"
        )
    problem = prepared.problem
    least_s = CHECKS_SHARE * prepared.import_s
    if len(problem.steps) > SHORT_STEPS and budget.remaining_s() < least_s:
        raise TimeLimitError(
            f"of the time limit{limit_text(prepared, options)} "
            f"{max(0.0, budget.remaining_s()):.2f} s are left after reading "
            f"{len(problem.steps)} steps; to make, verify and replay the quickest "
            f"plan of them takes about {least_s:.2f} s; give more time (--time-limit)"
        )
    modules = len(sys.modules)
    begun = time.process_time()  # what others use of the processors tells nothing of the checks
    early = options.solver != "all-slow" and options.minimised != "peak"
    slowest = _reference(problem, budget) if early else None
    reference = None if slowest is None else slowest.score
    took_s = 0.0
    if deadline is not None:  # checks after solving take a few times as long as this reference
        took_s = time.process_time() - begun
        again = AGAIN_SHARE if len(sys.modules) == modules else AGAIN_IMPORTED_SHARE
        if early and took_s < again * budget.remaining_s():
            begun = time.process_time()
            _reference(problem, budget)
            took_s = min(took_s, time.process_time() - begun)
        most_s = MOST_CLOSING_SHARE * max(0.0, budget.remaining_s())
        budget = budget.reserving(min(CLOSING_SHARE * took_s, most_s))
    options.progress(f"solving with {options.solver}")
    begun = time.monotonic()
    allowed = budget if prepared.work_s is None else budget.at_most_work(prepared.work_s)
    outcome = _in_time(solver, problem, allowed, options, slowest, took_s)
    solve_s = time.monotonic() - begun
    took_s = took_s if early else solve_s
    plan, cost = outcome.plan, outcome.score
    plan = replace(plan, model=_described(prepared, plan))
    options.progress("replaying")
    if not early:  # `peak` plans for another capacity than the target's
        slow = options.solver == "all-slow"
        slowest = None if slow else _reference(plan.problem, budget)
        reference = cost if slow else None if slowest is None else slowest.score
    fallbacks = tuple(f"{f.kind} {f.operator}: {f.reason}" for f in prepared.graph.fallbacks)
    interrupted = outcome.interrupted
    if quick_bound and not interrupted and budget.remaining_s() >= BOUND_SHARE * took_s:
        try:
            plan = with_best_bound(plan, outcome.value, budget)
        except KeyboardInterrupt:  # the plan is complete; only its bound is the worse for it
            interrupted = True
    plan = replace(plan, notes=(*plan.notes, *prepared.notes, *cost.notes))
    return Compiled(
        plan=plan,
        score=cost,
        simulation=simulate(plan),
        bound=best_bound(plan),
        all_slow=reference,
        fallbacks=fallbacks,
        requested_solver=options.solver,
        import_s=prepared.import_s,
        order_s=prepared.order_s,
        schedule_s=prepared.schedule_s,
        solve_s=solve_s,
        total_s=time.monotonic() - prepared.started,
        interrupted=interrupted,
        stop_reason="interrupted" if interrupted else outcome.solution.stop_reason,
        anytime=trace_of(improvements, begun, solve_s, outcome.value),
        graph=prepared.graph,
    )


def _described(prepared: Prepared, plan: Plan) -> Mapping[str, Any]:
    """How to import the model again: in the order of the plan, where its solver chose another.

    Raises:
        UsageError: in that order other values share bytes than those that were planned.
    """
    if plan.problem.steps == prepared.problem.steps:
        return prepared.model
    described = {**prepared.model, "order": plan.program.order}
    if not prepared.graph.operators:
        return described
    operator_order = [step.operator for step in plan.problem.steps if step.kind != DMA_STEP]
    rebuilt = build_program(
        prepared.graph,
        operator_order,
        order_name=plan.program.order,
        aliases=alias_options(plan.target, alias=bool(prepared.model["alias"])),
        dma_steps=plan.target.dma_steps,
        steady_state=plan.problem.steady_state,
    )
    if rebuilt != plan.program:
        raise UsageError(
            f"{plan.solver} chose another operator order, in which other values share bytes than "
            "those that it planned; use --no-alias"
        )
    return {**described, "operator_order": operator_order}


def _in_time(
    solver: Solver,
    problem: Problem,
    budget: Budget,
    options: CompileOptions,
    slowest: Outcome | None,
    quick_s: float,
) -> Outcome:
    """The answer of a solver; that of a heuristic where `auto` has none in time that moves data.

    It is the better of `all-slow`, which is known, and of what `greedy` decides in a moment.

    Args:
        solver: the solver.
        problem: the problem.
        budget: the time.
        options: how to compile.
        slowest: the answer of `all-slow` for the latency; None where it is not known.
        quick_s: seconds that `all-slow` took.

    Raises:
        TimeLimitError: time was over before any plan.
    """
    given = options.parameters
    slow = None
    if slowest is not None and options.solver == DEFAULT_SOLVER:
        slow = replace(slowest, plan=replace(slowest.plan, problem=problem))
    try:
        best = run_solver(solver, problem, budget, parameters=given, seed=options.seed)
        why = "the time limit was over before any solver had decided anything"
    except TimeLimitError as error:
        if slow is None:
            raise
        best, why = slow, error.message
    ended = best.solution.stop_reason
    is_late = budget.deadline is not None and ended == "time limit"
    if slow is None or (best is not slow and (not is_late or best.value < slow.value)):
        return best
    loaded = activity.loaded
    found = _quickest(problem, options, max(QUICKEST_S, quick_s))
    is_no_gain = found is not None and found.value >= best.value and not found.interrupted
    if is_no_gain and activity.loaded > loaded:
        found = _quickest(problem, options, max(QUICKEST_S, quick_s))
    if found is not None and (found.value < best.value or found.interrupted):
        best = found
    note = f"auto: {why}; this is the plan of {best.plan.solver}"
    plan = replace(best.plan, seed=options.seed, notes=(*best.plan.notes, note))
    reason: StopReason = "interrupted" if best.interrupted else "time limit"
    return replace(best, plan=plan, solution=replace(best.solution, stop_reason=reason))


def _quickest(problem: Problem, options: CompileOptions, seconds: float) -> Outcome | None:
    """What the quickest heuristic decides in some seconds; None where it finds no plan."""
    budget = Budget(time.monotonic() + seconds, options.progress)
    try:
        return run_solver(QUICKEST, problem, budget, seed=options.seed)
    except (InfeasibleError, TimeLimitError, UsageError):  # or it does not know such targets
        return None


def _reference(problem: Problem, budget: Budget) -> Outcome | None:
    """The plan with everything at home; None where the home tiers are too small."""
    try:
        return run_solver("all-slow", problem.minimising("latency"), budget.for_member())
    except InfeasibleError:  # the home tiers are too small for everything at once
        return None
