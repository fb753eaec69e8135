"""Tables, sizes and progress on the terminal."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ullage.compiler.units import format_size, format_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

PIPE_WIDTH = 160  # columns where there is no terminal to ask


def console(*, stderr: bool = False) -> "Console":
    """The terminal; a pipe gets a fixed width so that output does not depend on where it runs."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else PIPE_WIDTH)


def print_json(document: Any) -> None:  # noqa: ANN401 - any JSON document
    """One JSON document on stdout and nothing else."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def print_table(
    title: str, columns: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]
) -> None:
    """A table; each column is (heading with unit, `left` or `right`)."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left")
    for heading, side in columns:
        table.add_column(Text(heading), justify="right" if side == "right" else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


@contextmanager
def progress(*, quiet: bool) -> Iterator["Callable[[str], None]"]:
    """A spinner on stderr that shows what is going on; nothing where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    with console(stderr=True).status("starting") as status:
        yield status.update


def percent(part: float, whole: float) -> str:
    """A share for people."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


def gap_text(gap: float | None) -> str:
    """A gap for people."""
    return "unknown" if gap is None else f"{100 * gap:.2f} %"


def objective_text(value: float, objective: str) -> str:
    """An objective's value with its unit."""
    if objective == "latency":
        return format_time(value)
    if objective == "energy":
        return f"{value * 1e3:.4g} mJ"
    return format_size(round(value))
