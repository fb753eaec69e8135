"""How much of models can be cut into parts, and experiments with the rules that say so.

Run: python benchmarks/reach.py [MODEL.onnx ...]     # minutes of CPU; exit code 1 when wrong

Four tables: operators with a rule, by model (default: the public set beside the project), and
experiments with parts of them, with rubbish outside of their reach; the same on the backend suite
of the onnx wheel; the cases of public faults, where they are.
"""

import json
import logging
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import model_files, write_table

from tests.support.onnx_suite import all_cases
from tests.support.reach_suite import SuiteFindings, model_findings, suite_findings
from tests.support.tile_cases import FOLDER, cases, tile_findings
from ullage.compiler.common.errors import UllageError, UsageError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.runner import run_plan
from ullage.compiler.importer.build import Imported, ImportOptions, import_detailed
from ullage.compiler.importer.reach.barriers import barriers
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.lowering.tiling.cut import Halo, cut_output


def main() -> int:
    logging.disable(logging.WARNING)
    table, wrong = coverage([Path(name) for name in sys.argv[1:]] or model_files())
    print(table)
    found = suite_findings(all_cases())
    print(suite_table(found))
    wrong += found.wrong
    for text in wrong:
        print(f"WRONG {text}")
    tiles = tile_findings(cases())
    rows = [
        ["ranges of outputs", tiles.rows],
        ["of which the demand lacks something needed", len(tiles.missing)],
        ["whose dependence is no more than needed or touched", tiles.exact],
        ["whose demand (one range for each axis) is no more than that", tiles.demanded],
        ["whose demand is no more than the hull of that", tiles.within_hull],
        ["cases with an operator without a rule", len(tiles.refused)],
        ["cases that ask for parts along an axis that is not cut", len(tiles.uncut)],
    ]
    print(write_table("reach_cases", "Cases of public faults", ("what", "count"), rows))
    table, differ = scheduled_cases()
    print(table)
    return 1 if wrong or tiles.missing or differ else 0


def scheduled_cases() -> tuple[str, int]:
    """A table of the cases compiled with `--schedule FILE` in the parts that they ask for, and run.

    Returns:
        The table, and how many outputs differ.
    """
    counts: Counter[str] = Counter()
    refused: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        file = Path(folder) / "schedule.json"
        for case in cases():
            graph = import_detailed(FOLDER / case["file"]).graph
            for halo in get_args(Halo):
                try:
                    for tiles in wanted_tiles(case):
                        schedule = cut_output(graph, case["tile"][0]["output"], tiles, halo=halo)
                        file.write_text(json.dumps(schedule.to_json()))
                        options = CompileOptions(
                            schedule=str(file), solver="greedy", fast_memory_bytes=4096
                        )
                        plan = compile_model(FOLDER / case["file"], options).plan
                        checks = run_plan(FOLDER / case["file"], plan).outputs
                        counts["plans"] += 1
                        counts["parts"] += len(schedule.parts)
                        counts["exact"] += all(check.bit_exact for check in checks)
                        counts["differ"] += not all(check.passed for check in checks)
                except UsageError as error:
                    refused[case["file"]] = error.message
    rows: list[list[object]] = [
        ["cases", len(cases())],
        ["plans (halo kept and recomputed; every axis asked for, and all of them together)",
         counts["plans"]],
        ["parts of operators in them", counts["parts"]],
        ["plans whose outputs equal those of the whole model bit for bit", counts["exact"]],
        ["plans whose outputs differ by more than the tolerance", counts["differ"]],
        ["cases refused by name", len(refused)],
    ]  # fmt: skip
    rows += [[f"refused: {name}", message] for name, message in refused.items()]
    title = "Cases of public faults compiled with --schedule FILE, verified and executed"
    return write_table("reach_scheduled", title, ("what", "count"), rows), counts["differ"]


def wanted_tiles(case: dict[str, Any]) -> list[dict[int, int | list[int]]]:
    """The tiles that a case asks for: each axis by itself, and all together where several are."""
    wanted: list[dict[int, int | list[int]]] = [
        {tile["axis"]: tile["stripe"]} if tile["axis"] != "K" else {REDUCTION: tile["parts"][1:]}
        for tile in case["tile"]
    ]
    if len(wanted) > 1:
        wanted.append({axis: tile for one in wanted for axis, tile in one.items()})
    return wanted


def coverage(files: list[Path]) -> tuple[str, list[str]]:
    """A table of operators that can be cut, by model, and parts that something outside changed."""
    rows: list[list[object]] = []
    total: Counter[str] = Counter()
    wrong: list[str] = []
    for file in files:
        imported = read(file)
        graph = imported.graph
        whole = barriers(graph)
        kinds = Counter(f"{b.kind}: {b.reason}" for b in whole)
        found = model_findings(imported, parts=2)
        counts = {
            "operators": len(graph.operators),
            "ruled": found.ruled.total(),
            "whole": len(whole),
            "examined": found.examined.total(),
            "parts": found.parts,
            "wrong": len(found.wrong),
        }
        total.update(counts)
        wrong += found.wrong
        listed = "; ".join(f"{count} {text}" for text, count in kinds.most_common(4)) or "-"
        rows.append([file.stem, *counts.values(), listed])
        print(rows[-1], dict(found.not_run), flush=True)
    rows.append(["all", *total.values(), "-"])
    columns = ("model", "operators", "with a rule", "run whole", "examined (alike ones once)",
               "parts", "wrong", "which run whole, most frequent first")  # fmt: skip
    return write_table("reach_coverage", "Operators that can be cut", columns, rows), wrong


def read(file: Path) -> Imported:
    """A model, symbolic batches bound to 1."""
    try:
        return import_detailed(file, ImportOptions(batch=1))
    except UllageError:  # its batch is fixed, and another one is not exact
        return import_detailed(file)


def suite_table(found: SuiteFindings) -> str:
    """A table of what the experiments with the backend suite found."""
    rows: list[list[object]] = [
        ["operators with a rule", found.ruled.total()],
        ["operators without one", found.unruled.total()],
        ["operators examined", found.examined.total()],
        ["their types", len(found.examined)],
        ["parts", found.parts],
        ["parts that something outside changed", len(found.wrong)],
        ["first and last indices of ranges", found.ends.total()],
        ["of which rubbish changed nothing", found.loose.total()],
    ]
    rows += [[f"not run: {reason}", count] for reason, count in found.not_run.most_common()]
    loose = [f"{kind} {n} of {found.ends[kind]}" for kind, n in found.loose.most_common(12) if n]
    rows.append(["most of these", ", ".join(loose)])
    return write_table("reach_suite", "Reach on the onnx backend suite", ("what", "count"), rows)


if __name__ == "__main__":
    raise SystemExit(main())
