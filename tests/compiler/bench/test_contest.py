"""The suite `mlsys26`: each instance in a process of its own, solutions beside the table."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.contest import CHAIN, write_instance
from ullage.compiler.bench import contest
from ullage.compiler.bench.contest import limit_of, run_contest, run_instance
from ullage.compiler.common.engines import HERE
from ullage.compiler.common.errors import UsageError
from ullage.compiler.contest.instance import read_instance
from ullage.compiler.contest.rules import evaluate
from ullage.compiler.contest.solution import read_solution


def test_solutions_are_written_and_finished_rows_kept(tmp_path: Path) -> None:
    for name in ("10", "9", "chain"):
        write_instance(tmp_path / "in", name, CHAIN)
    (tmp_path / "in" / "published.json").write_text('{"9": 2000}')
    out = tmp_path / "out"
    done = run_contest(tmp_path / "in", out, HERE, time_limit_s=4)
    assert [row["instance"] for row in done.rows] == ["9", "10", "chain"]
    assert done.computed == 3
    instance = read_instance(tmp_path / "in" / "9.json")
    for row in done.rows:
        solution = read_solution(out / f"{row['instance']}.solution.json")
        assert evaluate(instance, solution).cost == pytest.approx(row["cost"])
        assert row["valid"]
        assert row["strict_cost"] >= row["cost"] >= row["lower_bound"]
    assert done.rows[0]["ratio"] == pytest.approx(done.rows[0]["cost"] / 2000)
    assert done.rows[1]["published"] is None
    again = run_contest(tmp_path / "in", out, HERE, time_limit_s=4)
    assert again.computed == 0
    assert again.rows == done.rows
    (out / "9.solution.json").unlink()
    assert run_contest(tmp_path / "in", out, HERE, time_limit_s=4).computed == 1
    assert run_contest(tmp_path / "in", out, HERE, time_limit_s=4, fresh=True).computed == 3
    with (out / "results.csv").open(newline="") as file:
        assert [row["instance"] for row in csv.DictReader(file)] == ["9", "10", "chain"]
    assert len(json.loads((out / "results.json").read_text())) == 3


@pytest.mark.parametrize(
    ("change", "status"),
    [({"fast_memory_capacity": 2}, "infeasible"), ({"op_types": ["Conv"] * 4}, "model")],
)
def test_an_instance_without_a_solution_says_why(
    tmp_path: Path, change: dict[str, object], status: str
) -> None:
    write_instance(tmp_path / "in", "1", CHAIN)
    write_instance(tmp_path / "in", "2", CHAIN | change)
    done = run_contest(tmp_path / "in", tmp_path / "out", HERE)
    assert [row["status"] for row in done.rows][1] == status
    assert done.rows[1]["reason"]
    assert done.rows[0]["valid"]
    assert not done.rows[1]["valid"]
    assert not (tmp_path / "out" / "2.solution.json").exists()


def test_folders_that_do_not_serve_are_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match="no instance"):
        run_contest(tmp_path / "in", tmp_path / "out", HERE)
    write_instance(tmp_path / "in", "1", CHAIN)
    with pytest.raises(UsageError, match="a folder of their own"):
        run_contest(tmp_path / "in", tmp_path / "in", HERE)
    for text in ("[]", '{"1": "cheap"}', '{"1": -1}', '{"1": true}', '{"1": 1e999}'):
        (tmp_path / "in" / "published.json").write_text(text)
        with pytest.raises(UsageError, match=r"published\.json"):
            run_contest(tmp_path / "in", tmp_path / "out", HERE)


def test_limits_are_the_contests(tmp_path: Path) -> None:
    by_number = [limit_of(tmp_path / f"{n}.json") for n in (1, 4, 5, 9, 13, 17, 21, 24)]
    assert by_number == [2, 2, 5, 15, 30, 60, 120, 120]
    assert limit_of(write_instance(tmp_path, "small", CHAIN)) == 2
    many = {name: CHAIN[name] * 10 for name in ("op_types", "base_costs")}  # type: ignore[operator]
    large = CHAIN | many
    large |= {"inputs": [[0]] * 40, "outputs": [[n + 1] for n in range(40)]}
    large |= {"op_types": ["Pointwise"] * 40, "widths": [16] * 41, "heights": [16] * 41}
    assert limit_of(write_instance(tmp_path, "large", large)) == 15


def test_a_process_that_dies_loses_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_instance(tmp_path / "in", "1", CHAIN)
    item = contest.Item("k", "1", str(path), str(tmp_path / "1.solution.json"), 2.0, 0)
    monkeypatch.setattr(contest, "PROGRAM", "import os; os.abort()")
    assert run_instance(item)["status"] == "crash"
    monkeypatch.setattr(contest, "PROGRAM", "import time; time.sleep(600)")
    monkeypatch.setattr(contest, "LATE_S", 0.5)
    assert run_instance(item._replace(limit_s=0.1))["status"] == "late"


@pytest.mark.parametrize(
    ("change", "status"),
    [({"fast_memory_capacity": 2}, "infeasible"), ({"op_types": ["MatMul", []] * 2}, "model")],
)
def test_a_solution_of_an_earlier_run_does_not_stay(
    tmp_path: Path, change: dict[str, object], status: str
) -> None:
    write_instance(tmp_path / "in", "1", CHAIN)
    assert run_contest(tmp_path / "in", tmp_path / "out", HERE).rows[0]["valid"]
    solution = tmp_path / "out" / "1.solution.json"
    kept = solution.read_bytes()
    write_instance(tmp_path / "in", "1", CHAIN | change)
    (row,) = run_contest(tmp_path / "in", tmp_path / "out", HERE).rows
    assert row["status"] == status
    assert "1.solution.json of an earlier run was removed" in row["reason"]
    assert not solution.exists()
    solution.write_bytes(kept)  # the row is finished, and its solution not its own
    (row,) = run_contest(tmp_path / "in", tmp_path / "out", HERE).rows
    assert "was removed" in row["reason"]
    assert not solution.exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    write_instance(tmp_path / "in", "1", CHAIN)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be made"):
        run_contest(tmp_path / "in", tmp_path / "file" / "out", HERE)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(("jobs", "parent_alone"), [(1, False), (2, False), (2, True)])
def test_ctrl_c_keeps_the_best(tmp_path: Path, jobs: int, *, parent_alone: bool) -> None:
    # so many operators that the search goes on for its whole limit
    count = 60
    document = CHAIN | {
        "widths": [16] * (2 * count + 1),
        "heights": [16] * (2 * count + 1),
        "inputs": [[0, count + 1], *([n, count + 1 + n] for n in range(1, count))],
        "outputs": [[n + 1] for n in range(count)],
        "op_types": ["MatMul", "Pointwise"] * (count // 2),
        "base_costs": [30, 5] * (count // 2),
    }
    names = [str(21 + number) for number in range(jobs + 1)]  # the last one is not begun
    for name in names:
        write_instance(tmp_path / "in", name, document)
    asked = ["bench", "--suite", "mlsys26", "--instances", str(tmp_path / "in")]
    asked += ["-o", str(tmp_path / "out"), "--json", "--jobs", str(jobs)]
    # whoever runs the tests in the background ignores Ctrl-C, and that is inherited
    script = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    script += "from ullage.cli.start import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, *asked],
        stdout=subprocess.PIPE,
        start_new_session=True,
        text=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "out" / "rows.jsonl").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(5 * jobs)
        (os.kill if parent_alone else os.killpg)(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    printed = json.loads(out)
    assert process.returncode == 130
    assert printed["interrupted"]
    assert printed["computed"] == 0
    assert [row["instance"] for row in printed["rows"]] == names[:jobs]
    instance = read_instance(tmp_path / "in" / f"{names[0]}.json")
    for row in printed["rows"]:
        solution = read_solution(tmp_path / "out" / f"{row['instance']}.solution.json")
        assert evaluate(instance, solution).cost == pytest.approx(row["cost"])
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        assert [row["instance"] for row in csv.DictReader(file)] == names[:jobs]
    assert not (tmp_path / "out" / "rows.jsonl").read_text()  # another run goes on with them
