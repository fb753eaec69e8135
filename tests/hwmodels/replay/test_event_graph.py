"""Which residencies hold what a transfer moves, beside a plain search for them."""

import numpy as np
import pytest

from tests.support.targets import Op, make_problem
from ullage.compiler.ir.plan import Plan, Residency
from ullage.hwmodels.replay.event_graph import _by_buffer_and_tier


@pytest.mark.parametrize("seed", range(20))
def test_residencies_are_found_by_their_bytes_and_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = make_problem({"a": ("input", 64), "y": ("output", 64)}, [Op("f", ("a",), ("y",))])
    residencies = []
    for _ in range(40):
        low, start = (int(n) for n in rng.integers(0, 60, 2))
        high, end = low + int(rng.integers(1, 64 - low + 1)), start + int(rng.integers(1, 20))
        tier = problem.target.tiers[int(rng.integers(2))].name
        residencies.append(Residency(0, low, high, tier, 0, start, start, end))
    plan = Plan(problem, tuple(residencies), (), "test")
    placed = _by_buffer_and_tier(plan)
    for _ in range(50):
        t, low = (int(n) for n in rng.integers(0, 63, 2))
        high = low + int(rng.integers(1, 64 - low + 1))
        tier = problem.target.tiers[int(rng.integers(2))].name
        found = list(placed[0, tier].at(t, low, high))
        assert len(found) == len(set(found))
        holding = {
            index
            for index, r in enumerate(residencies)
            if r.tier == tier and r.start <= t < r.end and r.start_byte < high and low < r.end_byte
        }
        others = [residencies[index] for index in set(found) - holding]
        assert holding <= set(found)
        assert all(r.end <= t and r.start_byte < high and low < r.end_byte for r in others)
