"""A small agent: programs to train on, a training, random policies."""

from random import Random

import numpy as np

from tests.support.games import CASES
from ullage.compiler.common.errors import InfeasibleError
from ullage.rl_agent.env.game_instance import game_instance_of
from ullage.rl_agent.env.state import start_of
from ullage.rl_agent.policy.decode import KINDS
from ullage.rl_agent.policy.features import Encoding, encode
from ullage.rl_agent.policy.players import Player, Policy
from ullage.rl_agent.policy.trial import ASPECTS
from ullage.rl_agent.training.instances import load_instance, synthetic_programs
from ullage.rl_agent.training.synthetic import random_program
from ullage.rl_agent.training.train import (
    Training,
    TrainOptions,
    begin_training,
    train,
)

SMALL = TrainOptions(seed=3, programs=3, batch=2, pairs=4, families=("cells", "dense"))


POOL = tuple(synthetic_programs(SMALL.seed, SMALL.families, SMALL.programs))


INSTANCES = [instance for instance in map(load_instance, POOL) if instance is not None]


def any_policy(encoding: Encoding, rng: np.random.Generator) -> Policy:
    """Random scores; in every second case random weights for the state, too."""
    weights = rng.normal(0.0, float(rng.integers(2)), (KINDS, ASPECTS))
    return Policy(rng.normal(0.0, 2.0, len(encoding.key)), weights)


def begun() -> Training:
    return begin_training(SMALL, [instance.encoding for instance in INSTANCES])


def large_case() -> tuple[Encoding, Player]:
    instance = CASES[0][2]
    for seed in range(50):
        try:
            instance = game_instance_of(random_program(Random(seed), ("inception",)))
        except InfeasibleError:
            continue
        break
    start = start_of(instance)
    encoding = encode(instance.arrays, start)
    return encoding, Player(instance.arrays, start, encoding, 60)


def trained(training: Training, generations: int) -> Training:
    return train(training, POOL, lambda t: t.generation < generations)
