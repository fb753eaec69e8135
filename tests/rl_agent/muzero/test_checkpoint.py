"""Checkpoints."""

from pathlib import Path

import pytest

from tests.support.games import CASES
from tests.support.muzero import INSTANCE, agent_of
from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.env.game_instance import by_live_bytes
from ullage.rl_agent.muzero.checkpoint import load_agent, save_agent
from ullage.rl_agent.muzero.train import train


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, half = agent_of(), agent_of()
    train(whole, lambda a: a.generation < 4)
    train(half, lambda a: a.generation < 2)
    save_agent(half, tmp_path / "half.safetensors")
    resumed = load_agent(tmp_path / "half.safetensors", INSTANCE, half.packer)
    assert resumed.best == half.best
    train(resumed, lambda a: a.generation < 4)
    save_agent(whole, tmp_path / "whole.safetensors")
    save_agent(resumed, tmp_path / "resumed.safetensors")
    assert (tmp_path / "whole.safetensors").read_bytes() == (
        tmp_path / "resumed.safetensors"
    ).read_bytes()


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    agent = agent_of()
    save_agent(agent, tmp_path / "a.safetensors")
    other = by_live_bytes(min(CASES, key=lambda case: len(case[2].arrays.access_segment))[2])
    with pytest.raises(UsageError, match="trained per program"):
        load_agent(tmp_path / "a.safetensors", other, agent.packer)
    (tmp_path / "b.safetensors").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="cannot be read as a checkpoint"):
        load_agent(tmp_path / "b.safetensors", INSTANCE, agent.packer)
