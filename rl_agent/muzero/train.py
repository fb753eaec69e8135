"""Training on one program, generation by generation: play, remember, learn.

Everything random in a generation comes from (seed, generation).
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.muzero.agent import PLAY, Agent, OutOfTimeError, remember
from ullage.rl_agent.muzero.arena import open_arena
from ullage.rl_agent.muzero.nets import Observation
from ullage.rl_agent.muzero.play import play, play_by
from ullage.rl_agent.muzero.search import SearchResult
from ullage.rl_agent.muzero.study import study


class Report(NamedTuple):
    """A generation in figures.

    Attributes:
        generation: its number, from 1.
        games: played so far, in all.
        best_s: latency of the best plan so far.
        greedy_s: latency of this generation's game without noise, by live bytes.
        mean_s: mean latency of this generation's games, by live bytes.
        losses: mean parts of the loss.
        seconds: since this call began.
    """

    generation: int
    games: int
    best_s: float
    greedy_s: float
    mean_s: float
    losses: dict[str, float]
    seconds: float


def play_by_chance(agent: Agent, improved: Callable[[float], None], deadline: float) -> None:
    """Games of random legal moves until the deadline, where training has no time."""
    arena = open_arena(agent.instance, agent.options.games)
    rng = agent.rng(PLAY)

    def decide(
        _: Observation, masks: NDArray[np.bool_], __: NDArray[np.bool_], ___: int
    ) -> SearchResult:
        if time.monotonic() >= deadline:
            raise OutOfTimeError
        chances = rng.random(masks.shape) * (masks + 1e-9)
        return SearchResult(chances.argmax(-1), masks.astype(np.float32), arena.busy_s)

    try:
        while True:
            best_s = agent.best_s
            remember(agent, play_by(arena, agent.scale, decide), arena)
            if agent.best_s < best_s:
                improved(agent.best_s)
    except OutOfTimeError:
        return


def train(
    agent: Agent,
    goes_on: Callable[[Agent], bool],
    report: Callable[[Report], None] = lambda _: None,
    improved: Callable[[float], None] = lambda _: None,
    deadline: float = float("inf"),
) -> None:
    """Generations until `goes_on` says no or the deadline comes; the agent holds the results.

    A generation cut short by the deadline counts for its best plan alone.

    Args:
        agent: is trained.
        goes_on: called before each generation.
        report: called after each.
        improved: called with the latency of a better plan.
        deadline: `time.monotonic()` value.
    """
    begun = time.monotonic()
    arena = open_arena(agent.instance, agent.options.games)
    overhead_s = agent.instance.overhead_s
    try:
        while goes_on(agent):
            best_s = agent.best_s
            episodes = play(agent, arena, deadline)
            remember(agent, episodes, arena)
            if agent.best_s < best_s:
                improved(agent.best_s)
            fresh = sum(len(episode.actions) for episode in episodes)
            losses = study(agent, fresh, deadline)
            agent.generation += 1
            report(
                Report(
                    generation=agent.generation,
                    games=agent.games,
                    best_s=agent.best_s,
                    greedy_s=float(arena.busy_s[0]) + overhead_s,
                    mean_s=float(arena.busy_s.mean()) + overhead_s,
                    losses=losses,
                    seconds=time.monotonic() - begun,
                )
            )
    except OutOfTimeError:
        return
