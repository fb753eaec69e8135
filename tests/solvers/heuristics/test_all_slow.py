"""`all-slow`, the reference that no heuristic is worse than."""

import pytest
from hypothesis import assume, given, settings

from tests.support.cases import (
    chain,
    problem_for,
    random_case,
    solved,
    target_of,
)
from tests.support.graphs import seeds
from tests.support.wide import share
from ullage.hwmodels.cost import score
from ullage.solvers.paths.network import needs_detour


@settings(max_examples=share(120, 50), deadline=None, derandomize=True)
@given(seed=seeds)
def test_heuristics_are_never_slower_than_all_slow(seed: int) -> None:
    problem = random_case(seed, operators=16)
    slow = solved("all-slow", problem, "latency")
    assume(slow is not None)
    assert slow is not None
    for name in ("greedy", "msa"):
        plan = solved(name, problem, "latency")
        if needs_detour(
            problem.target
        ):  # all-slow goes over other tiers, these move data in one hop
            continue
        assert plan is not None
        assert score(plan).latency_s <= score(slow).latency_s * (1 + 1e-9)


def test_all_slow_goes_through_slow_memory_every_time() -> None:
    target = target_of(1024)
    plan = solved("all-slow", problem_for(chain(), ["y"], target), "latency")
    assert plan is not None
    assert score(plan).latency_s == pytest.approx(256e-9)
    assert not plan.transfers
    assert {r.tier for r in plan.residencies} == {"dram"}
