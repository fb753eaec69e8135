"""The game by live bytes: space is what counts, a packer finds the addresses."""

import numpy as np
import pytest

from tests.support.games import CASES
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.rl_agent.env.game_instance import by_live_bytes
from ullage.rl_agent.env.plans import packed, residencies_of
from ullage.rl_agent.env.state import BUSY_S, copy_of, start_of
from ullage.rl_agent.env.turns import begin, step
from ullage.solvers.budget import Budget
from ullage.solvers.state.build_plan import assemble


def test_random_games_keep_to_live_bytes_and_are_plans_once_packed() -> None:
    freer = fitted = 0
    for seed, problem, strict in CASES:
        instance = by_live_bytes(strict)
        arrays, start = instance.arrays, start_of(instance)
        state, mask = copy_of(start), np.zeros(3, dtype=np.bool_)
        strict_start = start_of(strict)
        tight, narrow = copy_of(strict_start), np.zeros(3, dtype=np.bool_)
        rng = np.random.default_rng(seed)
        begin(state, start, mask)
        begin(tight, strict_start, narrow)
        same = True
        over = False
        while not over:
            action = int(rng.choice(np.flatnonzero(mask)))
            if same:
                freer += bool((mask & ~narrow).any())
                same = bool(narrow[action])
            over = step(state, start, action, mask)
            if same:
                step(tight, strict_start, action, narrow)
                same = bool((tight.residency_of == state.residency_of).all())
            assert (state.load_bytes <= arrays.capacity_bytes).all()
        residencies = packed(problem, instance, residencies_of(instance, state), Budget())
        if residencies is None:
            continue
        fitted += 1
        plan = assemble(problem, instance.segments, residencies)
        assert find_violations(plan) == []
        latency_s = float(state.total[BUSY_S]) + instance.overhead_s
        assert score(plan).latency_s == pytest.approx(latency_s, rel=1e-9)
    assert freer > 0
    assert fitted > len(CASES) / 2
