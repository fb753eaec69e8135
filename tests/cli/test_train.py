"""`ullage train`."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from ullage.cli.main import run
from ullage.rl_agent.policy.network import SHIPPED, read_arrays, write_arrays
from ullage.rl_agent.schedule import session
from ullage.rl_agent.schedule.network import SHIPPED as SHIPPED_SCHEDULER
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
    squeezenet = ["compile", "squeezenet", "--dtype", "int8", "--fast-memory", "256KiB", "--quiet"]
    assert run([*squeezenet, "--schedule", f"agent:{out}", "--time-limit", "20s"]) == 0
    assert run([*squeezenet, "--schedule", f"agent:{tmp_path / 'none.safetensors'}"]) == 2
    assert "none.safetensors" in capsys.readouterr().err
    assert run([*squeezenet, "--schedule", "agent:"]) == 2
    assert run([*words, "--agent", "muzero"]) == 2
    assert run(["train", "--game", "chess"]) == 2
    assert "--game is malloc or schedule" in capsys.readouterr().err


@pytest.mark.parametrize("game", ["malloc", "schedule"])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "-1"], "at least 0, not -1"),
        (["--seed", str(2**63)], "at most"),
        (["--target", "edge-npu-spm"], "go with a MODEL"),
        (["--dtype", "bf16"], "go with a MODEL"),
    ],
)
def test_options_that_do_not_serve_are_refused_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], game: str, words: list[str], said: str
) -> None:
    out = tmp_path / "mine.safetensors"
    assert run(["train", "--game", game, "--out", str(out), *words]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("game", ["malloc", "schedule"])
@pytest.mark.parametrize("number", [1e307, -1e307, float("nan"), float("inf")])
def test_weights_that_are_no_weights_are_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], game: str, number: float
) -> None:
    arrays, about = read_arrays(SHIPPED if game == "malloc" else SHIPPED_SCHEDULER)
    arrays["weights"] = arrays["weights"].copy()
    arrays["weights"][3] = number
    bad, out = tmp_path / "bad.safetensors", tmp_path / "out.safetensors"
    write_arrays(bad, arrays, about)
    assert run(["train", "--game", game, "--resume", str(bad), "--out", str(out)]) == 2
    assert "array weights holds numbers that are not finite or above" in capsys.readouterr().err
    assert not out.exists()


def test_a_checkpoint_without_its_description_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays, _ = read_arrays(SHIPPED)
    bad, out = tmp_path / "bad.safetensors", tmp_path / "out.safetensors"
    save_file(arrays, bad)
    assert run(["train", "--resume", str(bad), "--out", str(out)]) == 2
    assert "its metadata has no JSON object `about`" in capsys.readouterr().err
