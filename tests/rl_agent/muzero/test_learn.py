"""Learning."""

import numpy as np

from tests.support.muzero import GAMES, INSTANCE, agent_of
from ullage.rl_agent.muzero.arena import open_arena
from ullage.rl_agent.muzero.learn import learn, loss_of, optimiser
from ullage.rl_agent.muzero.play import play
from ullage.rl_agent.muzero.replay import draw, lay_out


def test_learning_lowers_the_loss() -> None:
    agent = agent_of()
    episodes = play(agent, open_arena(INSTANCE, GAMES), float("inf"))
    positions = lay_out(episodes)
    rng = np.random.default_rng(0)
    indices = rng.integers(len(positions), size=32)
    batch = draw(positions, positions.targets(99), indices, 3, rng, imitate=True)
    params, moments = agent.params, optimiser(1e-3).init(agent.params)
    before = float(loss_of(params, batch)[0])
    for _ in range(30):
        params, moments, _ = learn(params, moments, batch, rate=1e-3)
    assert float(loss_of(params, batch)[0]) < 0.7 * before
