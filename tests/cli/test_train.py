"""`ullage train`."""

import json
from pathlib import Path

import pytest

from ullage.cli.main import run


def test_train_writes_a_checkpoint_that_the_solver_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.safetensors"
    words = ["train", "squeezenet", "--out", str(out), "--json"]
    assert run([*words, "--steps", "2"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["generations"] == 2
    assert run([*words, "--steps", "3", "--resume", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["generations"] == 3
    lines = [json.loads(line) for line in Path(document["log"]).read_text().splitlines()]
    assert [line["generation"] for line in lines] == [1, 2, 3]
    parameters = ["--param", f"checkpoint={out}", "--param", "simulations=5"]
    assert run(["compile", "squeezenet", "--solver", "rl", *parameters, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]
    assert run(["train", "--out", str(tmp_path / "mine.txt")]) == 2


def test_a_limit_too_short_for_the_programs_ends_without_a_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.safetensors"
    assert run(["train", "--out", str(out), "--time-limit", "0.1"]) == 6
    assert "nothing was trained" in capsys.readouterr().err
    assert not out.exists()
