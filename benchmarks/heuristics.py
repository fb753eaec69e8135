"""Every heuristic on every model, target and fast-memory size: legality, quality, monotony, speed.

Run: python benchmarks/heuristics.py [--models DIR] [--targets a,b] [--dtype int8|own]
"""

import argparse
import math
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import median

import onnx
from common import model_files, write_table

from ullage.compiler.common.errors import InfeasibleError, UllageError
from ullage.compiler.driver.compile import prepare, solve_prepared
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.frontend import Prepared
from ullage.compiler.importer.symbols import input_dims

SIZES = (64 << 10, 256 << 10, 1 << 20, 4 << 20)
SOLVERS = ("all-slow", "greedy", "msa")
# Chips of several kinds; `ullage targets list` has all.
TARGETS = ("cosma", "edge-npu", "ethos-u55-128", "ethos-u65-512", "stm32h743", "tpu-v4i")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--dtype", default="int8")
    given = parser.parse_args()
    targets = given.targets.split(",")
    dtype = None if given.dtype == "own" else given.dtype
    files = model_files(given.models)
    table: list[list[str]] = []
    for target in targets:
        table.append(run_target(target, files, dtype))
    columns = [
        "target",
        "plans verified",
        "refused (exit 4)",
        "other refusals",
        "failures",
        "greedy/bound geomean",
        "msa/bound geomean",
        "msa/greedy geomean",
        "all-slow/msa max",
        "msa slower with more memory (> 2 %)",
        "simulated/model median (min, max)",
        "solve s median (max)",
    ]
    name = f"heuristics_{given.dtype}"
    print(write_table(name, f"Heuristics, data types {given.dtype}", columns, table))


def run_target(target: str, files: list[Path], dtype: str | None) -> list[str]:
    """One row of the table."""
    verified = refused = other = failures = 0
    over_bound: dict[str, list[float]] = defaultdict(list)
    ratio: list[float] = []
    speedup: list[float] = []
    simulated: list[float] = []
    seconds: list[float] = []
    slower: list[str] = []
    for file in files:
        prepared = read(file, target, dtype)
        if prepared is None:
            failures += 1
            continue
        before: float | None = None
        for size in SIZES:
            latency: dict[str, float] = {}
            for solver in SOLVERS:
                chip = prepared.target.with_fast_memory(size)
                fresh = replace(prepared.on(chip), started=time.monotonic())
                try:
                    done = solve_prepared(
                        fresh, CompileOptions(target=target, solver=solver, schedule="whole")
                    )
                except InfeasibleError as error:
                    demanded = prepared.target.operand_access == "fastest"
                    in_fast = error.details["tier"] == prepared.target.fastest.name
                    refused += demanded and in_fast
                    other += not (demanded and in_fast)
                    continue
                except UllageError as error:
                    failures += 1
                    print(f"FAIL {file.stem} {target} {size} {solver}: {error}")
                    continue
                verified += 1
                latency[solver] = done.score.latency_s
                over_bound[solver].append(done.score.latency_s / done.bound.value)
                simulated.append(done.simulation.latency_s / done.score.latency_s)
                seconds.append(done.solve_s)
            if len(latency) == len(SOLVERS):
                ratio.append(latency["msa"] / latency["greedy"])
                speedup.append(latency["all-slow"] / latency["msa"])
            if "msa" in latency:
                if before is not None and latency["msa"] > 1.02 * before:
                    percent = 100 * (latency["msa"] / before - 1)
                    slower.append(f"{file.stem} at {size >> 10} KiB +{percent:.1f} %")
                before = latency["msa"]
    return [
        target,
        str(verified),
        str(refused),
        str(other),
        str(failures),
        f"{geomean(over_bound['greedy']):.4f}",
        f"{geomean(over_bound['msa']):.4f}",
        f"{geomean(ratio):.4f}",
        f"{max(speedup, default=float('nan')):.2f}",
        "; ".join(slower) or "none",
        f"{median(simulated):.3f} ({min(simulated):.3f}, {max(simulated):.3f})",
        f"{median(seconds):.3f} ({max(seconds):.2f})",
    ]


def read(file: Path, target: str, dtype: str | None) -> Prepared | None:
    """A model on a target, batch 1; None (and a line) when it is refused."""
    proto = onnx.load(file, load_external_data=False)
    weights = {t.name for t in proto.graph.initializer}
    free = [v for v in proto.graph.input if v.name not in weights]
    symbolic = any(isinstance(d, str) for v in free for d in input_dims(v) or ())
    try:
        options = CompileOptions(target=target, dtype=dtype, batch=1 if symbolic else None)
        return prepare(file, options)
    except UllageError as error:
        print(f"REFUSED {file.stem}: {error}")
        return None


def geomean(values: list[float]) -> float:
    """Geometric mean, NaN for none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


if __name__ == "__main__":
    main()
