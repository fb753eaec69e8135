"""Runs a suite: finished rows are kept, the others run, each in a process of its own."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from ullage.compiler.bench.finished import (
    FINISHED_FILE,
    forget_finished,
    has_columns,
    open_finished,
    read_finished,
)
from ullage.compiler.bench.process import Running, memory_reason
from ullage.compiler.bench.suite import ROW_S, Row, Suite, key_of, settings_of
from ullage.compiler.bench.table import write_tables
from ullage.compiler.bench.worker import TEXT_COLUMNS, TIME_COLUMNS, VALUE_COLUMNS
from ullage.compiler.common.engines import Engine
from ullage.compiler.common.errors import CrashError, TimeLimitError, UllageError
from ullage.compiler.common.files import make_folder
from ullage.hwmodels.bounds import BOUND_TOLERANCE

# Seconds beyond its limit, and multiples of it, after which a row's process is ended: reading a
# large model and loading libraries take their time on a busy machine.
LATE_S, LATE_SHARE = 60.0, 2.0
# The program of a row's process.
PROGRAM = "from ullage.compiler.bench.worker import main; main()"
# What a process says that had too little memory: Python, C++, the system, its loader.
OUT_OF_MEMORY = (
    "memoryerror",
    "bad_alloc",
    "cannot allocate memory",
    "failed to map segment from shared object",
)
# Characters of a crashed process's last words that are kept.
LAST_WORDS = 300


# Rows that run now; Ctrl-C ends them, and those that are finished stay.
_running = Running(subprocess.Popen.kill, waits=False)


class Item(NamedTuple):
    """A row to be run. Picklable.

    Attributes:
        key: its digest.
        row: what it asks for.
        memory_bytes: address space of its process.
    """

    key: str
    row: Row
    memory_bytes: int


@dataclass(frozen=True)
class Benched:
    """What came of a suite.

    Attributes:
        rows: finished rows in the order of the suite: what was asked, and columns of the result.
        files: the tables that were written.
        computed: rows that were computed now; the others were finished before.
        interrupted: Ctrl-C ended it; these are the rows until then.
        total_s: seconds in all.
    """

    rows: tuple[dict[str, Any], ...]
    files: tuple[str, ...]
    computed: int
    interrupted: bool
    total_s: float


def run_suite(
    suite: Suite,
    folder: Path,
    engine: Engine,
    progress: Callable[[str], None] = lambda _: None,
    *,
    fresh: bool = False,
) -> Benched:
    """Run the rows of a suite that are not finished, and write the tables.

    Args:
        suite: the suite.
        folder: where finished rows and tables are; it is made where it is missing.
        engine: what runs the rows.
        progress: called with a short text at each row.
        fresh: forget what is finished.

    Raises:
        UsageError: the file of finished rows is none, or cannot be written or removed.
        KeyboardInterrupt: interrupted before any row was finished.
    """
    begun = time.monotonic()
    make_folder(folder)
    path = folder / FINISHED_FILE
    if fresh:
        forget_finished(path)
    finished = dict(read_finished(path, _is_result))
    number = version("ullage")
    items = [Item(key_of(row, number), row, suite.memory_bytes) for row in suite.rows]
    for item in items:  # what was lost for want of memory is tried again with another limit
        limit = finished.get(item.key, {}).get("memory_limit_bytes", item.memory_bytes)
        if limit != item.memory_bytes:
            del finished[item.key]
    waiting = [item for item in items if item.key not in finished]
    interrupted, done = False, 0
    progress(f"{len(items) - len(waiting)} of {len(items)} rows are finished")
    try:
        with open_finished(path) as file, _running.ended_by_ctrl_c():
            for index, result in engine.run(run_row, waiting):
                item = waiting[index]
                finished[item.key] = result
                file.write(json.dumps({"key": item.key, "result": result}) + "\n")
                file.flush()
                os.fsync(file.fileno())
                done += 1
                progress(f"{len(items) - len(waiting) + done} of {len(items)}: {item.row.text}")
    except KeyboardInterrupt:
        interrupted = True
    rows = tuple(
        {"key": item.key, **_flat(item.row), **finished[item.key]}
        for item in items
        if item.key in finished
    )
    if interrupted and not rows:
        raise KeyboardInterrupt
    files = write_tables(folder, rows)
    return Benched(rows, files, done, interrupted, time.monotonic() - begun)


def _is_result(result: dict[str, Any]) -> bool:
    """Whether an object is what `run_row` returns."""
    if not isinstance(result.get("status"), str):
        return False
    if not has_columns(result, (*VALUE_COLUMNS, *TIME_COLUMNS), TEXT_COLUMNS):
        return False
    if not result.get("verified"):
        return isinstance(result.get("reason"), str)
    value, bound = result.get("value"), result.get("lower_bound")
    if isinstance(value, bool) or isinstance(bound, bool) or value is None or bound is None:
        return False
    return bool(0 <= bound * (1 - BOUND_TOLERANCE) <= value)


def _flat(row: Row) -> dict[str, Any]:
    """What a row asks for, a column for each: lists of pairs as texts."""
    flat: dict[str, Any] = {}
    for name, value in settings_of(row).items():
        is_pairs = name in {"overrides", "parameters", "dims"}
        flat[name] = " ".join(f"{key}={item}" for key, item in value) if is_pairs else value
    return flat


def run_row(item: Item) -> dict[str, Any]:
    """The result of a row, from a process of its own; whatever happens there, it is a result."""
    if _running.is_over:
        return {"status": "interrupted", "reason": "before it was begun"}
    asked = {
        "row": settings_of(item.row),
        "memory_bytes": item.memory_bytes,
    }
    limit_s = item.row.time_limit_s
    late_s = ROW_S if limit_s is None else LATE_SHARE * limit_s + LATE_S
    begun = time.monotonic()
    with _running.started(PROGRAM) as process:
        try:
            out, err = process.communicate(json.dumps(asked), timeout=late_s)
        except subprocess.TimeoutExpired:
            result = {"status": "late", "reason": f"ended after {late_s:g} s, without a result"}
        else:
            result = result_of(process.returncode, out, err, item.memory_bytes)
    limit = {"memory_limit_bytes": item.memory_bytes} if result["status"] == "memory" else {}
    return {**result, **limit, "process_s": time.monotonic() - begun}


def result_of(code: int, out: str, err: str, memory_bytes: int) -> dict[str, Any]:
    """The result of a row's process that has ended.

    Args:
        code: its exit code.
        out: what it printed.
        err: what it said on standard error.
        memory_bytes: the memory that it had.
    """
    if code == 0:
        with suppress(ValueError):
            result = json.loads(out)
            if isinstance(result, dict):
                return result
    words = err.strip().splitlines()[-1][:LAST_WORDS] if err.strip() else "it said nothing"
    if any(sign in err.lower() for sign in OUT_OF_MEMORY):
        return {"status": "memory", "reason": memory_reason(memory_bytes)}
    if code < 0:
        with suppress(ValueError):
            words = f"{signal.Signals(-code).name}; {words}"
    return {"status": "crash", "reason": f"the process ended with {code}: {words}"}


def failed(row: dict[str, Any]) -> bool:
    """Whether a finished row has no plan."""
    return not row.get("verified")


def only_error(benched: Benched) -> UllageError | None:
    """The error to end with where no row has a plan: the first row's; None where some have one."""
    if not benched.rows or not all(map(failed, benched.rows)):
        return None
    first = benched.rows[0]
    kind = {"late": TimeLimitError.kind, "crash": CrashError.kind}.get(
        first["status"], first["status"]
    )
    asked = (first.get(name) for name in ("model", "target", "fast_memory", "solver", "instance"))
    row = ", ".join(str(value) for value in asked if value)
    message = f"{row}: {first['reason']}"
    if others := len(benched.rows) - 1:
        message = f"none of {others + 1} rows has a result; the first, {message}"
    details = {"files": list(benched.files)}
    return UllageError.revive({"kind": kind, "message": message, "details": details})
