"""The time of a job, counted from the start of reading, and its shares."""

import time

from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.frontend import Prepared
from ullage.solvers.budget import Budget

# Share of the time left, and seconds at most, that are kept for the bound over all schedules.
BOUNDS_SHARE = 0.1
BOUNDS_S = 1.0


def budget_of(prepared: Prepared, options: CompileOptions) -> Budget:
    """What is left of the time of a job, counted from the start of reading the model."""
    limit = options.time_limit_s
    deadline = None if limit is None else prepared.started + limit
    return Budget(deadline, progress=options.progress)


def shared(prepared: Prepared, limit_s: float | None, share: float) -> float | None:
    """A limit, counted from the start of reading, that ends after a share of the time left."""
    if limit_s is None:
        return None
    spent_s = time.monotonic() - prepared.started
    return limit_s if spent_s >= limit_s else spent_s + share * (limit_s - spent_s)


def before_bounds(prepared: Prepared, limit_s: float | None) -> float | None:
    """A limit, counted likewise, with a moment of the time left kept for bounds behind a search."""
    if limit_s is None:
        return None
    left_s = max(0.0, limit_s - (time.monotonic() - prepared.started))
    return limit_s - min(BOUNDS_SHARE * left_s, BOUNDS_S)
