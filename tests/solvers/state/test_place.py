"""Addresses of many residencies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recurrent import chip, recurrent
from tests.support.solving import solve_with
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.solvers.state import place as placement


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), capacity_bytes=st.sampled_from((168, 232, 328, 488)))
def test_residencies_beyond_many_are_placed_legally(seed: int, capacity_bytes: int) -> None:
    target = chip(capacity_bytes)
    problem = recurrent(target, 60, seed)
    try:
        slow = score(solve_with("all-slow", problem))
    except InfeasibleError:
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(placement, "MAX_TOGETHER", 5)
        plan = solve_with("greedy", problem)
    assert find_violations(plan) == []
    assert score(plan).latency_s <= slow.latency_s * (1 + 1e-9)
    assert any("near-linear" in note for note in plan.notes)
