"""`json`: the plan (schema in `plan.schema.json`) and its summary."""

import json
from pathlib import Path

from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.result import Compiled
from ullage.compiler.driver.summary import summarise
from ullage.compiler.ir.plan_json import write_plan

# Name of the plan's file.
PLAN_FILE = "plan.json"


def emit_json(compiled: Compiled, folder: Path) -> Path:
    """Write `plan.json` and `summary.json`; returns the path of the plan."""
    path = folder / PLAN_FILE
    write_plan(compiled.plan, path)
    summary = summarise(compiled, str(path))
    write_atomic(folder / "summary.json", json.dumps(summary, indent=2).encode())
    return path
