"""Tables of a suite: one row a compilation, for spreadsheets, data frames and documents."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ullage.compiler.bench.suite import Row, settings_of
from ullage.compiler.bench.worker import TIME_COLUMNS, VALUE_COLUMNS
from ullage.compiler.common.files import write_atomic

# What was asked, then what came of it; nothing here depends on the machine's load.
RESULTS_FILES = ("results.csv", "results.json")
# Seconds and memory of the same rows.
TIMES_FILE = "times.csv"


def write_tables(folder: Path, rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Write the tables of finished rows; returns their paths.

    Args:
        folder: where to.
        rows: with their key, what was asked, and columns of the result.
    """
    asked = tuple(settings_of(Row(model="")))
    columns = ("key", *asked, *VALUE_COLUMNS)
    results = [{name: row.get(name) for name in columns} for row in rows]
    times = [{name: row.get(name) for name in ("key", "model", *TIME_COLUMNS)} for row in rows]
    files = {
        RESULTS_FILES[0]: _csv(columns, results),
        RESULTS_FILES[1]: json.dumps(results, indent=1) + "\n",
        TIMES_FILE: _csv(("key", "model", *TIME_COLUMNS), times),
    }
    for name, text in files.items():
        write_atomic(folder / name, text.encode())
    return tuple(str(folder / name) for name in files)


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[name] for name in columns] for row in rows)
    return text.getvalue()


def geometric_mean(values: Sequence[float]) -> float | None:
    """The geometric mean of positive numbers; None of none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def summary_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each solver and target: plans, failures, and how far values are above their bounds.

    Rows of the same model, target and options are one problem: each is held against the best bound
    that any solver of the suite has proven of it.

    Args:
        rows: finished rows.
    """
    bounds: dict[object, float] = {}
    for row in rows:
        bound = row.get("lower_bound")
        if row.get("verified") and bound is not None:
            bounds[_problem(row)] = max(bound, bounds.get(_problem(row), 0.0))
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((str(row["solver"]), str(row["target"])), []).append(row)
    found = []
    for (solver, target), members in groups.items():
        planned = [row for row in members if row.get("verified")]
        ratios = [
            row["value"] / bounds[_problem(row)]
            for row in planned
            if bounds.get(_problem(row), 0.0) > 0 and row["value"] > 0
        ]
        found.append(
            {
                "solver": solver,
                "target": target,
                "rows": len(members),
                "plans": len(planned),
                "mean_ratio": geometric_mean(ratios),
                "worst_ratio": max(ratios, default=None),
                "process_s": sum(row.get("process_s") or 0.0 for row in members),
            }
        )
    return found


def _problem(row: Mapping[str, Any]) -> object:
    """What is planned, apart from who plans it; a bound of one row holds for rows of the same.

    A searched order or schedule is the row's own.
    """
    asked = set(settings_of(Row(model=""))) - {"solver", "seed", "time_limit_s", "parameters"}
    is_searched = row["order"] == "joint" or row.get("chosen_schedule") != "whole"
    own = row["key"] if is_searched else ""
    return (*sorted((name, str(row[name])) for name in asked), own)
