"""`html`: the report, one file for a browser (docs/report.md)."""

from pathlib import Path

from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.result import Compiled
from ullage.compiler.report.data import report_data
from ullage.compiler.report.page import render_page


def emit_html(compiled: Compiled, folder: Path) -> Path:
    """Write `report.html`; returns its path."""
    values = {} if compiled.graph is None else compiled.graph.values
    path = folder / "report.html"
    write_atomic(path, render_page(report_data(compiled, values)))
    return path
