"""The tree search."""

import jax
import numpy as np
import pytest

from tests.support.muzero import GAMES, USES, some_positions
from ullage.rl_agent.muzero.nets import (
    new_params,
)
from ullage.rl_agent.muzero.search import search


def test_the_search_plays_what_is_legal_and_without_noise_always_the_same() -> None:
    params = new_params(0, USES)
    observation, masks = some_positions()
    for key in range(5):
        noise = np.full(GAMES, 1.0, np.float32)
        found = search(params, jax.random.key(key), observation, masks, noise, simulations=4)
        assert masks[np.arange(GAMES), np.asarray(found.action)].all()
        assert (np.asarray(found.policy)[~masks] == 0).all()
        assert np.asarray(found.policy).sum(-1) == pytest.approx(1.0, abs=1e-5)
    still = [
        np.asarray(
            search(params, jax.random.key(k), observation, masks, 0 * noise, simulations=4).action
        )
        for k in range(2)
    ]
    assert (still[0] == still[1]).all()
