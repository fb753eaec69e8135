"""The bound on transfers that bring the weights which cannot stay."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from tests.solvers.fluid.test_refill import KIB, layers, with_setups
from ullage.hwmodels.refills import _most_kept, covered_bytes, live_data_bytes, transfers_seconds


def by_trial(sizes: list[int], total: int, free: int, beside: int, count: int) -> int:
    """The most bytes that are kept with so many transfers, by trying all numbers."""
    for kept in range(min(total, beside), -1, -1):
        at_once = beside - kept
        brought = free + sum(min(size, at_once) for size in sizes[:count])
        if brought >= total - kept:
            return kept
    return -1


@pytest.mark.parametrize("seed", range(30))
def test_most_kept_is_what_trying_all_numbers_finds(seed: int) -> None:
    rng = Random(seed)
    sizes = sorted((rng.randint(1, 12) for _ in range(rng.randint(1, 6))), reverse=True)
    free = rng.choice([0, 0, rng.randint(1, 9)])
    total, beside = sum(sizes) + free, rng.randint(0, 40)
    found = _most_kept(np.array(sizes, dtype=np.int64), total, free, beside)
    expected = [by_trial(sizes, total, free, beside, n) for n in range(len(sizes) + 1)]
    assert found.tolist() == expected


def test_set_ups_make_the_bound_higher_and_never_more_than_all_of_them() -> None:
    problem = layers(20, Random(3), 0.5)
    without = transfers_seconds(problem)
    with_them = transfers_seconds(with_setups(problem, 1e-4))
    assert without < with_them <= without + 20 * 1e-4


def test_there_is_no_bound_outside_of_steady_state() -> None:
    problem = layers(5, Random(1), 0.5)
    once = replace(problem, program=replace(problem.program, steady_state=False))
    assert transfers_seconds(problem) > 0
    assert transfers_seconds(once) == 0


def test_data_is_live_from_its_write_to_its_last_use_and_outputs_to_the_end() -> None:
    problem = layers(4, Random(0), 0.5)
    live = live_data_bytes(problem)
    operators = [t for t, step in enumerate(problem.steps) if step.operator >= 0]
    assert live[operators].tolist() == [8 * KIB] * 4
    assert live[-1] == 4 * KIB  # the output
    assert live[0] == 4 * KIB  # the input


def test_covered_bytes_count_overlaps_once() -> None:
    assert covered_bytes([(4, 8), (0, 5), (10, 12)]) == 10
