"""Suites run: rows in processes of their own, finished ones kept, failures told by their reason."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from tests.support.decode_models import Decoder, growing_decoder
from tests.support.small_nets import chain
from tests.support.training import training_step
from ullage.compiler.bench import run as bench_run
from ullage.compiler.bench.finished import FINISHED_FILE
from ullage.compiler.bench.run import (
    Benched,
    Item,
    failed,
    only_error,
    run_row,
    run_suite,
)
from ullage.compiler.bench.suite import Row, Suite, load_suite, settings_of
from ullage.compiler.bench.table import summary_rows
from ullage.compiler.common.engines import HERE, open_engine
from ullage.compiler.common.errors import UsageError

GRID = Suite(
    "tiny",
    "a few rows",
    tuple(
        Row("squeezenet", "edge-npu", memory, solver, schedule="whole", dtype="int8")
        for memory in ("128KiB", "512KiB")
        for solver in ("all-slow", "greedy")
    ),
)


def test_a_row_has_what_compile_says_of_it() -> None:
    result = run_row(Item("k", GRID.rows[1], 8 * 2**30))
    assert result["status"] in {"optimal", "feasible"}
    assert result["verified"] is True
    assert result["chosen_solver"] == "greedy"
    assert result["value"] >= result["lower_bound"] > 0
    assert result["cpu_s"] > 0
    assert result["process_s"] > 0


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (Row("squeezenet", fast_memory="1KiB", target="edge-npu-spm"), "infeasible"),
        (Row("squeezenet", solver="nobody"), "usage"),
        (Row("absent.onnx"), "model"),
    ],
)
def test_a_row_without_a_plan_says_why(row: Row, status: str) -> None:
    result = run_row(Item("k", replace(row, schedule="whole"), 8 * 2**30))
    assert result["status"] == status
    assert result["reason"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")
def test_a_row_that_wants_too_much_memory_is_lost_alone() -> None:
    result = run_row(Item("k", GRID.rows[0], 96 * 2**20))
    assert result["status"] in {"memory", "crash"}
    assert result["reason"]


@pytest.mark.parametrize(
    "said",
    [
        "MemoryError",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "ImportError: libx.so.2: failed to map segment from shared object",
    ],
)
def test_a_process_that_could_not_even_load_had_too_little_memory(said: str) -> None:
    result = bench_run.result_of(1, "", f"Traceback\n{said}\n", 2**28)
    assert result["status"] == "memory"
    assert "256 MiB" in result["reason"]


def test_a_row_that_crashes_or_hangs_is_lost_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    item = Item("k", GRID.rows[0], 8 * 2**30)
    monkeypatch.setattr(bench_run, "PROGRAM", "import os; os.abort()")
    crashed = run_row(item)
    assert crashed["status"] == "crash"
    assert "SIGABRT" in crashed["reason"] or os.name == "nt"
    monkeypatch.setattr(bench_run, "PROGRAM", "print('no result')")
    assert run_row(item)["status"] == "crash"
    monkeypatch.setattr(bench_run, "PROGRAM", "import time; time.sleep(600)")
    monkeypatch.setattr(bench_run, "ROW_S", 0.5)
    assert run_row(item)["status"] == "late"


def test_finished_rows_are_kept(tmp_path: Path) -> None:
    first = run_suite(replace(GRID, rows=GRID.rows[:2]), tmp_path, HERE)
    assert first.computed == 2
    rest = run_suite(GRID, tmp_path, HERE)
    assert (rest.computed, len(rest.rows)) == (2, 4)
    results = (tmp_path / "results.csv").read_bytes()
    again = run_suite(GRID, tmp_path, HERE)
    assert again.computed == 0
    assert (tmp_path / "results.csv").read_bytes() == results
    lines = (tmp_path / FINISHED_FILE).read_text()
    (tmp_path / FINISHED_FILE).write_text(lines[:-40])  # a kill in the middle of a line
    repaired = run_suite(GRID, tmp_path, HERE)
    assert repaired.computed == 1
    assert (tmp_path / "results.csv").read_bytes() == results
    assert (tmp_path / FINISHED_FILE).read_text().endswith("\n")


def test_two_jobs_give_the_same_table(tmp_path: Path) -> None:
    run_suite(GRID, tmp_path / "one", HERE)
    with open_engine("processes", 2) as engine:
        run_suite(GRID, tmp_path / "two", engine)
    for name in ("results.csv", "results.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_ends_rows_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that run would go on for ten minutes."""
    begun = tmp_path / "begun"
    monkeypatch.setattr(
        bench_run, "PROGRAM", f"import time; open({str(begun)!r}, 'w'); time.sleep(600)"
    )
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def press() -> None:
        while not begun.exists():
            time.sleep(0.05)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    try:
        with (
            open_engine("processes", 2, threads=True) as engine,
            pytest.raises(KeyboardInterrupt),
        ):
            run_suite(GRID, tmp_path / "out", engine)
    finally:
        signal.signal(signal.SIGINT, before)
    presser.join()
    assert not (tmp_path / "out" / FINISHED_FILE).read_text()  # killed rows are not finished


def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    class Interrupted:
        def run(
            self, function: Callable[[Item], dict[str, object]], items: Sequence[Item]
        ) -> Iterator[tuple[int, dict[str, object]]]:
            yield 0, function(items[0])
            raise KeyboardInterrupt

    benched = run_suite(GRID, tmp_path, Interrupted())  # type: ignore[arg-type]
    assert benched.interrupted
    assert len(benched.rows) == 1
    assert run_suite(GRID, tmp_path, HERE).computed == 3


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b'\xff\xfe{"key"',
        b'{"key": "k", "result": {}}',
        b'{"key": "k", "result": {"status": "infeasible"}}',
        b'{"key": 5, "result": {"status": "infeasible", "reason": ""}}',
        b'{"key": "k", "result": {"status": "", "verified": true, "value": "x", "lower_bound": 1}}',
        b'{"key": "k", "result": {"status": "", "verified": true, "value": NaN, "lower_bound": 1}}',
        b'{"key": "k", "result": {"status": "x", "verified": true, "value": 1, "lower_bound": 5}}',
        b'{"key": "k", "result": {"status": "", "verified": 1, "value": 1, "lower_bound": true}}',
        b'{"key": "k", "result": {"status": "x", "reason": "", "process_s": "q"}}',
        b'{"key": "k", "result": {"status": "x", "reason": "", "gap": {}}}',
        b'{"key": "k", "result": {"status": "x", "reason": "", "chosen_solver": 3}}',
        b'{"key": "k", "result": {"status": "x", "reason": "", "value": 1%s}}' % (b"0" * 400),
        b'{"key": "k", "key": "k", "result": {"status": "x", "reason": ""}}',
    ],
)
def test_a_line_that_is_no_row_is_refused(tmp_path: Path, line: bytes) -> None:
    (tmp_path / FINISHED_FILE).write_bytes(line + b"\n")
    with pytest.raises(UsageError, match="line 1: no finished row"):
        run_suite(GRID, tmp_path, HERE)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [("late", 6, "time_limit"), ("crash", 70, "crash"), ("infeasible", 4, "infeasible")],
)
def test_a_suite_without_a_plan_ends_with_the_error_of_its_first_row(
    status: str, code: int, kind: str
) -> None:
    first = {"model": "m.onnx", "solver": "fluid", "status": status, "reason": "why"}
    error = only_error(Benched((first, {**first, "reason": "?"}), ("t.csv",), 2, False, 1.0))
    assert error is not None
    assert (error.exit_code, error.kind, error.details) == (code, kind, {"files": ["t.csv"]})
    assert error.message == "none of 2 rows has a result; the first, m.onnx, fluid: why"
    assert only_error(Benched((first, {"verified": True}), (), 2, False, 1.0)) is None


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux")
def test_what_was_lost_for_want_of_memory_runs_again_with_more(tmp_path: Path) -> None:
    suite = replace(GRID, rows=GRID.rows[:1], memory_bytes=96 * 2**20)
    lost = run_suite(suite, tmp_path, HERE)
    assert failed(lost.rows[0])
    assert run_suite(suite, tmp_path, HERE).computed == 0
    if lost.rows[0]["status"] == "memory":
        error = only_error(lost)
        assert error is not None
        assert (error.kind, error.exit_code) == ("memory", 70)
        again = run_suite(replace(suite, memory_bytes=8 * 2**30), tmp_path, HERE)
        assert (again.computed, failed(again.rows[0])) == (1, False)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a" / FINISHED_FILE).mkdir(parents=True)
    with pytest.raises(UsageError, match="is a folder"):
        run_suite(GRID, tmp_path / "a", HERE)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / FINISHED_FILE).symlink_to("/dev/full")
    with pytest.raises(UsageError, match="is a character device"):
        run_suite(GRID, tmp_path / "b", HERE)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / FINISHED_FILE).symlink_to(tmp_path / "absent" / "rows")
    with pytest.raises(UsageError, match="cannot be written"):
        run_suite(GRID, tmp_path / "c", HERE)


def test_a_dangling_link_to_a_folder_is_made(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    run_suite(replace(GRID, rows=GRID.rows[:1]), tmp_path / "link", HERE)
    assert (tmp_path / "real" / "results.csv").exists()


def test_fresh_forgets_what_is_there(tmp_path: Path) -> None:
    (tmp_path / FINISHED_FILE).write_text("nonsense\n")
    assert run_suite(replace(GRID, rows=GRID.rows[:1]), tmp_path, HERE, fresh=True).computed == 1


PARENT = """
import os, subprocess, sys
inner = "import time; from ullage.compiler.bench.process import leave_with as leave; "
inner += f"leave({os.getpid()}); print(0, flush=True); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", inner], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes have no parents there")
def test_a_process_leaves_with_its_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PARENT], capture_output=True, text=True, check=True, timeout=120
    )
    orphan, deadline = int(done.stdout), time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(orphan, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(orphan, signal.SIGKILL)
    pytest.fail("the process stayed when its parent was gone")


@pytest.mark.wide(3)
@pytest.mark.parametrize(
    ("name", "model", "failures"),
    [
        ("cosma", chain(), set()),
        ("game", chain(), {"no_own_plan"}),
        ("packing", chain(), set()),
        ("scale", chain(), set()),
        ("state", growing_decoder(Decoder(layers=1)), set()),
        ("training", training_step(layers=1, batch=2), set()),
        ("validation", chain(), set()),
    ],
)
def test_rows_of_shipped_suites(
    name: str, model: onnx.ModelProto, failures: set[str], tmp_path: Path
) -> None:
    """The first and the last row of a suite, for a tiny model."""
    onnx.save(model, tmp_path / "tiny.onnx")
    suite = load_suite(name, tmp_path)
    for row in (suite.rows[0], suite.rows[-1]):
        result = run_row(Item("k", replace(row, fast_memory=""), suite.memory_bytes))
        assert result["status"] in {"optimal", "feasible", *failures}, result
        assert result["operators"] > 0


def test_rows_of_the_backend_suite() -> None:
    suite = load_suite("onnx-backend")
    for row in suite.rows[::70]:
        assert run_row(Item("k", row, suite.memory_bytes))["status"] in {"optimal", "feasible"}


def test_summaries_hold_rows_against_the_best_bound_of_their_problem() -> None:
    asked = dict.fromkeys(settings_of(Row(model="")), "") | {"order": "model"}
    found = {"chosen_schedule": "whole", "verified": True, "process_s": 1.0, "key": "k"}
    shared = asked | found
    rows = [
        {**shared, "solver": "a", "value": 3.0, "lower_bound": 1.0},
        {**shared, "solver": "b", "value": 4.0, "lower_bound": 2.0},
        {**shared, "solver": "b", "value": None, "lower_bound": None, "verified": None},
    ]
    lines = {line["solver"]: line for line in summary_rows(rows)}
    assert lines["a"]["mean_ratio"] == pytest.approx(1.5)
    assert lines["b"]["worst_ratio"] == pytest.approx(2.0)
    assert (lines["b"]["rows"], lines["b"]["plans"]) == (2, 1)
