"""Fluid plans against their certified bound and against the heuristics, size by size.

Run: python benchmarks/fluid.py [--models DIR] [--target NAME] [--max-operators N]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from common import model_files, write_table
from heuristics import geomean, read

from ullage.compiler.common.errors import UllageError
from ullage.compiler.driver.compile import solve_prepared
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.frontend import Prepared

SIZES = {
    "edge-npu": (64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20),
    "tpu-v4i": (1 << 20, 4 << 20, 16 << 20, 128 << 20),
}
OTHERS = ("msa", "greedy", "all-slow")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--target", default="edge-npu", choices=sorted(SIZES))
    parser.add_argument("--max-operators", type=int, default=100_000)
    given = parser.parse_args()
    table = Table(given.target)
    for file in model_files(given.models):
        prepared = read(file, given.target, "int8")
        if prepared is not None and prepared.problem.program.operators <= given.max_operators:
            table.add(file.stem, prepared)
    table.write()


class Table:
    """Rows of models, columns of sizes."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.rows: list[list[str]] = []
        self.gaps: list[float] = []
        self.speedups: list[float] = []
        self.simulated: list[float] = []
        self.worse: list[str] = []

    def add(self, model: str, prepared: Prepared) -> None:
        """Solve a model at all sizes."""
        done = {size: self.compare(model, prepared, size) for size in SIZES[self.target]}
        plans = [plan for plan in done.values() if plan is not None]
        shown = ["-" if plan is None else f"{ratio(plan):.4f}" for plan in done.values()]
        replayed = [plan.simulation.latency_s / plan.value for plan in plans]
        self.gaps += [ratio(plan) for plan in plans]
        self.simulated += replayed
        slowest = max((plan.solve_s for plan in plans), default=0.0)
        replay = f"{median(replayed):.3f}" if replayed else "-"
        row = [model, str(prepared.problem.program.operators), *shown, replay, f"{slowest:.2f}"]
        self.rows.append(row)
        print(" | ".join(row), flush=True)

    def compare(self, model: str, prepared: Prepared, size: int) -> Compiled | None:
        """The fluid plan; the other solvers' values go into the figures."""
        fluid = solved(prepared, size, "fluid")
        if fluid is None:
            return None
        for name in OTHERS:
            other = solved(prepared, size, name)
            if other is None:
                continue
            if fluid.value > other.value * (1 + 1e-9):
                excess = fluid.value / other.value
                self.worse.append(f"{model} {size >> 10} KiB {name} {excess:.4f}")
            if name == "msa":
                self.speedups.append(other.value / fluid.value)
        return fluid

    def write(self) -> None:
        """Put the table into results/."""
        total = f"geomean {geomean(self.gaps):.4f}, worst {max(self.gaps):.4f}"
        best = f"msa/fluid geomean {geomean(self.speedups):.4f}, largest {max(self.speedups):.3f}"
        replay = f"simulated/model median {median(self.simulated):.3f}, worst "
        replay += f"{max(self.simulated):.3f}"
        worse = f"a heuristic is better in {len(self.worse)} cases"
        title = f"Fluid over its bound, {self.target}, int8: {total}; {best}; {replay}; {worse}"
        columns = ["model", "operators", *(f"{s >> 10} KiB" for s in SIZES[self.target])]
        columns += ["simulated/model", "slowest solve s"]
        print(write_table(f"fluid_{self.target}", title, columns, self.rows))
        print("\n".join(self.worse))


def ratio(plan: Compiled) -> float:
    """Value over bound."""
    return plan.value / plan.bound.value


def solved(prepared: Prepared, size: int, solver: str) -> Compiled | None:
    """A verified plan; None with a message where there is none."""
    target = prepared.target.with_fast_memory(size)
    fresh = replace(prepared.on(target), started=time.monotonic())
    try:
        return solve_prepared(fresh, CompileOptions(solver=solver, schedule="whole"))
    except UllageError as error:
        print(f"FAIL {prepared.graph.name} {size} {solver}: {error}")
        return None


if __name__ == "__main__":
    main()
