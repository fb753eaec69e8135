"""One registry of solvers: ours by name, third parties' by the entry-point group `ullage.solvers`.

A solver is a function `solve(problem, target, options) -> Plan`. It does not score itself.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target

ENTRY_POINT_GROUP = "ullage.solvers"
SPILLING_OBJECTIVES = ("latency", "traffic", "energy")  # `peak` forbids spills: another problem


@dataclass(frozen=True)
class SolverOptions:
    """What every solver is told.

    Attributes:
        objective: `latency`, `traffic`, `energy` or `peak`.
        seed: seed of everything random.
        deadline: `time.monotonic()` value to stop at, None for no limit.
        parameters: the solver's own parameters, its defaults where missing.
        progress: called with a short text when something worth showing happens.
        on_improvement: called with the objective's value, in its unit, of a complete legal plan
            that the solver holds, when it is the best so far; what a plan's value would be once
            it has addresses does not count. One-shot solvers need not call it.
    """

    objective: str = "latency"
    seed: int = 0
    deadline: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[str], None] = lambda _: None
    on_improvement: Callable[[float], None] = lambda _: None

    def for_member(self, **changes: Any) -> "SolverOptions":  # noqa: ANN401 - any field
        """For a solver inside another: no parameters, and its plans are not the outer one's."""
        plain: dict[str, Any] = {"parameters": {}, "on_improvement": lambda _: None}
        return replace(self, **(plain | changes))

    def remaining_s(self) -> float:
        """Seconds to the deadline, infinite when there is none."""
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()


SolveFunction = Callable[[Problem, Target, SolverOptions], Plan]


@dataclass(frozen=True)
class Solver:
    """A registered solver.

    Attributes:
        name: what the command line calls it.
        summary: one line for `ullage solvers list`.
        solve: the function.
        defaults: its parameters and their defaults.
        objectives: what it can minimise.
        origin: `ullage` or the distribution that brought it.
        extra: the extra of ours that brings what it needs, empty for none.
        requires: top-level modules of that extra.
    """

    name: str
    summary: str
    solve: SolveFunction
    defaults: Mapping[str, Any] = field(default_factory=dict)
    objectives: tuple[str, ...] = SPILLING_OBJECTIVES
    origin: str = "ullage"
    extra: str = ""
    requires: tuple[str, ...] = ()


# name -> module; each module has SUMMARY, DEFAULTS and solve; OBJECTIVES where they differ; EXTRA
# and REQUIRES where it needs more than the base installation.
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


def _third_party() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


def find_solver(name: str) -> Solver:
    """The solver of that name.

    A third party's entry point is a `Solver`, or a bare solve function.

    Raises:
        UsageError: there is none, or its package cannot be imported.
    """
    if name in _BUILT_IN:
        module = import_module(_BUILT_IN[name])
        return Solver(
            name,
            module.SUMMARY,
            module.solve,
            module.DEFAULTS,
            getattr(module, "OBJECTIVES", SPILLING_OBJECTIVES),
            extra=getattr(module, "EXTRA", ""),
            requires=getattr(module, "REQUIRES", ()),
        )
    point = _third_party().get(name)
    if point is None:
        raise UsageError(f"no solver named {name!r}; there are: {', '.join(solver_names())}")
    try:
        loaded = point.load()
    except Exception as error:
        raise UsageError(
            f"solver {name!r} of {point.dist.name if point.dist else 'a third party'} cannot be "
            f"imported: {error}"
        ) from error
    origin = point.dist.name if point.dist else "third party"
    if isinstance(loaded, Solver):
        return replace(loaded, name=name, origin=origin)
    summary = (loaded.__doc__ or "").strip().split("\n")[0]
    return Solver(name, summary, loaded, origin=origin)


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
        except UsageError:  # a broken package of a third party, told of when it is asked for
            continue
    return tuple(able)


def parameters_of(options: SolverOptions, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A solver's parameters: defaults overridden by what was asked, converted to their types.

    Raises:
        UsageError: an unknown parameter or a value of another type.
    """
    chosen = dict(defaults)
    for name, value in options.parameters.items():
        if name not in defaults:
            raise UsageError(
                f"unknown solver parameter {name!r}; known: {', '.join(defaults) or 'none'}"
            )
        kind = type(defaults[name])
        try:
            chosen[name] = value if isinstance(value, kind) else kind(value)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"solver parameter {name} takes a {kind.__name__}, not {value!r}"
            ) from error
    return chosen
