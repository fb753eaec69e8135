"""Fills timed anew: as short as any way to move the bytes, and never slower than before."""

import itertools
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.solvers.fluid.two_tier.test_setups import one_operator, with_setups
from tests.support.cases import random_case
from tests.support.scratchpads import four_operators
from ullage.compiler.common.errors import InfeasibleError
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.fluid.slices.timing import best_moves, time_fills
from ullage.solvers.state.busy_time import BusyTime, Moves
from ullage.solvers.state.segments import segments_of

seeds = st.integers(0, 10**6)
ENDS = ("dram", "sram")


def ways(size: int, low: int, high: int) -> Iterator[Moves]:
    """All ways to move some bytes in steps [low, high), a thousand at a time."""
    for parts in itertools.product(range(0, size + 1, 1000), repeat=high - low):
        if sum(parts) == size:
            yield tuple((low + at, part) for at, part in enumerate(parts) if part)


def busy_at_random(rng: Random, setup_s: float) -> BusyTime:
    """A program of many steps, in which everything is busy for some time, or not."""
    busy = BusyTime(with_setups(four_operators(), setup_s))
    for seconds in (busy.compute_s, *busy.tier_s.values(), *busy.link_s.values()):
        seconds[:] = [rng.choice((0.0, 3e-7, 1e-6, 3e-6)) for _ in seconds]
    busy.add_moves(*ENDS, tuple((step, 0) for step in range(len(busy.busy_s))))  # up to date
    return busy


@settings(max_examples=80, deadline=None, derandomize=True)
@given(seed=seeds)
def test_no_way_to_move_the_bytes_takes_less(seed: int) -> None:
    rng = Random(seed)
    busy = busy_at_random(rng, rng.choice((0.0, 2e-7, 2e-6)))
    low, size = rng.randint(0, 2), 1000 * rng.randint(1, 6)
    high = low + rng.randint(1, 4)
    moves = best_moves(busy, ENDS, size, low, high)
    assert sum(part for _, part in moves) == size
    assert all(low <= step < high and part > 0 for step, part in moves)

    def grown_s(way: Moves) -> float:
        before_s = busy.total_s
        busy.add_moves(*ENDS, way)
        after_s = busy.total_s
        busy.add_moves(*ENDS, way, -1)
        return after_s - before_s

    # Rooms are whole bytes, so in each step one byte may cost its time although a part is free.
    link, dram = busy.target.link(*ENDS), busy.target.tier("dram")
    assert link is not None
    byte_s = 1 / min(link.bandwidth_bytes_per_s, dram.read_bytes_per_s)
    assert grown_s(moves) <= min(map(grown_s, ways(size, low, high))) + (high - low) * byte_s


def test_a_small_fill_goes_where_the_memory_is_busy_and_the_link_is_not() -> None:
    busy = BusyTime(with_setups(four_operators(), 1e-6))
    for seconds in (busy.compute_s, *busy.tier_s.values(), *busy.link_s.values()):
        seconds[:] = 0.0
    busy.tier_s["dram"][1] = 3e-6  # a bulky read of something else
    busy.add_moves(*ENDS, tuple((step, 0) for step in range(len(busy.busy_s))))
    busy.link_s[ENDS][:] = 0.0
    busy.busy_s[:] = busy.tier_s["dram"]
    assert best_moves(busy, ENDS, 8, 0, 4) == ((1, 8),)


def test_a_link_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError):
        best_moves(BusyTime(one_operator(1)), ("sram", "nowhere"), 8, 0, 1)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=seeds)
def test_a_plan_gets_no_slower_and_fits_as_before(seed: int) -> None:
    problem = random_case(seed)
    segments = segments_of(problem)
    try:
        state = SlicedResidencyState(problem, segments, 0, [0] * len(segments))
    except InfeasibleError:
        return
    before = state.busy_time.total_s
    had = {
        (residency.segment, first): sum(size for _, size in residency.fill)
        for first, _, residency in state.all_residencies()
    }
    changed = time_fills(state, Budget())
    assert changed == 0 or state.busy_time.total_s < before
    assert int(state.load_bytes.max(initial=0)) <= problem.target.fastest.capacity_bytes
    for first, _, residency in state.all_residencies():
        assert sum(size for _, size in residency.fill) == had[residency.segment, first]
        if residency.fill:
            use = state.slices[residency.segment].accesses[first].step
            assert residency.start == residency.fill[0][0]
            assert residency.ready == residency.fill[-1][0] + 1 <= use
    again = SlicedResidencyState(problem, segments, 0, [0] * len(segments))
    again.replace_all(state.all_residencies())
    assert np.isclose(again.busy_time.total_s, state.busy_time.total_s)
    if not any(link.setup_s for link in problem.target.links):
        assert changed == 0
