"""`greedy` on chains with known answers and on random cases."""

import pytest

from tests.support.cases import chain, problem_for, random_case, solved, target_of
from ullage.hwmodels.cost import score


def test_random_cases_are_of_use() -> None:
    """Feasible and infeasible ones, with transfers, slices, and something to gain."""
    counts = dict.fromkeys(("feasible", "refused", "transfers", "ranged", "faster"), 0)
    for seed in range(150):
        problem = random_case(seed)
        plan = solved("greedy", problem, "latency")
        slow = solved("all-slow", problem, "latency")
        if plan is None or slow is None:
            counts["refused"] += 1
            continue
        counts["feasible"] += 1
        counts["transfers"] += bool(plan.transfers)
        sizes = [buffer.size_bytes for buffer in problem.buffers]
        counts["ranged"] += any(
            r.end_byte - r.start_byte < sizes[r.buffer] for r in plan.residencies
        )
        counts["faster"] += score(plan).latency_s < 0.999 * score(slow).latency_s
    assert counts["feasible"] > 60
    assert min(counts.values()) > 15, counts


@pytest.mark.parametrize("name", ["greedy", "msa", "auto"])
def test_what_fits_stays_in_fast_memory(name: str) -> None:
    """Of a chain x -> a -> y only x and y cross dram: 128 bytes at 1 GB/s."""
    target = target_of(1024)
    plan = solved(name, problem_for(chain(), ["y"], target), "latency")
    assert plan is not None
    assert score(plan).latency_s == pytest.approx(128e-9)
    assert score(plan).noncompulsory_bytes == 0
