"""The main job: model -> graph -> order -> problem -> plan, verified and scored."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ullage.compiler import frontend
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.common.kernel_cache import compiling_told
from ullage.compiler.driver.bounding import with_every_schedule
from ullage.compiler.driver.limits.job_time import before_bounds, budget_of, shared
from ullage.compiler.driver.limits.near_fastest import solve_limited
from ullage.compiler.driver.limits.slower import for_best_latency
from ullage.compiler.driver.limits.then import FIRST_SHARE, minimise_then
from ullage.compiler.driver.options import (
    OBJECTIVES,
    SEARCHED,
    WHOLE,
    CompileOptions,
    check_applies,
    check_consistent,
    check_types,
    solver_of,
)
from ullage.compiler.driver.problem_files import is_taken_as_problem, of_problem
from ullage.compiler.driver.refusals.remedies import with_remedies
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.schedules import scheduled, with_found_states
from ullage.compiler.driver.solving.best_of import solve_best
from ullage.compiler.frontend import Ordering, Prepared, in_order
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.orders import model_order
from ullage.compiler.verify.problem_rules import check_problem
from ullage.hwmodels.catalog.registry import DEFAULT_TARGET, describe
from ullage.solvers.bounds.schedules import why_unbounded
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.orders import JOINT, find_order

if TYPE_CHECKING:
    import onnx


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
            compiled = solve_best(prepared, searched, quick_bound=quick_bound)
        else:
            first_s = shared(prepared, searched.time_limit_s, FIRST_SHARE)
            first = replace(told, time_limit_s=first_s)
            compiled = solve_best(prepared, first, quick_bound=quick_bound)
            compiled = minimise_then(compiled, told, budget_of(prepared, searched))
            compiled = replace(compiled, total_s=time.monotonic() - prepared.started)
        if not quick_bound:
            return compiled
        return with_every_schedule(compiled, budget_of(prepared, told), prepared.started)


def _solve_fastest(prepared: Prepared, options: CompileOptions) -> Compiled:
    """A plan that sets a limit: nobody is shown its bounds."""
    return solve_prepared(prepared, options, quick_bound=False)
