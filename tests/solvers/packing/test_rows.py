"""Addresses between rows: nothing overlaps, cuts lie between rows, loops close."""

import itertools
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.wide import share
from ullage.solvers.budget import Budget
from ullage.solvers.packing import rows
from ullage.solvers.packing.rows import Strip, row_runs

seeds = st.integers(0, 10**6)
ALIGNMENT = 16


@settings(max_examples=share(200, 70), deadline=None, derandomize=True)
@given(seed=seeds)
def test_runs_are_disjoint_and_cut_between_rows(seed: int) -> None:
    rng = Random(seed)
    steps, capacity = 20, ALIGNMENT * rng.randint(4, 40)
    strips: list[Strip] = []
    for _ in range(rng.randint(0, 3)):  # kept for the next inference
        cut, begin = rng.choice((0, 16, 48)), len(strips)
        low = cut * rng.randint(0, 2)
        high = low + (cut or 16) * rng.randint(1, 3)
        strips.append(Strip(0, rng.randint(1, 8), low, high, cut))
        strips.append(Strip(rng.randint(8, 19), steps, low, high, cut, begin))
    for _ in range(rng.randint(1, 20)):
        start, cut = rng.randint(0, steps - 1), rng.choice((0, 16, 24, 80))
        low = (cut or 8) * rng.randint(0, 3)
        high = low + rng.randint(1, 200)
        strips.append(Strip(start, rng.randint(start + 1, steps), low, high, cut))
    found, missing = row_runs(strips, ALIGNMENT, capacity)
    taken: set[tuple[int, int]] = set()
    for strip, runs, size in zip(strips, found, missing, strict=True):
        assert bool(runs) != bool(size)
        if not runs:
            continue
        assert strip.before < 0 or runs == found[strip.before]
        assert [runs[0][0], runs[-1][1]] == [strip.start_byte, strip.end_byte]
        for (_, high, _), (low, _, _) in itertools.pairwise(runs):
            assert high == low
            assert low % strip.cut_bytes == 0
        for low, high, address in runs:
            assert address % ALIGNMENT == 0
            assert address + high - low <= capacity
            bytes_of = range(address, address + high - low)
            cells = {(t, byte) for t in range(strip.start, strip.end) for byte in bytes_of}
            assert not cells & taken
            taken |= cells


def test_a_strip_is_divided_where_no_hole_is_large_enough() -> None:
    strips = [
        Strip(0, 2, 0, 32, 0),
        Strip(0, 4, 0, 32, 0),
        Strip(0, 2, 0, 32, 0),
        Strip(1, 4, 0, 32, 0),
        Strip(2, 6, 0, 64, 16),
    ]
    found, missing = row_runs(strips, ALIGNMENT, 128)
    assert not any(missing)
    assert sum(high - low for low, high, _ in found[4]) == 64


def test_what_does_not_fit_is_said() -> None:
    _, missing = row_runs([Strip(0, 2, 0, 48, 0), Strip(1, 3, 0, 48, 16)], ALIGNMENT, 64)
    assert sorted(missing) == [0, 32]


def test_what_is_there_at_all_steps_comes_first() -> None:
    """So that what comes back late lies beside the hole in which others lie before."""
    strips = [
        Strip(0, 3, 0, 16, 0),
        Strip(7, 10, 0, 16, 0, 0),
        Strip(0, 10, 0, 64, 0),
        Strip(5, 7, 0, 80, 0),
        Strip(6, 8, 0, 32, 0),
        Strip(1, 4, 0, 80, 0),
    ]
    _, missing = row_runs(strips, ALIGNMENT, 176)
    assert not any(missing)


def test_after_the_deadline_no_other_order_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    strips = [Strip(0, 2, 0, 48, 0), Strip(1, 3, 0, 48, 16)]
    calls: list[int] = []
    plain = rows._placed

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return plain(*arguments)

    monkeypatch.setattr(rows, "_placed", counted)
    row_runs(strips, ALIGNMENT, 64, Budget(deadline=0.0))
    assert len(calls) == 3
    row_runs(strips, ALIGNMENT, 64)
    assert len(calls) == 6 + rows.TRIES
    monkeypatch.setattr(rows, "MAX_PAIRS", 20)  # two strips are four pairs
    row_runs(strips, ALIGNMENT, 64)
    assert len(calls) == 9 + rows.TRIES + 5
