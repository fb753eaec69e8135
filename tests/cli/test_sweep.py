"""`ullage sweep` as programs and people see it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.registering import put_in_place
from ullage.cli.main import run
from ullage.compiler import emit
from ullage.compiler.common.units import format_size
from ullage.compiler.driver.result import Compiled
from ullage.compiler.ir.plan_json import read_plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import greedy
from ullage.solvers.interface import Solution

Json = Callable[..., dict[str, Any]]
QUICK = ("squeezenet", "--dtype", "int8", "--solver", "greedy")


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Json:
    """Run `sweep` with --json; returns the one document on stdout."""

    def call(*arguments: object, code: int = 0) -> dict[str, Any]:
        assert run(["sweep", *map(str, arguments), "--json"]) == code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return call


def test_rows_have_the_keys_of_compile(ask: Json, capsys: pytest.CaptureFixture[str]) -> None:
    found = ask(*QUICK, "--fast-memory", "64KiB..1MiB", "--points", 3)
    assert run(["compile", *QUICK, "--fast-memory", "256KiB", "--json"]) == 0
    alone = json.loads(capsys.readouterr().out)
    assert [row["fast_memory_bytes"] for row in found["rows"]] == [65536, 262144, 1048576]
    for row in found["rows"]:
        assert set(alone) - {"written"} <= set(row)
        assert {"taken_from_bytes", "bound_from_bytes", "refined"} <= set(row)
        assert row["bound_source"]
    same = ("value", "lower_bound", "traffic_bytes", "solver", "model", "steady_state")
    assert {key: found["rows"][1][key] for key in same} == {key: alone[key] for key in same}
    assert (found["partial"], found["notes"]) == (False, [])
    assert "smallest_fast_memory_bytes" not in found


def test_the_table_agrees_with_the_document(ask: Json, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        *QUICK,
        "--fast-memory",
        "64KiB..1MiB",
        "--points",
        "4",
        "--meet-latency",
        "1.2ms",
    )
    found = ask(*arguments)
    assert found["smallest_fast_memory_bytes"] is not None
    assert run(["sweep", *arguments]) == 0
    said = capsys.readouterr()
    rows = [line for line in said.out.splitlines() if line.startswith("│")]
    assert len(rows) == len(found["rows"]) > 4
    for line, row in zip(rows, found["rows"], strict=True):
        assert format_size(row["fast_memory_bytes"]) in line
        assert f"{row['speedup_over_all_slow']:.3f}x" in line
    assert found["message"] in said.out
    flat = found["flat_from_bytes"]
    assert flat is not None
    assert f"from {format_size(flat)} on no larger size has a plan better" in said.out
    every = all(row["bound_every_order"] for row in found["rows"])
    assert f"lower bounds for {'every' if every else 'this'} order" in said.out
    assert "\x1b" not in said.out
    assert not said.err


def test_infeasible_sizes_are_rows_and_all_of_them_an_error(
    ask: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*QUICK, "--target", "cosma", "--points", "3", "--fast-memory")
    found = ask(*arguments, "64KiB..4MiB")
    assert [row["status"] for row in found["rows"]].count("infeasible") >= 1
    assert found["rows"][0]["error"]["details"]["needed_bytes"] > 65536
    assert run(["sweep", *arguments, "64KiB..4MiB"]) == 0
    assert "without a plan" in capsys.readouterr().err
    error = ask(*arguments, "16KiB..64KiB", code=4)["error"]
    assert error["kind"] == "infeasible"


def test_plans_and_picture_are_written(ask: Json, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture, folder = tmp_path / "curve.svg", tmp_path / "out"
    found = ask(
        *QUICK, "--fast-memory", "64KiB..256KiB", "--points", 2, "--plot", picture, "-o", folder
    )
    assert found["plot"] == str(picture)
    assert picture.read_bytes().startswith(b"<?xml")
    assert sorted(path.name for path in folder.iterdir()) == ["262144", "65536"]
    for row in found["rows"]:
        plan = read_plan(Path(row["plan"]))
        assert plan.target.fastest.capacity_bytes == row["fast_memory_bytes"]
        assert find_violations(plan) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "--fast-memory"),
        (("--fast-memory", "1MiB"), "FROM..TO"),
        (("--fast-memory", "1MiB..64KiB"), "smaller"),
        (("--fast-memory", "64KiB..1MiB", "--points", "1"), "at least 2"),
        (("--fast-memory", "64KiB..1MiB", "--plot", "curve.pdf"), ".svg or .png"),
        (("--fast-memory", "64KiB..1MiB", "--objective", "peak"), "peak"),
        (("--fast-memory", "64KiB..1MiB", "--meet-latency", "-1"), "at least 0"),
        (("--fast-memory", "64KiB..1MiB", "--emit", "poem"), "poem"),
        (("--fast-memory", "64KiB..1MiB", "--solver", "nobody"), "nobody"),
    ],
)
def test_wrong_options_are_usage_errors(ask: Json, arguments: tuple[str, ...], word: str) -> None:
    error = ask("squeezenet", *arguments, code=2)["error"]
    assert error["kind"] == "usage"
    assert word in error["message"]


def test_a_missing_matplotlib_is_told_before_any_solving(
    ask: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ullage.compiler.studies.plots.find_spec", lambda _: None)
    monkeypatch.setattr("ullage.compiler.studies.sweep.prepare", None)
    error = ask("squeezenet", "--fast-memory", "1KiB..2KiB", "--plot", "a.svg", code=2)["error"]
    assert "pip install 'ullage[plot]'" in error["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    """The plans of finished sizes are told, whatever moment Ctrl-C comes at."""
    log = tmp_path / "progress"
    script = (
        "import sys, time\n"
        "from ullage.compiler.studies import sweep\n"
        "from ullage.cli.main import main\n"
        "solve = sweep.solve_prepared\n"
        "def slowly(prepared, options):\n"
        f"    open({str(log)!r}, 'a').write('.')\n"
        f"    if len(open({str(log)!r}).read()) > 2:\n"
        "        time.sleep(60)\n"
        "    return solve(prepared, options)\n"
        "sweep.solve_prepared = slowly\n"
        "main(sys.argv[1:])\n"
    )
    arguments = ["sweep", *QUICK, "--fast-memory", "64KiB..1MiB", "--points", "5", "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not (log.exists() and log.read_text() == "..."):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.2)
        os.kill(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    document = json.loads(out)
    assert document["partial"] is True
    assert [row["fast_memory_bytes"] for row in document["rows"]] == [65536, 131072]
    assert "interrupted" in err


def test_ctrl_c_while_plans_are_written_says_which_are_complete(
    ask: Json, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emit_json, folders = emit.EMITTERS["json"], []

    def stopped(compiled: Compiled, folder: Path) -> Path:
        folders.append(folder)
        if len(folders) == 2:
            raise KeyboardInterrupt
        return emit_json(compiled, folder)

    monkeypatch.setattr(emit, "EMITTERS", {**emit.EMITTERS, "json": stopped})
    sizes = ("--fast-memory", "64KiB..1MiB", "--points", 3)
    found = ask(*QUICK, *sizes, "-o", tmp_path, code=130)
    there = sorted(str(path) for path in tmp_path.rglob("*.json"))
    assert sorted(f for row in found["rows"] for f in row["written"]) == there
    assert len(folders) == 2
    assert [row["plan"] is None for row in found["rows"]] == [False, True, True]
    capacity = ("--set", "tiers.sram.capacity_bytes=1MiB")
    error = ask(*QUICK, *sizes, *capacity, code=2)["error"]
    assert "two capacities" in error["message"]


def test_sizes_whose_time_was_over_are_marked(
    ask: Json, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def late(problem: Problem, _: object, budget: Budget) -> Solution:
        found = greedy.solve(problem, greedy.GreedyOptions(), budget)
        tight = problem.target.fastest.capacity_bytes < 131072
        return replace(found, stop_reason="time limit" if tight else "finished")

    put_in_place("msa", late, monkeypatch)
    arguments = ("squeezenet", "--dtype", "int8", "--solver", "msa")
    arguments += ("--fast-memory", "64KiB..256KiB", "--points", "2")
    found = ask(*arguments)
    assert [row["stop_reason"] for row in found["rows"]] == ["time limit", "finished"]
    [note] = found["notes"]
    assert note.startswith("1 of 2 sizes ended when their share of the time was over")
    assert run(["sweep", *arguments]) == 0
    said = capsys.readouterr()
    rows = [line for line in said.out.splitlines() if line.startswith("│")]
    assert ["msa* " in line for line in rows] == [True, False]
    assert note in said.err


def test_sizes_that_round_alike_are_shown_in_bytes_too(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (*QUICK, "--fast-memory", "1090000..1090048", "--points", "2")
    assert run(["sweep", *arguments]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [row.split("│")[1].strip() for row in rows] == [
        "1.04 MiB (1090000 B)",
        "1.04 MiB (1090048 B)",
    ]
