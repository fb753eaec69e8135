"""`ullage warm-up` says what it did; whoever has too little time is told of it."""

import json
from pathlib import Path

import pytest

from ullage.cli.main import run
from ullage.compiler.common.kernel_store import activity
from ullage.rl_agent import solver as rl
from ullage.solvers.annealing import search as whole_search


def test_it_says_what_it_compiled_and_where_that_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["warm-up", "--quiet"]) == 0
    assert not capsys.readouterr().out
    assert run(["warm-up", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document) == {"families", "cache", "total_s"}
    assert all(
        set(family) == {"name", "compiled_s", "was_compiled"} for family in document["families"]
    )
    assert all(family["was_compiled"] for family in document["families"])
    assert Path(document["cache"]).is_dir()
    assert run(["warm-up"]) == 0
    out = capsys.readouterr().out
    assert "were compiled already" in out
    assert document["cache"] in out


def test_without_a_folder_it_compiles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ULLAGE_CACHE_DIR", str(tmp_path / "file"))
    monkeypatch.setattr(activity, "unwritable", "")
    assert run(["warm-up", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cache"] is None


def test_a_solver_without_time_to_compile_exits_with_6_and_compare_shows_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(rl, "is_ready", lambda: False)
    words = ["squeezenet", "--time-limit", "10", "--json"]
    assert run(["compile", *words, "--solver", "rl"]) == 6
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "time_limit"
    assert "ullage warm-up" in error["message"]
    assert run(["compare", *words, "--solvers", "greedy,evolution"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0]["solver"] == "greedy"
    assert "ullage warm-up" in rows[1]["error"]["message"]


def test_fluid_says_what_it_left_out_even_where_a_heuristic_has_the_better_plan(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(whole_search, "is_ready", lambda: False)
    words = ["squeezenet", "--solver", "fluid", "--set", "split_operands=false"]
    assert run(["compile", *words, "--time-limit", "20", "--json"]) == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert any("no search: kernels" in note and "ullage warm-up" in note for note in notes)
    assert any("lost less than rounding" in note for note in notes)
