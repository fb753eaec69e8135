"""`msa` against its reference, on large programs, and without time."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.plain_msa import plain_msa
from tests.support.recurrent import chip, recurrent
from tests.support.solving import Asked, solve_with
from tests.support.states import states
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.verify.verifier import find_violations
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import msa
from ullage.solvers.heuristics.msa import MsaOptions
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState

OPTIONS = (
    MsaOptions(),
    MsaOptions(max_prefetch_starts=3, max_run_ends=2, max_repacks=1),
    MsaOptions(min_overlap_ratio=0.0, min_hidden_fraction=0.4, spill_window_steps=3),
    MsaOptions(max_overlap_ratio=0.3, preferred_overlap_ratio=2.0, sweeps=3),
    MsaOptions(max_outstanding_prefetches=1, min_overlap_ratio=0.5),
)


@pytest.mark.parametrize("compiles", [False, True])
def test_decisions_and_addresses_are_those_of_the_reference(compiles: bool) -> None:
    compared = transfers = 0
    for seed, state, _ in states(160):
        problem, options = state.problem, OPTIONS[seed // 4 % len(OPTIONS)]
        try:
            plain = plain_msa(problem, options)
        except InfeasibleError:
            continue
        found, _ = msa.assign(problem, options, Budget(), compiles=compiles)
        assert found.all_residencies() == plain.all_residencies()
        np.testing.assert_array_equal(found.load_bytes, plain.load_bytes)
        assert found.busy_time.total_s == pytest.approx(plain.busy_time.total_s, rel=1e-9)
        compared += 1
        transfers += any(s.fill for _, _, s in found.all_residencies())
    assert compared > 100
    assert transfers > 30


def test_msa_tries_fewer_lengths_of_residencies_with_many_uses_and_says_so() -> None:
    target = chip(1024)
    problem = recurrent(target, 120, 7)
    plan = solve_with("msa", problem, Asked(parameters={"max_run_ends": 2}))
    assert find_violations(plan) == []
    assert any("max_run_ends" in note for note in plan.notes)
    few = recurrent(target, 40, 7)
    assert solve_with("msa", few).notes == ()


@pytest.mark.parametrize("solver", ["greedy", "msa"])
def test_heuristics_out_of_time_say_so(solver: str) -> None:
    target = chip(512)
    problem = recurrent(target, 30)
    plan = solve_with(solver, problem, Asked(deadline=0.0))
    assert find_violations(plan) == []
    assert any("time limit" in note for note in plan.notes)


def test_repacking_moves_what_lives_in_the_fastest_tier_in_the_plan_too() -> None:
    planned = 0
    for _, state, _ in states(70):
        target = state.problem.target
        homes = {**target.homes, "input": target.fastest.name}
        problem = state.problem.on(replace(target, homes=homes))
        try:
            plan = solve_with("msa", problem)
        except InfeasibleError:
            continue
        assert find_violations(plan) == []
        planned += 1
    assert planned > 20


def test_no_more_copies_are_under_way_than_may_be() -> None:
    crowded = 0
    for _, state, _ in states(60):
        try:
            free, _ = msa.assign(state.problem, MsaOptions(), Budget(), compiles=False)
            limits = MsaOptions(max_outstanding_prefetches=1)
            found, _ = msa.assign(state.problem, limits, Budget(), compiles=False)
        except InfeasibleError:
            continue
        crowded += _at_once(free) > 1
        mandatory = ResidencyState(state.problem, state.segments)
        place_residencies(mandatory)
        if not any(residency.fill for _, _, residency in mandatory.all_residencies()):
            assert _at_once(found) <= 1
    assert crowded > 3


def _at_once(state: ResidencyState) -> int:
    """The most copies into fast memory that share a step."""
    copies = [r for _, _, r in state.all_residencies() if r.fill]
    return max(
        (sum(r.fill[0][0] <= t < r.ready for r in copies) for t in range(state.steps)), default=0
    )
