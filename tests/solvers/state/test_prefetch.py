"""Mandatory operands beside computing: never worse, legal, and what is to be had is had."""

from dataclasses import replace
from random import Random

import pytest

from tests.support.scratchpads import (
    BEST_OF_FOUR_S,
    four_operators,
    scratchpad_problem,
    scratchpad_target,
)
from tests.support.solving import plan_of, solve_with
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.prefetch import prefetched, prefetched_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


@pytest.mark.parametrize("solver", ["greedy", "msa", "fluid", "cpsat", "rl", "noisy-greedy"])
@pytest.mark.parametrize("split", [False, True])
def test_every_solver_fetches_weights_beside_computing(solver: str, *, split: bool) -> None:
    problem = four_operators()
    problem = problem.on(replace(problem.target, split_operands=split))
    plan = solve_with(solver, problem)
    assert score(plan).latency_s == pytest.approx(BEST_OF_FOUR_S, rel=1e-6)


def test_plans_are_legal_and_no_slower() -> None:
    faster = 0
    for seed in range(40):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=rng.choice((256, 512, 2048)), granularity=0)
        problem = scratchpad_problem(rng, target, 7)
        segments = segments_of(problem)
        try:
            state = ResidencyState(problem, segments)
            place_residencies(state)
        except InfeasibleError:
            continue
        before = [residency for _, _, residency in state.all_residencies()]
        better = prefetched(state, Budget())
        assert [residency for _, _, residency in state.all_residencies()] == before
        after = [residency for _, _, residency in better.all_residencies()]
        plans = [plan_of("x", Solution(assemble(problem, segments, r))) for r in (before, after)]
        assert not find_violations(plans[1])
        seconds = [score(plan).latency_s for plan in plans]
        assert seconds[1] <= seconds[0] * (1 + 1e-9)
        faster += seconds[1] < seconds[0] * 0.99
        assert prefetched_residencies(problem, segments, before, Budget()) == after
    assert faster > 5


def test_other_objectives_and_time_that_is_over_change_nothing() -> None:
    problem = four_operators()
    for asked, budget in ((problem.minimising("traffic"), Budget()), (problem, Budget(0.0))):
        state = ResidencyState(asked, segments_of(asked))
        place_residencies(state)
        assert prefetched(state, budget) is state
