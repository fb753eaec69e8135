"""Playing: a generation of games side by side, each decision by a search."""

import time
from collections.abc import Callable

import jax
import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.muzero.agent import NOISE, PLAY, Agent, OutOfTimeError
from ullage.rl_agent.muzero.arena import GameArena, advance, begin_games
from ullage.rl_agent.muzero.nets import Observation
from ullage.rl_agent.muzero.replay import Episode, Floats
from ullage.rl_agent.muzero.search import SearchResult, search

# Fewest and most decisions of a burst of noise, drawn evenly by their logarithm.
STRETCH = (3.0, 40.0)

# Chooses an action for each game from observation, masks (B, ACTIONS), games that are not over
# (B,), and the number of the decision.
Decide = Callable[[Observation, NDArray[np.bool_], NDArray[np.bool_], int], SearchResult]


def observation_of(arena: GameArena) -> Observation:
    """The observation of every game of an arena."""
    cells = (arena.observation * 255.0 + 0.5).astype(np.uint8)
    return Observation(cells, arena.uses_decided, arena.cursors)


def search_positions(
    agent: Agent, key: jax.Array, observation: Observation, masks: NDArray[np.bool_], noise: Floats
) -> SearchResult:
    """Search B positions with the agent's networks and options.

    Args:
        agent: networks and options.
        key: of the Gumbel noise.
        observation: of the positions.
        masks: (B, ACTIONS) legal actions.
        noise: (B,) scale of the Gumbel noise.
    """
    options = agent.options
    result: SearchResult = search(
        agent.params,
        key,
        observation,
        masks,
        noise,
        simulations=options.simulations,
        value_scale=options.value_scale,
        rescale=options.rescale,
    )
    return result


def play(agent: Agent, arena: GameArena, deadline: float) -> list[Episode]:
    """One game in each place of the arena, every decision by a search; the first without noise.

    Returns:
        The games in the order of the arena.

    Raises:
        OutOfTimeError: at the deadline; the games are lost.
    """
    keys = agent.key(PLAY)
    noise_at = noise_of(agent, len(arena.over))

    def decide(
        observation: Observation, masks: NDArray[np.bool_], _: NDArray[np.bool_], number: int
    ) -> SearchResult:
        if time.monotonic() >= deadline:
            raise OutOfTimeError
        return search_positions(
            agent, jax.random.fold_in(keys, number), observation, masks, noise_at(number)
        )

    return play_by(arena, agent.scale, decide)


def noise_of(agent: Agent, games: int) -> Callable[[int], Floats]:
    """(B,) scale of the noise in each game at a decision, by its number.

    The first games have the same noise at every decision, from none to all of it; the others have
    none but in one stretch: good decisions elsewhere are kept while one place is tried anew.
    """
    options, rng = agent.options, agent.rng(NOISE)
    steady = games - int(options.bursts * games)
    noise = np.zeros(games, dtype=np.float32)
    noise[:steady] = np.linspace(0.0, options.noise, steady)
    lengths = [len(episode.actions) for episode in agent.window[-games:]]
    usual = max(lengths, default=len(agent.instance.arrays.access_segment))
    begin = rng.integers(0, usual, size=games)
    end = begin + np.exp(rng.uniform(np.log(STRETCH[0]), np.log(STRETCH[1]), games))
    begin[:steady] = end[:steady] = -1

    def at(number: int) -> Floats:
        inside = (begin <= number) & (number < end)
        return np.where(inside, np.float32(options.burst_noise), noise)

    return at


def play_by(arena: GameArena, scale: float, decide: Decide) -> list[Episode]:
    """Play all games of an arena to their end.

    Args:
        arena: the games; begun anew.
        scale: rewards are busy seconds saved times this.
        decide: chooses an action for each game.

    Returns:
        The games in the order of the arena.
    """
    begin_games(arena)
    moves: list[tuple[NDArray[np.bool_], Episode]] = []
    while not arena.over.all():
        observation, masks, before = observation_of(arena), arena.masks.copy(), arena.busy_s.copy()
        playing = ~arena.over
        result = decide(observation, masks, playing, len(moves))
        actions = np.asarray(result.action)
        advance(arena, actions.astype(np.int64))
        rewards = ((before - arena.busy_s) * scale).astype(np.float32)
        rest = (np.asarray(result.policy), np.asarray(result.value))
        moves.append(
            (playing, Episode(*observation, masks, actions.astype(np.int8), rewards, *rest))
        )
    return [
        Episode._make(
            np.stack(rows)
            for rows in zip(
                *([part[game] for part in row] for playing, row in moves if playing[game]),
                strict=True,
            )
        )
        for game in range(len(arena.over))
    ]
