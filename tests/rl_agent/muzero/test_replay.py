"""Targets and batches."""

import numpy as np

from ullage.rl_agent.muzero.replay import Episode, Positions, draw, joined, lay_out


def episode(rewards: list[float], values: list[float]) -> Episode:
    length = len(rewards)
    return Episode(
        cells=np.zeros((length, 2), np.uint8),
        decided=np.zeros((length, 5), np.int8),
        cursor=np.arange(length, dtype=np.int32),
        masks=np.ones((length, 3), np.bool_),
        actions=np.arange(length, dtype=np.int8) % 3,
        rewards=np.array(rewards, np.float32),
        policies=np.full((length, 3), 1 / 3, np.float32),
        values=np.array(values, np.float32),
    )


def two_games() -> Positions:
    return lay_out([episode([1, 2, 3], [10, 20, 30]), episode([5, 7], [50, 70])])


def test_targets_sum_rewards_and_trust_values_behind_them() -> None:
    positions = two_games()
    assert positions.targets(1).tolist() == [21, 32, 3, 75, 7]
    assert positions.targets(2).tolist() == [33, 5, 3, 12, 7]
    assert positions.targets(99).tolist() == [6, 5, 3, 12, 7]


def test_batches_unroll_to_the_end_of_a_game_and_not_beyond() -> None:
    positions = two_games()
    targets = positions.targets(99)
    indices = np.array([1, 4])
    rng = np.random.default_rng(0)
    batch = draw(positions, targets, indices, 2, rng, imitate=False)
    assert batch.real.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert batch.rewards.tolist() == [[2, 3], [7, 0]]
    assert batch.values.tolist() == [[5, 3, 0], [7, 0, 0]]
    assert batch.actions[0].tolist() == [1, 2]
    assert batch.observation.cursor.tolist() == [1, 1]
    copied = draw(positions, targets, indices, 2, rng, imitate=True)
    assert copied.policies[0, 0].tolist() == [0, 1, 0]
    both = joined(batch, copied)
    assert len(both.actions) == len(both.observation.cells) == len(both.real) == 4
