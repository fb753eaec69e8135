"""Finished rows of a suite: a file, a JSON document a line, in the order in which they ended."""

from collections.abc import Callable, Collection, Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any, TextIO

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, is_file, kind_of, read_file, write_atomic
from ullage.compiler.common.json_files import json_object
from ullage.compiler.common.ranges import MAX_FIGURE

# The file's name in the folder of results.
FINISHED_FILE = "rows.jsonl"


def is_figure(value: object) -> bool:
    """Whether a value of a JSON document is a number that tables and sums can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -MAX_FIGURE <= value <= MAX_FIGURE and isfinite(value)


def has_columns(
    result: Mapping[str, Any], columns: Collection[str], texts: Collection[str]
) -> bool:
    """Whether a result has texts and figures where columns are to have them; any may be missing.

    Args:
        result: a row that was read.
        columns: names of its columns.
        texts: those of them that hold a text; the others hold a figure, or yes or no.
    """
    for name in columns:
        value = result.get(name)
        if value is None or isinstance(value, str if name in texts else bool):
            continue
        if name in texts or not is_figure(value):
            return False
    return True


def forget_finished(path: Path) -> None:
    """Remove the file of finished rows, where there is one.

    Raises:
        UsageError: it cannot be removed.
    """
    try:
        if is_file(path):
            path.unlink()
    except OSError as error:
        raise UsageError(f"{path}: cannot be removed: {error.strerror}") from error


def open_finished(path: Path) -> TextIO:
    """The file of finished rows, to be appended to.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def read_finished(
    path: Path, is_result: Callable[[dict[str, Any]], bool]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (key, result) of the rows in a file; a last line that a kill cut short is dropped.

    Args:
        path: the file; there may be none.
        is_result: whether an object of JSON is a result.

    Raises:
        UsageError: another line is no row.
    """
    kind = kind_of(path)
    if not kind:
        return
    if kind != "a file":
        raise UsageError(f"{path} is {kind}, and finished rows are kept in a file: name another -o")
    data = read_file(path, MAX_READ_BYTES)
    lines = data.split(b"\n")
    if lines.pop():
        write_atomic(path, b"".join(line + b"\n" for line in lines))
    for number, line in enumerate(lines, 1):
        try:
            document = json_object(line)
            key, result = document["key"], document["result"]
            if not isinstance(key, str) or not isinstance(result, dict) or not is_result(result):
                raise ValueError("a key and a result are needed")  # noqa: TRY301 - as no JSON
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"{path}, line {number}: no finished row; remove the line, so that its row runs "
                "again, or forget all rows (--fresh)"
            ) from error
        yield key, result
