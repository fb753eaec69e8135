"""Running CP-SAT on any model: under a deadline, with progress, interruptible."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

logger = logging.getLogger(__name__)
# Seconds between two looks at whether the solver is done.
POLL_S = 0.05
# Number of variables up to which threads take turns, so that a run can be repeated; in larger
# models that would cost too much time.
REPEATABLE_VARIABLES = 3_000
# Seconds between progress texts.
REPORT_S = 1.0


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
        parameters: further parameters of CP-SAT by name.
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
    search_options: Any = solver.parameters
    search_options.max_time_in_seconds = max(0.01, limit_s)
    search_options.num_workers = workers
    search_options.interleave_search = (
        workers > 1 and len(model.proto.variables) <= REPEATABLE_VARIABLES
    )
    search_options.relative_gap_limit = relative_gap
    search_options.random_seed = seed % 2**31
    search_options.catch_sigint_signal = False
    for name, value in parameters.items():
        setattr(search_options, name, value)
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
