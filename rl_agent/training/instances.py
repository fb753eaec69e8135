"""Programs to train on: named by small specifications, ready to be played once they are loaded.

A specification is all that a worker process needs: what it loads it keeps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import NamedTuple

import numpy as np

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.rl_agent.env.game_instance import GameArrays, game_instance_of
from ullage.rl_agent.env.state import State, copy_of, start_of
from ullage.rl_agent.policy.decode import decode
from ullage.rl_agent.policy.features import Encoding, encode
from ullage.rl_agent.policy.players import NOISE, PASSES, Policy, heuristic
from ullage.rl_agent.training.synthetic import random_program

# Fewest accesses of a program to train on; smaller ones teach nothing.
MIN_ACCESSES = 8
# Least spread of decodes by noisy orders, over the heuristic's time: where all orders do alike
# there is nothing to learn.
MIN_SPREAD = 0.003
# Decodes by noisy orders that the spread is taken of.
PROBES = 4
# Training instances that a process keeps in memory.
CACHED_INSTANCES = 2048


@dataclass(frozen=True)
class SyntheticProgram:
    """A program of the generator in `synthetic.py`.

    Attributes:
        seed: of all programs.
        number: of this one among them.
        workload_kinds: names of the kinds that it is drawn from.
    """

    seed: int
    number: int
    workload_kinds: tuple[str, ...]


@dataclass(frozen=True)
class ModelProgram:
    """A model at a share of its target's fast memory.

    Attributes:
        name: name or file of the model.
        target: name or file of the target.
        dtype: floating-point tensors are planned as this type; None: as they are.
        memory_share: capacity of the fastest tier over that of the target.
    """

    name: str
    target: str
    dtype: str | None
    memory_share: float


Program = SyntheticProgram | ModelProgram


class TrainingInstance(NamedTuple):
    """A program to train on, ready to be played.

    Attributes:
        arrays: the static arrays of the program.
        start: the state before the first move.
        state: one to play in.
        encoding: the program as the network sees it.
        reference_s: busy seconds of the heuristic's decode.
        spread: (worst - best) / reference of a few decodes by noisy orders.
    """

    arrays: GameArrays
    start: State
    state: State
    encoding: Encoding
    reference_s: float
    spread: float

    @property
    def teaches(self) -> bool:
        """Whether the order of moves makes a difference worth learning."""
        return self.spread >= MIN_SPREAD

    def seconds(self, policy: Policy) -> float:
        """Busy seconds of one decode."""
        scores, state_w = policy
        moves = self.encoding.moves
        return decode(self.state, self.start, moves, scores, state_w, PASSES, False)


def instance_of(problem: Problem) -> TrainingInstance | None:
    """A program ready to be played; None where it is infeasible or too small to teach."""
    try:
        instance = game_instance_of(problem)
    except InfeasibleError:
        return None
    if len(instance.arrays.access_segment) < MIN_ACCESSES:
        return None
    start = start_of(instance)
    encoding = encode(instance.arrays, start)
    bare = TrainingInstance(instance.arrays, start, copy_of(start), encoding, 0.0, 0.0)
    order = heuristic(encoding)
    reference_s = bare.seconds(order)
    if reference_s <= 0:
        return None
    rng = np.random.default_rng(len(encoding.key))
    noise = rng.normal(0.0, NOISE, (PROBES, len(encoding.key)))
    probes = [bare.seconds(order.moved(row)) for row in noise]
    spread = (max(probes) - min(probes)) / reference_s
    return bare._replace(reference_s=reference_s, spread=spread)


@lru_cache(maxsize=CACHED_INSTANCES)
def load_instance(program: Program) -> TrainingInstance | None:
    """The training instance of a specification, the same in every process; kept for the next time.

    Returns:
        None where the program is infeasible or too small to teach.
    """
    if isinstance(program, SyntheticProgram):
        rng = Random(f"{program.seed}/{program.number}")  # noqa: S311 - programs are no secrets
        return instance_of(random_program(rng, program.workload_kinds))
    from ullage.compiler.frontend import FrontendOptions, prepare
    from ullage.compiler.importer.model_zoo import find_model

    options = FrontendOptions(
        target=program.target, dtype=program.dtype, overrides={"split_operands": "false"}
    )
    prepared = prepare(find_model(program.name), options)
    capacity = int(prepared.target.fastest.capacity_bytes * program.memory_share)
    return instance_of(prepared.problem.on(prepared.target.with_fast_memory(capacity)))


def synthetic_programs(
    seed: int, workload_kinds: tuple[str, ...], count: int
) -> Iterator[SyntheticProgram]:
    """The first programs of a seed that teach something; infeasible ones are left out."""
    yielded = number = 0
    while yielded < count:
        program = SyntheticProgram(seed, number, workload_kinds)
        number += 1
        instance = load_instance(program)
        if instance is not None and instance.teaches:
            yielded += 1
            yield program
