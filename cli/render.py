"""What commands print: tables, JSON, progress, and the chart of memory on the terminal."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ullage.cli.streams import console, print_json, say
from ullage.compiler.common.units import format_size, objective_text
from ullage.compiler.common.visible import visible
from ullage.compiler.driver.summary_text import gap_text, middle_cut, percent

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "block_chart",
    "console",
    "gap_text",
    "objective_text",
    "percent",
    "print_json",
    "print_lines",
    "print_memory_map",
    "print_pairs",
    "print_table",
    "print_whole_because",
    "progress",
    "short_name",
]

# Seconds between lines of progress where there is no terminal.
LINE_S = 25.0
# Columns that sentences in a table have at least.
FOLDED_WIDTH = 20
# Width of the memory map in columns, where the terminal is wide enough ...
CHART_WIDTH = 72
# ... its height in lines ...
CHART_HEIGHT = 4
# ... and the width of the scale on its left in columns.
SCALE_WIDTH = 12
# Characters of the memory map from empty to full ...
BLOCKS = " ▁▂▃▄▅▆▇█"
# ... and those for terminals that cannot show blocks.
ASCII_BLOCKS = " ..::||##"


def print_table(
    title: str,
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[str]],
    optional: Sequence[str] = (),
    folding: Sequence[str] = (),
) -> None:
    """Print a table.

    The cells of the first column are never broken or shortened; headings break between words.

    Args:
        title: what stands above it.
        columns: (heading with unit, `left` or `right`) of each.
        rows: the cells.
        optional: headings of columns that are left out, one after the other, until the table fits
            the terminal without a broken cell; a line below says which.
        folding: headings of columns whose cells are sentences, broken over lines where they must.
    """
    from rich.table import Table
    from rich.text import Text

    out = console()
    shown = list(range(len(columns)))
    narrowest = [max(map(len, [*columns[c][0].split(), *(r[c] for r in rows)])) for c in shown]
    for c in shown:
        if columns[c][0] in folding:
            narrowest[c] = min(narrowest[c], FOLDED_WIDTH)
    left_out: list[str] = []
    for heading in optional:
        if sum(narrowest[c] + 3 for c in shown) + 1 <= out.width:  # 3: a line and two blanks
            break
        shown = [c for c in shown if columns[c][0] != heading]
        left_out.append(heading)
    table = Table()
    for c in shown:
        heading, side = columns[c]
        table.add_column(
            Text(visible(heading)),
            justify="right" if side == "right" else "left",
            no_wrap=c == 0,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(Text(visible(row[c])) for c in shown))
    if optional and sum(max(len(columns[c][0]), narrowest[c]) + 3 for c in shown) >= out.width:
        has_room = sum(narrowest[c] + 3 for c in shown) + 1 <= out.width
        for column, c in zip(table.columns, shown, strict=True):
            if columns[c][0] not in folding and has_room:
                column.width, column.no_wrap = narrowest[c], False  # its cells have room
    out.print(Text(visible(title), style="table.title"))  # as wide as the terminal, not the table
    out.print(table)
    if left_out:
        out.print(Text(f"not shown in {out.width} columns: {', '.join(left_out)}", style="dim"))


def print_whole_because(rows: Sequence[dict[str, Any]]) -> None:
    """Print why the operators of all plans run whole, where that is the same for all of them."""
    from rich.text import Text

    reasons = {row["whole_because"] for row in rows if "whole_because" in row}
    for reason in reasons - {None, ""} if len(reasons) == 1 else ():
        console().print(Text(visible(f"operators run whole: {reason}")))


def print_pairs(rows: Sequence[tuple[str, str]]) -> None:
    """Print names and texts in two columns, without lines and without blanks at their ends."""
    print_lines(rows, ("left", "left"), gap=2)


def print_lines(rows: Sequence[Sequence[str]], sides: Sequence[str], gap: int = 1) -> None:
    """Print columns without lines and without blanks at their ends; the last breaks where it must.

    Args:
        rows: the cells; those of the first column are dim.
        sides: `left` or `right` of each column.
        gap: blanks between columns.
    """
    from rich.cells import cell_len
    from rich.text import Text

    out = console()
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*shown, strict=True)]
    left = sum(width + gap for width in widths[:-1])
    for row in shown:
        line = Text()
        for number, (cell, width, side) in enumerate(
            zip(row[:-1], widths[:-1], sides[:-1], strict=True)
        ):
            blanks = " " * (width - cell_len(cell))
            text = blanks + cell if side == "right" else cell + blanks
            line.append(text + " " * gap, "" if number else "dim")
        last = Text(row[-1])
        parts = last.wrap(out, max(out.width - left, FOLDED_WIDTH)) if row[-1] else [last]
        for number, part in enumerate(parts):
            part.rstrip()
            start = Text(" " * left) if number else line
            whole = start + part
            whole.rstrip()
            out.print(whole, soft_wrap=True)


@contextmanager
def progress(*, quiet: bool) -> Iterator["Callable[[str], None]"]:
    """A spinner on stderr with a text; where stderr is no terminal, a line every `LINE_S` seconds.

    Yields:
        A function that shows another text.
    """
    if quiet:
        yield lambda _: None
        return
    from rich.text import Text

    from ullage.compiler.common.kernel_cache import compiling_told

    if not sys.stderr.isatty():
        with progress_lines() as show_line, compiling_told(show_line) as tell:
            yield tell
        return
    with console(stderr=True).status("starting") as status:

        def show(text: str) -> None:
            status.update(Text(text))  # a solver's text may hold brackets

        with compiling_told(show) as tell:
            yield tell


@contextmanager
def progress_lines() -> Iterator["Callable[[str], None]"]:
    """A line on stderr with the latest text every `LINE_S` seconds, whoever computes meanwhile.

    Yields:
        A function that takes another text.
    """
    import threading
    import time

    begun, over = time.monotonic(), threading.Event()
    latest = ["starting"]

    def tell_now_and_then() -> None:
        while not over.wait(LINE_S):
            say(f"after {time.monotonic() - begun:.0f} s: {latest[0]}", err=True)

    teller = threading.Thread(target=tell_now_and_then, daemon=True)
    teller.start()

    def show(text: str) -> None:
        latest[0] = text

    try:
        yield show
    finally:
        over.set()
        teller.join()


def block_chart(
    values: Sequence[float], limit: float, width: int, height: int, blocks: str = BLOCKS
) -> list[str]:
    """Columns whose heights are the values, as `height` lines of text, the highest first.

    Args:
        values: one per step; a column shows the largest of the steps that it stands for.
        limit: value of a full column.
        width: columns at most; fewer values than that are one column each.
        height: lines.
        blocks: characters from empty to full.
    """
    columns = min(width, len(values))
    edges = [round(i * len(values) / columns) for i in range(columns + 1)] if columns else [0]
    peaks = [max(values[a:b]) for a, b in pairwise(edges)]
    full = len(blocks) - 1
    # A value that is not zero has at least the smallest block.
    levels = [
        max(min(int(height * full * p / limit + 0.5), height * full), int(p > 0)) if limit else 0
        for p in peaks
    ]
    return [
        "".join(blocks[min(max(level - row * full, 0), full)] for level in levels)
        for row in reversed(range(height))
    ]


def print_memory_map(name: str, live_bytes: Sequence[int], capacity_bytes: int) -> None:
    """Print the live bytes of a tier over the steps as a small chart, relative to its capacity.

    Where nothing lives there at any step, a line says so instead.
    """
    from rich.text import Text

    out = console()
    blocks = BLOCKS if _shows(out.file, BLOCKS) else ASCII_BLOCKS
    width = max(min(CHART_WIDTH, out.width - 24), 8)
    lines = block_chart(live_bytes, capacity_bytes, width, CHART_HEIGHT, blocks)
    if not any(live_bytes):
        out.print(Text(f"nothing lives in {name}", style="dim"))
        return
    most = f"{name} live, {format_size(max(live_bytes))} at most"
    out.print(Text(f"{most} (steps 0 to {len(live_bytes) - 1})", style="dim"))
    scale = [f"{format_size(capacity_bytes):>{SCALE_WIDTH}}", *[" " * SCALE_WIDTH] * len(lines)]
    scale[len(lines) - 1] = f"{'0 B':>{SCALE_WIDTH}}"
    for mark, line in zip(scale, lines, strict=False):
        out.print(
            Text.assemble(
                (f"{mark} ", "dim"), ("│" if blocks is BLOCKS else "|", "dim"), line.rstrip()
            )
        )


def short_name(name: str, room: int) -> str:
    """A name in one line of at most `room` columns, cut in its middle as the terminal can show."""
    mark = "\u2026" if _shows(sys.stdout, "\u2026") else "..."
    return middle_cut(visible(name), room, mark)


def _shows(stream: Any, text: str) -> bool:  # noqa: ANN401 - any text stream
    """Whether a stream's encoding has the characters of a text."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
