"""`ullage warm-up`: compile kernels, once per installation."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ullage.cli import options
from ullage.cli.streams import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ullage.compiler.driver.warm_up import KernelFamily, WarmedUp


def warm_up_command(
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="No closing line; warnings and errors only.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Compile the kernels of all solvers, once per installation, so that nobody waits later."""
    from ullage.cli.render import print_json
    from ullage.compiler.driver.warm_up import FAMILIES, kept_in, warm_up

    begun = time.monotonic()
    outcomes = []
    with _bars(FAMILIES, quiet=quiet or as_json) as finish:
        for result in warm_up(FAMILIES):
            outcomes.append(result)
            finish(len(outcomes))
    total_s, folder = time.monotonic() - begun, kept_in()
    if as_json:
        print_json(
            {
                "families": [
                    {
                        "name": result.name,
                        "compiled_s": result.compiled_s,
                        "was_compiled": result.was_compiled,
                    }
                    for result in outcomes
                ],
                "cache": folder,
                "total_s": total_s,
            }
        )
    elif not quiet:
        say(_closing_line(outcomes, total_s, folder))


def _closing_line(outcomes: "Sequence[WarmedUp]", total_s: float, folder: str | None) -> str:
    count = sum(not result.was_compiled for result in outcomes)
    if not count:
        return f"kernels: all {len(outcomes)} families were compiled already, in {folder}"
    if folder is None:
        return f"kernels: {count} of {len(outcomes)} families are not compiled and cannot be kept"
    return f"kernels: compiled {count} of {len(outcomes)} families in {total_s:.1f} s, in {folder}"


@contextmanager
def _bars(families: "Sequence[KernelFamily]", *, quiet: bool) -> "Iterator[Callable[[int], None]]":
    """A bar for each family on stderr; nothing where stderr is no terminal.

    A bar moves while its family is compiled: numba does not say how far it is.

    Yields:
        A function to be called with the number of families that are compiled so far.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from ullage.cli.render import console

    columns = (
        SpinnerColumn(finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[summary]}", style="dim"),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bars:
        tasks = [
            bars.add_task(family.name, start=False, total=None, summary=family.summary)
            for family in families
        ]

        def finish(count: int) -> None:
            if count:
                bars.update(tasks[count - 1], total=1, completed=1)
            if count < len(tasks):
                bars.start_task(tasks[count])

        finish(0)
        yield finish
