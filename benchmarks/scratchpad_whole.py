"""Whole tensors on a chip whose compute unit reaches its scratchpad only: solvers beside `cpsat`.

Twelve models, chosen by the kind of their graphs, each at 1.5 times the smallest scratchpad in
which its whole operators fit; every tensor is kept whole. All solvers but `cpsat` get the same
time. Ratios are of a plan's value to that of `cpsat`'s plan, and to the best bound known for plans
that keep tensors whole: the LP's, which holds for plans that cut them, too, or `cpsat`'s own. The
table is written after every model.

Run: python benchmarks/scratchpad_whole.py [--models DIR] [--only NAME,NAME] [--seconds S]
[--exact SECONDS] [--solvers fluid,rl,divide,...]
"""

import argparse
from pathlib import Path

from common import RESULTS, model_files, write_table
from heuristics import geomean, read
from scratchpad import ROUNDING_BYTES, bound_to_scratchpad, measured, smallest_bytes, solve

from ullage.compiler.common.errors import UllageError

NAME = "scratchpad_whole"
TARGET = "edge-npu-spm"
SCALE = 1.5  # of the smallest scratchpad
MODELS = {  # file -> kind of graph
    "mobilenet_v2": "depthwise convolutions, residuals",
    "squeezenet1_1": "small convolutions, Concat",
    "resnet50": "convolutions, residuals",
    "googlenet": "parallel branches, Concat",
    "efficientnet_b0": "squeeze and excitation",
    "shufflenet_v2_x1_0": "channel shuffles, Split",
    "darts_v2": "searched cells",
    "randwire_ws_small": "random wiring",
    "unet_256": "long skip connections",
    "bert_base_128": "transformer encoder",
    "lstm_tagger": "recurrent",
    "mlp_train": "training step",
}
SOLVERS = ("fluid", "rl", "divide", "greedy", "msa")
MOST = 1.015  # value / that of `cpsat` of the solvers named in JUDGED
JUDGED = ("fluid", "rl", "divide")
Row = list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default=",".join(MODELS))
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument(
        "--seconds", type=float, default=20.0, help="of the processor, of every solver but cpsat"
    )
    parser.add_argument("--exact", type=float, default=60.0, help="seconds of the clock of cpsat")
    parser.add_argument("--name", default=NAME, help="of the table")
    given = parser.parse_args()
    solvers = given.solvers.split(",")
    columns = ["model", "KiB", "operators", "bound ms", "cpsat/bound", "cpsat proven"]
    columns += [column for solver in solvers for column in (f"{solver}/cpsat", f"{solver} CPU s")]
    rows = {} if given.only == ",".join(MODELS) else rows_before(given.name, columns)
    files = {file.stem: file for file in model_files(given.models)}
    for model in given.only.split(","):
        if model not in files:
            print(f"{model}: no such file")
            continue
        row = run(files[model], solvers, given.seconds, given.exact)
        if row is not None:
            rows[model] = row
            print(" | ".join(row), flush=True)
            table(given.name, list(rows.values()), columns, given.seconds, given.exact)


def rows_before(name: str, columns: list[str]) -> dict[str, Row]:
    """The rows of the table that is there, by model, where its columns are the same."""
    file = RESULTS / f"{name}.md"
    if not file.is_file():
        return {}
    lines = file.read_text(encoding="utf-8").splitlines()
    listed = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    if listed[0] != columns:
        return {}
    return {row[0]: row for row in listed[2:]}


def run(file: Path, solvers: list[str], seconds: float, exact_s: float) -> Row | None:
    """The row of one model; None, and a line, where it cannot be planned."""
    streaming = read(file, TARGET, "int8")
    if streaming is None:
        return None
    prepared = bound_to_scratchpad(streaming, TARGET, split=False)
    smallest = smallest_bytes(prepared, prepared.target)
    if smallest is None:
        print(f"{file.stem}: its home is too small")
        return None
    size = -(-round(SCALE * smallest) // ROUNDING_BYTES) * ROUNDING_BYTES
    chip = prepared.target.with_fast_memory(size)
    try:
        exact = solve(prepared, chip, steady=False, solver="cpsat", limit_s=exact_s)
    except UllageError as error:
        print(f"{file.stem}: cpsat: {type(error).__name__}")
        return None
    bounds = [exact.bound.value, exact.plan.statistics.get("whole_bound", 0.0)]
    cells: list[str] = []
    for solver in solvers:
        value, bound, cpu_s = measured(prepared, chip, False, solver, seconds)
        bounds.append(bound)
        cells += (
            [value, "-"]
            if isinstance(value, str)
            else [f"{value / exact.value:.5f}", f"{cpu_s:.2f}"]
        )
    bound = max(bounds)
    row = [file.stem, str(size >> 10), str(prepared.problem.program.operators)]
    proven = "yes" if exact.value <= bound * (1 + 1e-6) else "no"
    return [*row, f"{1e3 * bound:.5f}", f"{exact.value / bound:.5f}", proven, *cells]


def table(name: str, rows: list[Row], columns: list[str], seconds: float, exact_s: float) -> str:
    """Write the rows so far."""
    title = (
        f"Whole tensors on {TARGET}, int8, {SCALE:g} times the smallest scratchpad: value / that "
        f"of {exact_s:g} s of cpsat, {seconds:g} CPU s each"
    )
    for column in range(6, len(columns), 2):
        ratios = [float(row[column]) for row in rows if row[column + 1] != "-"]
        if ratios:
            title += f"; {columns[column]} geomean {geomean(ratios):.4f}, most {max(ratios):.4f}"
        if columns[column].removesuffix("/cpsat") in JUDGED:
            above = [row[0] for row in rows if row[column + 1] == "-" or float(row[column]) > MOST]
            title += f" (above {MOST:g}: {', '.join(above) or 'none'})"
    return write_table(name, title, columns, rows)


if __name__ == "__main__":
    main()
