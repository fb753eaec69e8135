"""Checkpoints."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.games import CASES
from tests.support.muzero import INSTANCE, agent_of
from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.env.game_instance import by_live_bytes
from ullage.rl_agent.env.rules import DROP
from ullage.rl_agent.muzero.agent import Agent
from ullage.rl_agent.muzero.arena import begin_games, open_arena
from ullage.rl_agent.muzero.checkpoint import load_agent, save_agent
from ullage.rl_agent.muzero.train import train
from ullage.rl_agent.policy.network import read_arrays, write_arrays


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


@cache
def _trained() -> Agent:
    """An agent with games in its window and one among its best."""
    agent = agent_of()
    train(agent, lambda a: a.generation < 1)
    agent.elites = agent.window[:1]
    return agent


def _changed(arrays: dict[str, Any], change: str) -> dict[str, Any]:
    """Arrays of a checkpoint, damaged."""
    if change.startswith("no "):
        return {name: array for name, array in arrays.items() if name != change[3:]}
    changed = {name: array.copy() for name, array in arrays.items()}
    if change == "best game cut":
        changed["best_game"] = changed["best_game"][:-1]
    elif change == "best game longer":
        changed["best_game"] = np.append(changed["best_game"], np.int8(DROP))
    elif change == "unknown action":
        changed["elites_actions"][0] = 7
    else:
        assert change == "forbidden action"
        arena = open_arena(INSTANCE, 1)
        begin_games(arena)
        changed["window_actions"][0] = int(np.flatnonzero(~arena.masks[0])[0])
    return changed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("no window_lengths", "is damaged"),
        ("no best_game", "is damaged"),
        ("no window_actions", "is damaged"),
        ("no params0", "another version"),
        ("best game cut", "rules do not allow"),
        ("best game longer", "rules do not allow"),
        ("unknown action", "rules do not allow"),
        ("forbidden action", "rules do not allow"),
    ],
)
def test_games_that_cannot_be_played_again_are_refused(
    tmp_path: Path, change: str, message: str
) -> None:
    """As where the rules of the game have changed since: nothing illegal is ever played."""
    path = tmp_path / "a.safetensors"
    save_agent(_trained(), path)
    assert len(load_agent(path, INSTANCE, _trained().packer).elites) == 1
    arrays, about = read_arrays(path)
    assert len(arrays["best_game"])
    write_arrays(path, _changed(arrays, change), about)
    with pytest.raises(UsageError, match=message):
        load_agent(path, INSTANCE, _trained().packer)


def test_figures_that_are_missing_are_missed(tmp_path: Path) -> None:
    agent = agent_of()
    path = tmp_path / "a.safetensors"
    save_agent(agent, path)
    arrays, about = read_arrays(path)
    for name in ("uses", "scale", "generation", "options"):
        write_arrays(path, arrays, {key: part for key, part in about.items() if key != name})
        with pytest.raises(UsageError, match="is damaged"):
            load_agent(path, INSTANCE, agent.packer)
