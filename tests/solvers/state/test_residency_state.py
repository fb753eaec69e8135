"""Stays and their busy_time."""

import numpy as np
import pytest
from hypothesis import given, settings

from tests.support.cases import check_refusal, random_case
from tests.support.graphs import seeds
from tests.support.recurrent import chip, recurrent
from ullage.compiler.common.errors import InfeasibleError
from ullage.hwmodels.cost import overhead_seconds, score
from ullage.solvers.budget import Budget
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.greedy_moves import keep_what_pays
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of
from ullage.solvers.state.span_lookup import FEW


@settings(max_examples=120, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_busy_time_of_a_decision_is_the_score_of_its_plan(seed: int) -> None:
    problem = random_case(seed, operators=24)
    try:
        residency_state = ResidencyState(problem, segments_of(problem))
        keep_what_pays(residency_state, 64, Budget())
        place_residencies(residency_state)
        residencies = [residency for _, _, residency in residency_state.all_residencies()]
        plan = assemble(problem, residency_state.segments, residencies)
    except InfeasibleError as error:
        check_refusal(error)
        return
    busy_s = score(plan).latency_s - float(overhead_seconds(problem).sum())
    assert residency_state.busy_time.total_s == pytest.approx(busy_s, rel=1e-9, abs=1e-20)
    slow_bytes = sum(score(plan).traffic_bytes.values())
    assert residency_state.busy_time.slow_bytes == pytest.approx(
        slow_bytes, abs=len(problem.steps) + 1
    )


@pytest.mark.parametrize("capacity_bytes", [256, 512, 1024])
def test_joined_runs_are_charged_as_if_added_at_once(capacity_bytes: int) -> None:
    target = chip(capacity_bytes)
    problem = recurrent(target, 150)
    residency_state = ResidencyState(problem, segments_of(problem))
    keep_what_pays(residency_state, 64, Budget())
    fresh = ResidencyState(problem, segments_of(problem))
    for first, last, residency in residency_state.all_residencies():
        fresh.add(residency.segment, first, last, residency)
    assert any(last > first + FEW for first, last, _ in residency_state.all_residencies())
    np.testing.assert_array_equal(fresh.load_bytes, residency_state.load_bytes)
    np.testing.assert_allclose(fresh.busy_time.busy_s, residency_state.busy_time.busy_s, atol=1e-18)
    assert fresh.busy_time.total_s == pytest.approx(residency_state.busy_time.total_s, rel=1e-12)
    assert fresh.busy_time.slow_bytes == pytest.approx(residency_state.busy_time.slow_bytes)
