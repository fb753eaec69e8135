"""MiniMalloc's CSV: buffers as `id,lower,upper,size`, answers with `offset` beside them.

Intervals [lower, upper) are half-open, as everywhere here. The format is that of
github.com/google/minimalloc.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, kind_of, read_file, write_atomic

# Columns that a file must have, in any order.
COLUMNS = ("id", "lower", "upper", "size")
# Columns of MiniMalloc that change what a legal answer is; `offset` and `hint` do not.
_UNSUPPORTED = ("alignment", "gaps")
# Largest time or size, and largest sum of sizes.
_MAX_VALUE = 2**62
# Digits of a number beyond which it is not even converted.
_MAX_DIGITS = 20


@dataclass(frozen=True)
class BufferTable:
    """The N buffers of a file, in its order.

    Attributes:
        ids: names, unique.
        lower: first time at which each is alive.
        upper: one past the last.
        size_bytes: sizes.
    """

    ids: tuple[str, ...]
    lower: tuple[int, ...]
    upper: tuple[int, ...]
    size_bytes: tuple[int, ...]


def read_minimalloc_csv(path: Path) -> BufferTable:
    """Read buffers; columns may stand in any order, blank lines are skipped.

    Raises:
        UsageError: the file cannot be read or is not of this form; names the line and a remedy.
    """
    rows = _rows(path, _text(path))
    header = next(rows, None)
    if header is None:
        raise UsageError(f"{path} is empty; its first line must be {','.join(COLUMNS)}")
    line, names = header
    position = _columns(path, line, names)
    seen: dict[str, int] = {}
    numbers: list[tuple[int, int, int]] = []
    total = 0
    for line, row in rows:
        where = f"{path}, line {line}"
        if len(row) != len(names):
            raise UsageError(
                f"{where}: {len(row)} fields where the header has {len(names)}; write one value "
                f"for each of {','.join(names)}"
            )
        name = row[position["id"]]
        if not name:
            raise UsageError(f"{where}: the id is empty; give each buffer a name or a number")
        if name in seen:
            raise UsageError(
                f"{where}: id {_shown(name)} was used in line {seen[name]}; make ids unique"
            )
        for column in _UNSUPPORTED:
            if column in position and row[position[column]]:
                raise UsageError(
                    f"{where}: column {column!r} has a value, which is not supported; leave it "
                    "empty (a common alignment is an option of the command)"
                )
        lower, upper, size = (_integer(where, key, row[position[key]]) for key in COLUMNS[1:])
        if upper <= lower:
            raise UsageError(
                f"{where}: upper {upper} is not above lower {lower}; lifetimes are half-open "
                "[lower, upper), so a buffer that lives for one tick has upper = lower + 1"
            )
        if size < 0:
            raise UsageError(f"{where}: size {size} is negative; sizes are zero or more bytes")
        total += size
        if total > _MAX_VALUE:
            raise UsageError(f"{where}: sizes up to here exceed 2**62 bytes; use a larger unit")
        seen[name] = line
        numbers.append((lower, upper, size))
    if not numbers:
        raise UsageError(f"{path} has a header but no buffers; add one line per buffer")
    lowers, uppers, sizes = zip(*numbers, strict=True)
    return BufferTable(tuple(seen), lowers, uppers, sizes)


def write_minimalloc_csv(path: Path, table: BufferTable, offsets: Sequence[int]) -> None:
    """Write `id,lower,upper,size,offset`, whole or not at all (see `write_atomic`).

    Raises:
        UsageError: the path cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, "offset"])
    writer.writerows(
        zip(table.ids, table.lower, table.upper, table.size_bytes, offsets, strict=True)
    )
    if kind_of(path.parent) != "a folder":
        raise UsageError(f"{path}: cannot be written: no such folder; name one that exists")
    write_atomic(path, text.getvalue().encode())


def _text(path: Path) -> str:
    try:
        raw = read_file(path, MAX_READ_BYTES)
    except UsageError as error:
        raise UsageError(
            f"{error}; a CSV file with the columns {','.join(COLUMNS)} is read"
        ) from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not UTF-8 text; save it as plain CSV") from error


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, stripped fields) of each line that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            row = [field.strip() for field in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise UsageError(
                f"{path}, line {reader.line_num}: not CSV ({error}); separate fields with commas"
            ) from error
        if any(row):
            yield reader.line_num, row


def _columns(path: Path, line: int, names: list[str]) -> dict[str, int]:
    position = {name.lower(): index for index, name in enumerate(names)}
    missing = [name for name in COLUMNS if name not in position]
    if missing:
        raise UsageError(
            f"{path}, line {line}: no column {', '.join(missing)}, found "
            f"{_shown(','.join(names))}; the header must name {','.join(COLUMNS)}"
        )
    if len(position) != len(names):
        raise UsageError(f"{path}, line {line}: a column appears twice; keep one of each name")
    return position


def _integer(where: str, column: str, text: str) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal()):
        raise UsageError(
            f"{where}: {column} is {_shown(text)}, not a whole number; write plain digits"
        )
    if len(digits) > _MAX_DIGITS or abs(int(text)) > _MAX_VALUE:
        raise UsageError(f"{where}: {column} is beyond 2**62; use a larger unit")
    return int(text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
