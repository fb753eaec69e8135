"""How much of models can be cut into parts, and experiments with the rules that say so.

Run: python benchmarks/reach.py [MODEL.onnx ...]     # minutes of CPU; exit code 1 when wrong

Three tables: operators with a rule, by model (default: the public set beside the project), and
experiments with parts of them, with rubbish outside of their reach; the same on the backend suite
of the onnx wheel; the cases of public faults, where they are.
"""

import logging
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import model_files, write_table

from tests.support.onnx_suite import all_cases
from tests.support.reach_suite import SuiteFindings, model_findings, suite_findings
from tests.support.tile_cases import cases, tile_findings
from ullage.compiler.common.errors import UllageError
from ullage.compiler.importer.build import Imported, ImportOptions, import_detailed
from ullage.compiler.importer.reach.barriers import barriers


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
    return 1 if wrong or tiles.missing else 0


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
