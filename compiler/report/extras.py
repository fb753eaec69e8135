"""Data of other commands that a report can show: comparisons, sweeps, prices of resources."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import MAX_READ_BYTES, read_file
from ullage.compiler.common.json_files import json_object

# Keys of a row of `compare --json` or `sweep --json` that the report uses.
KEYS = (
    "solver",
    "chosen_solver",
    "objective",
    "value",
    "latency_s",
    "lower_bound",
    "gap",
    "status",
    "speedup_over_all_slow",
    "compulsory_bytes",
    "noncompulsory_bytes",
    "fast_memory_bytes",
    "slices",
    "transfers",
    "solve_s",
    "bound_source",
)


@dataclass(frozen=True)
class Extras:
    """Data of other commands.

    Attributes:
        compare: rows of `compare --json`: one fast memory size, several solvers.
        sweep: rows of `sweep --json`: several fast memory sizes.
        prices: worth of resources: mappings of `what` (text), `saves_s` and `source` (text).
    """

    compare: tuple[Mapping[str, Any], ...] = ()
    sweep: tuple[Mapping[str, Any], ...] = ()
    prices: tuple[Mapping[str, Any], ...] = ()


def read_extras(paths: Sequence[Path]) -> Extras:
    """Extras from files that hold what `compare --json` or `sweep --json` printed, or prices.

    A document with `rows` of several fast memory sizes is a sweep, any other a comparison;
    a document may have `prices` too.

    Raises:
        UsageError: a file cannot be read or holds none of these.
    """
    compare: list[Mapping[str, Any]] = []
    sweep: list[Mapping[str, Any]] = []
    prices: list[Mapping[str, Any]] = []
    for path in paths:
        document = _read(path)
        rows, priced = document.get("rows", []), document.get("prices", [])
        if not isinstance(rows, list) or not isinstance(priced, list) or not (rows or priced):
            raise _odd(path, "it has neither `rows` nor `prices`")
        shown_rows = [_row(path, row) for row in rows]
        sizes = {row.get("fast_memory_bytes") for row in shown_rows if "error" not in row}
        (sweep if len(sizes) > 1 else compare).extend(shown_rows)
        prices.extend(_price(path, price) for price in priced)
    return Extras(tuple(compare), tuple(sweep), tuple(prices))


def _read(path: Path) -> dict[str, Any]:
    try:
        return json_object(read_file(path, MAX_READ_BYTES))
    except ValueError as error:
        raise _odd(path, f"no JSON object: {error}") from error


def _row(path: Path, row: object) -> dict[str, Any]:
    """The part of a row that is shown; a row of an error keeps its kind."""
    if not isinstance(row, dict):
        raise _odd(path, "a row is no JSON object")
    error = row.get("error")
    if isinstance(error, dict):
        labels = {key: row[key] for key in ("solver", "fast_memory_bytes") if key in row}
        return {**labels, "error": str(error.get("kind", "error"))}
    cells = {key: row.get(key) for key in KEYS}
    if not _is_figure(cells["value"]):
        raise _odd(path, "a row has no number under `value`")
    for key, value in cells.items():
        if not (value is None or isinstance(value, str) or _is_figure(value)):
            raise _odd(path, f"`{key}` of a row is neither number nor text")
    return {**cells, "anytime": _curve(path, row.get("anytime"))}


def _curve(path: Path, found: object) -> list[list[float]]:
    """(seconds, value) at each improvement, empty where a row says nothing about them."""
    if found is None:
        return []
    if not isinstance(found, list) or not all(
        isinstance(point, list) and len(point) == 2 and all(map(_is_figure, point))
        for point in found
    ):
        raise _odd(path, "`anytime` of a row is no list of [seconds, value]")
    return found


def _price(path: Path, price: object) -> Mapping[str, Any]:
    if not isinstance(price, dict) or "what" not in price or not _is_figure(price.get("saves_s")):
        raise _odd(path, "a price needs `what` (text) and `saves_s` (a number)")
    return price


def _is_figure(value: object) -> bool:
    return type(value) in {int, float} and math.isfinite(value)  # type: ignore[arg-type]


def _odd(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path}: {why}; give what `ullage compare --json` or `ullage sweep --json` printed, or "
        '{"prices": [{"what": ..., "saves_s": ...}]}'
    )
