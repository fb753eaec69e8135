"""POET's networks: plans of `--recompute auto` beside the programs of POET and Checkmate.

POET (Patil et al. 2022) plans the training steps of VGG16 and ResNet18 for CIFAR. Their programs
(`solvers/scheduling/rematerialisation`) are solved by HiGHS for five minutes of the clock:

    cost        what the program counts: the sum of all that runs and is paged, one after the other
    planned     the schedule that it found, planned by `fluid` as any other schedule is, with
                transfers beside computing and operands read where they are: what it would be worth
                to a user of this compiler
    proven      no solution of the program costs less

beside the joint plan, what no schedule of its steps falls below, and what no repetition of its
order falls below. All plans are verified. Rows of other cells remain as they were.

Run: python benchmarks/poet.py [--graphs a,b] [--rates 4] [--shares 0.8] [--minutes 5]
     [--programs poet,checkmate]
"""

import argparse
import tempfile
import time
from pathlib import Path

from common import put_row
from recomputation import file_of, joint_of, shrunk, task_of

from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.frontend import Prepared
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.recompute.copies import recompute_facts
from ullage.solvers.scheduling.recompute.surrogate import surrogate_of
from ullage.solvers.scheduling.rematerialisation.stages import (
    CHECKMATE,
    POET,
    program_size,
    solve_stages,
    stage_graph,
)

NAME = "poet"
GRAPHS = ("vgg16-cifar", "resnet18-cifar")
COLUMNS = (
    *("step", "GB/s", "share of peak", "joint ms", "of its schedule ms", "gap %"),
    *("of its order ms", "above %", "joint s", "program", "variables", "cost ms", "proven ms"),
    *("planned ms", "minutes"),
)
# Columns that name a row: step, bandwidth, share and program.
KEYS = (0, 1, 2, 9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", default=",".join(GRAPHS))
    parser.add_argument("--rates", default="4", help="GB/s")
    parser.add_argument("--shares", default="0.8")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--programs", default=f"{POET},{CHECKMATE}")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in given.graphs.split(","):
            path = file_of(name, Path(folder))
            if path is None:
                raise SystemExit(f"{name}: not at hand")
            for rate in map(float, given.rates.split(",")):
                for share in map(float, given.shares.split(",")):
                    whole = shrunk(path, 1e9 * rate, share)
                    ours = _joint(path, whole, 1e9 * rate)
                    for program in given.programs.split(","):
                        row = [name, f"{rate:g}", f"{share:g}", *ours, program]
                        row += _program(whole, program, given.minutes)
                        print(row, flush=True)
                        put_row(NAME, title, COLUMNS, row, KEYS)


def title(rows: list[list[str]]) -> str:
    """The table's title."""
    cells = {tuple(row[:3]): float(row[COLUMNS.index("gap %")]) for row in rows}
    return (
        f"POET's networks in {len(cells)} cells: joint plans are at most {max(cells.values()):.3f} "
        "% above what no plan of their schedules falls below"
    )


def _joint(path: Path, whole: Prepared, rate: float) -> list[str]:
    """The joint plan: its latency, the bounds, and seconds of the processor."""
    joint = joint_of(path, whole.target.fastest.capacity_bytes, rate)
    compiled, order_s = joint.compiled, joint.bound_s(whole)
    return [
        f"{1e3 * compiled.value:.3f}",
        f"{1e3 * compiled.bound.value:.3f}",
        f"{100 * (compiled.value / compiled.bound.value - 1):.3f}",
        f"{1e3 * order_s:.3f}",
        f"{100 * (compiled.value / order_s - 1):.2f}",
        f"{joint.spent_s:.1f}",
    ]


def _program(whole: Prepared, program: str, minutes: float) -> list[str]:
    """What an integer program finds in some minutes, and what its schedule is worth."""
    task = task_of(whole)
    facts = recompute_facts(task.graph, task.order, task.aliases)
    surrogate = surrogate_of(facts, whole.problem)
    variables = program_size(stage_graph(facts, surrogate), with_paging=program == POET)
    begun = time.monotonic()
    budget = Budget(begun + 60 * minutes)
    found = solve_stages(facts, surrogate, budget, with_paging=program == POET)
    spent = f"{(time.monotonic() - begun) / 60:.1f}"
    if found is None:
        return [str(variables), "none found", "-", "-", spent]
    try:
        planned = run_solver("fluid", task.problem_of(found.schedule)).value
        told = f"{1e3 * planned:.3f}"
    except (InfeasibleError, UsageError) as error:
        told = f"refused: {error.message[:40]}"
    return [str(variables), f"{1e3 * found.cost_s:.3f}", f"{1e3 * found.bound_s:.3f}", told, spent]


if __name__ == "__main__":
    main()
