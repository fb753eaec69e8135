"""A small agent `muzero`, and the game that it plays; needs the extra `muzero`."""

from typing import Any

import numpy as np

from tests.support.games import CASES
from ullage.compiler.ir.problem import Problem
from ullage.rl_agent.env.game_instance import GameInstance, by_live_bytes
from ullage.rl_agent.muzero import solver as muzero
from ullage.rl_agent.muzero.agent import Agent, MuZeroOptions, new_agent
from ullage.rl_agent.muzero.arena import advance, begin_games, open_arena
from ullage.rl_agent.muzero.nets import (
    Observation,
)
from ullage.rl_agent.muzero.play import observation_of
from ullage.solvers.budget import Budget

GAMES = 8


SMALL = MuZeroOptions(
    seed=5, games=GAMES, simulations=4, unroll=3, batch=64, window=24, elites=4, passes=4.0
)


def biggest() -> tuple[Problem, GameInstance]:
    """The case with most uses."""
    _, problem, instance = max(CASES, key=lambda case: len(case[2].arrays.access_segment))
    return problem, by_live_bytes(instance)


PROBLEM, INSTANCE = biggest()


USES = len(INSTANCE.arrays.access_segment)


def agent_of(options: MuZeroOptions = SMALL) -> Agent:
    rivals = muzero.rivals_of(PROBLEM, Budget()).values()
    reference_s = muzero.reference_of(PROBLEM, INSTANCE, rivals)
    return new_agent(INSTANCE, reference_s, options, muzero.packer_of(PROBLEM, INSTANCE, Budget()))


def some_positions(count: int = GAMES) -> tuple[Observation, Any]:
    arena = open_arena(INSTANCE, count)
    begin_games(arena)
    for number in range(3):
        advance(arena, np.array([np.flatnonzero(m)[(number + i) % m.sum()] if m.any() else 0
                                 for i, m in enumerate(arena.masks)]))  # fmt: skip
    return observation_of(arena), arena.masks.copy()
