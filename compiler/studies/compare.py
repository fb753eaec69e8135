"""Several solvers on one problem, under equal conditions."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import InfeasibleError, UllageError, UsageError
from ullage.compiler.driver.compile import prepare, solve_prepared
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import summarise
from ullage.solvers.parameters import ParameterValue, parameters_of


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


def compare_solvers(
    model: Path, solvers: Sequence[str], options: CompileOptions
) -> list[dict[str, Any]]:
    """One summary per solver (see `summarise`), or its error, in the order of `solvers`.

    The model is read once; each solver has the whole time limit for itself. All plans are of the
    same problem, so the best bound that any solver proved holds for all. Ctrl-C ends it: the row
    of the solver that was interrupted says so, if it had a plan, and those after it are missing.

    Raises:
        KeyboardInterrupt: interrupted before any row.
        ModelError: the model cannot be read.
        UsageError: an option is wrong or a solver is unknown.
    """
    from ullage.solvers.registry import find_solver
    from ullage.solvers.run import run_solver

    for name in solvers:
        find_solver(name)
    parameters = parameters_by_solver(solvers, options.parameters)
    prepared = prepare(model, options)
    with suppress(InfeasibleError):  # what all solvers load is loaded before one is timed
        run_solver("all-slow", prepared.problem.minimising("latency"))
    outcomes: list[Compiled | UllageError] = []
    for name in solvers:
        fresh = replace(prepared, started=time.monotonic())
        solver_options = replace(options, solver=name, parameters=parameters[name])
        try:
            outcome = solve_prepared(fresh, solver_options)
        except UllageError as error:
            outcomes.append(error)
            continue
        except KeyboardInterrupt:
            if not outcomes:
                raise
            break
        outcomes.append(outcome)
        if outcome.interrupted:
            break
    bounds = [outcome.bound for outcome in outcomes if isinstance(outcome, Compiled)]
    best = max(bounds, key=lambda bound: bound.value, default=None)
    return [
        {"solver": name, "error": outcome.to_json()}
        if isinstance(outcome, UllageError)
        else summarise(replace(outcome, bound=best or outcome.bound))
        for name, outcome in zip(solvers, outcomes, strict=False)
    ]
