"""Playing: a generation of games side by side, each decision by a search."""

import time
from collections.abc import Callable

import jax
import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.muzero.agent import NOISE, PLAY, Agent, OutOfTimeError
from ullage.rl_agent.muzero.arena import GameArena, advance, begin_games
from ullage.rl_agent.muzero.nets import Seen
from ullage.rl_agent.muzero.replay import Episode, Floats
from ullage.rl_agent.muzero.search import Found, search

STRETCH = (3.0, 40.0)  # decisions of a burst of noise, drawn evenly by their logarithm

# Decides: what is seen, masks, games still going on, number of the decision.
Decide = Callable[[Seen, NDArray[np.bool_], NDArray[np.bool_], int], Found]


def seen_in(arena: GameArena) -> Seen:
    """What the agent sees of every game."""
    cells = (arena.seen * 255.0 + 0.5).astype(np.uint8)
    return Seen(cells, arena.uses_decided, arena.cursors)


def look(
    agent: Agent, key: jax.Array, seen: Seen, masks: NDArray[np.bool_], noise: Floats
) -> Found:
    """A search as the agent's options want it, for B positions."""
    chosen = agent.options
    found: Found = search(
        agent.params,
        key,
        seen,
        masks,
        noise,
        simulations=chosen.simulations,
        value_scale=chosen.value_scale,
        rescale=chosen.rescale,
    )
    return found


def play(agent: Agent, arena: GameArena, deadline: float) -> list[Episode]:
    """One game in each place of the arena; the first without noise.

    Raises:
        OutOfTimeError: at the deadline; the games are lost.
    """
    keys = agent.key(PLAY)
    noise_at = noise_of(agent, len(arena.over))

    def decide(seen: Seen, masks: NDArray[np.bool_], _: NDArray[np.bool_], number: int) -> Found:
        if time.monotonic() >= deadline:
            raise OutOfTimeError
        return look(agent, jax.random.fold_in(keys, number), seen, masks, noise_at(number))

    return play_by(arena, agent.scale, decide)


def noise_of(agent: Agent, games: int) -> Callable[[int], Floats]:
    """(B,) scale of the noise in each game at a decision, by its number.

    The first games have the same noise at every decision, from none to all of it; the others have
    none but in one stretch, so that what is good elsewhere stays while one place is tried anew.
    """
    chosen, rng = agent.options, agent.rng(NOISE)
    steady = games - int(chosen.bursts * games)
    noise = np.zeros(games, dtype=np.float32)
    noise[:steady] = np.linspace(0.0, chosen.noise, steady)
    lengths = [len(episode.actions) for episode in agent.window[-games:]]
    usual = max(lengths, default=len(agent.instance.arrays.access_segment))
    begin = rng.integers(0, usual, size=games)
    end = begin + np.exp(rng.uniform(np.log(STRETCH[0]), np.log(STRETCH[1]), games))
    begin[:steady] = end[:steady] = -1

    def at(number: int) -> Floats:
        inside = (begin <= number) & (number < end)
        return np.where(inside, np.float32(chosen.burst_noise), noise)

    return at


def play_by(arena: GameArena, scale: float, decide: Decide) -> list[Episode]:
    """Games to their end.

    Args:
        arena: the games.
        scale: rewards are busy seconds saved times this.
        decide: an action for each game.
    """
    begin_games(arena)
    moves: list[tuple[NDArray[np.bool_], Episode]] = []
    while not arena.over.all():
        seen, masks, before = seen_in(arena), arena.masks.copy(), arena.busy_s.copy()
        playing = ~arena.over
        found = decide(seen, masks, playing, len(moves))
        actions = np.asarray(found.action)
        advance(arena, actions.astype(np.int64))
        rewards = ((before - arena.busy_s) * scale).astype(np.float32)
        rest = (np.asarray(found.policy), np.asarray(found.value))
        moves.append((playing, Episode(*seen, masks, actions.astype(np.int8), rewards, *rest)))
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
