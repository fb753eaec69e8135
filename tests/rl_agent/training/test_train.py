"""Training: resumed, repeated, and of use."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.agent import INSTANCES, POOL, begun, trained
from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.policy.network import load_network, read_arrays, write_arrays
from ullage.rl_agent.training.instances import load_instance
from ullage.rl_agent.training.train import (
    items_of,
    load_training,
    merge,
    save_training,
)
from ullage.rl_agent.training.work import play_item


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = trained(begun(), 6)
    save_training(trained(begun(), 2), tmp_path / "half.safetensors")
    resumed = trained(load_training(tmp_path / "half.safetensors"), 6)
    save_training(whole, tmp_path / "whole.safetensors")
    save_training(resumed, tmp_path / "resumed.safetensors")
    assert (tmp_path / "whole.safetensors").read_bytes() == (
        tmp_path / "resumed.safetensors"
    ).read_bytes()
    assert not np.array_equal(whole.average, begun().average)
    assert load_network(tmp_path / "whole.safetensors").weights.tolist() == whole.average.tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"options": None},
        {"options": {"families": []}, "generation": "x"},
        {"options": {"families": [], "unknown": 1}},
        {"generation": None},
        {"reward": None},
    ],
)
def test_damaged_checkpoints_are_not_resumed(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "a.safetensors"
    save_training(begun(), path)
    arrays, about = read_arrays(path)
    write_arrays(path, arrays, {**about, **change})
    with pytest.raises(UsageError, match="is damaged"):
        load_training(path)


def test_a_generation_does_not_depend_on_who_plays_its_items_or_when() -> None:
    training = trained(begun(), 2)
    items = pickle.loads(pickle.dumps(items_of(training, POOL)))  # noqa: S301 - our own
    load_instance.cache_clear()
    results = [play_item(item) for item in reversed(items)]
    assert merge(training, results).average.tolist() == trained(training, 3).average.tolist()


def test_training_makes_one_decode_better() -> None:
    """On the programs that it sees; those that it never saw are measured in benchmarks/."""
    start = begun()
    after = trained(start, 40)
    assert start.average.any()
    ratios = []
    for instance in INSTANCES:
        assert instance.seconds(start.network.policy(instance.encoding)) == instance.reference_s
        seconds = instance.seconds(after.network.policy(instance.encoding))
        ratios.append(seconds / instance.reference_s)
    assert np.mean(ratios) < 0.999
