"""Sizes, and what plans and bounds say about other sizes."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.changes import with_target
from tests.support.plans import PLANS
from tests.support.solving import solve_with
from tests.support.sweeps import made, problem_of
from ullage.compiler.common.errors import (
    InfeasibleError,
    TimeLimitError,
    UsageError,
    VerificationError,
)
from ullage.compiler.studies.sweep_points import (
    Point,
    flat_from,
    monotone,
    needed_bytes,
    parse_range,
    required_bytes,
    spaced,
    take_over,
)
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import Bound


@given(
    first=st.integers(1, 2**40),
    factor=st.integers(1, 2**12),
    count=st.integers(2, 40),
    alignment=st.sampled_from([1, 4, 16, 256]),
)
@settings(max_examples=200, deadline=None)
def test_sizes_are_geometric_aligned_distinct_with_exact_ends(
    first: int, factor: int, count: int, alignment: int
) -> None:
    last = first * factor
    sizes = spaced(first, last, count, alignment)
    assert (sizes[0], sizes[-1]) == (first, last)
    assert list(sizes) == sorted(set(sizes))
    assert len(sizes) <= count
    assert all(size % alignment == 0 for size in sizes[1:-1])
    if first > 1000 * alignment * count and factor > count:
        assert len(sizes) == count
        ratios = [b / a for a, b in pairwise(sizes)]
        assert max(ratios) / min(ratios) < 1.01


def test_a_range_is_two_sizes_the_smaller_first() -> None:
    assert parse_range("64KiB..1MiB") == (65536, 1 << 20)
    assert parse_range("4096..4096") == (4096, 4096)
    for text in ("64KiB", "1MiB..64KiB", "0..1MiB", "a..b", "..", "1MiB.."):
        with pytest.raises(UsageError):
            parse_range(text)
    with pytest.raises(UsageError, match="at least 2"):
        spaced(1, 100, 1, 1)
    assert spaced(64, 64, 9, 16) == (64,)


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_is_legal_in_what_it_needs_and_in_no_byte_less(name: str) -> None:
    plan = PLANS[name]
    needed = needed_bytes(plan)
    assert 0 < needed <= plan.target.fastest.capacity_bytes
    assert not find_violations(with_target(plan, plan.target.with_fast_memory(needed)))
    assert find_violations(with_target(plan, plan.target.with_fast_memory(needed - 1)))
    assert required_bytes(plan) <= needed


def test_required_bytes_are_what_the_solvers_refuse_below(deep: Path) -> None:
    problem = problem_of(deep, "cosma")
    required = required_bytes(solve_with("greedy", problem))
    assert required > 0
    for name in ("greedy", "all-slow"):
        with pytest.raises(InfeasibleError):
            solve_with(name, problem.on(problem.target.with_fast_memory(required - 1)))
    assert required_bytes(solve_with("all-slow", problem_of(deep))) == 0


def test_monotone_takes_over_better_plans_in_both_directions_and_larger_bounds() -> None:
    good = made(PLANS["late_fetch"], 64)
    need = needed_bytes(good.plan)
    slow = solve_with("all-slow", good.plan.problem)
    bad = made(slow, 48)
    assert good.value < bad.value
    assert good.bound.value < good.value
    proven = replace(good, bound=Bound((good.bound.value + good.value) / 2, "made-up"))
    points = monotone(
        [
            Point(128, made(slow, 128)),
            Point(64, proven),
            Point(need, made(slow, need)),
            Point(need - 1, made(slow, need - 1)),
            Point(96, error=TimeLimitError("late")),
        ]
    )
    sizes = [point.size_bytes for point in points]
    assert sizes == [need - 1, need, 64, 96, 128]
    taken = [point.taken_from_bytes for point in points]
    assert taken == [None, 64, None, 64, 64]
    for point in points:
        assert point.compiled is not None
        assert point.compiled.plan.target.fastest.capacity_bytes == point.size_bytes
        assert not find_violations(point.compiled.plan)
        assert point.compiled.bound.value <= point.compiled.value
    values = [point.compiled.value for point in points if point.compiled]
    assert values == sorted(values, reverse=True)
    assert [point.bound_from_bytes for point in points] == [64, 64, None, None, None]
    first, failed = points[0].compiled, points[3].compiled
    assert first is not None
    assert failed is not None
    assert (
        first.bound
        == Bound(proven.bound.value, "made-up")
        == Bound(first.plan.lower_bound or 0, first.plan.bound_source)
    )
    assert any("late" in note for note in failed.plan.notes)
    assert monotone(points) == points


def test_a_plan_that_does_not_fit_is_never_taken_over() -> None:
    good = made(PLANS["chain"], 64)
    tight = Point(needed_bytes(good.plan) - 1)
    with pytest.raises(VerificationError):
        take_over(tight, Point(64, good), "a test wants it")


def test_a_curve_that_is_flat_from_a_size_on_has_its_first_size(deep: Path) -> None:
    plans = [solve_with(name, problem_of(deep)) for name in ("all-slow", "greedy")]
    slow, fast = (made(plan, 64 << 10) for plan in plans)
    assert fast.value < slow.value * (1 - 1e-3)
    small, large = Point(1024, slow), [Point(size, fast) for size in (2048, 4096, 8192)]
    none = Point(512, error=InfeasibleError("too small"))
    assert flat_from([none, small, *large]) == 2048
    assert flat_from([small, large[0]]) is None  # the largest is the only one so good
    assert flat_from([none]) is None
    peak = replace(fast, plan=replace(fast.plan, problem=fast.plan.problem.minimising("peak")))
    assert flat_from([Point(1024, peak), Point(2048, peak)]) is None
