"""Addresses of slices in tiers without pages."""

from random import Random

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
