"""What reaches the terminal: harmless texts, on streams that may be closed or full."""

import errno
import io
import json
import os
import sys
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO, cast

import typer

from ullage.compiler.common.visible import visible

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

# Width of output in columns where there is no terminal.
PIPE_WIDTH = 160


def visible_lines(text: str) -> str:
    """A text of several lines; those after the first are indented, so that none poses as another.

    A name with a line break in it cannot forge a line of output that way.
    """
    first, *rest = text.split("\n")
    lines = [line if line.startswith(" ") else f"  {line}" for line in rest]
    return "\n".join(map(visible, [first, *lines]))


def say(text: str, *, err: bool = False, lines: bool = False) -> None:
    """Print a text on stdout or stderr, with names in it made harmless.

    Args:
        text: the text.
        err: on stderr.
        lines: it may have several lines; otherwise a line break in it is shown as an escape.
    """
    typer.echo(visible_lines(text) if lines else visible(text), err=err)


def print_json(document: Any) -> None:  # noqa: ANN401 - any JSON document
    """Print one JSON document on stdout, and nothing else."""
    sys.stdout.write(json.dumps(document, indent=2, allow_nan=False) + "\n")


def console(*, stderr: bool = False) -> "Console":
    """The terminal. A pipe has a fixed width, so that output does not depend on where it runs."""
    stream = sys.stderr if stderr else sys.stdout
    return _console_class()(
        stderr=stderr,
        highlight=False,
        markup=False,
        emoji=False,
        width=None if stream.isatty() else PIPE_WIDTH,
    )


@cache
def _console_class() -> type["Console"]:
    from rich.console import Console
    from rich.segment import Segment

    class SafeConsole(Console):
        """A console on which texts cannot hold escape sequences: rich adds its own after this."""

        def render(
            self, renderable: "RenderableType", options: "ConsoleOptions | None" = None
        ) -> Iterable["Segment"]:
            for text, style, control in super().render(renderable, options):
                if control:
                    yield Segment(text, style, control)
                    continue
                lines = "\n".join(map(visible, text.split("\n")))
                yield Segment(lines, style, control)

    return SafeConsole


class _Guarded(io.RawIOBase):
    """A file descriptor for output that takes everything: its first failure is kept, not raised.

    Attributes:
        failure: why a write failed; what is written after that is lost.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self.failure: OSError | None = None

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | memoryview") -> int:  # type: ignore[override] # any buffer there
        if self.failure is None:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self.failure = error
        return len(data)


def guard_streams() -> "_Guarded":
    """Make stdout and stderr safe to write to, whatever they are; returns that of stdout.

    A closed one (`>&-`) is opened on the null device, so that no file that is opened later gets
    its number. A reader that has gone (`| head`) or a full disk raises nothing.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number: this one
    guarded = _Guarded(1)
    sys.stdout = _text_stream(guarded, sys.__stdout__)
    sys.stderr = _text_stream(_Guarded(2), sys.__stderr__)
    return guarded


def _text_stream(raw: _Guarded, former: TextIO | None) -> TextIO:
    is_err = raw.fileno() == 2
    return io.TextIOWrapper(
        cast("Any", io.BufferedWriter)(raw),
        encoding=(former and former.encoding) or "utf-8",
        errors="backslashreplace",
        line_buffering=is_err or raw.isatty(),
    )


def lost_output(stdout: "_Guarded") -> str:
    """Why output is missing that somebody wanted; empty where there is none, or its reader left."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    failure = stdout.failure
    if failure is None or failure.errno == errno.EPIPE:
        return ""
    return f"the output cannot be written: {failure.strerror or failure}"
