"""Greedy moves on the engine, compiled and plain, against the reference on a plain state."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from tests.support import plain_moves
from tests.support.cases import chain, problem_for, target_of
from tests.support.recurrent import chip, recurrent
from tests.support.states import states
from ullage.solvers.budget import Budget
from ullage.solvers.engine.tables import MAX_MOVES
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.decisions import decisions_of, read_decisions
from ullage.solvers.state.engine_tables import Needs
from ullage.solvers.state.greedy_moves import join_pairs, keep_what_pays, retime
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of

WINDOWS = (1, 5, 64)


def _assert_equal(state: ResidencyState, plain: ResidencyState) -> None:
    assert state.all_residencies() == plain.all_residencies()
    np.testing.assert_array_equal(state.load_bytes, plain.load_bytes)
    np.testing.assert_allclose(state.busy_time.busy_s, plain.busy_time.busy_s, atol=1e-15)
    assert state.busy_time.total_s == pytest.approx(plain.busy_time.total_s, rel=1e-9)
    slow_bytes = plain.busy_time.slow_bytes
    assert state.busy_time.slow_bytes == pytest.approx(slow_bytes, rel=1e-9, abs=1e-3)


@pytest.mark.parametrize("compiles", [False, True])
def test_moves_are_those_of_the_reference(compiles: bool) -> None:
    compared = moved = 0
    for seed, state, plain in states(240):
        window, hides = WINDOWS[seed % 5 % 3], seed % 7 > 0
        keep_what_pays(state, window, Budget(), hides=hides, compiles=compiles)
        plain_moves.keep_what_pays(plain, window, hides=hides)
        _assert_equal(state, plain)
        compared += 1
        moved += any(s.fill for _, _, s in state.all_residencies())
    assert compared > 150
    assert moved > 60


def test_chosen_gaps_are_closed_as_the_reference_does() -> None:
    taken = 0
    for seed, state, plain in states(120):
        rng = Random(seed)
        pairs = [
            (index, j)
            for index, segment in enumerate(state.segments)
            if segment.size_bytes and segment.home != state.target.fastest.name
            for j in range(1, len(segment.accesses))
        ]
        rng.shuffle(pairs)
        join_pairs(state, pairs, 64, Budget())
        taken += sum(plain_moves.join(plain, index, j - 1, j, 64) for index, j in pairs)
        _assert_equal(state, plain)
    assert taken > 500


def test_transfers_are_planned_anew_as_the_reference_does() -> None:
    changed = 0
    for _, state, plain in states(240):
        keep_what_pays(state, 1, Budget())
        plain_moves.keep_what_pays(plain, 1)
        before = state.all_residencies()
        retime(state, 64, Budget())
        plain_moves.retime(plain, 64)
        _assert_equal(state, plain)
        changed += state.all_residencies() != before
    assert changed > 5


def test_a_chain_stays_in_fast_memory() -> None:
    problem = problem_for(chain(), ["y"], target_of(1024))
    state = ResidencyState(problem, segments_of(problem))
    keep_what_pays(state, 64, Budget())
    assert [residency for _, _, residency in state.all_residencies()] == [
        SegmentResidency(1, 1, 1, 3)  # x and y are read and written at home as fast
    ]


def test_a_prefetch_does_not_arrive_before_an_earlier_use_in_slow_memory() -> None:
    """The residency of a later use leaves the earlier one where its decision says."""
    seen = 0
    for _, state, _ in states(200):
        keep_what_pays(state, 64, Budget())
        for first, _, residency in state.all_residencies():
            accesses = state.segments[residency.segment].accesses
            if first and residency.fill:
                seen += 1
                assert residency.ready > accesses[first - 1].step
    assert seen > 50


def test_without_time_nothing_changes() -> None:
    for _, state, plain in states(20):
        keep_what_pays(state, 64, Budget(deadline=0.0))
        _assert_equal(state, plain)


def test_transfers_of_very_many_moves_are_shortened_in_state_and_tables() -> None:
    problem = recurrent(chip(1024), 120, 3)
    state = ResidencyState(problem, segments_of(problem))
    index, segment = max(enumerate(state.segments), key=lambda item: item[1].size_bytes)
    for first in list(state.residencies[index]):
        state.remove(index, first)
    last = len(segment.accesses) - 1
    use = segment.accesses[last].step
    count = min(use, segment.size_bytes, MAX_MOVES + 20)
    assert count > MAX_MOVES
    moves = [1] * (count - 1) + [segment.size_bytes - count + 1]
    fill = tuple((use - count + k, size) for k, size in enumerate(moves))
    state.add(index, last, last, SegmentResidency(index, use - count, use, use + 1, fill))
    before = replace(state.residencies[index][last][1], fill=())
    read_decisions(state, decisions_of(state, Needs(slots=1)))
    kept = state.residencies[index][last][1]
    assert replace(kept, fill=()) == before
    assert len(kept.fill) == MAX_MOVES
    assert sum(size for _, size in kept.fill) == segment.size_bytes
