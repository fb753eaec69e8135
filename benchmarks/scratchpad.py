"""Chips whose compute unit reaches the fastest memory only: how near plans come to their bounds.

Every model, on each target, at the smallest fast memory in which its whole operators fit, and at
1.5 and 3 times that; one-shot and in steady state; operands cut (`split`) and whole. Ratios are of
a plan's value to the certified bound of its order, which is the best that any of the runs of a row
has proven. Every solver gets the same processor seconds (not seconds of the clock, so that what
else the machine does changes no row), and a process that takes twice as many is ended.

The column `problem` holds digits of what a solver reads: accesses, rates, granularity, seconds of
compute. Rows with the same digits are one problem under several names, and measured once: `cosma`
with weights resident has the rates of `edge-npu-spm` and asks the same of operands.

The table is written after every model. With `--keep`, what the table that is there says of other
rows, and of other solvers in the same rows, stays; with `--missing`, nothing that it says is
measured again. Models come in ascending order of their nodes. Cells: `late` where a process was
ended, `not run` where nothing has been measured.

Run: python benchmarks/scratchpad.py [--models DIR] [--only NAME,NAME] [--solvers fluid,greedy,msa]
[--targets edge-npu-spm,...] [--kinds split,whole] [--max-operators N] [--limit S]
[--granularity BYTES] [--keep] [--missing] [--name TABLE]
"""

import argparse
import hashlib
import json
import os
import pickle
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
from common import RESULTS, model_files, write_table
from heuristics import geomean, read

from ullage.compiler.common.errors import InfeasibleError, UllageError
from ullage.compiler.driver.compile import solve_prepared
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled
from ullage.compiler.frontend import Prepared
from ullage.compiler.importer.model_zoo import named_models
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.orders import model_order
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.solvers.registry import find_solver
from ullage.solvers.state.segments import segments_of

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
LIMIT_S = 60.0  # processor seconds of a solver
# value / bound that plans of `fluid` are to stay below, by kind of row.
WANTED = {"split, one-shot": 1.005, "split, steady": 1.01}
WHY_ABOVE = (
    "resnet50_b8: slices are whole rows, an eighth of a tensor with a batch of 8, which the bound "
    "does not know; cut every 1 KiB its plan is 1.00004 of the same bound, and addresses cost "
    "nothing. randwire_cifar on ethos-u65-512: whole set-ups in the step in which a transfer "
    "begins, of which the bound charges shares: at 288 KiB a mixed program that begins them only "
    "where the LP moves something cannot be below 1.041 of it, and reaches 1.047; without set-ups "
    "192 KiB are at 1.0008 one-shot and 1.0029 steady, 288 KiB steady at 1.014 (20 s end its "
    "search: 1.0587 after 60 s). tiny_resnet8 on ethos-u65-512, 48 KiB in steady state: slices "
    "are whole rows; cut every 64 B its plan is 1.00004 of its bound. llama7b_decode_1024 at "
    "128036 KiB, which its largest operator fills: very many slices of 256 B; cut every 4 KiB its "
    "plan in steady state is 1.00008 of the same bound after 9 s, with 1 % more memory 1.00003 "
    "(cut every 256 B 1.0122 after 55 s, one-shot 1.0027 after 39 s). tiny_autoencoder "
    "and randwire_cifar on edge-npu-spm and cosma: slices are multiples of 256 B, each of which is "
    "1.5 % of the plan of the first, and a quarter of what moves in a step of the second; with "
    "`--granularity 64` both are below 1.005, with 16 B below 1.001 of the same bound. "
    "nasnetalarge in steady state at 5296 KiB: addresses between rows are found after shortening "
    "much; the program with the room that this takes gives 1.0016 of the bound after 21 s, and the "
    "limit is 20 s"
)
KEY = ("model", "target", "kind", "KiB")  # what a row is about
NOT_RUN, LATE = "not run", "late"
Row = dict[str, str]


@dataclass(frozen=True)
class Asked:
    """What to measure.

    Attributes:
        solvers: their names.
        kinds: whether operands are cut, one for each way.
        most: operators of the longest program.
        limit_s: processor seconds of a solver.
        granularity_bytes: of slices; 0: what the target says.
        known: rows that are there, which are not measured again.
        same: rows measured in this run, in which the same problem may be found.
    """

    solvers: tuple[str, ...]
    kinds: tuple[bool, ...]
    most: int
    limit_s: float
    granularity_bytes: int
    known: tuple[Row, ...]
    same: tuple[Row, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--solvers", default=",".join(SOLVERS))
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--max-operators", type=int, default=2000)
    parser.add_argument("--limit", type=float, default=LIMIT_S, help="processor seconds")
    parser.add_argument("--keep", action="store_true", help="rows that are not measured again")
    parser.add_argument("--missing", action="store_true", help="measure what is not there only")
    parser.add_argument("--granularity", type=int, default=0, help="bytes that slices are cut at")
    parser.add_argument("--name", default=NAME, help="of the table")
    parser.add_argument("--note", default="", help="what the title of the table says last")
    given = parser.parse_args()
    wanted = [name for name in given.only.split(",") if name]
    stored = RESULTS / f"{given.name}.json"
    rows: list[Row] = []
    if (given.keep or given.missing) and stored.is_file():
        rows = [row for row in json.loads(stored.read_text()) if "fluid CPU s" in row]
    files = files_of(given.models)
    for solver in {*given.solvers.split(","), *SOLVERS, "all-slow"}:
        find_solver(solver)  # its modules are loaded once, not in every process
    for file in files:
        if wanted and file.stem not in wanted:
            continue
        fresh: list[Row] = []
        for target in given.targets.split(","):
            asked = Asked(
                tuple(given.solvers.split(",")),
                tuple(KINDS[kind] for kind in given.kinds.split(",")),
                given.max_operators,
                given.limit,
                given.granularity,
                tuple(rows) if given.missing else (),
                tuple(rows) if given.missing else tuple(fresh),
            )
            for row in rows_of(file, target, asked):
                rows = merged(rows, row)
                fresh.append(row)
                print(" | ".join(row.values()), flush=True)
        table(given.name, rows, files, given.note)
    print(table(given.name, rows, files, given.note))


def files_of(folder: Path | None) -> list[Path]:
    """The models of a folder, else the public set and the wheel's, those of few nodes first."""
    files = {file.stem: file for file in model_files(folder)}
    if folder is None:
        files |= {file.stem: file for file in named_models().values()}
    nodes = {
        name: len(onnx.load(file, load_external_data=False).graph.node)
        for name, file in files.items()
    }
    return [files[name] for name in sorted(files, key=lambda name: (nodes[name], name))]


def rows_of(file: Path, target: str, asked: Asked) -> Iterator[Row]:
    """A row for each way to cut, size and regime of one model on one target."""
    streaming = read(file, target, "int8")
    if streaming is None or streaming.problem.program.operators > asked.most:
        longer = f"more than {asked.most} operators"
        yield left_out(file, target, "it cannot be read" if streaming is None else longer)
        return
    for split in asked.kinds:
        prepared = bound_to_scratchpad(streaming, target, split=split)
        chip = prepared.target
        smallest = smallest_bytes(prepared, chip)
        if smallest is None:
            yield left_out(file, target, "its tensors do not fit into its home")
            return
        if asked.granularity_bytes:
            chip = replace(chip, slice_granularity_bytes=asked.granularity_bytes)
        for scale in SCALES:
            size = -(-round(scale * smallest) // ROUNDING_BYTES) * ROUNDING_BYTES
            for steady in (False, True):
                kind = f"{'split' if split else 'whole'}, {'steady' if steady else 'one-shot'}"
                key = dict(zip(KEY, (file.stem, target, kind, str(size >> 10)), strict=True))
                known = [row for row in asked.known if all(row[k] == key[k] for k in KEY)]
                solvers = [
                    solver
                    for solver in asked.solvers
                    if all(row.get(f"{solver} CPU s", NOT_RUN) == NOT_RUN for row in known)
                ]
                if not solvers:
                    continue
                sized = chip.with_fast_memory(size)
                digits = digest(prepared, sized, steady)
                same = [row for row in asked.same if row.get("problem") == digits]
                again = {
                    name: row[name]
                    for row in same
                    for solver in solvers
                    for name in ("bound ms", f"{solver} ms", f"{solver} CPU s")
                    if row.get(f"{solver} CPU s", NOT_RUN) != NOT_RUN
                }
                left = [solver for solver in solvers if f"{solver} CPU s" not in again]
                measured = run(prepared, sized, steady, left, asked.limit_s) if left else {}
                yield key | {"problem": digits} | again | measured


def digest(prepared: Prepared, chip: Target, steady: bool) -> str:
    """Digits of what a solver reads of a problem; names and the room of homes left out."""
    problem = Problem(replace(prepared.problem.program, steady_state=steady), chip, "latency")
    tiers = [replace(chip.fastest, addressable=True)]
    tiers += [replace(tier, addressable=True, capacity_bytes=0) for tier in chip.tiers[1:]]
    said = (
        segments_of(problem),
        [buffer.row_bytes for buffer in problem.buffers],
        [(step.operator, step.workspace_bytes) for step in problem.steps],
        compute_seconds(problem)[0].tolist(),
        overhead_seconds(problem).tolist(),
        (tiers, chip.links, chip.split_operands, chip.slice_granularity_bytes, steady),
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()[:8]


def left_out(file: Path, target: str, why: str) -> Row:
    """The row of a model that cannot be planned on a target."""
    row = dict(zip(KEY, (file.stem, target, f"left out: {why}", "-"), strict=True))
    return row | {"bound ms": "-"}


def bound_to_scratchpad(prepared: Prepared, target: str, *, split: bool) -> Prepared:
    """The model on the target with mandatory operands, cut or whole."""
    once = replace(prepared.target.compute, rereads=None)  # blocks are none of these rows' matter
    chip = replace(prepared.target, **TARGETS[target], compute=once, split_operands=split)
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
            details = error.details
            enough = details.get("enough_bytes", details["needed_bytes"])  # tried, where not proven
            size = max(size + 1, int(str(enough)))
        else:
            return size
    return None


def run(prepared: Prepared, chip: Target, steady: bool, solvers: list[str], limit_s: float) -> Row:
    """What each solver's plan takes, the best bound proven, and processor seconds."""
    row: Row = {}
    bound = 0.0
    for solver in solvers:
        value, proven, seconds = measured(prepared, chip, steady, solver, limit_s)
        bound = max(bound, proven)
        row[f"{solver} ms"] = value if isinstance(value, str) else f"{1e3 * value:.8g}"
        row[f"{solver} CPU s"] = f"{seconds:.2f}"
    return {"bound ms": f"{1e3 * bound:.8g}"} | row


def measured(
    prepared: Prepared, chip: Target, steady: bool, solver: str, limit_s: float
) -> tuple[float | str, float, float]:
    """Value (or the error's name), bound and processor seconds of a solver, in its own process.

    In that process the clock that limits go by counts processor seconds.
    """
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        hard = int(2 * limit_s) + 10
        resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
        begun = time.process_time()
        time.monotonic = lambda: time.process_time() - begun
        answer: tuple[float | str, float]
        try:
            found = solve(prepared, chip, steady=steady, solver=solver, limit_s=limit_s)
            answer = found.value, found.bound.value
        except UllageError as error:
            answer = type(error).__name__, 0.0
        with os.fdopen(sink, "wb") as stream:
            pickle.dump((*answer, time.process_time() - begun), stream)
        os._exit(0)
    os.close(sink)
    with os.fdopen(source, "rb") as stream:
        data = stream.read()
    _, status, used = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        return LATE, 0.0, used.ru_utime + used.ru_stime
    value, bound, seconds = pickle.loads(data)  # noqa: S301 - written by our own child
    return value, bound, seconds


def solve(
    prepared: Prepared, chip: Target, *, steady: bool, solver: str, limit_s: float | None = None
) -> Compiled:
    """A verified plan of one solver, its time limited where it is given."""
    problem = Problem(replace(prepared.problem.program, steady_state=steady), chip, "latency")
    fresh = replace(prepared, problem=problem, started=time.monotonic())
    options = CompileOptions(
        solver=solver, schedule="whole", steady_state=steady, time_limit_s=limit_s
    )
    return solve_prepared(fresh, options, quick_bound=solver == "fluid")


def merged(rows: list[Row], new: Row) -> list[Row]:
    """The rows with another one, which says more of a row that is there, or replaces it.

    The better bound of the two counts where both are of the same problem; a row of another one, of
    a target as it was, is dropped.
    """
    named = [row for row in rows if all(row[key] == new[key] for key in KEY)]
    same = [row for row in named if row.get("problem") == new.get("problem")]
    others = [
        row
        for row in rows
        if row not in named
        and not (
            row["KiB"] == "-" and row["model"] == new["model"] and row["target"] == new["target"]
        )
    ]
    for row in same:
        bounds = [float(each["bound ms"]) for each in (row, new) if each["bound ms"] != "-"]
        new = row | new | ({"bound ms": f"{max(bounds):.8g}"} if bounds else {})
    return [*others, new]


def ratio(row: Row, solver: str) -> str:
    """A plan's value over the row's bound; the error's name, or that nothing was run."""
    value = row.get(f"{solver} ms", NOT_RUN)
    bound = row["bound ms"]
    if not value[0].isdigit() or bound == "-" or not float(bound):
        return value
    return f"{float(value) / float(bound):.5f}"


def table(name: str, rows: list[Row], files: Sequence[Path], note: str = "") -> str:
    """Write three tables: what the rows come to, those above the limits, and the rows so far.

    Args:
        name: of the tables; the first two are called after it.
        rows: the rows.
        files: all models; those without a row are listed.
        note: what the title of the first one says last.
    """
    summary, above = summarised(rows), above_limits(rows)
    unseen = sorted({file.stem for file in files} - {row["model"] for row in rows})
    title = "Operands that must be in the fastest memory, int8: value / bound of all rows"
    if unseen:
        title += f"; not reached: {', '.join(unseen)}"
    text = write_table(
        f"{name}_summary",
        f"{title}; {note}" if note else title,
        ["target", "kind", "solver", "geometric mean", "most", "rows", "rows without a plan"],
        summary,
    )
    limits = ", ".join(f"{most} ({kind})" for kind, most in WANTED.items())
    write_table(
        f"{name}_above",
        f"Operands that must be in the fastest memory: plans of fluid above {limits} of their bound"
        f"{f'. Reasons: {WHY_ABOVE}' if above else ''}",
        ["model", "target", "kind", "KiB", "value / bound"],
        above,
    )
    columns = [*KEY, "problem", "bound ms"]
    columns += [f"{s}{what}" for s in SOLVERS for what in ("/bound", " ms", " CPU s")]
    order = sorted(
        rows, key=lambda row: (list(TARGETS).index(row["target"]), row["model"], row["kind"])
    )
    filled = [
        dict.fromkeys(columns, NOT_RUN)
        | row
        | {f"{solver}/bound": ratio(row, solver) for solver in SOLVERS}
        for row in order
    ]
    cells = [[row[column] for column in columns] for row in filled]
    write_table(
        name, f"Operands that must be in the fastest memory: {len(rows)} rows", columns, cells
    )
    return text


def summarised(rows: Sequence[Row]) -> list[list[str]]:
    """Geometric mean and most of value / bound by target, kind and solver, and counts of rows."""
    found: list[list[str]] = []
    for target in TARGETS:
        here = [row for row in rows if row["target"] == target and row["KiB"] != "-"]
        for kind in sorted({row["kind"] for row in here}):
            for solver in SOLVERS:
                cells = [ratio(row, solver) for row in here if row["kind"] == kind]
                ratios = [float(cell) for cell in cells if cell[0].isdigit()]
                refused = [cell for cell in cells if not cell[0].isdigit() and cell != NOT_RUN]
                if ratios:
                    mean, most = f"{geomean(ratios):.5f}", f"{max(ratios):.5f}"
                    counts = [str(len(ratios)), str(len(refused))]
                    found.append([target, kind, solver, mean, most, *counts])
    return found


def above_limits(rows: Sequence[Row]) -> list[list[str]]:
    """Rows whose plan of `fluid` is above the limit of their kind, the highest first."""
    found = [
        [row["model"], row["target"], row["kind"], row["KiB"], ratio(row, "fluid")]
        for row in rows
        if row["KiB"] != "-" and row["kind"] in WANTED and ratio(row, "fluid")[0].isdigit()
    ]
    return sorted(
        (row for row in found if float(row[-1]) > WANTED[row[2]]),
        key=lambda row: -float(row[-1]),
    )


if __name__ == "__main__":
    main()
