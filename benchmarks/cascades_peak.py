"""The smallest fast memory without a spill: whole operators, and cascades (`--objective peak`).

Activations never leave fast memory, weights are read where they are. Latencies are those of these
plans. Models in int8 on `ethos-u55-128`, in the file's order.

A second table has the smallest memory under limits of the latency (`--slower-by`): weights are
fetched ahead into what is free, and wait there. Limits count from the best latency found with all
of the target's memory. The bound is one over all schedules. Models are imported as `compile` does
for the target (Adds by themselves, biases of 4 bytes; `--set storage.channels_multiple=1` leaves
the padding of channels out). Seconds are those of the processor, so that other processes change no
figure.

Run: python benchmarks/cascades_peak.py [MODEL.onnx ...] [--target NAME] [--set FIELD=VALUE ...]
[--patience N] [--slower-by SHARE ...] [--seconds S] [--name TABLE] [--limited-alone]
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from cascade_tasks import task_of
from common import SHARED, write_table

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.bounds.schedules import memory_bounds
from ullage.solvers.budget import Budget
from ullage.solvers.run import Outcome, run_solver
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.peak import PATIENCE, PeakSearch
from ullage.solvers.scheduling.cascade.search import cascade_schedule, limited_schedule
from ullage.solvers.scheduling.cascade.two_tiers import with_two_tiers

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
# Shares by which a plan may be slower than the best one.
LIMITS = (0.05, 0.2, 0.5, 1.0)
# Seconds in which a plan is looked for, in multiples of those of the search for cascades.
PLANNING = 6
LIMITED_COLUMNS = (
    "model",
    "slower by at most",
    "best, ms",
    "whole, KiB",
    "cascades, KiB",
    "no schedule below, KiB",
    "latency, ms",
    "parts",
    "search, CPU s",
    "planning, CPU s",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="*", default=MODELS)
    parser.add_argument("--target", default="ethos-u55-128")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--limited-alone", action="store_true")
    parser.add_argument("--patience", type=int, default=PATIENCE)
    parser.add_argument("--slower-by", type=float, nargs="*", default=LIMITS)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--name", default="cascades_peak")
    given = parser.parse_args()
    time.monotonic = time.process_time  # one thread: what else runs on the machine changes no value
    target = load_target(given.target, dict(text.split("=", 1) for text in given.sets))
    rows: list[list[str]] = []
    limited: list[list[str]] = []
    title = ", ".join(["Smallest fast memory without a spill", given.target, "int8", *given.sets])
    for file in given.models:
        if not given.limited_alone:
            rows.append([file.stem, *row_of(file, target, given.patience)])
            print(rows[-1], flush=True)
            print(write_table(given.name, title, COLUMNS, rows))
        for cells in limited_rows(file, target, given.slower_by, given.seconds):
            limited.append([file.stem, *cells])
            print(limited[-1], flush=True)
            within = f"{title}, under limits of the latency"
            print(write_table(f"{given.name}_limited", within, LIMITED_COLUMNS, limited))


def imported(file: Path, target: Target) -> Graph:
    """A model in int8, as it is planned for a target."""
    return import_model(file, ImportOptions(dtype="int8").for_target(target))


def row_of(file: Path, target: Target, patience: int) -> list[str]:
    """Cells of a model."""
    graph = imported(file, target)
    task = task_of(graph, target, Budget(), "peak")
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


def limited_rows(
    file: Path, target: Target, shares: Sequence[float], seconds: float
) -> Iterator[list[str]]:
    """Cells of a model for each limit of the latency.

    Args:
        file: the model.
        target: the chip.
        shares: by which plans may be slower than the best.
        seconds: of a search for cascades.
    """
    graph = imported(file, target)
    task = task_of(graph, target, Budget(), "peak")
    whole = task.problem_of(Schedule.whole(task.order))
    fast = replace(task, target=with_two_tiers(target), objective="latency")
    found = cascade_schedule(replace(fast, budget=Budget().at_most(seconds)))
    fastest = [task.problem_of(found.schedule), whole]
    best_s = min(run_solver("fluid", p.minimising("latency")).value for p in fastest)
    for share in shares:
        limit_s = (1 + share) * best_s
        bounds = memory_bounds(graph, target, limit_s)
        begun = time.process_time()
        limited = replace(task, limit_s=limit_s, budget=Budget().at_most(seconds))
        problem = task.problem_of(limited_schedule(limited).schedule)
        searched = time.process_time()
        plans = [smallest(p.within(limit_s), PLANNING * seconds) for p in (whole, problem)]
        best = min((plan for plan in plans if plan), key=lambda plan: plan.value, default=None)
        yield [
            f"{100 * share:g} %",
            f"{best_s * 1e3:.3f}",
            *("-" if plan is None else f"{plan.value / 1024:.1f}" for plan in plans),
            "-" if bounds is None else f"{bounds.any_schedule.value / 1024:.1f}",
            "-" if best is None else f"{best.score.latency_s * 1e3:.3f}",
            "-" if best is None else str(best.plan.program.parts),
            f"{searched - begun:.1f}",
            f"{time.process_time() - searched:.1f}",
        ]


def smallest(problem: Problem, seconds: float) -> Outcome | None:
    """The plan of the smallest peak under the problem's limit; None where none keeps it."""
    try:
        return run_solver("no-spill", problem, Budget().at_most(seconds))
    except InfeasibleError:
        return None


if __name__ == "__main__":
    main()
