"""Learning from the games of the replay buffer, after searching some of their positions anew."""

import time

import jax
import numpy as np

from ullage.rl_agent.muzero.agent import LEARN, LOOK, Agent, OutOfTimeError
from ullage.rl_agent.muzero.learn import learn
from ullage.rl_agent.muzero.nets import Observation
from ullage.rl_agent.muzero.play import search_positions
from ullage.rl_agent.muzero.replay import Batch, Positions, draw, joined, lay_out


def search_again(agent: Agent, positions: Positions, deadline: float) -> None:
    """Search some old positions with the present networks (Schrittwieser et al. 2021).

    Raises:
        OutOfTimeError: at the deadline.
    """
    options, rng, key = agent.options, agent.rng(LOOK), agent.key(LOOK)
    noise = np.zeros(options.games, dtype=np.float32)
    rows = positions.rows
    for number in range(int(options.looks * len(positions) / options.games)):
        if time.monotonic() >= deadline:
            raise OutOfTimeError
        indices = rng.integers(len(positions), size=options.games)
        observation = Observation(rows.cells[indices], rows.decided[indices], rows.cursor[indices])
        result = search_positions(
            agent, jax.random.fold_in(key, number), observation, rows.masks[indices], noise
        )
        rows.policies[indices] = np.asarray(result.policy)
        rows.values[indices] = np.asarray(result.value)
    at = 0
    for episode in agent.window:
        behind = at + len(episode.actions)
        episode.policies[:] = rows.policies[at:behind]
        episode.values[:] = rows.values[at:behind]
        at = behind


def study(agent: Agent, fresh: int, deadline: float) -> dict[str, float]:
    """Steps of learning from the window and the elites; returns the mean parts of the loss.

    From the window the agent learns what the search made of its positions; from its best games it
    learns the actions played (self-imitation, Oh et al. 2018: where nothing is left to chance, a
    return once achieved can be achieved again).

    Args:
        agent: learns.
        fresh: positions played in this generation.
        deadline: `time.monotonic()` value.

    Raises:
        OutOfTimeError: at the deadline.
    """
    options, rng = agent.options, agent.rng(LEARN)
    window = lay_out(agent.window)
    search_again(agent, window, deadline)
    ahead = window.targets(options.lookahead)
    elites = lay_out(agent.elites) if agent.elites else None
    best = int(options.elite_share * options.batch) if elites is not None else 0
    sums: dict[str, float] = {}
    steps = max(1, round(options.passes * fresh / options.batch))
    for _ in range(steps):
        if time.monotonic() >= deadline:
            raise OutOfTimeError
        indices = rng.integers(len(window), size=options.batch - best)
        batch: Batch = draw(window, ahead, indices, options.unroll, rng, imitate=False)
        if elites is not None and best:
            indices = rng.integers(len(elites), size=best)
            whole = elites.targets(len(elites))
            good = draw(elites, whole, indices, options.unroll, rng, imitate=True)
            batch = joined(batch, good)
        agent.params, agent.moments, parts = learn(
            agent.params, agent.moments, batch, rate=options.rate
        )
        for name, part in parts.items():
            sums[name] = sums.get(name, 0.0) + float(part)
    return {name: total / steps for name, total in sums.items()}
