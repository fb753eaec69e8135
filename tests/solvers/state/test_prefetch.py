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
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.prefetch import prefetched, prefetched_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


@pytest.mark.parametrize(
    "solver", ["greedy", "msa", "fluid", "cpsat", "divide", "rl", "noisy-greedy"]
)
@pytest.mark.parametrize("split", [False, True])
def test_every_solver_fetches_weights_beside_computing(solver: str, *, split: bool) -> None:
    problem = four_operators()
    problem = problem.on(replace(problem.target, split_operands=split))
    plan = solve_with(solver, problem)
    assert score(plan).latency_s == pytest.approx(BEST_OF_FOUR_S, rel=1e-6)


@pytest.mark.parametrize("searches", [False, True])
def test_plans_are_legal_and_no_slower(*, searches: bool) -> None:
    faster = 0
    for seed in range(16 if searches else 40):
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
        better = prefetched(state, Budget(), searches=searches)
        assert [residency for _, _, residency in state.all_residencies()] == before
        after = [residency for _, _, residency in better.all_residencies()]
        plans = [plan_of("x", Solution(assemble(problem, segments, r))) for r in (before, after)]
        assert not find_violations(plans[1])
        seconds = [score(plan).latency_s for plan in plans]
        assert seconds[1] <= seconds[0] * (1 + 1e-9)
        faster += seconds[1] < seconds[0] * 0.99
        again = prefetched_residencies(problem, segments, before, Budget(), searches=searches)
        assert again == after
    assert faster > (2 if searches else 5)


@pytest.mark.parametrize("solver", ["greedy", "fluid", "rl"])
def test_a_fill_may_begin_as_early_as_there_is_idle_link_time(solver: str) -> None:
    problem = _late_weight(80)
    plan = solve_with(solver, problem)
    assert score(plan).latency_s == pytest.approx(1000e-6 + 79 * 25e-6 + 0.5e-6, rel=1e-6)


def _late_weight(operators: int) -> Problem:
    """Operators that keep the link busy with weights, but the first; the last needs two's time.

    Only the first one's 1000 us have idle link time for it.
    """
    tensors, ops = [Tensor("x0", 1000, "input")], []
    for i in range(operators):
        last = i == operators - 1
        weights = [f"w{i}"] if i else []
        tensors += [Tensor(name, 200_000 if last else 100_000, "weight") for name in weights]
        tensors.append(Tensor(f"x{i + 1}", 1000, "output" if last else "activation"))
        macs = 12_500_000 if i else 500_000_000
        ops.append(Op(f"op{i}", [f"x{i}", *weights], [f"x{i + 1}"], macs=macs))
    problem = problem_from_lists("late", tensors, ops, load_target("edge-npu-spm"))
    return problem.on(replace(problem.target, split_operands=False))


def test_searches_find_better_times_in_sum() -> None:
    sums_s = [0.0, 0.0]
    better = 0
    for seed in range(15):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=512, granularity=0)
        problem = scratchpad_problem(rng, target, 14)
        try:
            state = ResidencyState(problem, segments_of(problem))
            place_residencies(state)
        except InfeasibleError:
            continue
        plain, searched = (prefetched(state, Budget(), searches=on) for on in (False, True))
        for i, found in enumerate((plain, searched)):
            sums_s[i] += found.busy_time.total_s
        better += searched.busy_time.total_s < plain.busy_time.total_s * (1 - 1e-6)
    assert sums_s[1] < sums_s[0]
    assert better > 1


def test_other_objectives_and_time_that_is_over_change_nothing() -> None:
    problem = four_operators()
    for asked, budget in ((problem.minimising("traffic"), Budget()), (problem, Budget(0.0))):
        state = ResidencyState(asked, segments_of(asked))
        place_residencies(state)
        assert prefetched(state, budget) is state
