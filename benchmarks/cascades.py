"""Cascades against whole operators: latency of both plans, and the bound of each schedule.

Every model at each size of fast memory, int8, in the file's order. `fluid` plans both. The search
has the same number of moves everywhere, and ends after some seconds of the processor at the latest.
The table is written after every row; rows of other models and sizes
stay.

Run: python benchmarks/cascades.py [--models DIR] [--only NAME,NAME] [--sizes KIB,KIB]
[--seconds S] [--tries N] [--target NAME] [--max-operators N] [--name TABLE]
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from cascade_tasks import bounded_cells, cut_cells, imported_models, task_of
from common import RESULTS, write_table
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
    time.monotonic = time.process_time  # one thread: what else runs on the machine changes no value
    rows = rows_before(given.name)
    for name, graph in imported_models(given.models, given.only, given.max_operators):
        for size in given.sizes.split(","):
            try:
                row = row_of(graph, int(size), given)
            except UllageError as error:
                print(f"{name} at {size} KiB: {error.message}")
                continue
            rows[name, f"{size} KiB"] = [name, f"{size} KiB", *row]
            ordered = sorted(rows.values(), key=lambda cells: (-int(cells[1].split()[0]), cells[0]))
            write_table(given.name, title_of(ordered, given.target), COLUMNS, ordered)
            print(rows[name, f"{size} KiB"], flush=True)


def rows_before(name: str) -> dict[tuple[str, str], list[str]]:
    """The rows of the table that is there, by model and size."""
    file = RESULTS / f"{name}.json"
    records = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    return {
        (record["model"], record["memory"]): [record[column] for column in COLUMNS]
        for record in records
    }


def title_of(rows: Sequence[Sequence[str]], target: str) -> str:
    """What the rows come to: the geometric mean of whole / cascade, at least 1, by size."""
    parts = []
    for size in dict.fromkeys(row[1] for row in rows):
        gains = [max(1.0, float(row[4])) for row in rows if row[1] == size]
        parts.append(f"{geomean(gains):.3f} over {len(gains)} networks at {size}")
    return (
        f"Cascades and whole operators, {target}, int8: geometric mean of whole / cascade "
        f"{', '.join(parts)}"
    )


def row_of(graph: Graph, size_kib: int, given: argparse.Namespace) -> list[str]:
    """Cells of a model at a size."""
    target = load_target(given.target).with_fast_memory(size_kib * 1024)
    task = task_of(graph, target, Budget().at_most(given.seconds))
    whole = run_solver("fluid", task.problem_of(Schedule.whole(task.order)))
    begun = time.process_time()
    found = cascade_schedule(task, tries=given.tries)
    search_s = time.process_time() - begun
    cut = run_solver("fluid", task.problem_of(found.schedule))
    return [
        f"{whole.value * 1e3:.4f}",
        f"{cut.value * 1e3:.4f}",
        f"{whole.value / cut.value:.3f}",
        *bounded_cells(cut),
        *cut_cells(cut),
        str(found.tries),
        f"{search_s:.1f}",
    ]


if __name__ == "__main__":
    main()
