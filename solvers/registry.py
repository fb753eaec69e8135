"""The registry: our solvers by name, third parties' by the entry-point group `ullage.solvers`."""

import difflib
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from ullage.compiler.common.errors import UsageError
from ullage.solvers.interface import Solver
from ullage.solvers.parameters import options_from, parameters_of

logger = logging.getLogger(__name__)

# Group of entry points by which third parties register solvers.
ENTRY_POINT_GROUP = "ullage.solvers"

# Name of each built-in solver -> its module, which has a `SOLVER`.
_BUILT_IN: dict[str, str] = {
    "all-slow": "ullage.solvers.heuristics.all_slow",
    "greedy": "ullage.solvers.heuristics.greedy",
    "msa": "ullage.solvers.heuristics.msa",
    "fluid": "ullage.solvers.fluid.solver",
    "cpsat": "ullage.solvers.exact.cpsat",
    "divide": "ullage.solvers.decomposition.divide",
    "ilp": "ullage.solvers.cosma.ilp",
    "noisy-greedy": "ullage.rl_agent.noisy_greedy",
    "evolution": "ullage.rl_agent.evolution",
    "rl": "ullage.rl_agent.solver",
    "muzero": "ullage.rl_agent.muzero.solver",
    "no-spill": "ullage.solvers.heuristics.no_spill",
    "auto": "ullage.solvers.portfolio",
}


def solver_names() -> tuple[str, ...]:
    """Names of all solvers, ours first."""
    return (*_BUILT_IN, *(n for n in sorted(_third_party()) if n not in _BUILT_IN))


def _third_party() -> dict[str, EntryPoint]:
    points = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    for name in points.keys() & _BUILT_IN.keys():
        _warn_of_shadowed(name, _origin(points[name]))
    return points


@cache
def _warn_of_shadowed(name: str, origin: str) -> None:
    """Say, once, that a third party's solver is not used."""
    logger.warning("solver %r of %s is not used: one of ullage's own has that name", name, origin)


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "third party"


def find_solver(name: str) -> Solver:
    """The solver of that name.

    A third party's entry point is a `Solver`, or a bare solve function.

    Raises:
        UsageError: there is none, or its package cannot be imported.
    """
    if name in _BUILT_IN:
        return _built_in(name)
    point = _third_party().get(name)
    if point is None:
        names = solver_names()
        close = difflib.get_close_matches(name, names, 1)
        suggestion = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"no solver named {name!r}{suggestion} (there are: {', '.join(names)})")
    origin = _origin(point)
    try:
        with _stdout_to_stderr():  # what it prints must not end up in a JSON document
            loaded = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a stranger's module raises, it is not ours
        raise UsageError(
            f"solver {name!r} of {origin} cannot be imported: {type(error).__name__}: "
            f"{_text_of(error)}"
        ) from error
    if isinstance(loaded, Solver):
        registered = replace(loaded, name=name, origin=origin)
        _check_fields(registered)
        return registered
    if not callable(loaded):
        raise UsageError(
            f"solver {name!r} of {origin} has the type {type(loaded).__name__}; its entry point "
            "must name a function solve(problem, options, budget), or a Solver"
        )
    doc = loaded.__doc__ if isinstance(loaded.__doc__, str) else ""
    summary = doc.strip().split("\n")[0]
    return Solver(name, summary, loaded, origin=origin)


def _text_of(error: BaseException) -> str:
    """The text of an exception whose class may be anybody's."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - its `__str__` is a stranger's code too
        return "(its text cannot be had)"


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """While the context is open, what is printed, also beneath Python, goes to standard error."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # it is closed
        kept = -1
    if kept >= 0:
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept >= 0:
            os.dup2(kept, 1)
            os.close(kept)


def _check_fields(solver: Solver) -> None:
    """Return if a third party's `Solver` has what others read of it.

    Raises:
        UsageError: a field is wrong; says which.
    """
    where = f"solver {solver.name!r} of {solver.origin} is registered wrongly"
    if not callable(solver.solve):
        raise UsageError(f"{where}: its `solve` is no function")
    if not isinstance(solver.summary, str):
        raise UsageError(f"{where}: its summary is no text")
    for field in ("objectives", "requires"):
        names = getattr(solver, field)
        if not isinstance(names, tuple) or not all(isinstance(n, str) for n in names):
            raise UsageError(f"{where}: its {field} are no tuple of texts")
    try:
        options_from(solver.name, solver.options, {}, 0)
        for parameter in parameters_of(solver.options):
            json.dumps(parameter.default, allow_nan=False)
    except Exception as error:
        raise UsageError(
            f"{where}: its options must be a frozen dataclass whose fields have defaults of type "
            f"bool, int, float or str ({type(error).__name__}: {error})"
        ) from error


@cache
def _built_in(name: str) -> Solver:
    solver: Solver = import_module(_BUILT_IN[name]).SOLVER
    return solver


def missing_packages(solver: Solver) -> tuple[str, ...]:
    """Modules that a solver needs and that are not installed."""
    return tuple(name for name in solver.requires if find_spec(name) is None)


def solvers_for(objective: str) -> tuple[str, ...]:
    """Names of the solvers that can minimise an objective; those that cannot be loaded cannot."""
    able: list[str] = []
    for name in solver_names():
        try:
            if objective in find_solver(name).objectives:
                able.append(name)
        except UsageError:  # a broken package of a third party: `find_solver` reports it
            continue
    return tuple(able)
