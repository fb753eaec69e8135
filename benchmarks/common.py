"""What the benchmark scripts share: models, tables, the results folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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
