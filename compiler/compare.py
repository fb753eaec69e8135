"""Several solvers on one problem, under equal conditions."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ullage.compiler.errors import UllageError
from ullage.compiler.pipeline import CompileOptions, prepare, solve_prepared
from ullage.compiler.summary import summarise


def compare_solvers(
    model: Path, solvers: Sequence[str], options: CompileOptions
) -> list[dict[str, Any]]:
    """One summary per solver (see `summarise`), or its error, in the order asked.

    The model is read once; each solver has the whole time limit for itself.

    Raises:
        ModelError: the model cannot be read.
        UsageError: an option is wrong or a solver is unknown.
    """
    from ullage.solvers.registry import find_solver

    for name in solvers:
        find_solver(name)
    prepared = prepare(model, options)
    rows: list[dict[str, Any]] = []
    for name in solvers:
        fresh = replace(prepared, started=time.monotonic())
        try:
            rows.append(summarise(solve_prepared(fresh, replace(options, solver=name))))
        except UllageError as error:
            rows.append({"solver": name, "error": error.to_json()})
    return rows
