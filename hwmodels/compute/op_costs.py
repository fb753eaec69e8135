"""Compute times that were measured or simulated elsewhere, for operators by name.

operator,cycles          a row for each operator; or `operator,seconds`
conv1,10240
fc,2112.5
"""

import csv
import difflib
import io
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import read_file
from ullage.compiler.common.ranges import MAX_SECONDS
from ullage.compiler.common.units import counted
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.target import Compute, Target

# Largest file that is read.
MAX_FILE_BYTES = 64 << 20
# Column of names, and of figures in one of two units.
OPERATOR, CYCLES, SECONDS = "operator", "cycles", "seconds"


def with_op_costs(graph: Graph, path: Path, target: Target) -> tuple[Graph, str]:
    """A graph whose operators take the times of a file, and a note that says so.

    Operators that the file does not name keep the target's model.

    Args:
        graph: the graph.
        path: a CSV file with the columns `operator` and `cycles` or `seconds`.
        target: the chip, whose clock turns cycles into seconds.

    Raises:
        UsageError: the file cannot be read or is wrong, it names an operator that the graph does
            not have, or gives cycles for a target without a clock.
    """
    seconds = _seconds_of(path, target)
    names = [operator.name for operator in graph.operators]
    for name in seconds:
        if name not in set(names):
            close = difflib.get_close_matches(name[:120], names, n=1, cutoff=0.3)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise UsageError(
                f"{path}: {graph.name} has no operator {name[:120]!r}{hint}; `ullage compile "
                "--json --verbose` lists the names of its operators, fused ones by their main node",
                {"operator": name[:120], "file": str(path)},
            )
    operators = tuple(
        replace(operator, measured_s=seconds.get(operator.name)) for operator in graph.operators
    )
    note = (
        f"compute times of {len(seconds)} of {counted(len(operators), 'operator')} are those of "
        f"{path}, not of {target.name}'s model"
    )
    return replace(graph, operators=operators), note


def _seconds_of(path: Path, target: Target) -> Mapping[str, float]:
    """Seconds by operator."""
    try:
        text = read_file(path, MAX_FILE_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not a CSV file in UTF-8") from error
    rows = csv.DictReader(io.StringIO(text, newline=""))
    columns = rows.fieldnames or ()
    units = [unit for unit in (CYCLES, SECONDS) if unit in columns]
    if OPERATOR not in columns or len(units) != 1:
        found = ", ".join(str(column)[:40] for column in columns) or "none"
        raise UsageError(
            f"{path}: it needs the columns `{OPERATOR}` and exactly one of `{CYCLES}`, "
            f"`{SECONDS}`; it has {found}"
        )
    (unit,) = units
    clock_hz = _clock_hz(target.compute)
    if unit == CYCLES and clock_hz is None:
        raise UsageError(
            f"{path}: {target.name} has the compute model {target.compute.model}, which has no "
            f"clock; give `{SECONDS}` instead of `{CYCLES}`"
        )
    doubled = next((name for name in columns if list(columns).count(name) > 1), None)
    if doubled is not None:
        raise UsageError(f"{path}: the column {doubled[:40]!r} stands twice")
    found_s: dict[str, float] = {}
    for number, row in enumerate(rows, start=2):
        name, figure = row[OPERATOR], _figure(row[unit])
        if None in row:
            raise UsageError(
                f"{path}: row {number} has more fields than the {len(columns)} columns; a name "
                'with a comma stands in double quotes (")'
            )
        if not name or figure is None:
            raise UsageError(
                f"{path}: row {number} needs an operator and {unit} from 0 to {MAX_SECONDS:g}, it "
                f"has {str(name)[:80]!r} and {str(row[unit])[:40]!r}"
            )
        if name in found_s:
            raise UsageError(f"{path}: row {number}: {name[:120]!r} stands twice")
        found_s[name] = figure if unit == SECONDS or clock_hz is None else figure / clock_hz
    if not found_s:
        raise UsageError(f"{path}: no row has an operator; each is a line behind the columns")
    return found_s


def _figure(text: str | None) -> float | None:
    """A number of 0 or more in the range of times; None for anything else, as digits with `_`."""
    if not text or not text.isascii() or "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number <= MAX_SECONDS else None


def _clock_hz(compute: Compute) -> float | None:
    """The clock of the target's compute model, None where it has none."""
    section = compute.systolic or compute.mac_blocks or compute.kernel_cycles
    return None if section is None else section.clock_hz
