"""`ullage train --agent muzero`."""

import json
from pathlib import Path

import pytest

from ullage.cli.main import run
from ullage.rl_agent.muzero.agent import Agent


def test_train_makes_a_checkpoint_that_compile_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.safetensors"
    program = ["--dtype", "int8", "--fast-memory", "512KiB", "--set", "split_operands=false"]
    words = ["train", "bvlc_alexnet", "--agent", "muzero", *program, "--out", str(out), "--json"]
    assert run([*words, "--steps", "1"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["generations"], first["games"], first["agent"]) == (1, 64, "muzero")
    assert run([*words, "--steps", "2", "--resume", str(out)]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["best_latency_s"] <= first["best_latency_s"]
    lines = [json.loads(line) for line in Path(second["log"]).read_text().splitlines()]
    assert [line["generation"] for line in lines] == [1, 2]
    more = ["--solver", "muzero", "--param", f"checkpoint={out}", "--param", "generations=1"]
    assert run(["compile", "bvlc_alexnet", *program, *more, "--json"]) == 0
    compiled = json.loads(capsys.readouterr().out)
    assert compiled["verified"]
    assert compiled["latency_s"] <= second["best_latency_s"] * (1 + 1e-9)
    assert run(["compile", "bvlc_alexnet", *more, "--json"]) == 2  # another program
    assert "trained per program" in capsys.readouterr().out
    for wrong in (["squeezenet"], ["--jobs", "2"], ["--engine", "ray"]):
        assert run([*words, *wrong]) == 2
        capsys.readouterr()


def test_an_interrupted_training_leaves_its_last_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(agent: Agent, *_: object) -> dict[str, float]:
        if agent.generation:
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr("ullage.rl_agent.muzero.train.study", once)
    words = ["train", "bvlc_alexnet", "--agent", "muzero", "--out", str(tmp_path / "a.safetensors")]
    assert run([*words, "--json"]) == 130
    document = json.loads(capsys.readouterr().out)
    assert (document["generations"], document["interrupted"]) == (1, True)
    assert (tmp_path / "a.safetensors").is_file()
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1
