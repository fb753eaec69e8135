"""Players search with a budget of simulator calls."""

import numpy as np
import pytest

from tests.support.agent import large_case
from ullage.rl_agent.env.state import BUSY_S
from ullage.rl_agent.policy.gumbel import gumbel_search
from ullage.rl_agent.policy.players import evolve, heuristic, noisy_greedy


@pytest.mark.parametrize("search", [noisy_greedy, evolve, gumbel_search])
def test_players_count_their_calls_and_improve_on_where_they_start(search: object) -> None:
    encoding, player = large_case()
    _, other = large_case()
    _, first = large_case()
    begun_s = first.value(heuristic(encoding))
    for one in (player, other):
        search(one, heuristic(encoding), np.random.default_rng(1))  # type: ignore[operator]
        assert one.calls == one.max_calls
        assert one.curve[0] == (1, begun_s)
        assert [busy_s for _, busy_s in one.curve] == sorted({s for _, s in one.curve})[::-1]
        assert one.best_s < begun_s
        assert float(one.replay().total[BUSY_S]) == one.best_s
    assert player.curve == other.curve
