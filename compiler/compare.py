"""Several solvers on one problem, under equal conditions."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ullage.compiler.errors import UllageError
from ullage.compiler.pipeline import Compiled, CompileOptions, prepare, solve_prepared
from ullage.compiler.summary import summarise


def compare_solvers(
    model: Path, solvers: Sequence[str], options: CompileOptions
) -> list[dict[str, Any]]:
    """One summary per solver (see `summarise`), or its error, in the order asked.

    The model is read once; each solver has the whole time limit for itself. All plans are of the
    same problem, so the best bound that any solver proved is everybody's.

    Raises:
        ModelError: the model cannot be read.
        UsageError: an option is wrong or a solver is unknown.
    """
    from ullage.solvers.registry import find_solver

    for name in solvers:
        find_solver(name)
    prepared = prepare(model, options)
    done: list[Compiled | UllageError] = []
    for name in solvers:
        fresh = replace(prepared, started=time.monotonic())
        try:
            done.append(solve_prepared(fresh, replace(options, solver=name)))
        except UllageError as error:
            done.append(error)
    bounds = [found.bound for found in done if isinstance(found, Compiled)]
    best = max(bounds, key=lambda bound: bound.value, default=None)
    return [
        {"solver": name, "error": found.to_json()}
        if isinstance(found, UllageError)
        else summarise(replace(found, bound=best or found.bound))
        for name, found in zip(solvers, done, strict=True)
    ]
