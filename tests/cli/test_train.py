"""`ullage train`."""

import json
from pathlib import Path

import pytest

from ullage.cli.main import run
from ullage.rl_agent.schedule import session
from ullage.rl_agent.schedule.network import network_in
from ullage.rl_agent.schedule.train import ScheduleTrainOptions


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


def test_the_schedule_game_is_trained_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"exercises": 2, "batch": 2, "pairs": 1, "families": ("chain",)}
    monkeypatch.setattr(
        session, "ScheduleTrainOptions", lambda seed: ScheduleTrainOptions(seed=seed, **few)
    )
    out = tmp_path / "scheduler.safetensors"
    words = ["train", "--game", "schedule", "--out", str(out), "--json"]
    assert run([*words, "--steps", "1"]) == 0
    capsys.readouterr()
    assert run([*words, "--steps", "2", "--resume", str(out)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["game"], document["generations"]) == ("schedule", 2)
    assert len(network_in(out).weights)
    assert run([*words, "--agent", "muzero"]) == 2
    assert run(["train", "--game", "chess"]) == 2
    assert "--game is malloc or schedule" in capsys.readouterr().err
