"""Cascades where the compute unit reaches the scratchpad only: which models plan, and how well.

Every model at a size of fast memory, int8, in the file's order. The search has the same seconds of
the processor everywhere; `fluid` plans what it finds, within as many of them as given. With
`--quick` groups are those of the dynamic program alone and `greedy` plans them: no linear program
is solved, so that there is no bound. A model that cannot be planned is a row with the operator that
stops it and the bytes of its smallest part. Models of very many operators (language models) are
planned at a larger size. `whole` says whether operators fit uncut; `over streaming` is the plan's
value over that of the chip whose compute unit reaches both memories, where `cascades.py` has
measured it. The table is written after every row; rows of other models stay, and no quick row takes
the place of another.

Run: python benchmarks/cascades_scratchpad.py [--models DIR] [--only NAME,NAME] [--size KIB]
[--large-size KIB] [--large OPERATORS] [--seconds S] [--plan-seconds S] [--tries N] [--quick]
[--max-operators N] [--name TABLE]
"""

import argparse
import json
import time
from pathlib import Path

from cascade_tasks import bounded_cells, cut_cells, imported_models, task_of
from common import RESULTS, write_table

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import format_size
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.schedule import Schedule
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.chain import choose_groups, estimated_groups
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.fitted import FittedGroups
from ullage.solvers.scheduling.cascade.search import CascadeResult, cascade_schedule
from ullage.solvers.scheduling.cascade.valued import SchedulingTask

TARGET = "edge-npu-spm"
COLUMNS = (
    "model",
    "memory",
    "whole",
    "solver",
    "plan, ms",
    "bound of the schedule, ms",
    "gap",
    "over streaming",
    "parts",
    "operators cut",
    "moves tried",
    "search, CPU s",
    "plan, CPU s",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--large-size", type=int, default=1024)
    parser.add_argument("--large", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--plan-seconds", type=float, default=600.0)
    parser.add_argument("--tries", type=int, default=5000)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--max-operators", type=int, default=2000)
    parser.add_argument("--name", default="cascades_scratchpad")
    given = parser.parse_args()
    time.monotonic = time.process_time  # one thread: what else runs on the machine changes no value
    stored = RESULTS / f"{given.name}.json"
    rows: list[list[str]] = []
    if stored.is_file():
        known_rows = json.loads(stored.read_text())
        rows = [[row.get(column, "-") for column in COLUMNS] for row in known_rows]
    streaming = streaming_values()
    for name, graph in imported_models(given.models, given.only, given.max_operators):
        size = given.large_size if len(graph.operators) > given.large else given.size
        known = [r for r in rows if r[:2] == [name, f"{size} KiB"]]
        if given.quick and known and known[0][3] != "greedy":
            continue
        row = [name, f"{size} KiB", *row_of(graph, size, given)]
        beside = streaming.get((row[0], row[1]))
        if beside is not None and "infeasible" not in row[4]:
            row[COLUMNS.index("over streaming")] = f"{float(row[4]) / beside:.3f}"
        rows = sorted([r for r in rows if r[:2] != row[:2]] + [row])
        planned = sum("infeasible" not in r[4] for r in rows)
        title = f"Cascades on {TARGET}, int8: {planned} of {len(rows)} rows have a plan"
        write_table(given.name, title, COLUMNS, rows)
        print(row, flush=True)


def streaming_values() -> dict[tuple[str, str], float]:
    """By model and memory the value in ms of the plan where operators reach both memories."""
    stored = RESULTS / "cascades.json"
    known = json.loads(stored.read_text()) if stored.is_file() else []
    return {(row["model"], row["memory"]): float(row["cascade, ms"]) for row in known}


def row_of(graph: Graph, size_kib: int, given: argparse.Namespace) -> list[str]:
    """Cells of a model at a size."""
    target = load_target(TARGET).with_fast_memory(size_kib * 1024)
    task = task_of(graph, target, Budget().at_most(given.seconds))
    fits = "fits"
    try:
        run_solver("all-slow", task.problem_of(Schedule.whole(task.order)))
    except InfeasibleError:
        fits = "does not fit"
    begun = time.process_time()
    try:
        found = grouped(task) if given.quick else cascade_schedule(task, tries=given.tries)
    except InfeasibleError as error:
        needed = format_size(error.details["needed_bytes"])
        stopped = f"infeasible: {error.details['operator']} needs {needed}"
        return [fits, "-", stopped, *["-"] * (len(COLUMNS) - 5)]
    search_s = time.process_time() - begun
    begun = time.process_time()
    solver = "greedy" if given.quick else "fluid"
    plan = run_solver(solver, task.problem_of(found.schedule), Budget().at_most(given.plan_seconds))
    plan_s = time.process_time() - begun
    return [
        fits,
        solver,
        f"{plan.value * 1e3:.4f}",
        *bounded_cells(plan),
        "-",
        *cut_cells(plan),
        str(found.tries),
        f"{search_s:.1f}",
        f"{plan_s:.1f}",
    ]


def grouped(task: SchedulingTask) -> CascadeResult:
    """The groups of the dynamic program, those that do not fit replaced.

    Raises:
        InfeasibleError: no part of an operator fits.
    """
    facts = OrderFacts.of(task.graph, task.order, task.problem_of(Schedule.whole(task.order)))
    groups = estimated_groups(facts, lambda: False)
    fitted = FittedGroups(task, facts)
    chosen = fitted.repaired(choose_groups(facts, groups or [], task.target, None))
    cascades = chosen or fitted.singles()
    return CascadeResult(fitted.schedule(cascades), tuple(cascades))


if __name__ == "__main__":
    main()
