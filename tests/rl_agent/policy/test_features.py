"""What the policy sees."""

import numpy as np

from tests.support.games import CASES
from ullage.rl_agent.env.state import start_of
from ullage.rl_agent.policy.features import FEATURES, encode


def test_features_are_numbers_of_the_order_of_one() -> None:
    for _, _, instance in CASES:
        encoding = encode(instance.arrays, start_of(instance))
        assert encoding.features.shape == (len(encoding.key), FEATURES)
        assert np.isfinite(encoding.features).all()
        assert np.abs(encoding.features).max() < 50
        assert sorted(encoding.by_step) == list(range(len(encoding.key)))
        assert np.isfinite(encoding.key).all()
