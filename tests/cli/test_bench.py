"""`ullage bench`."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.support.cli import Json
from tests.support.contest import CHAIN, write_instance


def test_bench_from_the_command_line(ask: Json, tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text(
        '[[grids]]\nmodels = "squeezenet"\nsolvers = "greedy"\nschedules = "whole"\n'
        '[[grids]]\nmodels = "squeezenet"\nsolvers = "greedy"\nparam = { nothing = 1 }\n'
    )
    out = tmp_path / "out"
    found = ask("bench", "--suite", suite, "-o", out)
    assert (found["suite"], found["computed"], found["interrupted"]) == ("mine", 2, False)
    assert [row["status"] for row in found["rows"]] == ["feasible", "usage"]
    assert ask("bench", "--suite", suite, "-o", out)["computed"] == 0
    stored = json.loads((out / "results.json").read_text())
    assert stored[0]["value"] == found["rows"][0]["value"]
    names = [row["name"] for row in ask("bench", "--list")["suites"]]
    assert "smoke" in names
    for wrong in (["--suite", "x"], ["--jobs", 0], ["--engine", "y"], ["--models", out / "no"]):
        assert ask("bench", *wrong, code=2)["error"]["kind"] == "usage"


def test_rows_without_a_plan_for_one_reason_share_a_line(
    say: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text(
        '[[grids]]\nmodels = "squeezenet"\nsolvers = "greedy"\nschedules = "whole"\n'
        '[[grids]]\nmodels = ["squeezenet", "vgg19"]\nsolvers = "greedy"\n'
        "param = { nothing = 1 }\n"
    )
    said = "".join(say("bench", "--suite", suite, "-o", tmp_path / "out"))
    (line,) = [line for line in said.splitlines() if line.startswith("no plan: ")]
    assert line.startswith("no plan: squeezenet, greedy (and 1 row more): usage: ")


def test_a_suite_without_any_plan_ends_with_its_first_error(ask: Json, tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text('[[grids]]\nmodels = "squeezenet"\nparam = { nothing = 1 }\n')
    error = ask("bench", "--suite", suite, "-o", tmp_path / "out", code=2)["error"]
    assert error["message"].startswith("squeezenet, auto: ")
    assert "nothing" in error["message"]
    assert str(tmp_path / "out" / "results.csv") in error["details"]["files"]


def test_the_contest_from_the_command_line(ask: Json, tmp_path: Path) -> None:
    write_instance(tmp_path / "in", "1", CHAIN)
    contest = ("bench", "--suite", "mlsys26", "-o", tmp_path / "out")
    found = ask(*contest, "--instances", tmp_path / "in")
    assert (found["suite"], found["computed"], found["interrupted"]) == ("mlsys26", 1, False)
    assert found["rows"][0]["valid"]
    assert (tmp_path / "out" / "1.solution.json").is_file()
    assert "mlsys26" in [row["name"] for row in ask("bench", "--list")["suites"]]
    for wrong in (
        [],
        ["--instances", tmp_path / "no"],
        ["--instances", tmp_path / "in", "--time-limit", "soon"],
        ["--instances", tmp_path / "in", "--models", tmp_path],
        ["--suite", "smoke", "--instances", tmp_path / "in"],
    ):
        assert ask(*contest, *wrong, code=2)["error"]["kind"] == "usage"


def test_a_contest_without_any_solution_ends_with_its_first_error(
    ask: Json, tmp_path: Path
) -> None:
    contest = ("bench", "--suite", "mlsys26", "-o", tmp_path / "out")
    write_instance(tmp_path / "in", "1", CHAIN | {"fast_memory_capacity": 2})
    ask(*contest, "--instances", tmp_path / "in", code=4)
    write_instance(tmp_path / "in", "1", CHAIN | {"widths": [-1] * 7})
    error = ask(*contest, "--instances", tmp_path / "in", code=3)["error"]
    assert "widths holds -1" in error["message"]
