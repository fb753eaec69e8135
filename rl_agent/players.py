"""Search with the exact simulator: noisy greedy, evolution strategies, Gumbel search.

All of them call the same decode and are counted by the same player, so that they can be compared
at equal numbers of simulator calls.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ullage.rl_agent.board import Board, FloatArray, IntArray
from ullage.rl_agent.decode import decode
from ullage.rl_agent.features import Encoding
from ullage.rl_agent.state import State, copy_of

PASSES = 2  # of a decode over its candidates
POPULATION = 16
STEP_SIZES = (1.0, 0.5, 0.25, 0.12)  # of the noise, in standard deviations of normalised scores
MUTATED_SHARE = (1.0, 0.3, 0.1)
NOISE = 0.1  # of noisy greedy, in ranks relative to the number of candidates


class OutOfCallsError(Exception):
    """The player's simulator calls or its time are used up."""


@dataclass
class Player:
    """Counts simulator calls and keeps the best order.

    Attributes:
        board: the board.
        start: the state before the first move.
        encoding: the program.
        max_calls: simulator calls allowed.
        deadline: `time.monotonic()` value to stop at.
        addresses: decode with addresses, else by live bytes.
        calls: simulator calls so far.
        best_s: busy seconds of the best order.
        best_scores: its scores.
        curve: (calls, busy seconds) at every improvement.
        improved: called with busy seconds at every improvement.
    """

    board: Board
    start: State
    encoding: Encoding
    max_calls: int
    deadline: float = float("inf")
    addresses: bool = False
    calls: int = 0
    best_s: float = float("inf")
    best_scores: FloatArray = field(default_factory=lambda: np.zeros(0))
    curve: list[tuple[int, float]] = field(default_factory=list)
    improved: Callable[[float], None] = lambda _: None

    def __post_init__(self) -> None:
        self._state = copy_of(self.start)

    def order_of(self, scores: FloatArray) -> IntArray:
        """Candidates, best score first; ties as they are numbered."""
        return self.encoding.candidates[np.argsort(-scores, kind="stable")]

    def value(self, scores: FloatArray) -> float:
        """Busy seconds of the decode by these scores.

        Raises:
            OutOfCallsError: before the decode; at least one is always allowed.
        """
        if self.calls and (self.calls >= self.max_calls or time.monotonic() >= self.deadline):
            raise OutOfCallsError
        self.calls += 1
        order = self.order_of(scores)
        found = decode(self.board, self._state, self.start, order, PASSES, self.addresses)
        if found < self.best_s:
            self.best_s, self.best_scores = found, scores.copy()
            self.curve.append((self.calls, found))
            self.improved(found)
        return found

    def replay(self) -> State:
        """The finished game of the best order; valid until the next decode."""
        order = self.order_of(self.best_scores)
        decode(self.board, self._state, self.start, order, PASSES, self.addresses)
        return self._state


def normalised(scores: FloatArray) -> FloatArray:
    """Ranks spread evenly over [-1.7, 1.7]: mean 0, standard deviation 1."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))[::-1]
    return np.asarray((ranks / max(len(scores) - 1, 1) - 0.5) * np.sqrt(12.0))


def noisy_greedy(player: Player, scores: FloatArray, rng: np.random.Generator) -> None:
    """Decodes of the same scores with fresh noise, until calls or time are out."""
    base = normalised(scores)
    try:
        player.value(base)
        while True:
            player.value(base + rng.normal(0.0, NOISE * np.sqrt(12.0), len(base)))
    except OutOfCallsError:
        return


def evolve(player: Player, scores: FloatArray, rng: np.random.Generator) -> None:
    """Evolution strategies on the scores, from a start, until calls or time are out.

    A (1 + 16) strategy: each generation draws a step size and the share of scores that are mutated;
    the best child replaces its parent where it is no worse.
    """
    centre = normalised(scores)
    try:
        best = player.value(centre)
        for sigma, share in _schedule(rng):
            noise = rng.normal(0.0, sigma, (POPULATION, len(centre)))
            noise *= rng.random(noise.shape) < share
            values = np.array([player.value(centre + row) for row in noise])
            winner = int(values.argmin())
            if values[winner] <= best:
                best, centre = float(values[winner]), centre + noise[winner]
    except OutOfCallsError:
        return


def _schedule(rng: np.random.Generator) -> Iterator[tuple[float, float]]:
    """Step sizes and mutated shares, drawn at random for ever."""
    while True:
        yield float(rng.choice(STEP_SIZES)), float(rng.choice(MUTATED_SHARE))
