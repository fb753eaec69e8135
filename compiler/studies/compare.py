"""Several solvers on one problem, under equal conditions.

A row holds a plan that its own solver made, or an error. A solver that cannot minimise what was
asked minimises what it can (`minimised`); its plan is judged by what was asked, like all others.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ullage.compiler.common.engines import HERE, Engine, tells_nobody
from ullage.compiler.common.errors import (
    InfeasibleError,
    OwnPlanError,
    UllageError,
    UsageError,
)
from ullage.compiler.driver.bounding import FLUID, with_best_bound
from ullage.compiler.driver.compile import prepare, solve_prepared
from ullage.compiler.driver.options import WHOLE, CompileOptions, solver_of
from ullage.compiler.driver.result import Compiled, best_bound
from ullage.compiler.driver.schedules import (
    is_searched,
    scheduled,
    whole_by_default,
    with_found_states,
)
from ullage.compiler.driver.summary import summarise
from ullage.compiler.frontend import Prepared
from ullage.hwmodels.bounds import Bound, lower_bound
from ullage.solvers.budget import Budget
from ullage.solvers.interface import SPILLING_OBJECTIVES, Solver
from ullage.solvers.parameters import ParameterValue, parameters_of

# Parameter of solvers that begin with another's plan: to return one of their own.
OWN_PLAN = "own_plan"


def default_solvers(objective: str) -> tuple[str, ...]:
    """All solvers for an objective, except the portfolio and those that need an extra."""
    from ullage.solvers.registry import find_solver, solvers_for

    return tuple(
        name for name in solvers_for(objective) if name != "auto" and not find_solver(name).extra
    )


def parameters_by_solver(
    solvers: Sequence[str], parameters: Mapping[str, ParameterValue]
) -> dict[str, dict[str, ParameterValue]]:
    """The parameters of each solver: `NAME` goes to all that have it, `SOLVER.NAME` to one.

    Args:
        solvers: names of the solvers.
        parameters: values by `NAME` or `SOLVER.NAME`; the latter overrides the former.

    Raises:
        UsageError: a parameter that no solver of these has.
    """
    from ullage.solvers.registry import find_solver

    by_solver: dict[str, dict[str, ParameterValue]] = {name: {} for name in solvers}
    known = {n: [p.name for p in parameters_of(find_solver(n).options)] for n in solvers}
    for name in solvers:
        if OWN_PLAN in known[name]:
            by_solver[name][OWN_PLAN] = True
    for key in sorted(parameters, key=lambda name: "." in name):  # what is for one counts last
        owner, dot, parameter = key.rpartition(".")
        takers = [
            name for name in solvers if parameter in known[name] and (not dot or owner == name)
        ]
        if not takers:
            raise UsageError(
                f"no solver of {', '.join(solvers)} has a parameter {key!r}; "
                "see ullage solvers show NAME"
            )
        for name in takers:
            by_solver[name][parameter] = parameters[key]
    return by_solver


def _counting(progress: Callable[[str], None], place: str) -> Callable[[str], None]:
    """Progress texts that say which solver they are about."""
    return lambda text: progress(f"{place}: {text}")


class _Entry(NamedTuple):
    """A solver that is compared. Picklable, but for the progress of options that stay here.

    Attributes:
        prepared: the model.
        options: how it plans.
    """

    prepared: Prepared
    options: CompileOptions


def _outcome_of(entry: _Entry) -> Compiled | UllageError:
    """What comes of a solver; its time begins now."""
    options = entry.options
    try:
        solver_of(options)
        outcome = solve_prepared(
            _minimising(entry.prepared, options.minimised), options, quick_bound=False
        )
        _check_own(outcome, options.solver)
    except UllageError as error:
        return error
    return outcome


def compare_solvers(
    model: Path, solvers: Sequence[str], options: CompileOptions, engine: Engine = HERE
) -> list[dict[str, Any]]:
    """One summary per solver (see `summarise`), or its error, in the order of `solvers`.

    The model is read once; operators run whole where no schedule is named. Cascades are searched
    for once, and all solvers plan the program that comes of it. Each solver has the whole time
    limit for itself. Plans of the same order are plans of the same problem, so the best
    bound that any solver proved of it holds for all;
    where none proved any, that of `fluid`'s relaxation. Ctrl-C ends it: the row of the solver that
    was interrupted says so, if it had a plan, and those after it are missing. Solvers that run
    side by side (`engine`) have their rows in the same order; those that Ctrl-C ends have none.

    Args:
        model: the model, or a problem file.
        solvers: names of the solvers.
        options: how to compile.
        engine: what runs the solvers.

    Raises:
        KeyboardInterrupt: interrupted before any row.
        ModelError: the model cannot be read.
        UsageError: an option is wrong or a solver is unknown.
    """
    from ullage.solvers.registry import find_solver
    from ullage.solvers.run import run_solver

    by_default = options.schedule is None
    if by_default:
        options = replace(options, schedule=WHOLE)
    for name in solvers:
        find_solver(name)
    parameters = parameters_by_solver(solvers, options.parameters)
    prepared = prepare(model, options)
    options = with_found_states(options, prepared)
    options = replace(options, objective=prepared.problem.objective)  # a problem file has its own
    whole_because = ""
    if by_default and prepared.graph.operators:
        whole_because = whole_by_default("compare", options, prepared.target)
    if is_searched(options, prepared.target):
        prepared, whole_because = _one_schedule(prepared, options)
        options = replace(options, schedule=WHOLE)  # none of the solvers searches again
    with suppress(InfeasibleError):  # what all solvers load is loaded before one is timed
        run_solver("all-slow", prepared.problem.minimising("latency"))
    entries = []
    for number, name in enumerate(solvers, 1):
        minimised = minimised_by(find_solver(name), options.minimised)
        tell = _counting(options.progress, f"{number} of {len(solvers)}, {name}")
        solver_options = replace(
            options,
            progress=tell if engine is HERE else tells_nobody,
            solver=name,
            parameters=parameters[name],
            objective=minimised,
            then=options.then if minimised == options.minimised else None,
        )
        entries.append(_Entry(prepared, solver_options))
    outcomes = {
        solvers[number]: replace(outcome, whole_because=whole_because)
        if isinstance(outcome, Compiled)
        else outcome
        for number, outcome in _outcomes(entries, engine, options.progress)
    }
    bounds = _bounds_by_order(
        [outcome for outcome in outcomes.values() if isinstance(outcome, Compiled)],
        options.minimised,
    )
    return [
        {"solver": name, "error": outcome.to_json()}
        if isinstance(outcome, UllageError)
        else _row(outcome, options.minimised, bounds)
        for name, outcome in outcomes.items()
    ]


def _outcomes(
    entries: Sequence[_Entry], engine: Engine, progress: Callable[[str], None]
) -> list[tuple[int, Compiled | UllageError]]:
    """(number, what came of it) of the entries in their order, of those that were done in time.

    Raises:
        KeyboardInterrupt: interrupted before any.
    """
    outcomes: list[tuple[int, Compiled | UllageError]] = []
    try:
        with closing(engine.run(_outcome_of, entries)) as results:
            for number, outcome in results:
                outcomes.append((number, outcome))
                if engine is not HERE:
                    name = entries[number].options.solver
                    progress(f"{len(outcomes)} of {len(entries)} are done: {name}")
                if isinstance(outcome, Compiled) and outcome.interrupted:
                    break
    except KeyboardInterrupt:
        if not outcomes:
            raise
    return sorted(outcomes, key=lambda pair: pair[0])


def _one_schedule(prepared: Prepared, options: CompileOptions) -> tuple[Prepared, str]:
    """The model in the cascades that are found for it, or whole with the reason."""
    limit_s = options.time_limit_s
    deadline = None if limit_s is None else time.monotonic() + limit_s
    cut = scheduled(prepared, options, deadline)
    if "schedule" not in cut.model:
        return cut, f"no cascades found in {cut.schedule_s:.1f} s are better"
    return replace(cut, other=None), ""


def minimised_by(solver: Solver, objective: str) -> str:
    """What a solver is to minimise where an objective is asked for: that, or the nearest it can.

    `peak` allows no spills, so that it is another problem: it stands in for nothing, nor does
    anything for it.
    """
    if objective in solver.objectives or objective not in SPILLING_OBJECTIVES:
        return objective
    return next((name for name in SPILLING_OBJECTIVES if name in solver.objectives), objective)


def _minimising(prepared: Prepared, objective: str) -> Prepared:
    """The prepared model for a solver that begins now."""
    other = prepared.other
    return replace(
        prepared,
        problem=prepared.problem.minimising(objective),
        other=None if other is None else _minimising(other, objective),
        started=time.monotonic(),
    )


def _check_own(outcome: Compiled, solver: str) -> None:
    """Check that a plan is its row's solver's; `auto` runs others on purpose."""
    if solver not in {outcome.plan.solver, "auto"}:
        raise OwnPlanError(
            f"{solver} returned the plan of {outcome.plan.solver}, not one of its own "
            f"(--param {solver}.{OWN_PLAN}=true)"
        )


# The steps of a plan -> the best bound of the objective in that order.
Bounds = dict[tuple[str, ...], Bound]


def _bounds_by_order(outcomes: Sequence[Compiled], objective: str) -> Bounds:
    """The best bound of an objective known for each order that plans have."""
    bounds: Bounds = {}
    for outcome in outcomes:
        order = _order(outcome)
        found = outcome.bound
        if outcome.plan.objective != objective:
            found = lower_bound(outcome.plan.problem.minimising(objective))
        if order not in bounds or found.value > bounds[order].value:
            bounds[order] = found
    for order, bound in bounds.items():
        plans = [outcome for outcome in outcomes if _order(outcome) == order]
        judged = [_judged(outcome, objective, bound) for outcome in plans]
        lowest = min(judged, key=lambda compiled: compiled.value)
        if bound.source not in FLUID and not any(c.bound.source in FLUID for c in plans):
            improved = with_best_bound(lowest.plan, lowest.value, Budget())
            bounds[order] = best_bound(improved)
    return bounds


def _order(outcome: Compiled) -> tuple[str, ...]:
    return tuple(step.name for step in outcome.plan.problem.steps)


def _judged(outcome: Compiled, objective: str, bound: Bound) -> Compiled:
    """A result judged by an objective, with its bound."""
    plan, anytime = outcome.plan, outcome.anytime
    if plan.objective != objective:
        plan = replace(plan, problem=plan.problem.minimising(objective))
    plan = replace(plan, lower_bound=bound.value, bound_source=bound.source)
    judged = replace(outcome, plan=plan, bound=bound)
    if outcome.plan.objective != objective:  # values on the way were of another unit
        anytime = ((outcome.solve_s, judged.value),)
    return replace(judged, anytime=anytime)


def _row(outcome: Compiled, objective: str, bounds: Bounds) -> dict[str, Any]:
    """The summary of a result, judged by an objective whatever its solver minimised."""
    judged = _judged(outcome, objective, bounds[_order(outcome)])
    return {**summarise(judged), "minimised": outcome.plan.objective}
