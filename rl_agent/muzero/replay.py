"""The replay buffer: games as recorded, and batches of their positions to learn from.

Games are laid end to end; a batch is N positions with the K actions after each:

    positions   | game 0 ........ | game 1 ... | game 2 ..........
    batch row                ^ i  i+1 .. i+K: behind the end of a game nothing is real
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ullage.rl_agent.env.rules import ACTIONS
from ullage.rl_agent.muzero.nets import Observation

Floats = NDArray[np.float32]


class Episode(NamedTuple):
    """One game of D decisions.

    Attributes:
        cells: (D, OBSERVATION_SIZE) uint8, see `Observation`.
        decided: (D, E) int8, see `Observation`.
        cursor: (D,) int32, see `Observation`.
        masks: (D, ACTIONS) legal actions.
        actions: (D,) int8, played.
        rewards: (D,) of the action and of those that were forced after it.
        policies: (D, ACTIONS) of the search.
        values: (D,) of the search.
    """

    cells: NDArray[np.uint8]
    decided: NDArray[np.int8]
    cursor: NDArray[np.int32]
    masks: NDArray[np.bool_]
    actions: NDArray[np.int8]
    rewards: Floats
    policies: Floats
    values: Floats

    @property
    def total(self) -> float:
        """The return: the sum of all rewards."""
        return float(self.rewards.sum(dtype=np.float64))


class Batch(NamedTuple):
    """N positions to learn from, each unrolled over K actions.

    Attributes:
        observation: of the first position.
        actions: (N, K) played after each position.
        rewards: (N, K) of these actions.
        policies: (N, K + 1, ACTIONS) targets.
        values: (N, K + 1) targets.
        real: (N, K + 1) 1.0 before the end of the game, 0.0 behind it.
    """

    observation: Observation
    actions: NDArray[np.int8]
    rewards: Floats
    policies: Floats
    values: Floats
    real: Floats


@dataclass
class Positions:
    """Games laid end to end: P positions.

    Attributes:
        rows: all episodes' arrays, concatenated.
        end: (P,) one past the last position of the game.
    """

    rows: Episode
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.end)

    def targets(self, steps: int) -> Floats:
        """(P,) targets of the values: rewards of `steps` decisions, then the search's value."""
        sums = np.concatenate([[0.0], np.cumsum(self.rows.rewards, dtype=np.float64)])
        here = np.arange(len(self))
        behind = np.minimum(here + steps, self.end)
        inside = behind < self.end
        later = self.rows.values[np.minimum(behind, len(self) - 1)] * inside
        return np.asarray(sums[behind] - sums[here] + later, dtype=np.float32)


def lay_out(episodes: Sequence[Episode]) -> Positions:
    """Episodes end to end."""
    rows = Episode._make(np.concatenate(parts) for parts in zip(*episodes, strict=True))
    lengths = np.array([len(episode.actions) for episode in episodes])
    return Positions(rows, np.repeat(np.cumsum(lengths), lengths))


def draw(
    positions: Positions,
    targets: Floats,
    indices: NDArray[np.int64],
    unroll: int,
    rng: np.random.Generator,
    *,
    imitate: bool,
) -> Batch:
    """Picked positions (N,) as a batch; behind the end of a game actions are random.

    Args:
        positions: to draw from.
        targets: (P,) of the values.
        indices: (N,) positions of the batch.
        unroll: K, actions after each position.
        rng: for actions behind the end.
        imitate: the policy to learn is the action played, not the search's policy.
    """
    at = indices[:, None] + np.arange(unroll + 1)
    real = at < positions.end[indices][:, None]
    at = np.where(real, at, len(positions) - 1)
    rows = positions.rows
    played = rows.actions[at]
    policies = np.eye(ACTIONS, dtype=np.float32)[played] if imitate else rows.policies[at]
    random = rng.integers(ACTIONS, size=(len(indices), unroll)).astype(np.int8)
    return Batch(
        observation=Observation(rows.cells[indices], rows.decided[indices], rows.cursor[indices]),
        actions=np.where(real[:, :-1], played[:, :-1], random),
        rewards=rows.rewards[at][:, :-1] * real[:, :-1],
        policies=policies,
        values=targets[at] * real,
        real=real.astype(np.float32),
    )


def joined(one: Batch, other: Batch) -> Batch:
    """Two batches as one."""
    observation = Observation._make(
        np.concatenate(parts) for parts in zip(one.observation, other.observation, strict=True)
    )
    tails: Any = zip(one[1:], other[1:], strict=True)
    rest = [np.concatenate(parts) for parts in tails]
    return Batch(observation, *rest)
