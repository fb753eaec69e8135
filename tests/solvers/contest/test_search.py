"""Searches: valid by the rules, the best of small instances, and what ends them."""

import time
from random import Random

import pytest

from tests.support.contest import CHAIN, best_by_exhaustion, random_instance
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.contest.instance import Instance, instance_of
from ullage.compiler.contest.rules import evaluate
from ullage.solvers.contest import search as search_module
from ullage.solvers.contest.search import Found, search


def found_of(instance: Instance, *, strict: bool = False, steps: int = 60) -> Found:
    """What a search finds within some steps, checked by the rules."""
    found = search(instance, time.monotonic() + 600, strict=strict, most_steps=steps)
    checked = evaluate(instance, found.subgraphs, strict=strict)
    assert found.cost == pytest.approx(checked.cost, rel=1e-9)
    assert found.cost >= found.bound.cost * (1 - 1e-9)
    return found


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_small_instances_are_solved_as_well_as_by_exhaustion(seed: int, *, strict: bool) -> None:
    instance = random_instance(Random(seed), 4)
    best = best_by_exhaustion(instance, strict=strict)
    if best is None:
        with pytest.raises(InfeasibleError, match="do not fit"):
            found_of(instance, strict=strict)
        return
    # it may be better: what is computed twice is beyond the exhaustion
    assert found_of(instance, strict=strict).cost <= best * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_larger_instances_have_valid_solutions(seed: int) -> None:
    instance = random_instance(Random(100 + seed), 14)
    try:
        found = found_of(instance, steps=200)
    except InfeasibleError:
        return
    again = found_of(instance, steps=200)
    assert again == found  # the same seed
    assert found.steps <= 200


def test_operators_that_are_cheap_run_twice_where_that_pays() -> None:
    # Pointwise, then many readers that cannot share a subgraph: its result is not worth storing
    count = 4
    document = {
        "widths": [16] * (count + 2) + [8] * count,
        "heights": [16] * (count + 2) + [16] * count,
        "inputs": [[0], *([1, 2 + count + n] for n in range(count))],
        "outputs": [[1], *([2 + n] for n in range(count))],
        "op_types": ["Pointwise"] + ["Pointwise"] * count,
        "base_costs": [1] * (count + 1),
        "fast_memory_capacity": 200,
        "slow_memory_bandwidth": 1,
        "native_granularity": [8, 8],
    }
    document["widths"] = [16] * (2 * count + 2)
    found = found_of(instance_of(document, "fan"), steps=300)
    assert found.cost <= 4096


def test_a_first_solution_is_found_when_time_is_over() -> None:
    found = search(instance_of(CHAIN, "chain"), time.monotonic() - 1)
    assert evaluate(instance_of(CHAIN, "chain"), found.subgraphs).cost == found.cost
    assert found.steps == 0


def test_it_ends_when_the_bound_is_met() -> None:
    easy = CHAIN | {"slow_memory_bandwidth": 1e9}
    found = search(instance_of(easy, "easy"), time.monotonic() + 600)
    assert found.cost == found.bound.cost
    assert found.steps == 0


def test_an_interrupted_search_keeps_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search_module._Search, "improve", interrupted)
    instance = instance_of(CHAIN, "chain")
    found = search(instance, time.monotonic() + 600)
    assert found.interrupted
    assert evaluate(instance, found.subgraphs).cost == pytest.approx(found.cost)
    monkeypatch.setattr(search_module._Search, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(instance, time.monotonic() + 600)


def alone(side: int, capacity: int) -> Instance:
    """A MatMul of squares, and a Pointwise operator behind it, in little fast memory."""
    document = {"widths": [side] * 4, "heights": [side] * 4, "inputs": [[0, 1], [2]]}
    document |= {"outputs": [[2], [3]], "base_costs": [1000, 100]}  # type: ignore[dict-item]
    document |= {"op_types": ["MatMul", "Pointwise"]}  # type: ignore[dict-item]
    document |= {"fast_memory_capacity": capacity, "slow_memory_bandwidth": 10}  # type: ignore[dict-item]
    return instance_of(document | {"native_granularity": [64, 64]}, "alone")


def test_the_smallest_tiles_are_taken_where_no_others_fit() -> None:
    instance = alone(128, 3)  # 128^3 steps of one element each
    found = search(instance, time.monotonic())
    assert [part.granularity for part in found.subgraphs] == [(1, 1, 1), (1, 1, 1)]
    assert found.cost == pytest.approx(18_022_400)
    assert evaluate(instance, found.subgraphs).cost == pytest.approx(found.cost)


def test_why_there_is_no_solution_is_told() -> None:
    with pytest.raises(InfeasibleError, match=r"operator 0 does not fit.* take 3;") as caught:
        search(alone(128, 2), time.monotonic())
    assert caught.value.details["operator"] == 0
    with pytest.raises(InfeasibleError, match="up to 4000000 steps") as caught:
        search(alone(256, 3), time.monotonic())
    assert caught.value.details["most_steps"] == 4_000_000
