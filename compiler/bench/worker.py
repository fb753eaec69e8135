"""The process of a row: reads what is asked for from standard input, compiles, prints a result.

It runs with one thread in each library and a limit of its memory. When its parent is gone, it
leaves.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ullage.compiler.bench.suite import Row, row_of
from ullage.compiler.common.errors import UllageError

# Seconds between two looks at whether the parent is still there.
ORPHAN_S = 0.5
# Variables by which libraries are told how many threads to use.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

# Columns of a finished row that depend on the machine and its load.
TIME_COLUMNS = (
    "import_s",
    "schedule_s",
    "solve_s",
    "total_s",
    "cpu_s",
    "process_s",
    "memory_bytes",
)
# Columns of a finished row that do not, under limits of work.
VALUE_COLUMNS = (
    "status",
    "reason",
    "chosen_solver",
    "value",
    "lower_bound",
    "bound_source",
    "gap",
    "latency_s",
    "compute_s",
    "all_slow_latency_s",
    "simulated_latency_s",
    "noncompulsory_bytes",
    "energy_j",
    "fast_peak_bytes",
    "lower_bound_any_schedule",
    "chosen_schedule",
    "parts",
    "slices",
    "transfers",
    "verified",
)


def main() -> None:
    """Compile the row that standard input describes, and print its result as JSON."""
    asked: dict[str, Any] = json.loads(sys.stdin.read())
    _leave_with(int(asked["parent"]))
    _limit(int(asked["memory_bytes"]))
    out = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no result
    try:
        result = compiled(row_of(asked["row"]))
    except UllageError as error:
        result = {"status": error.kind, "reason": error.message}
    except MemoryError:
        result = {"status": "memory", "reason": memory_reason(int(asked["memory_bytes"]))}
    result["cpu_s"] = time.process_time()
    result["memory_bytes"] = _peak_memory_bytes()
    out.write(json.dumps(result) + "\n")
    out.flush()


def compiled(row: Row) -> dict[str, Any]:
    """The columns of a row that has a plan.

    Raises:
        UllageError: it has none; as of `compile_model`.
    """
    from ullage.compiler.common.units import parse_size
    from ullage.compiler.driver.compile import compile_model
    from ullage.compiler.driver.options import CompileOptions
    from ullage.compiler.driver.summary import summarise
    from ullage.compiler.importer.model_zoo import find_model

    options = CompileOptions(
        target=row.target or None,
        solver=row.solver,
        objective=row.objective or None,
        fast_memory_bytes=parse_size(row.fast_memory) if row.fast_memory else None,
        order=row.order,
        schedule=row.schedule or None,
        dims=dict(row.dims),
        dtype=row.dtype or None,
        steady_state=row.steady_state,
        overrides=dict(row.overrides),
        parameters=dict(row.parameters),
        time_limit_s=row.time_limit_s,
        seed=row.seed,
    )
    summary = summarise(compile_model(Path(find_model(row.model)), options))
    columns = {name: summary.get(name) for name in (*VALUE_COLUMNS, *TIME_COLUMNS)}
    fastest = next(iter(summary["peak_bytes"].values()), None)
    return columns | {
        "reason": "",
        "fast_peak_bytes": fastest,
        "chosen_solver": summary.get("chosen_solver") or summary["solver"],
        "chosen_schedule": summary.get("schedule"),
    }


def memory_reason(memory_bytes: int) -> str:
    """Why a row has no plan where its process ran out of memory."""
    from ullage.compiler.common.units import format_size

    return f"the process had {format_size(memory_bytes)} and needed more"


def _limit(memory_bytes: int) -> None:
    """Limit the address space of this process, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(ValueError, OSError):  # a limit below that is set already holds
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _peak_memory_bytes() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _leave_with(parent: int) -> None:
    """Leave when the parent is gone: nobody waits for the result."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_S)
        os._exit(1)

    if hasattr(os, "getppid") and os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The environment of a row's process: one thread in each library."""
    return {**variables, **dict.fromkeys(THREADS, "1")}
