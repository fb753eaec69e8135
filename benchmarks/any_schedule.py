"""Bounds on the latency of every schedule, and the best plans known beside them.

Run: python benchmarks/any_schedule.py [MODEL.onnx ...]     # minutes of CPU

Default: the public set beside the project, and the models of the onnx wheel; int8 on edge-npu with
three sizes of fast memory. Plans are those of benchmarks/results. The exit code is 1 where a plan
is below a bound.
"""

import logging
import sys
import time
from pathlib import Path

from any_schedule_plans import best_plans
from common import model_files, write_table

from ullage.compiler.common.errors import UllageError
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.importer.model_zoo import named_models
from ullage.compiler.ir.graph import Graph
from ullage.hwmodels.bounds import BOUND_TOLERANCE
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.bounds.schedules import schedule_bounds

KIBIBYTES = (64, 256, 1024)
# The two models of more operators are decoders, whose bound is that of their weights' bytes.
MOST_LISTED = 1000
COLUMNS = (
    "model", "operators", "KiB", "any schedule, ms", "proven by", "whole reductions, ms",
    "best plan known, ms", "plan / bound", "CPU s",
)  # fmt: skip


def main() -> int:
    logging.disable(logging.WARNING)
    files = [Path(name) for name in sys.argv[1:]]
    files = files or [*model_files(), *named_models().values()]
    rows: list[list[object]] = []
    below = 0
    plans = best_plans()
    for file in dict.fromkeys(files):
        graph = read(file)
        if graph is None or len(graph.operators) > MOST_LISTED:
            continue
        for kib in KIBIBYTES:
            target = load_target("edge-npu").with_fast_memory(kib << 10)
            begun = time.process_time()
            bounds = schedule_bounds(graph, target)
            took_s = time.process_time() - begun
            if bounds is None:
                continue
            free, whole = 1e3 * bounds.any_schedule.value, 1e3 * bounds.whole_reductions.value
            plan = plans.get((file.stem, kib))
            below += plan is not None and plan < free * (1 - BOUND_TOLERANCE)
            rows.append(
                [file.stem, len(graph.operators), kib, f"{free:.6f}", bounds.any_schedule.source,
                 f"{whole:.6f}", "-" if plan is None else f"{plan:.4f}",
                 "-" if plan is None else f"{plan / free:.4f}", f"{took_s:.2f}"]
            )  # fmt: skip
            print(rows[-1], flush=True)
    if len(sys.argv) == 1:
        write_table("any_schedule", "Bounds on every schedule", COLUMNS, rows)
    return 1 if below else 0


def read(file: Path) -> Graph | None:
    """A model as int8, symbolic batches bound to 1; None for one that cannot be read so."""
    for options in (ImportOptions(batch=1, dtype="int8"), ImportOptions(dtype="int8")):
        try:
            return import_model(file, options)
        except UllageError as error:
            reason = error
    print(f"{file.stem}: {reason}")
    return None


if __name__ == "__main__":
    raise SystemExit(main())
