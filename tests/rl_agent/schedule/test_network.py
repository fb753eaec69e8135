"""The policy: zeros are the dynamic program, decodes are schedules, checkpoints are checked."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.schedule_games import random_task
from ullage.compiler.common.errors import UsageError
from ullage.rl_agent.policy.network import FORMAT, write_arrays
from ullage.rl_agent.schedule.features import FEATURES, encode
from ullage.rl_agent.schedule.network import (
    CORRECTIONS,
    WEIGHTS,
    Decoder,
    ScheduleNetwork,
    corrected_chain,
    network_in,
    random_network,
    untrained_network,
    zero_network,
)
from ullage.rl_agent.schedule.tables import instance_of
from ullage.solvers.scheduling.cascade.valued import schedule_of


def test_zeros_and_an_untrained_network_are_the_dynamic_program() -> None:
    for seed in range(20):
        instance = instance_of(random_task(seed)[1])
        decoder = Decoder(instance, encode(instance))
        best = tuple(instance.chain.best(0, instance.operators))
        for network in (zero_network(), untrained_network(seed)):
            assert instance.cascades(decoder.rows(network).tolist()) == best


def test_a_decode_is_the_dynamic_program_over_the_corrected_costs() -> None:
    others = 0
    for seed in range(30):
        instance = instance_of(random_task(seed)[1])
        encoding = encode(instance)
        network = random_network(seed)
        found = instance.cascades(Decoder(instance, encoding).rows(network).tolist())
        chain = corrected_chain(instance, network, encoding)
        assert found == tuple(chain.best(0, instance.operators))
        others += found != tuple(instance.chain.best(0, instance.operators))
        assert schedule_of(instance.task, instance.facts, found) is not None
    assert others > 10


def test_features_are_finite_and_of_the_size_of_one() -> None:
    for seed in range(30):
        instance = instance_of(random_task(seed)[1])
        features = encode(instance).features
        assert features.shape == (len(instance.groups), FEATURES)
        assert np.isfinite(features).all()
        assert np.abs(features).max() <= 5
        said = random_network(seed).corrections(encode(instance))
        assert said.shape == (len(instance.groups), CORRECTIONS)


def test_costs_stay_positive_whatever_the_weights() -> None:
    instance = instance_of(random_task(4)[1])
    network = ScheduleNetwork(1e3 * np.random.default_rng(0).standard_normal(WEIGHTS))
    own_s, scale = network.costs(encode(instance))
    assert (own_s[instance.arrays.own_s > 0] > 0).all()
    assert (scale > 0).all()


def test_noise_leads_to_other_schedules() -> None:
    instance = instance_of(random_task(4)[1])
    decoder, rng = Decoder(instance, encode(instance)), np.random.default_rng(0)
    found = {
        tuple(decoder.rows(zero_network(), rng.normal(0, 1.0, len(instance.groups))).tolist())
        for _ in range(20)
    }
    assert len(found) > 3


def test_what_is_no_checkpoint_of_the_game_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    for weights in (np.zeros(3), np.full(WEIGHTS, np.nan)):
        write_arrays(path, {"schedule_network": weights}, {"format": FORMAT})
        with pytest.raises(UsageError, match=r"holds (no schedule network|numbers)"):
            network_in(path)
    with pytest.raises(UsageError, match="cannot be read"):
        network_in(tmp_path / "missing.safetensors")
