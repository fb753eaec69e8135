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

from ullage.compiler.errors import UllageError
from ullage.compiler.pipeline import CompileOptions, solve_prepared

SIZES = (64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--target", default="edge-npu")
    parser.add_argument("--max-operators", type=int, default=300)
    given = parser.parse_args()
    rows: list[list[str]] = []
    everything: list[float] = []
    speedups: list[float] = []
    for file in model_files(given.models):
        prepared = read(file, given.target, "int8")
        if prepared is None or prepared.problem.operators > given.max_operators:
            continue
        gaps: list[float] = []
        seconds: list[float] = []
        simulated: list[float] = []
        worse = 0
        for size in SIZES:
            values: dict[str, float] = {}
            for solver in ("fluid", "msa", "greedy"):
                target = prepared.target.with_fast_memory(size)
                fresh = replace(prepared, target=target, started=time.monotonic())
                try:
                    done = solve_prepared(fresh, CompileOptions(solver=solver))
                except UllageError as error:
                    print(f"FAIL {file.stem} {size} {solver}: {error}")
                    continue
                values[solver] = done.value
                if solver == "fluid":
                    gaps.append(done.value / done.bound.value)
                    seconds.append(done.solve_s)
                    simulated.append(done.simulation.latency_s / done.value)
            others = [v for s, v in values.items() if s != "fluid"]
            worse += values["fluid"] > min(others) * (1 + 1e-9)
            speedups.append(values["msa"] / values["fluid"])
        everything += gaps
        shown = [f"{gap:.4f}" for gap in gaps]
        rows.append(
            [
                file.stem,
                str(prepared.problem.operators),
                *shown,
                str(worse),
                f"{median(simulated):.3f}",
                f"{max(seconds):.2f}",
            ]
        )
        print(" | ".join(rows[-1]), flush=True)
    total = f"geomean {geomean(everything):.4f}, worst {max(everything):.4f}"
    against = f"msa/fluid geomean {geomean(speedups):.4f}, largest {max(speedups):.3f}"
    title = f"Fluid over its bound, {given.target}, int8: {total}; {against}"
    columns = ["model", "operators", *(f"{s >> 10} KiB" for s in SIZES)]
    columns += ["sizes where a heuristic is better", "simulated/model", "slowest solve s"]
    print(write_table(f"fluid_{given.target}", title, columns, rows))


if __name__ == "__main__":
    main()
