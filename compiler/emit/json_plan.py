"""`json`: the plan (schema in `plan.schema.json`) and its summary."""

import json
from pathlib import Path

from ullage.compiler.files import write_atomic
from ullage.compiler.pipeline import Compiled
from ullage.compiler.plan_io import write_plan
from ullage.compiler.summary import summarise


def emit_json(compiled: Compiled, folder: Path) -> Path:
    """Write `plan.json` and `summary.json`; returns the path of the plan."""
    path = folder / "plan.json"
    write_plan(compiled.plan, path)
    summary = summarise(compiled, str(path))
    write_atomic(folder / "summary.json", json.dumps(summary, indent=2).encode())
    return path
