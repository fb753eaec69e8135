"""Lower bounds: below the best by exhaustion, and met where all is computing."""

from random import Random

import pytest

from tests.support.contest import CHAIN, best_by_exhaustion, random_instance
from ullage.compiler.contest.instance import instance_of
from ullage.solvers.contest.bound import least_work, lower_bound


@pytest.mark.parametrize("seed", range(6))
def test_bounds_are_below_the_best(seed: int) -> None:
    instance = random_instance(Random(seed), 3)
    best = best_by_exhaustion(instance)
    if best is not None:
        assert lower_bound(instance).cost <= best * (1 + 1e-9)


def test_computing_and_traffic() -> None:
    fast = lower_bound(instance_of(CHAIN | {"slow_memory_bandwidth": 1000}, "fast"))
    assert fast == (4 * (30 + 5 + 30 + 5), "compute")
    slow = lower_bound(instance_of(CHAIN | {"slow_memory_bandwidth": 0.5}, "slow"))
    assert slow == (4 * 256 / 0.5, "traffic")  # three inputs and an output


def test_an_operator_works_for_the_smallest_output_behind_it() -> None:
    # a MatMul of 16 x 16 whose readers end in 8 columns: two tiles instead of four
    narrow = CHAIN | {
        "widths": [16, 16, 8, 16, 16, 8, 8],
        "inputs": [[0, 1], [3], [4, 2], [5, 5]],
    }
    assert least_work(instance_of(narrow, "narrow")) == (60, 10, 60, 10)
