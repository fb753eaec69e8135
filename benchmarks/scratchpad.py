"""Chips whose compute unit reaches the fastest memory only: how near plans come to their bounds.

Every model, on each target, at the smallest fast memory in which its whole operators fit, and at
1.5 and 3 times that; one-shot and in steady state; operands cut (`split`) and whole. Ratios are of
a plan's value to the certified bound of its order. The table is written after every model; with
`--keep`, rows of the table that is there stay where they are not measured again.

Run: python benchmarks/scratchpad.py [--models DIR] [--only NAME,NAME] [--solvers fluid,greedy,msa]
[--targets edge-npu-spm,...] [--kinds split,whole] [--max-operators N] [--keep]
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from common import RESULTS, model_files, write_table
from heuristics import geomean, read

from ullage.compiler.common.errors import InfeasibleError, UllageError
from ullage.compiler.driver.compile import solve_prepared
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.frontend import Prepared
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order

NAME = "scratchpad"
SCALES = (1.0, 1.5, 3.0)
ROUNDING_BYTES = 4096  # sizes are multiples of it
TARGETS = {  # name -> fields that make operands mandatory
    "edge-npu-spm": {},
    "ethos-u65-512": {"operand_access": "fastest", "weights_in_fastest": True},
    "cosma": {"weights_in_fastest": True},
}
KINDS = {"split": True, "whole": False}
SOLVERS = ("fluid", "greedy", "msa")
KEY = ("model", "target", "kind", "KiB")  # what a row is about
Row = dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--max-operators", type=int, default=2000)
    parser.add_argument("--keep", action="store_true", help="rows that are not measured again")
    parser.add_argument("--name", default=NAME, help="of the table")
    given = parser.parse_args()
    wanted = [name for name in given.only.split(",") if name]
    solvers = given.solvers.split(",")
    columns = [*KEY[:3], KEY[3], "bound ms"]
    columns += [column for s in solvers for column in (f"{s}/bound", f"{s} s")]
    stored = RESULTS / f"{given.name}.json"
    rows: list[Row] = []
    if given.keep and stored.is_file():
        rows = [row for row in json.loads(stored.read_text()) if set(columns) <= set(row)]
    for file in model_files(given.models):
        if wanted and file.stem not in wanted:
            continue
        for target in given.targets.split(","):
            kinds = [KINDS[kind] for kind in given.kinds.split(",")]
            for cells in rows_of(file, target, solvers, kinds, given.max_operators):
                row = dict(zip(columns, cells, strict=True))
                rows = [r for r in rows if any(r[key] != row[key] for key in KEY)] + [row]
                print(" | ".join(cells), flush=True)
        table(given.name, rows, solvers, columns)
    print(table(given.name, rows, solvers, columns))


def rows_of(
    file: Path,
    target: str,
    solvers: list[str],
    kinds: list[bool],
    most: int,
) -> Iterator[list[str]]:
    """A row for each way to cut, size and regime of one model on one target."""
    streaming = read(file, target, "int8")
    if streaming is None or streaming.problem.program.operators > most:
        return
    for split in kinds:
        prepared = bound_to_scratchpad(streaming, target, split=split)
        chip = prepared.target
        smallest = smallest_bytes(prepared, chip)
        if smallest is None:
            continue
        for scale in SCALES:
            size = -(-round(scale * smallest) // ROUNDING_BYTES) * ROUNDING_BYTES
            for steady in (False, True):
                kind = f"{'split' if split else 'whole'}, {'steady' if steady else 'one-shot'}"
                row = run(prepared, chip.with_fast_memory(size), steady, solvers)
                yield [file.stem, target, kind, str(size >> 10), *row]


def bound_to_scratchpad(prepared: Prepared, target: str, *, split: bool) -> Prepared:
    """The model on the target with mandatory operands, cut or whole."""
    chip = replace(prepared.target, **TARGETS[target], split_operands=split)
    graph = prepared.graph
    program = build_program(
        graph, model_order(graph), aliases=alias_options(chip), dma_steps=chip.dma_steps
    )
    return replace(prepared, problem=Problem(program, chip, "latency"))


def smallest_bytes(prepared: Prepared, chip: Target) -> int | None:
    """The smallest fast memory with a streaming plan; None where a home is too small."""
    size = chip.fastest.alignment_bytes
    for _ in range(50):
        try:
            solve(prepared, chip.with_fast_memory(size), steady=False, solver="all-slow")
        except InfeasibleError as error:
            if error.details.get("tier") != chip.fastest.name:
                return None
            size = max(size + 1, int(str(error.details["needed_bytes"])))
        else:
            return size
    return None


def run(
    prepared: Prepared,
    chip: Target,
    steady: bool,
    solvers: list[str],
) -> list[str]:
    """The bound, and each solver's ratio to it and its seconds."""
    values: list[tuple[float, float] | str] = []
    bound = 0.0
    for solver in solvers:
        try:
            found = solve(prepared, chip, steady=steady, solver=solver)
        except UllageError as error:
            values.append(type(error).__name__)
            continue
        bound = max(bound, found.bound.value)
        values.append((found.value, found.solve_s))
    row = [f"{1e3 * bound:.5f}"]
    for value in values:
        row += (
            [value, "-"]
            if isinstance(value, str)
            else [f"{value[0] / bound:.5f}", f"{value[1]:.2f}"]
        )
    return row


def solve(
    prepared: Prepared, chip: Target, *, steady: bool, solver: str, limit_s: float | None = None
) -> Compiled:
    """A verified plan of one solver, its time limited where it is given."""
    problem = Problem(replace(prepared.problem.program, steady_state=steady), chip, "latency")
    fresh = replace(prepared, problem=problem, started=time.monotonic())
    options = CompileOptions(solver=solver, steady_state=steady, time_limit_s=limit_s)
    return solve_prepared(fresh, options)


def table(name: str, rows: list[Row], solvers: list[str], columns: list[str]) -> str:
    """Write the rows so far, after what they come to for each target, kind and solver."""
    order = sorted(
        rows, key=lambda row: (list(TARGETS).index(row["target"]), row["model"], row["kind"])
    )
    parts = []
    for target in TARGETS:
        here = [row for row in rows if row["target"] == target]
        for kind in sorted({row["kind"] for row in here}):
            for solver in solvers:
                cells = [row[f"{solver}/bound"] for row in here if row["kind"] == kind]
                ratios = [float(cell) for cell in cells if cell[0].isdigit()]
                if ratios:
                    parts.append(
                        f"{target}, {kind}, {solver}: geomean {geomean(ratios):.5f}, "
                        f"most {max(ratios):.5f} of {len(ratios)}"
                    )
    title = f"Operands that must be in the fastest memory, int8: {len(rows)} rows"
    cells_of = [[row[column] for column in columns] for row in order]
    return write_table(name, "; ".join([title, *parts]), columns, cells_of)


if __name__ == "__main__":
    main()
