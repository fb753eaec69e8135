"""What the benchmark scripts share: models, tables, the results folder."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ullage.compiler.ir.plan import Plan
    from ullage.compiler.ir.problem import Problem
    from ullage.solvers.parameters import ParameterValue

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "models"
RESULTS = ROOT / "benchmarks" / "results"


def model_files(folder: Path | None = None) -> list[Path]:
    """The models of a folder (default: the public set beside the project, else the wheel's)."""
    chosen = folder or SHARED
    if chosen.is_dir():
        return sorted(chosen.glob("*.onnx"))
    from ullage.compiler.importer.model_zoo import named_models

    return list(named_models().values())


def write_table(
    name: str, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> str:
    """Write a Markdown table and its JSON into the results folder; returns the Markdown."""
    lines = [f"## {title}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    text = "\n".join(lines) + "\n"
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, encoding="utf-8")
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    (RESULTS / f"{name}.json").write_text(json.dumps(records, indent=1), encoding="utf-8")
    return text


def put_row(
    name: str,
    title: Callable[[list[list[str]]], str],
    columns: Sequence[str],
    row: list[str],
    keys: Sequence[int],
) -> None:
    """Put a row in the place of the old one of its key in a table; others remain as they were.

    Args:
        name: of the table.
        title: of all of its rows.
        columns: names; a column that old rows lack is "-" in them.
        row: the cells.
        keys: columns that name a row.
    """
    table = RESULTS / f"{name}.json"
    old = json.loads(table.read_text(encoding="utf-8")) if table.is_file() else []
    known = [[record.get(column, "-") for column in columns] for record in old]
    key = [row[k] for k in keys]
    at = next((n for n, one in enumerate(known) if [one[k] for k in keys] == key), len(known))
    rows = [*known[:at], row, *known[at + 1 :]]
    write_table(name, title(rows), columns, rows)


def plan_by(
    solver: str,
    problem: "Problem",
    seconds: float | None = None,
    parameters: "Mapping[str, ParameterValue] | None" = None,
) -> "Plan":
    """The verified plan of a solver, its time limited where it is given."""
    from ullage.solvers.budget import Budget
    from ullage.solvers.run import run_solver

    budget = Budget() if seconds is None else Budget(time.monotonic() + seconds)
    return run_solver(solver, problem, budget, parameters=parameters or {}).plan
