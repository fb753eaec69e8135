"""`operators`: what each operator costs, one row each in the order in which they run."""

import csv
import io
from pathlib import Path

from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.operators import operators_detail
from ullage.compiler.driver.result import Compiled

# Columns before those of the tiers: keys of `operators_detail`.
COLUMNS = (
    "step",
    "name",
    "kind",
    "start_s",
    "elapsed_s",
    "compute_s",
    "overhead_s",
    "stall_s",
    "utilisation",
    "bound_by",
    "macs",
)
# First characters of a text that a spreadsheet takes for a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def emit_operators(compiled: Compiled, folder: Path) -> Path:
    """Write `operators.csv`; returns its path."""
    path = folder / "operators.csv"
    write_atomic(path, operators_csv(compiled).encode())
    return path


def operators_csv(compiled: Compiled) -> str:
    """The operators of a plan as CSV: `COLUMNS`, then the bytes accessed in each tier.

    A name that a spreadsheet would read as a formula begins with an apostrophe.
    """
    tiers = [tier.name for tier in compiled.plan.target.tiers]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"{tier}_bytes" for tier in tiers)])
    for row in operators_detail(compiled.plan, compiled.score):
        cells = [row[key] for key in COLUMNS]
        writer.writerow([*map(_plain, cells), *(row["bytes"][tier] for tier in tiers)])
    return text.getvalue()


def _plain(cell: str | float) -> str | float:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell
