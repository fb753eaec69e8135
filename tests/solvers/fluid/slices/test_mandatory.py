"""Operands that must be in the fastest tier: fetched while something else is computed."""

from random import Random

import pytest

from tests.support.scratchpads import (
    BEST_OF_FOUR_S,
    four_operators,
    scratchpad_problem,
    scratchpad_target,
)
from tests.support.solving import Asked, solve_with
from tests.support.wide import share
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import objective_value, score


def test_four_weights_wait_for_nothing_but_the_first() -> None:
    plan = solve_with("fluid", four_operators())
    assert score(plan).latency_s == pytest.approx(BEST_OF_FOUR_S, rel=1e-6)


@pytest.mark.wide(6)
@pytest.mark.parametrize("granularity", [8, 0])
@pytest.mark.parametrize("steady_state", [False, True])
@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
def test_plans_are_legal_and_near_the_bound(
    objective: str, granularity: int, *, steady_state: bool
) -> None:
    ratios = []
    for seed in range(share(25, 8)):
        rng = Random(seed)
        room = rng.choice((256, 512, 2048))
        target = scratchpad_target(rng, 1, room=room, granularity=granularity)
        problem = scratchpad_problem(rng, target, 7, steady_state=steady_state)
        try:
            plan = solve_with("fluid", problem, Asked(objective))
            slow = solve_with("all-slow", problem, Asked(objective))
        except InfeasibleError:
            continue
        assert not find_violations(plan)
        value = objective_value(score(plan), objective)
        assert value <= objective_value(score(slow), objective) * (1 + 1e-9)
        assert plan.lower_bound is not None
        assert plan.lower_bound <= value * (1 + 1e-9)
        ratios.append(value / max(plan.lower_bound, 1e-30))
    assert len(ratios) > share(15, 6)
    if objective == "latency":
        assert sorted(ratios)[len(ratios) // 2] < (1.1 if granularity else 1.3)
