"""Search with the exact simulator: noisy greedy, evolution strategies, Gumbel search.

All of them call the same decode and are counted by the same player, so that they can be compared
at equal numbers of simulator calls.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.rl_agent.env.game_instance import GameArrays
from ullage.rl_agent.env.state import State, copy_of
from ullage.rl_agent.policy.decode import KINDS, decode
from ullage.rl_agent.policy.features import Encoding
from ullage.rl_agent.policy.trial import ASPECTS

# Passes of a decode over its candidates.
PASSES = 2
# Children of a generation, and those of them that only put candidates elsewhere in the order.
POPULATION = 16
RELOCATED = 4
# Smallest and largest standard deviation of a mutation, in units of scores.
STEP_SIZES = (0.15, 3.0)
# Shares of the scores that a mutation may change, drawn evenly.
MUTATED_SHARE = (1.0, 0.3, 0.1, 0.03)
# Share of the mutations that change the weights of the state, too, and their standard deviation.
STATE_SHARE = 0.5
STATE_STEP = 0.3
# Standard deviation of the noise on scores, of noisy greedy and of the first generation.
NOISE = 0.5


class Policy(NamedTuple):
    """What a decode follows.

    Attributes:
        scores: (C,) of the candidates, best first.
        state_w: (KINDS, ASPECTS) weights of what a candidate does to the state, see `trial`.
    """

    scores: Floats
    state_w: Floats

    def moved(self, by: Floats) -> "Policy":
        """The same with other scores."""
        return self._replace(scores=self.scores + by)


def heuristic(encoding: Encoding) -> Policy:
    """The heuristic's order, whatever the state."""
    return Policy(encoding.key, np.zeros((KINDS, ASPECTS)))


class OutOfCallsError(Exception):
    """The player's simulator calls or its time are used up."""


@dataclass
class Player:
    """Counts simulator calls and keeps the best order.

    Attributes:
        arrays: the static arrays of the program.
        start: the state before the first move.
        encoding: the program.
        max_calls: simulator calls allowed.
        deadline: `time.monotonic()` value to stop at.
        addresses: decode with addresses, else by live bytes.
        calls: simulator calls so far.
        best_s: busy seconds of the best order.
        best: its policy.
        curve: (calls, busy seconds) at every improvement.
        improved: called with busy seconds at every improvement.
    """

    arrays: GameArrays
    start: State
    encoding: Encoding
    max_calls: int
    deadline: float = float("inf")
    addresses: bool = False
    calls: int = 0
    best_s: float = float("inf")
    best: Policy = field(init=False)
    curve: list[tuple[int, float]] = field(default_factory=list)
    improved: Callable[[float], None] = lambda _: None

    def __post_init__(self) -> None:
        self._state = copy_of(self.start)
        self.best = heuristic(self.encoding)

    def value(self, policy: Policy) -> float:
        """Busy seconds of the decode by a policy.

        Raises:
            OutOfCallsError: before the decode; at least one is always allowed.
        """
        if self.calls and (self.calls >= self.max_calls or time.monotonic() >= self.deadline):
            raise OutOfCallsError
        self.calls += 1
        busy_s = self._decode(policy)
        if busy_s < self.best_s:
            self.best_s, self.best = busy_s, policy
            self.curve.append((self.calls, busy_s))
            self.improved(busy_s)
        return busy_s

    def replay(self) -> State:
        """The finished game of the best policy; valid until the next decode."""
        self._decode(self.best)
        return self._state

    def _decode(self, policy: Policy) -> float:
        return decode(
            self._state,
            self.start,
            self.encoding.moves,
            policy.scores,
            policy.state_w,
            PASSES,
            self.addresses,
        )


def noisy_greedy(player: Player, policy: Policy, rng: np.random.Generator) -> None:
    """Decodes of the same policy with fresh noise, until calls or time are out."""
    try:
        player.value(policy)
        while True:
            player.value(policy.moved(rng.normal(0.0, NOISE, len(policy.scores))))
    except OutOfCallsError:
        return


def evolve(player: Player, policy: Policy, rng: np.random.Generator) -> None:
    """Evolution strategies on the policy until calls or time are out.

    A (1 + 16) strategy; the best child replaces its parent where it is no worse. The first
    generation is noise of one size; after that every child draws how it is mutated.
    """
    try:
        best = player.value(policy)
        noise = rng.normal(0.0, NOISE, (POPULATION, len(policy.scores)))
        children = [policy.moved(by) for by in noise]
        while True:
            values = np.array([player.value(child) for child in children])
            winner = int(values.argmin())
            if values[winner] <= best:
                best, policy = float(values[winner]), children[winner]
            children = [relocated(policy, rng) for _ in range(RELOCATED)]
            children += [mutated(policy, rng) for _ in range(POPULATION - RELOCATED)]
    except OutOfCallsError:
        return


def mutated(policy: Policy, rng: np.random.Generator) -> Policy:
    """Steps of a random size for a random share of the scores, often for the state's weights."""
    count = len(policy.scores)
    low, high = np.log(STEP_SIZES)
    by = rng.normal(0.0, np.exp(rng.uniform(low, high)), count)
    child = policy.moved(by * (rng.random(count) < rng.choice(MUTATED_SHARE)))
    if rng.random() < STATE_SHARE:
        state_w = child.state_w + rng.normal(0.0, STATE_STEP, child.state_w.shape)
        child = child._replace(state_w=state_w)
    return child


def relocated(policy: Policy, rng: np.random.Generator) -> Policy:
    """One to three candidates are put anywhere in the order."""
    scores = policy.scores.copy()
    at = rng.choice(len(scores), min(int(rng.integers(1, 4)), len(scores)), replace=False)
    scores[at] = rng.uniform(scores.min() - 1.0, scores.max() + 1.0, len(at))
    return policy._replace(scores=scores)
