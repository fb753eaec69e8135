"""Running CP-SAT: under a deadline, with progress, interruptible, cuts added between runs."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from ullage.solvers.exact.model import ResidencyModel
from ullage.solvers.exact.residencies import Run, stays_of_solution
from ullage.solvers.state.segments import Atom

logger = logging.getLogger(__name__)
POLL_S = 0.05
REPEATABLE_VARIABLES = 3_000  # beyond, threads that take turns would cost too much time
REPORT_S = 1.0  # seconds between progress texts
# A problem of many alike rows: what presolve finds later than at once costs more than it saves.
PARAMETERS = {"max_presolve_iterations": 1, "symmetry_level": 0, "cp_model_probing_level": 0}


@dataclass(frozen=True)
class Outcome:
    """What a run of CP-SAT found.

    Attributes:
        runs: the stays of its best solution, None without one.
        objective: of that solution, in the model's units.
        bound: lower bound of the model, in its units; None where it knows none.
        optimal: the solution is proven best.
        infeasible: there is no solution.
        interrupted: the user interrupted.
    """

    runs: list[Run] | None
    objective: float
    bound: float | None
    optimal: bool
    infeasible: bool
    interrupted: bool


@dataclass(frozen=True)
class Ended:
    """How CP-SAT ended.

    Attributes:
        solver: has objective, bound and values.
        has_solution: whether there are values.
        optimal: they are proven best.
        infeasible: there is no solution.
        interrupted: the user interrupted.
    """

    solver: Any
    has_solution: bool
    optimal: bool
    infeasible: bool
    interrupted: bool


def run(
    model: Any,  # noqa: ANN401 - not all of it has types
    *,
    limit_s: float,
    workers: int,
    relative_gap: float,
    seed: int,
    report: Callable[[float, float], None],
    parameters: Mapping[str, Any],
) -> Ended:
    """Run CP-SAT on any model; ends at the limit, at Ctrl-C, or when the gap is closed.

    Up to `REPEATABLE_VARIABLES` variables several workers take turns in a fixed rhythm, so that a
    run that is not cut by time depends on its arguments alone; beyond they race.

    Args:
        model: the model.
        limit_s: wall-clock seconds.
        workers: threads.
        relative_gap: when to stop.
        seed: of the search.
        report: called with objective and bound, in the model's units, now and then.
        parameters: more of CP-SAT's own.
    """
    from ortools.sat.python import cp_model

    class Watch(cp_model.CpSolverSolutionCallback):
        """Keeps figures of the latest solution; the polling thread reports them."""

        def __init__(self) -> None:
            super().__init__()
            self.latest: tuple[float, float] | None = None

        def on_solution_callback(self) -> None:
            self.latest = (self.objective_value, self.best_objective_bound)

    solver = cp_model.CpSolver()
    told: Any = solver.parameters
    told.max_time_in_seconds = max(0.01, limit_s)
    told.num_workers = workers
    told.interleave_search = workers > 1 and len(model.proto.variables) <= REPEATABLE_VARIABLES
    told.relative_gap_limit = relative_gap
    told.random_seed = seed % 2**31
    told.catch_sigint_signal = False
    for name, value in parameters.items():
        setattr(told, name, value)
    watch = Watch()
    interrupted = False
    reported = time.monotonic()
    with ThreadPoolExecutor(1) as pool:  # a solver in the main thread would not hear Ctrl-C
        future = pool.submit(solver.solve, model, watch)
        while not future.done():
            try:
                wait([future], timeout=POLL_S)
                due = time.monotonic() - reported >= REPORT_S
                if watch.latest is not None and due and not interrupted:
                    reported = time.monotonic()
                    report(*watch.latest)
            except KeyboardInterrupt:
                interrupted = True
                solver.stop_search()
    status = future.result()
    logger.info("cp-sat: %s in %.2f s", solver.status_name(status), solver.wall_time)
    if status == cp_model.MODEL_INVALID:
        raise AssertionError(model.validate())
    optimal, infeasible = status == cp_model.OPTIMAL, status == cp_model.INFEASIBLE
    return Ended(solver, optimal or status == cp_model.FEASIBLE, optimal, infeasible, interrupted)


def search(
    model: ResidencyModel,
    *,
    limit_s: float,
    workers: int,
    relative_gap: float,
    seed: int,
    report: Callable[[float, float], None],
) -> Outcome:
    """Solve the model; ends at the limit, at Ctrl-C, or when the gap is closed.

    Args:
        model: the model.
        limit_s: wall-clock seconds.
        workers: threads of CP-SAT.
        relative_gap: when to stop.
        seed: of the search.
        report: called with objective and bound, in the model's units, now and then.
    """
    ended = run(
        model.model,
        limit_s=limit_s,
        workers=workers,
        relative_gap=relative_gap,
        seed=seed,
        report=report,
        parameters=PARAMETERS,
    )
    solver, found = ended.solver, ended.has_solution
    return Outcome(
        runs=stays_of_solution(model, solver.value) if found else None,
        objective=solver.objective_value if found else 0.0,
        bound=solver.best_objective_bound if found else None,
        optimal=ended.optimal,
        infeasible=ended.infeasible,
        interrupted=ended.interrupted,
    )


def forbid(model: ResidencyModel, runs: Sequence[Run]) -> None:
    """At least one of these runs must go, or be shorter at either end."""
    literals: list[Any] = []
    for first, last, stay in runs:
        own = model.variables.get(stay.atom)
        if own is None:
            continue  # at home in the fastest tier: it has no choice
        atom: Atom = model.atoms[stay.atom]
        literals += [own.kept[j] for j in range(first + 1, last + 1)]
        literals.append(own.inside[first])
        if stay.fill:
            literals.append(own.fills[first].taken[stay.start])
        if stay.end > atom.events[last].step + 1:
            literals.append(own.lingers[last][stay.end - 1])
    model.model.add_bool_or([literal.negated() for literal in literals])
