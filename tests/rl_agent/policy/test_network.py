"""The network: the heuristic before training, features in units of their spread."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.agent import INSTANCES, begun, large_case
from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.policy.decode import KINDS
from ullage.rl_agent.policy.network import (
    SHIPPED,
    load_network,
    random_network,
    read_arrays,
    write_arrays,
    zero_network,
)
from ullage.rl_agent.policy.players import heuristic


def test_the_untrained_network_is_the_heuristic() -> None:
    encoding, _ = large_case()
    for network in (zero_network(), begun().network):
        for part, same in zip(network.policy(encoding), heuristic(encoding), strict=True):
            assert np.array_equal(part, same)
    for part, other in zip(random_network(1).policy(encoding), heuristic(encoding), strict=True):
        assert not np.array_equal(part, other)


def test_a_network_sees_features_in_units_of_their_spread() -> None:
    features = np.concatenate([instance.encoding.features for instance in INSTANCES])
    network = begun().network
    scaled = (features - network.shift) / network.spread
    assert np.abs(scaled.mean(axis=0)).max() < 1e-9
    assert scaled.std(axis=0).max() == pytest.approx(1.0)
    encoding = INSTANCES[0].encoding
    wider = replace(network, spread=2 * network.spread, shift=network.shift - 1.0)
    other = encoding._replace(features=2 * (encoding.features - network.shift) + wider.shift)
    other.features[:, :KINDS] = encoding.features[:, :KINDS]  # they are read as they are, too
    weights = random_network(2).weights
    found = replace(network, weights=weights).residual(encoding)
    assert found.std() > 0.1
    wider.shift[:KINDS], wider.spread[:KINDS] = network.shift[:KINDS], network.spread[:KINDS]
    assert replace(wider, weights=weights).residual(other) == pytest.approx(found)


def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    for path in (tmp_path / "bad.safetensors", tmp_path / "missing.safetensors"):
        with pytest.raises(UsageError, match="cannot be read as a checkpoint"):
            load_network(path)


def test_checkpoints_that_are_damaged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    arrays, about = read_arrays(SHIPPED)
    broken: list[tuple[dict[str, Any], Any]] = [
        ({**arrays, "network": np.full_like(arrays["network"], np.nan)}, about),
        ({**arrays, "network": arrays["network"][1:]}, about),
        ({name: array for name, array in arrays.items() if name != "shift"}, about),
        (arrays, [3]),
        (arrays, {**about, "format": 2}),
    ]
    for parts, text in broken:
        write_arrays(path, parts, text)
        with pytest.raises(UsageError, match=r"bad\.safetensors"):
            load_network(path)
