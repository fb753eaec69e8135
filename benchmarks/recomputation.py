"""Training steps in little memory: swapping, computing again, and both.

For each training step, at shares of its own peak of live bytes and two bandwidths of slow memory,
on `edge-npu`: the latency of plans

    greedy          the heuristic, operators once
    swap            `fluid`, operators once: results are kept or swapped
    checkpoints     evenly spaced checkpoints (Chen et al. 2016), the best number of them; planned
                    by `fluid`, which swaps what does not fit
    knapsack        what PyTorch's activation_memory_budget would keep, the best of nine budgets;
                    planned by `fluid` likewise
    recompute       computing again alone: the search of `joint` where a byte that is fetched again
                    costs a thousand times as much; planned by `fluid` likewise
    joint           `--recompute auto`

beside what no schedule falls below in which operators run for the first time in the order of the
joint plan, whichever run again (`recompute-lp`), or no schedule at all where that is more. All
plans are verified. Seconds are the processor's, of the whole job of `joint`, plan without
recomputation included. There is no time limit: other work costs no quality. Rows of other
cells remain as they were. resnet18 is the joint graph of PyTorch beside the project, in fx form.

Run: python benchmarks/recomputation.py [--graphs a,b] [--rates 0.5,4] [--shares 0.8,0.6]
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import onnx
from common import ROOT, put_row
from training_graphs import GRAPHS

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.driver.compile import compile_model, prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.recomputation.told import recomputation_of
from ullage.compiler.driver.result import Compiled
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import model_order
from ullage.hwmodels.bounds import live_bytes_by_step, order_free_bound
from ullage.solvers.bounds.schedules import schedule_bounds
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.valued import SchedulingTask
from ullage.solvers.scheduling.recompute.copies import recompute_facts, schedule_of
from ullage.solvers.scheduling.recompute.known import checkpoint_sets, knapsack_sets
from ullage.solvers.scheduling.recompute.search import without_swapping
from ullage.solvers.scheduling.recompute.surrogate import surrogate_of

SHARED = {
    "transformer": ROOT.parent / "shared" / "training" / "transformer_train.onnx",
    "resnet18": ROOT.parent / "shared" / "models" / "resnet18_train.json",
}
# Seconds for what no schedule falls below.
BOUND_S = 20.0
SHARES = (0.8, 0.6, 0.4)
COLUMNS = (
    "step",
    "GB/s",
    "share of peak",
    "fast MiB",
    "greedy ms",
    "swap ms",
    "checkpoints ms",
    "knapsack ms",
    "recompute ms",
    "joint ms",
    "run again",
    "computing again %",
    "bound ms",
    "gap %",
    "joint s",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--graphs", default=",".join((*SHARED, *GRAPHS)))
    parser.add_argument("--rates", default="0.5,4", help="GB/s")
    parser.add_argument("--shares", default=",".join(map(str, SHARES)))
    given = parser.parse_args()
    rates = [1e9 * float(rate) for rate in given.rates.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        for name in given.graphs.split(","):
            path = file_of(name, Path(folder))
            if path is None:
                print(f"{name}: not at hand")
                continue
            for rate in rates:
                for share in map(float, given.shares.split(",")):
                    row = _row(name, path, rate, share)
                    print(row, flush=True)
                    put_row("recomputation", title, COLUMNS, row, keys=(0, 1, 2))


def title(rows: list[list[str]]) -> str:
    """The table's title."""
    gaps = [float(row[COLUMNS.index("gap %")]) for row in rows]
    worse = sum(_is_worse(row) for row in rows)
    return (
        f"Training steps: joint plans in {len(rows)} cells are {sum(gaps) / len(gaps):.1f} % above "
        f"what no repetition falls below in the mean, {max(gaps):.1f} % at worst; "
        f"{worse or 'none'} worse than another column"
    )


def _is_worse(row: list[str]) -> bool:
    """Whether a joint plan is worse than that of a baseline."""
    joint = float(row[COLUMNS.index("joint ms")])
    others = row[COLUMNS.index("greedy ms") : COLUMNS.index("joint ms")]
    return any(value != "-" and joint > float(value) for value in others)


@dataclass(frozen=True)
class Joint:
    """A joint plan, and the seconds of the processor that it took."""

    compiled: Compiled
    spent_s: float

    def bound_s(self, whole: Prepared) -> float:
        """What no schedule falls below, or none of its order, in seconds."""
        found = self.compiled.repetitions_bound
        return max(_bound(whole), 0.0 if found is None else found.value)


def joint_of(path: Path, size: int, rate: float) -> Joint:
    """The plan of `--recompute auto`.

    Args:
        path: the model.
        size: bytes of fast memory.
        rate: bytes per second of slow memory.
    """
    options = CompileOptions(
        overrides=overrides_of(rate), fast_memory_bytes=size, solver="fluid", recompute="auto"
    )
    begun = time.process_time()
    compiled = compile_model(path, options)
    return Joint(compiled, time.process_time() - begun)


def shrunk(path: Path, rate: float, share: float) -> Prepared:
    """A step, operators once, in a share of its own peak of live bytes."""
    options = CompileOptions(overrides=overrides_of(rate), solver="fluid", schedule="whole")
    whole = prepare(path, options)
    size = int(share * live_bytes_by_step(whole.problem, whole.target).max())
    return whole.on(whole.target.with_fast_memory(size))


def file_of(name: str, folder: Path) -> Path | None:
    """The file of a step; None where it is not at hand."""
    if name in SHARED:
        return SHARED[name] if SHARED[name].is_file() else None
    path = folder / f"{name}.onnx"
    onnx.save(GRAPHS[name](), path)
    return path


def _row(name: str, path: Path, rate: float, share: float) -> list[str]:
    whole = shrunk(path, rate, share)
    size = whole.target.fastest.capacity_bytes
    others = [_planned(whole, "greedy", None), _planned(whole, "fluid", None)]
    others += [_planned(whole, "fluid", known) for known in _known(whole)]
    joint = joint_of(path, size, rate)
    compiled = joint.compiled
    again = recomputation_of(compiled.plan)
    computing = compiled.score.compute_s - again.compute_s
    bound = joint.bound_s(whole)
    return [
        name,
        f"{rate / 1e9:g}",
        f"{share:g}",
        f"{size / 2**20:.1f}",
        *("-" if value is None else f"{1e3 * value:.2f}" for value in others),
        f"{1e3 * compiled.value:.2f}",
        f"{again.operators} ({again.steps} steps)",
        f"{100 * again.compute_s / computing:.1f}",
        f"{1e3 * bound:.2f}",
        f"{100 * (compiled.value / bound - 1):.1f}",
        f"{joint.spent_s:.1f}",
    ]


def _bound(whole: Prepared) -> float:
    """What no schedule falls below, in seconds."""
    found = schedule_bounds(whole.graph, whole.target, Budget(time.monotonic() + BOUND_S))
    free = order_free_bound(whole.problem).value
    return free if found is None else max(free, found.any_schedule.value)


def _known(whole: Prepared) -> list[Schedule]:
    """The best schedules by checkpoints and by a knapsack, and that of computing again alone."""
    task = task_of(whole)
    facts = recompute_facts(task.graph, task.order, task.aliases)
    surrogate = surrogate_of(facts, whole.problem)
    best: list[Schedule] = []
    for sets in (checkpoint_sets(facts), knapsack_sets(facts, surrogate.compute_s)):
        chosen = min(sets, key=lambda dropped: surrogate.value(surrogate.flags_of(dropped)))
        best.append(schedule_of(facts, chosen))
    return [*best, without_swapping(task)]


def _planned(whole: Prepared, solver: str, schedule: Schedule | None) -> float | None:
    """Latency of a solver's verified plan; None where it has none."""
    problem = whole.problem if schedule is None else task_of(whole).problem_of(schedule)
    try:
        return run_solver(solver, problem).value
    except InfeasibleError:
        return None


def task_of(whole: Prepared) -> SchedulingTask:
    """What a search for repetitions is given."""
    return SchedulingTask(
        graph=whole.graph,
        order=model_order(whole.graph),
        target=whole.target,
        aliases=alias_options(whole.target),
        steady_state=False,
        objective="latency",
        seed=0,
        budget=Budget(),
    )


def overrides_of(rate: float) -> dict[str, str]:
    """Slow memory of a bandwidth, in bytes per second."""
    fields = [f"tiers.dram.{way}_bytes_per_s" for way in ("read", "write")]
    fields += [f"links.{link}.bandwidth_bytes_per_s" for link in ("dram->sram", "sram->dram")]
    return dict.fromkeys(fields, str(rate))


if __name__ == "__main__":
    main()
