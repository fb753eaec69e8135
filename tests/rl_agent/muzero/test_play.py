"""Noise of the games that are played to learn from."""

import numpy as np

from tests.support.muzero import GAMES, SMALL, agent_of
from ullage.rl_agent.muzero.play import noise_of


def test_noise_is_steady_in_some_games_and_a_burst_in_others() -> None:
    agent = agent_of()
    at = noise_of(agent, GAMES)
    rows = np.array([at(number) for number in range(200)])
    steady = GAMES // 2
    assert rows[:, 0].tolist() == [0.0] * 200
    assert (rows[:, :steady] == rows[0, :steady]).all()
    assert rows[0, steady - 1] == SMALL.noise
    bursts = rows[:, steady:]
    assert set(np.unique(bursts)) == {0.0, SMALL.burst_noise}
    for game in bursts.T:
        inside = np.flatnonzero(game)
        assert (np.diff(inside) == 1).all()
        assert len(inside) <= 41
