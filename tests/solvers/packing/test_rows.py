"""Addresses between rows: nothing overlaps, cuts lie between rows, loops close."""

import itertools
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.wide import share
from ullage.solvers.budget import Budget
from ullage.solvers.engine.jit import interpreted
from ullage.solvers.packing import rows
from ullage.solvers.packing.row_search import TRIED, TRIES, place_all
from ullage.solvers.packing.rows import Strip, row_runs

seeds = st.integers(0, 10**6)
ALIGNMENT = 16


@settings(max_examples=share(200, 70), deadline=None, derandomize=True)
@given(seed=seeds)
def test_runs_are_disjoint_and_cut_between_rows(seed: int) -> None:
    rng = Random(seed)
    steps, capacity = 20, ALIGNMENT * rng.randint(4, 40) + rng.choice((0, 0, 5, 12))
    strips: list[Strip] = []
    for _ in range(rng.randint(0, 3)):  # kept for the next inference
        cut, begin = rng.choice((0, 16, 48)), len(strips)
        low = cut * rng.randint(0, 2)
        high = low + (cut or 16) * rng.randint(1, 3)
        strips.append(Strip(0, rng.randint(1, 8), low, high, cut))
        strips.append(Strip(rng.randint(8, 19), steps, low, high, cut, begin))
    for _ in range(rng.randint(1, 20)):
        start, cut = rng.randint(0, steps - 1), rng.choice((0, 1, 16, 24, 80))
        low = (cut or 8) * rng.randint(0, 3)
        high = low + rng.randint(1, 200)
        strips.append(Strip(start, rng.randint(start + 1, steps), low, high, cut))
    found, missing, _ = row_runs(strips, ALIGNMENT, capacity)
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
    found, missing, _ = row_runs(strips, ALIGNMENT, 128)
    assert not any(missing)
    assert sum(high - low for low, high, _ in found[4]) == 64


def test_what_does_not_fit_is_said() -> None:
    _, missing, _ = row_runs([Strip(0, 2, 0, 48, 0), Strip(1, 3, 0, 48, 16)], ALIGNMENT, 64)
    assert sorted(missing) == [0, 32]


@pytest.mark.parametrize("cut", [0, 1, 8])
def test_a_memory_that_ends_within_a_unit_is_filled_to_its_end(cut: int) -> None:
    found, missing, _ = row_runs([Strip(0, 2, 0, 16, 0), Strip(0, 2, 0, 8, cut)], ALIGNMENT, 28)
    assert found == [[(0, 16, 0)], [(0, 8, 16)]]
    assert missing == [0, 0]


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
    _, missing, _ = row_runs(strips, ALIGNMENT, 176)
    assert not any(missing)


def crowd(seed: int, count: int = 60) -> list[Strip]:
    """Strips of a memory that is nearly full: many pieces of few sizes."""
    rng = Random(seed)
    strips: list[Strip] = []
    for _ in range(count):
        start, cut = rng.randint(0, 40), rng.choice((0, 48, 112, 208))
        size = (cut or 16) * rng.randint(1, 6)
        strips.append(Strip(start, start + rng.randint(1, 12), 0, size, cut))
    return strips


def most_bytes(strips: list[Strip]) -> int:
    """Bytes of the fullest step."""
    return max(
        sum(-(-s.end_byte // ALIGNMENT) * ALIGNMENT for s in strips if s.start <= t < s.end)
        for t in range(60)
    )


def test_orders_that_leave_less_over_are_found() -> None:
    first = later = 0
    for seed in range(4):
        strips = crowd(seed)
        first += sum(row_runs(strips, ALIGNMENT, most_bytes(strips), Budget(deadline=0.0)).missing)
        later += sum(row_runs(strips, ALIGNMENT, most_bytes(strips)).missing)
    assert later < 0.5 * first


def test_an_order_that_was_good_is_gone_on_with() -> None:
    crowds = [crowd(seed) for seed in range(4)]
    at_once = Budget(deadline=0.0)
    strips, capacity = next(
        (strips, most_bytes(strips))
        for strips in crowds
        if any(row_runs(strips, ALIGNMENT, most_bytes(strips), at_once).missing)
    )
    good = row_runs(strips, ALIGNMENT, capacity)
    again = row_runs(strips, ALIGNMENT, capacity, at_once, good.order)
    assert not any(good.missing)
    assert again.runs == good.runs


def test_what_comes_first_finds_room() -> None:
    """Others find none then, although more bytes are lacking so."""
    strips = [Strip(0, 4, 0, 16, 0), Strip(0, 3, 0, 48, 0), Strip(2, 6, 0, 32, 0)]
    assert row_runs(strips, ALIGNMENT, 64).missing == [0, 0, 32]
    strips[2] = replace(strips[2], comes_first=True)
    assert row_runs(strips, ALIGNMENT, 64).missing == [0, 48, 0]


@settings(max_examples=share(60, 25), deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_compiled_search_counts_what_the_placement_lacks(seed: int) -> None:
    """The plain function of `place_all` against `_placed`, twins included."""
    rng = Random(seed)
    strips = [Strip(0, 5, 0, 48, 16), Strip(50, 60, 0, 48, 16, 0), *crowd(seed, 25)]
    capacity = int(most_bytes(strips) * rng.uniform(0.5, 1.0)) // ALIGNMENT * ALIGNMENT
    order = rows._in_turn(strips, rng.sample(range(len(strips)), len(strips)))
    expected = rows._placed(strips, order, ALIGNMENT, capacity).missing
    table = rows._table(strips)
    lacking = np.full((2, len(strips)), -1, dtype=np.int64)
    total = interpreted(place_all)(
        table,
        np.array([order, order]),
        lacking,
        np.zeros((4, 800), dtype=np.int64),
        np.zeros((2, 801), dtype=np.int64),
        np.array([1, 1 << 40, 0, 0, ALIGNMENT, capacity]),
    )
    assert lacking[TRIED].tolist() == expected
    assert total == sum(expected)


def test_after_the_deadline_no_other_order_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    strips = [Strip(0, 2, 0, 48, 0), Strip(1, 3, 0, 48, 16)]
    calls: list[int] = []
    plain = rows.interpreted

    def counted(function: Any) -> Any:
        calls.append(1)
        return plain(function)

    monkeypatch.setattr(rows, "interpreted", counted)
    row_runs(strips, ALIGNMENT, 64, Budget(deadline=0.0))
    assert not calls
    row_runs(strips, ALIGNMENT, 64)
    assert calls


def test_long_programs_get_fewer_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many pairs of strips are compared, at most; plain Python tries the same orders."""
    strips, tried = crowd(2), []

    def counted(*arguments: Any) -> None:
        tried.append(arguments[-1])
        arguments[-2][TRIES] += arguments[-1]

    monkeypatch.setattr(rows, "interpreted", lambda _: counted)
    monkeypatch.setattr(rows, "PLAIN_PAIRS", 10**12)
    monkeypatch.setattr(rows, "MAX_PAIRS", 100 * len(strips) ** 2)
    row_runs(strips, ALIGNMENT, most_bytes(strips) // 2)
    assert sum(tried) == 100
