"""The process of a row: reads what is asked for from standard input, compiles, prints a result.

It runs with one thread in each library and a limit of its memory. When its parent is gone, it
leaves.
"""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ullage.compiler.bench.process import (
    limit_memory,
    peak_memory_bytes,
    suite_memory_reason,
)
from ullage.compiler.bench.suite import Row, row_of
from ullage.compiler.common.errors import UllageError

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
    "operators",
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

# Columns that hold a text.
TEXT_COLUMNS = ("status", "reason", "chosen_solver", "bound_source", "chosen_schedule")


def main() -> None:
    """Compile the row that standard input describes, and print its result as JSON."""
    asked: dict[str, Any] = json.loads(sys.stdin.read())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it after Ctrl-C
    limit_memory(int(asked["memory_bytes"]))
    out = sys.stdout
    sys.stdout = sys.stderr  # what libraries print is no result
    try:
        result = compiled(row_of(asked["row"]))
    except UllageError as error:
        result = {"status": error.kind, "reason": error.message}
    except MemoryError:
        result = {"status": "memory", "reason": suite_memory_reason(int(asked["memory_bytes"]))}
    result["cpu_s"] = time.process_time()
    result["memory_bytes"] = peak_memory_bytes()
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
        states=(row.states,) if row.states else (),
        recompute=row.recompute,
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
