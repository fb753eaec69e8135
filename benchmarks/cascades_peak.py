"""The smallest fast memory without a spill: whole operators, and cascades (`--objective peak`).

Activations never leave fast memory, weights are read where they are. Latencies are those of these
plans. Models in int8 on `ethos-u55-128`, in the file's order.

Run: python benchmarks/cascades_peak.py [MODEL.onnx ...] [--target NAME]
[--patience N] [--name TABLE]
"""

import argparse
import time
from pathlib import Path

from cascade_tasks import task_of
from common import SHARED, write_table

from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.schedule import Schedule
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.peak import PATIENCE, PeakSearch

# MobileNetV2, and networks for microcontrollers.
TINY = ("mbv1_050_160", "resnet8_int8", "vww_96_int8")
MODELS = [
    SHARED / "mobilenet_v2.onnx",
    *(SHARED.parent / "validation" / "models" / f"{name}.onnx" for name in TINY),
]
COLUMNS = (
    "model",
    "whole, KiB",
    "cascades, KiB",
    "live bytes of the cascades, KiB",
    "whole, ms",
    "cascades, ms",
    "parts",
    "search, CPU s",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="*", default=MODELS)
    parser.add_argument("--target", default="ethos-u55-128")
    parser.add_argument("--patience", type=int, default=PATIENCE)
    parser.add_argument("--name", default="cascades_peak")
    given = parser.parse_args()
    rows: list[list[str]] = []
    for file in given.models:
        rows.append([file.stem, *row_of(file, given.target, given.patience)])
        print(rows[-1], flush=True)
        title = f"Smallest fast memory without a spill, {given.target}, int8"
        print(write_table(given.name, title, COLUMNS, rows))


def row_of(file: Path, target_name: str, patience: int) -> list[str]:
    """Cells of a model."""
    graph = import_model(file, ImportOptions(dtype="int8"))
    task = task_of(graph, load_target(target_name), Budget(), "peak")
    problem = task.problem_of(Schedule.whole(task.order))
    whole = run_solver("no-spill", problem)
    begun = time.process_time()
    best = PeakSearch(task, OrderFacts.of(graph, task.order, problem)).smallest(patience)
    search_s = time.process_time() - begun
    if best is None:
        return [f"{whole.value / 1024:.1f}", *["-"] * 6]
    cut = run_solver("no-spill", task.problem_of(best.schedule))
    return [
        f"{whole.value / 1024:.1f}",
        f"{cut.value / 1024:.1f}",
        f"{best.live_bytes / 1024:.1f}",
        f"{whole.score.latency_s * 1e3:.3f}",
        f"{cut.score.latency_s * 1e3:.3f}",
        str(cut.plan.program.parts),
        f"{search_s:.1f}",
    ]


if __name__ == "__main__":
    main()
