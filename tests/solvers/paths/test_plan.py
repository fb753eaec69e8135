"""Addresses of slices in tiers without pages."""

from dataclasses import replace
from itertools import pairwise
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import plan_of
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.verify.verifier import find_violations
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.paths import plan as plan_module
from ullage.solvers.paths.greedy import by_first_use, plan_of_pieces
from ullage.solvers.paths.plan import in_holes, lowest_room


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_places_cover_a_range_once_and_lie_in_holes(seed: int) -> None:
    """They touch no other page, are cut at rows only, and exist where one row fits anywhere."""
    rng = Random(seed)
    unit, grain = rng.choice((1, 4, 16)), rng.choice((1, 3, 16, 40))
    cuts = sorted(rng.sample(range(60), 2 * rng.randint(0, 6)))
    holes = [(a, z, rng.choice((7, 9))) for a, z in zip(cuts[::2], cuts[1::2], strict=True)]
    low = grain * rng.randint(0, 3)
    span = low, low + rng.randint(1, 30 * unit)
    places = in_holes(span, grain, unit, np.array(holes, dtype=np.int64).reshape(-1, 3))
    free = {page for a, z, _ in holes for page in range(a, z)}
    if places is None:
        fit = sum((z - a) * unit // grain * grain for a, z, _ in holes)
        assert fit < span[1] - span[0]
        return
    assert [places[0][0], *(high for _, high, _ in places)] == [
        *(a for a, _, _ in places),
        span[1],
    ]
    assert all(cut % grain == 0 for cut, _, _ in places[1:])
    taken: list[int] = []
    for a, z, at in places:
        assert at % unit == 0
        taken += range(at // unit, -(-(at + z - a) // unit))
    assert len(taken) == len(set(taken))
    assert set(taken) <= free
    longest = max((z - a for a, z in _joined(holes)), default=0)
    if longest * unit >= span[1] - span[0]:
        assert len(places) == 1


def _joined(holes: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Holes that touch are one."""
    joined: list[tuple[int, int]] = []
    for first, stop, _ in holes:
        if joined and joined[-1][1] == first:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((first, stop))
    return joined


def test_plans_whose_slices_lie_in_holes_are_legal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where weights return to the place that they left, in steady state."""
    placed = planned = 0
    in_rows = plan_module._in_rows

    def counted(*arguments: object) -> object:
        nonlocal placed
        found = in_rows(*arguments)  # type: ignore[arg-type]
        placed += 1
        return found

    monkeypatch.setattr(plan_module, "_in_rows", counted)
    for seed in range(30):
        rng = Random(seed)
        target = scratchpad_target(rng, rng.choice((1, 2)), room=rng.choice((192, 320, 480)))
        problem = scratchpad_problem(rng, target, 7, steady_state=rng.random() < 0.7)
        try:
            found = plan_of_pieces(problem, (by_first_use,), Budget())
        except InfeasibleError:
            continue
        planned += 1
        assert not find_violations(plan_of("greedy", Solution(found)))
    assert planned > 10
    assert placed


def test_what_comes_back_lies_below_the_workspace_of_both_of_its_spans() -> None:
    """Room is less in the last step, in which the slice is back where it began."""
    room, back = np.array([9, 9, 9, 9, 5]), {7: 3}
    assert lowest_room(room, np.array([7, 0, 0, 2, -1]), back) == 5
    assert lowest_room(room, np.array([7, 3, 4, 5, 1]), back) == 5
    assert lowest_room(room, np.array([8, 0, 0, 2, -1]), back) == 9


def test_slices_placed_in_the_best_of_many_orders_are_legal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where weights return to the place that they left, in steady state."""
    placed = 0
    in_many_orders = plan_module._in_many_orders

    def in_rows(*given: Any) -> list[list[plan_module.PlacedRange]]:
        nonlocal placed
        *rest, buffers, _ = given
        network = given[0]
        grains = [network.problem.buffers[buffers[row[0]]].row_bytes for row in given[4].tolist()]
        found = in_many_orders(*rest, grains, Budget())
        placed += 1
        return found

    def nowhere(*_: object) -> list[list[plan_module.PlacedRange]]:
        raise plan_module.NoAddress(())

    monkeypatch.setattr(plan_module, "_in_one_piece", nowhere)
    monkeypatch.setattr(plan_module, "_in_rows", in_rows)
    for seed in range(12):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=rng.choice((192, 320)))
        target = replace(target, slice_granularity_bytes=0)
        problem = scratchpad_problem(rng, target, 5, steady_state=rng.random() < 0.7)
        try:
            found = plan_of_pieces(problem, (by_first_use,), Budget())
        except InfeasibleError:
            continue
        assert not find_violations(plan_of("greedy", Solution(found)))
    assert placed > 3


def test_many_orders_are_tried_where_one_leaves_no_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the left edge, rows of 48 bytes that come last find holes of 32 only."""
    network: Any = SimpleNamespace(
        steps=3,
        room=np.full((1, 3), 128),
        target=SimpleNamespace(slice_granularity_bytes=0),
        problem=SimpleNamespace(
            buffers=[SimpleNamespace(row_bytes=size) for size in (16, 16, 48, 16)]
        ),
    )
    ledger: Any = SimpleNamespace(units=[16])
    slices: Any = [SimpleNamespace(start_byte=0, end_byte=size) for size in (32, 32, 96, 32)]
    table = np.array([(0, 1, 1, 3, -1), (1, 0, 0, 1, -1), (2, 2, 2, 3, -1), (3, 0, 0, 2, -1)])
    given = network, ledger, 0, slices, table, (), [0, 1, 2, 3]
    whole = plan_module._in_rows(*given, None)  # in one piece each, without time for orders
    assert all(len(ranges) == 1 for ranges in whole)

    def nowhere(*_: object) -> list[list[plan_module.PlacedRange]]:
        raise plan_module.NoAddress(())

    monkeypatch.setattr(plan_module, "_in_one_piece", nowhere)
    with pytest.raises(plan_module.NoAddress):
        plan_module._in_rows(*given, None)
    found = plan_module._in_rows(*given, Budget())
    for step in range(3):
        here = [
            (at, at + high - low)
            for (_, start, _, end, _), ranges in zip(table.tolist(), found, strict=True)
            for low, high, at in ranges
            if start <= step < end
        ]
        assert all(a[1] <= b[0] for a, b in pairwise(sorted(here)))
        assert max(high for _, high in here) <= 128
