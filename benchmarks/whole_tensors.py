"""Whole tensors: `fluid` against the heuristics, its bound, and (asked for) the exact solver.

Operands are kept whole on the target; pairs of model and fast-memory size. The first solve of a
process loads the compiled search, so one is thrown away. Plans within 2 % of the bound are not
handed to the exact solver: it cannot find one that is 2 % better. The table is written after every
pair, so an interrupted run keeps its rows.

Run: python benchmarks/whole_tensors.py [--models DIR] [--only NAME,NAME] [--sizes KIB,KIB]
[--exact SECONDS]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

from common import model_files, write_table
from cpsat import kept_whole
from heuristics import geomean, read

from ullage.compiler.common.errors import UllageError
from ullage.compiler.driver.compile import solve_prepared
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.frontend import Prepared

SIZES_KIB = (64, 256, 1024, 4096)
NAME = "whole_tensors"
NEAR = 1.02  # of the bound: no exact solution is so much better that it would matter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES_KIB)))
    parser.add_argument("--target", default="edge-npu")
    parser.add_argument("--max-operators", type=int, default=200)
    parser.add_argument("--exact", type=float, default=0.0, help="seconds for cpsat; 0: leave out")
    given = parser.parse_args()
    wanted = [name for name in given.only.split(",") if name]
    sizes = [int(size) for size in given.sizes.split(",")]
    rows: list[list[str]] = []
    figures: dict[str, list[float]] = {}
    warm = False
    for file in model_files(given.models):
        if wanted and file.stem not in wanted:
            continue
        prepared = read(file, given.target, "int8")
        if prepared is None or prepared.problem.program.operators > given.max_operators:
            continue
        prepared = kept_whole(prepared)
        for size in sizes:
            if not warm:
                solve(prepared, size, "fluid", None)
                warm = True
            row = run(file.stem, prepared, size, given.exact, figures)
            if row:
                rows.append(row)
                print(" | ".join(row), flush=True)
                table(rows, figures, given.target, given.exact)
    print(table(rows, figures, given.target, given.exact))


def table(
    rows: list[list[str]], figures: dict[str, list[float]], target: str, exact_s: float
) -> str:
    """Write the rows so far."""
    columns = ["model", "operators", "KiB", "bound ms", "fluid/bound", "greedy/fluid", "msa/fluid"]
    columns += ["fluid s", "fluid CPU s", *(["fluid/exact", "exact proven"] if exact_s else [])]
    name = f"{NAME}_exact" if exact_s else NAME
    return write_table(name, title(figures, target, exact_s), columns, rows)


def run(
    model: str, prepared: Prepared, size: int, exact_s: float, figures: dict[str, list[float]]
) -> list[str] | None:
    """One row; None (and a line) when a solver refuses."""
    try:
        since = time.process_time()
        found = {"fluid": solve(prepared, size, "fluid", None)}
        cpu_s = time.process_time() - since  # verification and simulation included
        found |= {name: solve(prepared, size, name, None) for name in ("greedy", "msa")}
        fluid = found["fluid"]
        if exact_s and fluid.value > NEAR * fluid.bound.value:
            found["cpsat"] = solve(prepared, size, "cpsat", exact_s)
    except UllageError as error:
        print(f"REFUSED {model} {size} KiB: {error}")
        return None
    values = {
        "fluid/bound": fluid.value / fluid.bound.value,
        "greedy/fluid": found["greedy"].value / fluid.value,
        "msa/fluid": found["msa"].value / fluid.value,
        "seconds": fluid.solve_s,
        "cpu": cpu_s,
    }
    if "cpsat" in found:
        values["fluid/exact"] = fluid.value / found["cpsat"].value
    for name, value in values.items():
        figures.setdefault(name, []).append(value)
    shown = [f"{values[name]:.4f}" for name in ("fluid/bound", "greedy/fluid", "msa/fluid")]
    row = [
        model,
        str(prepared.problem.program.operators),
        str(size),
        f"{1e3 * fluid.bound.value:.5f}",
    ]
    row += [*shown, f"{fluid.solve_s:.2f}", f"{cpu_s:.2f}"]
    if "cpsat" in found:
        exact = found["cpsat"]
        whole = exact.plan.statistics.get("whole_bound", exact.bound.value)
        row += [f"{values['fluid/exact']:.4f}", "yes" if exact.value <= whole * 1.0001 else "no"]
    elif exact_s:
        row += ["-", "-"]
    return row


def solve(prepared: Prepared, size: int, solver: str, limit_s: float | None) -> Compiled:
    """A verified plan of one solver."""
    target = prepared.target.with_fast_memory(size << 10)
    fresh = replace(prepared.on(target), started=time.monotonic())
    return solve_prepared(
        fresh, CompileOptions(solver=solver, schedule="whole", time_limit_s=limit_s)
    )


def title(figures: dict[str, list[float]], target: str, exact_s: float) -> str:
    """The table's summary."""
    worse = sum(
        min(pair) < 1 - 1e-9
        for pair in zip(figures["greedy/fluid"], figures["msa/fluid"], strict=True)
    )
    text = f"Whole tensors on {target}, int8: {len(figures['seconds'])} pairs"
    if exact_s:
        asked = len(figures.get("fluid/exact", ()))
        text += f", {asked} of them more than 2 % above the bound and given to cpsat, {exact_s:g} s"
    for name in ("fluid/bound", "greedy/fluid", "msa/fluid", "fluid/exact"):
        if name in figures:
            text += f"; {name} geomean {geomean(figures[name]):.4f}, most {max(figures[name]):.4f}"
    text += f"; a heuristic better in {worse}; slowest {max(figures['seconds']):.2f} s"
    return f"{text} (CPU {max(figures['cpu']):.2f} s)"


if __name__ == "__main__":
    main()
