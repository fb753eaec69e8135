"""`ullage check`, and commands that take problem files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cli import Json

PROBLEM = {
    "format": "ullage-problem",
    "format_version": 1,
    "name": "mine",
    "target": "edge-npu",
    "fast_memory_bytes": 65536,
    "tensors": [
        {"name": "image", "size_bytes": 48000, "kind": "input"},
        {"name": "features", "size_bytes": 32000},
        {"name": "classes", "size_bytes": 100, "kind": "output"},
    ],
    "operators": [
        {"name": "conv", "reads": ["image"], "writes": ["features"], "macs": 360000},
        {"name": "pool", "reads": ["features"], "writes": ["classes"], "vector_elements": 32000},
    ],
}


@pytest.fixture
def problem(tmp_path: Path) -> Path:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(PROBLEM))
    return path


def test_a_problem_is_compiled_and_its_solution_checked(
    ask: Json, say: Callable[..., tuple[str, str]], problem: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    compiled = ask("compile", problem, "-o", out, "--emit", "json,problem,solution")
    assert compiled["model"] == "mine"
    for solution in ("solution.json", "plan.json"):
        found = ask("check", out / "problem.json", out / solution)
        assert found["legal"] is True
        assert found["value"] == pytest.approx(compiled["latency_s"], rel=1e-12)
        assert found["best_known"] == found["value"]
        assert found["improves"] is False
        assert found["gap"] >= 0
        ask("check", problem, out / solution)
    text, _ = say("check", out / "problem.json", out / "solution.json")
    assert "legal" in text
    assert "not better than the best known" in text


def test_a_solution_that_is_illegal_is_refused(ask: Json, problem: Path, tmp_path: Path) -> None:
    ask("compile", problem, "-o", tmp_path, "--emit", "solution")
    path = tmp_path / "solution.json"
    document = json.loads(path.read_text())
    for field, value, rule in (("residencies", [], ""), ("transfers", 5, "malformed")):
        path.write_text(json.dumps(document | {field: value}))
        error = ask("check", problem, path, code=5)["error"]
        assert error["kind"] == "verification"
        first = error["details"]["violations"][0]
        assert set(first) == {"rule", "message", "step", "buffers"}
        assert rule in first["rule"]


def test_wrong_values_and_bounds_are_told(
    ask: Json, say: Callable[..., tuple[str, str]], problem: Path, tmp_path: Path
) -> None:
    ask("compile", problem, "-o", tmp_path, "--emit", "solution")
    solution = tmp_path / "solution.json"
    document = json.loads(solution.read_text())
    solution.write_text(json.dumps(document | {"value": 1.0}))
    problem.write_text(json.dumps(PROBLEM | {"record": {"lower_bound": 1.0, "bound_source": "x"}}))
    _, err = say("check", problem, solution)
    assert "that bound is wrong" in err
    assert "says its value is 1.0" in err
    assert ask("check", problem, solution)["refutes_bound"] is True
    for record in ({"value": 1e-12}, {"value": 0.5, "lower_bound": 1.0, "bound_source": "x"}):
        problem.write_text(json.dumps(PROBLEM | {"record": record}))
        _, err = say("check", problem, solution)
        assert "the record is wrong" in err
    problem.write_text(json.dumps(PROBLEM | {"record": {"value": 1.0}}))
    _, err = say("check", problem, solution)
    assert "the record is wrong" not in err


def test_compare_and_sweep_take_problem_files(ask: Json, problem: Path) -> None:
    rows = ask("compare", problem, "--solvers", "greedy,fluid")["rows"]
    assert [row["solver"] for row in rows] == ["greedy", "fluid"]
    assert {row["target"] for row in rows} == {"edge-npu"}
    swept = ask("sweep", problem, "--fast-memory", "16KiB..64KiB", "--points", 2)
    assert [row["fast_memory_bytes"] for row in swept["rows"]] == [16384, 65536]


def test_options_change_the_problem_or_are_refused(ask: Json, problem: Path) -> None:
    other = ask("compile", problem, "--target", "edge-npu-spm", "--objective", "energy")
    assert (other["target"], other["objective"]) == ("edge-npu-spm", "energy")
    assert ask("compile", problem, "--fast-memory", "16KiB")["fast_memory_bytes"] == 16384
    for options in (["--dtype", "int8"], ["--batch", 2], ["--schedule", "cascade"]):
        error = ask("compile", problem, *options, code=2)["error"]
        assert error["kind"] == "usage"


@pytest.mark.parametrize("command", ["analyze", "run", "verify"])
def test_commands_that_need_a_model_say_so(
    ask: Json, problem: Path, plan_path: Path, command: str
) -> None:
    arguments = {
        "analyze": ["analyze", problem],
        "run": ["run", problem, plan_path],
        "verify": ["verify", plan_path, "--model", problem],
    }[command]
    error = ask(*arguments, code=2)["error"]
    assert "a problem file has no model" in error["message"]


def test_a_wrong_problem_file_is_refused(ask: Json, problem: Path, tmp_path: Path) -> None:
    problem.write_text(json.dumps(PROBLEM | {"target": "no-such-chip"}))
    assert "no-such-chip" in ask("compile", problem, code=2)["error"]["message"]
    (tmp_path / "x.json").write_text("{}")
    assert (
        "not a problem file"
        in ask("check", tmp_path / "x.json", problem, code=2)["error"]["message"]
    )
    problem.write_text(json.dumps(PROBLEM))
    error = ask("check", problem, tmp_path / "x.json", code=2)["error"]
    assert "neither a solution nor a plan" in error["message"]


def test_the_objective_of_the_file_counts(ask: Json, problem: Path) -> None:
    problem.write_text(json.dumps(PROBLEM | {"objective": "peak"}))
    assert ask("compile", problem)["objective"] == "peak"
    assert ask("compile", problem, "--slower-by", "50%")["objective"] == "peak"
    problem.write_text(json.dumps(PROBLEM | {"objective": "peak", "latency_limit_s": 1e-9}))
    error = ask("compile", problem, code=4)["error"]
    assert "latency_limit_s" in error["message"]
    error = ask("compile", problem, "--slower-by", "50%", code=2)["error"]
    assert "leave one out" in error["message"]


def test_fields_that_are_wrong_are_named_in_plain_words(ask: Json, problem: Path) -> None:
    problem.write_text(json.dumps(PROBLEM | {"colour": "red"}))
    assert "field colour is unknown" in ask("compile", problem, code=2)["error"]["message"]
    problem.write_text(json.dumps({k: v for k, v in PROBLEM.items() if k != "name"}))
    assert "field name is missing" in ask("compile", problem, code=2)["error"]["message"]


def _program(ask: Json, problem: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The problem step by step, and a solution of it."""
    ask("compile", problem, "--solver", "greedy", "-o", tmp_path, "--emit", "problem,solution")
    return tmp_path / "problem.json", tmp_path / "solution.json"


def test_every_command_refuses_a_malformed_program_by_its_field(
    ask: Json, problem: Path, tmp_path: Path
) -> None:
    program, solution = _program(ask, problem, tmp_path)
    document = json.loads(program.read_bytes())
    document["program"]["steps"][1]["uses"][0]["value"] = "ghost"
    program.write_text(json.dumps(document))
    suite = tmp_path / "suite.toml"
    suite.write_text(f'[[grids]]\nmodels = ["{program}"]\nsolvers = ["greedy"]\n')
    for command in (
        ("compile", program, "--solver", "greedy"),
        ("compare", program, "--solvers", "greedy"),
        ("sweep", program, "--fast-memory", "32KiB..64KiB"),
        ("check", program, solution),
        ("bench", "--suite", suite, "-o", tmp_path / "bench"),
    ):
        error = ask(*command, code=2)["error"]
        assert (
            f"{program}: the problem is malformed: field program.steps.1.uses.0"
            in (error["message"])
        ), command


def test_all_violations_are_told(
    ask: Json, say: Callable[..., tuple[str, str]], problem: Path, tmp_path: Path
) -> None:
    program, solution = _program(ask, problem, tmp_path)
    document = json.loads(solution.read_bytes())
    document["residencies"] = []
    document["transfers"] = []
    solution.write_text(json.dumps(document))
    listed = ask("check", program, solution, code=5)["error"]["details"]["violations"]
    assert len(listed) > 2
    told = say("check", program, solution, code=5)[1]
    assert f"{len(listed)} violations" in told
    assert all(violation["message"] in told for violation in listed)
