"""The networks."""

import numpy as np
import pytest

from tests.support.muzero import GAMES, USES, some_positions
from ullage.rl_agent.muzero.nets import (
    SUPPORT,
    VALUE_HIGH,
    move,
    new_params,
    predict,
    represent,
    two_hot,
)


def test_values_are_what_their_two_bins_say() -> None:
    values = np.array([-1.23, 0.0, 0.777, VALUE_HIGH])
    hot = np.asarray(two_hot(values))
    assert hot @ SUPPORT == pytest.approx(values, abs=1e-5)
    assert ((hot > 0).sum(-1) <= 2).all()
    assert np.asarray(two_hot(np.array([99.0]))) @ SUPPORT == pytest.approx(VALUE_HIGH)


def test_networks_tell_positions_and_actions_apart() -> None:
    params = new_params(0, USES)
    observation, _ = some_positions()
    hidden = np.asarray(represent(params, observation))
    assert len(np.unique(hidden.round(4), axis=0)) > 1
    after = [np.asarray(move(params, hidden, np.full(GAMES, a))[0]) for a in range(3)]
    assert not np.allclose(after[0], after[1], atol=1e-3)
    logits, _ = predict(params, hidden)
    assert np.asarray(logits) == pytest.approx(0.0)  # an even policy to begin with
