"""The best plans of whole tensors that `cpsat` finds in a minute, with their bounds.

For comparing quick heuristics of whole tensors against. Rows are written as they come, so that an
interrupted run keeps what it has; a second run skips the rows that are there already.

Run: python benchmarks/cpsat.py [--models DIR] [--only NAME,NAME] [--seconds S] [--oracle N]
With --oracle it checks N random tiny problems per objective against brute force instead.
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import RESULTS, ROOT, model_files, write_table
from heuristics import read

from ullage.compiler.common.errors import UllageError
from ullage.compiler.driver.compile import solve_prepared
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order

SIZES = (64 << 10, 256 << 10, 1 << 20, 4 << 20)
QUICK = ("greedy", "msa", "fluid")
COLUMNS = (
    "model",
    "operators",
    "fast memory KiB",
    "limit s",
    "quick best ms",
    "quick solver",
    "cpsat ms",
    "whole bound ms",
    "gap %",
    "fluid bound ms",
    "quick over cpsat %",
    "seconds",
)
NAME = "cpsat_whole"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--target", default="edge-npu")
    parser.add_argument("--max-operators", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--oracle", type=int, default=0)
    given = parser.parse_args()
    if given.oracle:
        check_against_oracle(given.oracle)
        return
    wanted = [name for name in given.only.split(",") if name]
    rows = known_rows()
    for file in model_files(given.models):
        if wanted and file.stem not in wanted:
            continue
        prepared = read(file, given.target, "int8")
        if prepared is None or prepared.problem.program.operators > given.max_operators:
            continue
        prepared = kept_whole(prepared)
        for size in SIZES:
            case = (file.stem, size >> 10, f"{given.seconds:g}")
            if case in [(r["model"], r["fast memory KiB"], r["limit s"]) for r in rows]:
                continue
            row = run(file.stem, prepared, size, given.seconds)
            if row is None:
                continue
            rows.append(row)
            title = f"Whole tensors on {given.target}, int8: cpsat against quick solvers"
            write_table(NAME, title, COLUMNS, [[r[c] for c in COLUMNS] for r in rows])
            print(" | ".join(str(row[c]) for c in COLUMNS), flush=True)


def known_rows() -> list[dict[str, Any]]:
    """Rows of an earlier run."""
    file = RESULTS / f"{NAME}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def kept_whole(prepared: Prepared) -> Prepared:
    """The same model on a target that does not split operands (fewer values share bytes)."""
    target = replace(prepared.target, split_operands=False)
    program = build_program(
        prepared.graph,
        model_order(prepared.graph),
        aliases=alias_options(target),
        dma_steps=target.dma_steps,
    )
    return replace(prepared, problem=Problem(program, target, prepared.problem.objective))


def run(model: str, prepared: Prepared, size: int, seconds: float) -> dict[str, Any] | None:
    """One row; None (and a line) when a solver refuses."""
    found = {}
    for solver in (*QUICK, "cpsat"):
        target = prepared.target.with_fast_memory(size)
        fresh = replace(prepared.on(target), started=time.monotonic())
        limit = seconds if solver == "cpsat" else None
        try:
            found[solver] = solve_prepared(
                fresh, CompileOptions(solver=solver, schedule="whole", time_limit_s=limit)
            )
        except UllageError as error:
            print(f"REFUSED {model} {size >> 10} KiB {solver}: {error}")
            return None
    done = found["cpsat"]
    bound = done.plan.statistics.get("whole_bound")
    bound = done.bound.value if bound is None else max(bound, done.bound.value)
    best = min(QUICK, key=lambda name: found[name].value)
    values = (
        model,
        prepared.problem.program.operators,
        size >> 10,
        f"{seconds:g}",
        f"{1e3 * found[best].value:.5f}",
        best,
        f"{1e3 * done.value:.5f}",
        f"{1e3 * bound:.5f}",
        f"{100 * (done.value / bound - 1):.3f}",
        f"{1e3 * found['fluid'].bound.value:.5f}",
        f"{100 * (found[best].value / done.value - 1):.3f}",
        f"{done.solve_s:.1f}",
    )
    return dict(zip(COLUMNS, values, strict=True))


def check_against_oracle(count: int) -> None:
    """Random tiny problems against brute force; raises at the first difference."""
    sys.path.insert(0, str(ROOT))
    from tests.solvers.exact.test_cpsat import agree

    for objective in ("latency", "traffic", "energy"):
        begun = time.monotonic()
        cases: dict[str, int] = {}
        for seed in range(10_000, 10_000 + count):
            case = agree(seed, objective, addresses=False, operators=5)
            cases[case] = cases.get(case, 0) + 1
        print(f"{objective}: {cases} in {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
