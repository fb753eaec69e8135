"""Slices joined: one transfer for both where that is faster, nothing else changed."""

import numpy as np

from tests.solvers.fluid.two_tier.test_setups import SETUP_S, one_operator, with_setups
from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.slices.joining import BOTH, HIGH, LOW, _merged, join_slices
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.fluid.slices.slicing import slice_of
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.segments import segments_of


def halved(problem: Problem) -> SlicedResidencyState:
    """The first weight is two slices; all operands are fetched just before their use."""
    slices = list(segments_of(problem))
    index = next(i for i, item in enumerate(slices) if item.kind == "weight")
    whole = slices[index]
    slices[index] = slice_of(whole, 0, 200)
    slices.append(slice_of(whole, 200, 400))
    return SlicedResidencyState(problem, slices, 0, [8] * len(slices))


def test_two_slices_with_a_set_up_each_become_one() -> None:
    state = halved(one_operator(3))
    before, loads = state.busy_time.total_s, state.load_bytes.copy()
    assert join_slices(state, Budget()) == 1
    assert np.isclose(before - state.busy_time.total_s, SETUP_S)
    assert (state.load_bytes <= loads).all()
    sizes = sorted(item.size_bytes for item in state.slices)
    assert sizes == [0, 400, 400, 400, 400, 400]
    (_, _, residency), *_ = [r for r in state.all_residencies() if r[2].fill]
    assert sum(size for _, size in residency.fill) == 400


def test_without_set_ups_slices_stay() -> None:
    state = halved(with_setups(one_operator(3), 0.0))
    assert join_slices(state, Budget()) == 0


def test_slices_that_would_not_fit_together_stay() -> None:
    state = halved(one_operator(3))
    spans = [dict(of_slice) for of_slice in state.residencies]
    state.load_bytes[:] = state.target.fastest.capacity_bytes * 2  # others take all the room
    assert join_slices(state, Budget()) == 0
    assert state.residencies == spans


def test_a_few_bytes_go_with_the_many_where_a_step_of_their_own_costs_a_set_up() -> None:
    one = SegmentResidency(0, 2, 6, 9, fill=((2, 8),))
    two = SegmentResidency(1, 4, 6, 9, fill=((4, 90), (5, 100)))
    both, low, high = (_merged(0, one, two, way) for way in (BOTH, LOW, HIGH))
    assert (both.start, both.fill) == (2, ((2, 8), (4, 90), (5, 100)))
    assert (low.start, low.fill) == (2, ((2, 198),))
    assert (high.start, high.ready, high.fill) == (4, 6, ((4, 90), (5, 108)))
    assert high.segment == 0
