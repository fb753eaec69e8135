"""The suite `mlsys26`: instances of the MLSys 2026 scheduling contest, solved within its limits.

docs/bench.md says what the contest is.
"""

import csv
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from ullage.compiler.bench.finished import (
    FINISHED_FILE,
    forget_finished,
    has_columns,
    is_figure,
    open_finished,
    read_finished,
)
from ullage.compiler.bench.process import Running
from ullage.compiler.bench.run import LATE_S, LATE_SHARE, Benched, result_of
from ullage.compiler.bench.suite import MEMORY_BYTES
from ullage.compiler.common.engines import Engine
from ullage.compiler.common.errors import UllageError, UsageError
from ullage.compiler.common.files import (
    MAX_READ_BYTES,
    is_file,
    make_folder,
    read_file,
    write_atomic,
)
from ullage.compiler.common.json_files import brief, json_object
from ullage.compiler.contest.instance import read_instance

# Name of the suite, and what it shows.
SUITE = "mlsys26"
TITLE = "Instances of the MLSys 2026 scheduling contest (--instances DIR), within its time limits"
# Seconds for instances up to a number, and for instances of other names up to so many operators.
LIMITS = ((4, 8, 2.0), (8, 24, 5.0), (12, 40, 15.0), (16, 80, 30.0), (20, 110, 60.0))
# Seconds for those beyond.
LONGEST_LIMIT_S = 120.0
# The end of a solution's file name.
SOLUTION_SUFFIX = ".solution.json"
# A file beside the instances: costs that others have published, by the instance's name.
PUBLISHED_FILE = "published.json"
# The program of an instance's process.
PROGRAM = "from ullage.compiler.bench.contest_worker import main; main()"
# Seconds between two looks at whether Ctrl-C has ended it all.
LOOK_S = 0.5
# Seconds that an interrupted process has to write what it holds.
LEAVING_S = 10.0
# Columns of the tables: what came of an instance, and what depends on the machine.
RESULT_COLUMNS = (
    "instance",
    "operators",
    "time_limit_s",
    "status",
    "reason",
    "cost",
    "lower_bound",
    "bound_source",
    "published",
    "ratio",
    "valid",
    "strict_cost",
    "subgraphs",
)
TIME_COLUMNS = ("instance", "process_s", "cpu_s", "memory_bytes")
# Columns that hold a text.
TEXT_COLUMNS = ("instance", "status", "reason", "bound_source")


class Item(NamedTuple):
    """An instance to be solved. Picklable.

    Attributes:
        key: a digest of all that its result depends on.
        name: of its file, without `.json`.
        path: of the instance.
        solution: where its solution goes.
        limit_s: wall-clock seconds from the start of its process.
        seed: of the search.
    """

    key: str
    name: str
    path: str
    solution: str
    limit_s: float
    seed: int


def run_contest(
    instances: Path,
    folder: Path,
    engine: Engine,
    progress: Callable[[str], None] = lambda _: None,
    *,
    time_limit_s: float | None = None,
    fresh: bool = False,
) -> Benched:
    """Solve the instances of a folder that are not finished; write solutions and tables.

    Args:
        instances: folder of `NAME.json`.
        folder: where solutions and tables go; it is made where it is missing.
        engine: what runs the instances.
        progress: called with a short text at each instance.
        time_limit_s: of each instance; None for the contest's.
        fresh: forget what is finished.

    Raises:
        UsageError: the folder has no instance, or a file beside them is wrong.
        KeyboardInterrupt: interrupted before any instance was finished.
    """
    begun = time.monotonic()
    make_folder(folder)
    items = _items(instances, folder, time_limit_s)
    published = _published(instances / PUBLISHED_FILE)
    path = folder / FINISHED_FILE
    if fresh:
        forget_finished(path)
    finished = dict(read_finished(path, _is_result))
    waiting = [
        item for item in items if item.key not in finished or not _is_kept(item, finished[item.key])
    ]
    interrupted, done = False, 0
    progress(f"{len(items) - len(waiting)} of {len(items)} instances are finished")
    try:
        with open_finished(path) as file, _running.ended_by_ctrl_c():
            for index, result in engine.run(run_instance, waiting):
                item = waiting[index]
                if result.get("interrupted") or result["status"] == "interrupted":
                    if result["status"] != "interrupted":
                        finished[item.key] = result
                    interrupted = True
                    continue  # not kept: the next run goes on with it
                finished[item.key] = result
                file.write(json.dumps({"key": item.key, "result": result}) + "\n")
                file.flush()
                os.fsync(file.fileno())
                done += 1
                progress(f"{len(items) - len(waiting) + done} of {len(items)}: {item.name}")
    except KeyboardInterrupt:
        interrupted = True
    for item in items:
        if item.key in finished:
            _remove_stale(item, finished[item.key])
    rows = tuple(
        _row(item, finished[item.key], published) for item in items if item.key in finished
    )
    if interrupted and not rows:
        raise KeyboardInterrupt
    files = [item.solution for item in items if finished.get(item.key, {}).get("valid")]
    files += _write_tables(folder, rows)
    return Benched(rows, tuple(files), done, interrupted, time.monotonic() - begun)


def _items(instances: Path, folder: Path, time_limit_s: float | None) -> list[Item]:
    """The instances of a folder, numbers first.

    Raises:
        UsageError: there is none.
    """
    paths = [
        path
        for path in instances.glob("*.json")
        if path.name != PUBLISHED_FILE and not path.name.endswith(SOLUTION_SUFFIX)
    ]
    if not paths:
        raise UsageError(
            f"{instances}: no instance; --instances names a folder with the contest's NAME.json"
        )
    if instances.resolve() == folder.resolve():
        raise UsageError(f"{folder}: results go into a folder of their own: name another -o")
    items = []
    for path in sorted(paths, key=lambda path: (_number(path.stem), path.stem)):
        limit_s = time_limit_s or limit_of(path)
        asked = json.dumps([version("ullage"), path.stem, limit_s, 0])
        digest = hashlib.sha256(asked.encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
        solution = folder / f"{path.stem}{SOLUTION_SUFFIX}"
        items.append(Item(digest.hexdigest()[:16], path.stem, str(path), str(solution), limit_s, 0))
    return items


def _number(name: str) -> int:
    """The number that a name is; a large one where it is none."""
    return int(name) if re.fullmatch(r"\d{1,6}", name, re.ASCII) else 10**6


def limit_of(path: Path) -> float:
    """Seconds that the contest gives an instance: by its number, else by its size.

    Args:
        path: of its file.
    """
    number, column = _number(path.stem), 0
    if number == 10**6:
        try:
            number, column = len(read_instance(path).inputs), 1
        except UllageError:
            return LIMITS[0][2]  # its process says what is wrong with it
    return next((limit[2] for limit in LIMITS if number <= limit[column]), LONGEST_LIMIT_S)


def _published(path: Path) -> dict[str, float]:
    """Costs that others have published; empty where there is no such file.

    Raises:
        UsageError: it is none.
    """
    if not path.exists():
        return {}
    try:
        document = json_object(read_file(path, MAX_READ_BYTES))
    except ValueError as error:
        raise UsageError(f"{path}: not costs by instance: {error}") from error
    for name, cost in document.items():
        if not is_figure(cost) or not cost > 0:
            raise UsageError(
                f"{path}: the cost of {name[:40]} is {brief(cost)}, not a number above 0"
            )
    return document


def _is_result(result: dict[str, Any]) -> bool:
    """Whether an object is what `run_instance` returns."""
    if not isinstance(result.get("status"), str):
        return False
    if not has_columns(result, (*RESULT_COLUMNS, *TIME_COLUMNS), TEXT_COLUMNS):
        return False
    if not result.get("valid"):
        return isinstance(result.get("reason"), str)
    return is_figure(result.get("cost")) and is_figure(result.get("lower_bound"))


def _is_kept(item: Item, result: Mapping[str, Any]) -> bool:
    """Whether the solution of a finished row is there."""
    return not result.get("valid") or Path(item.solution).is_file()


def _remove_stale(item: Item, result: dict[str, Any]) -> None:
    """Remove the solution of an earlier run where the instance has none now, and say so."""
    if not result.get("valid") and is_file(item.solution):
        Path(item.solution).unlink()
        result["reason"] += f"; {Path(item.solution).name} of an earlier run was removed"


def run_instance(item: Item) -> dict[str, Any]:
    """The result of an instance, from a process of its own; whatever happens, it is a result."""
    if _running.is_over:
        return {"status": "interrupted", "reason": "before it was begun"}
    late_s = LATE_SHARE * item.limit_s + LATE_S
    begun = time.monotonic()
    asked = {
        "instance": item.path,
        "solution": item.solution,
        "limit_s": item.limit_s,
        "seed": item.seed,
        "begun": time.time(),
        "memory_bytes": MEMORY_BYTES,
    }
    with _running.started(PROGRAM) as process:
        result = _result(process, json.dumps(asked), late_s)
    return result | {"process_s": time.monotonic() - begun}


def _result(process: "subprocess.Popen[str]", asked: str, late_s: float) -> dict[str, Any]:
    """What a process answers, or holds when it is interrupted."""
    end = time.monotonic() + late_s
    given: str | None = asked
    while not _running.is_over:
        left_s = end - time.monotonic()
        if left_s <= 0:
            return {"status": "late", "reason": f"ended after {late_s:g} s, without a result"}
        try:
            out, err = process.communicate(given, timeout=min(left_s, LOOK_S))
        except subprocess.TimeoutExpired:
            given = None  # it is sent once
        except KeyboardInterrupt:
            _running.is_over = True
            interrupt(process)
        else:
            result = result_of(process.returncode, out, err, MEMORY_BYTES)
            return _unless_cut_short(result) if _running.is_over else result
    try:
        out, err = process.communicate(timeout=LEAVING_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        return {"status": "interrupted", "reason": "before a solution was written"}
    return _unless_cut_short(result_of(process.returncode, out, err, MEMORY_BYTES))


def interrupt(process: "subprocess.Popen[str]") -> None:
    """Have a process end its search and write what it holds; end it where it cannot be told."""
    with suppress(OSError):  # it has ended
        if sys.platform == "win32":
            process.kill()
        else:
            process.send_signal(signal.SIGINT)


_running = Running(interrupt, waits=True)


def _unless_cut_short(result: dict[str, Any]) -> dict[str, Any]:
    """The result of a process that was told to end; `interrupted` where it died of that."""
    if result["status"] == "crash":
        return {"status": "interrupted", "reason": "before a solution was found"}
    return result


def _row(item: Item, result: Mapping[str, Any], published: Mapping[str, float]) -> dict[str, Any]:
    """The columns of a finished instance."""
    cost, known = result.get("cost"), published.get(item.name)
    row = {
        **{name: result.get(name) for name in (*RESULT_COLUMNS, *TIME_COLUMNS)},
        "instance": item.name,
        "time_limit_s": item.limit_s,
        "published": known,
        "ratio": None if cost is None or known is None else cost / known,
        "valid": bool(result.get("valid")),
    }
    return row | {"verified": row["valid"]}


def _write_tables(folder: Path, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write `results.csv`, `results.json` and `times.csv`; returns their paths."""
    results = [{name: row[name] for name in RESULT_COLUMNS} for row in rows]
    texts = {
        "results.csv": _csv(RESULT_COLUMNS, rows),
        "results.json": json.dumps(results, indent=1) + "\n",
        "times.csv": _csv(TIME_COLUMNS, rows),
    }
    for name, text in texts.items():
        write_atomic(folder / name, text.encode())
    return [str(folder / name) for name in texts]


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
