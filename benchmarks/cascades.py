"""Cascades against whole operators: latency of both plans, and the bound of each schedule.

Every model at each size of fast memory, int8, in the file's order. `fluid` plans both. The search
has the same number of moves everywhere, and ends after some seconds at the latest; on a busy
machine it tries less by then. The table is written after every row.

Run: python benchmarks/cascades.py [--models DIR] [--only NAME,NAME] [--sizes KIB,KIB]
[--seconds S] [--tries N] [--target NAME] [--max-operators N] [--name TABLE]
"""

import argparse
import time
from pathlib import Path

from cascade_tasks import bounded_cells, cut_cells, imported_models, task_of
from common import write_table
from heuristics import geomean

from ullage.compiler.common.errors import UllageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.schedule import Schedule
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.search import cascade_schedule

COLUMNS = (
    "model",
    "memory",
    "whole, ms",
    "cascade, ms",
    "whole / cascade",
    "bound of the schedule, ms",
    "gap",
    "parts",
    "operators cut",
    "moves tried",
    "search, CPU s",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--sizes", default="256")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--tries", type=int, default=300)
    parser.add_argument("--target", default="edge-npu")
    parser.add_argument("--max-operators", type=int, default=300)
    parser.add_argument("--name", default="cascades")
    given = parser.parse_args()
    rows: list[list[str]] = []
    gains: list[float] = []
    for name, graph in imported_models(given.models, given.only, given.max_operators):
        for size in given.sizes.split(","):
            try:
                row, gain = row_of(graph, int(size), given)
            except UllageError as error:
                print(f"{name} at {size} KiB: {error.message}")
                continue
            rows.append([name, f"{size} KiB", *row])
            gains.append(gain)
            title = (
                f"Cascades and whole operators, {given.target}, int8, search of "
                f"{given.tries} moves or {given.seconds:g} s: geometric mean of whole / cascade "
                f"{geomean(gains):.3f} over {len(gains)} rows"
            )
            write_table(given.name, title, COLUMNS, rows)
            print(rows[-1], flush=True)


def row_of(graph: Graph, size_kib: int, given: argparse.Namespace) -> tuple[list[str], float]:
    """Cells of a model at a size, and whole / cascade."""
    target = load_target(given.target).with_fast_memory(size_kib * 1024)
    task = task_of(graph, target, Budget().at_most(given.seconds))
    whole = run_solver("fluid", task.problem_of(Schedule.whole(task.order)))
    begun = time.process_time()
    found = cascade_schedule(task, tries=given.tries)
    search_s = time.process_time() - begun
    cut = run_solver("fluid", task.problem_of(found.schedule))
    ratio = whole.value / min(cut.value, whole.value)
    cells = [
        f"{whole.value * 1e3:.4f}",
        f"{cut.value * 1e3:.4f}",
        f"{whole.value / cut.value:.3f}",
        *bounded_cells(cut),
        *cut_cells(cut),
        str(found.tries),
        f"{search_s:.1f}",
    ]
    return cells, ratio


if __name__ == "__main__":
    main()
