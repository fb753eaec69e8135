"""`greedy` on chains with known answers and on random cases."""

import json
from pathlib import Path

import pytest

from tests.support.cases import chain, problem_for, random_case, solved, target_of
from ullage.compiler.exchange.problem_file import read_problem
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


def test_a_chain_that_works_in_place_stays_in_fast_memory(tmp_path: Path) -> None:
    """Each gap alone costs the store that it saves; all of them together save it."""
    path = tmp_path / "problem.json"
    document = {
        "format": "ullage-problem",
        "format_version": 1,
        "name": "chain in place",
        "target": "edge-npu",
        "fast_memory_bytes": 65536,
        "tensors": [
            {"name": "x", "size_bytes": 100, "kind": "input"},
            {"name": "made", "size_bytes": 32000},
            *({"name": f"changed{i}", "size_bytes": 32000} for i in range(3)),
            {"name": "y", "size_bytes": 100, "kind": "output"},
        ],
        "operators": [
            {"name": "first", "reads": ["x"], "writes": ["made"]},
            *(
                {
                    "name": f"change{i}",
                    "reads": [f"changed{i - 1}" if i else "made"],
                    "writes": [f"changed{i}"],
                    "in_place": {f"changed{i}": f"changed{i - 1}" if i else "made"},
                }
                for i in range(3)
            ),
            {"name": "last", "reads": ["changed2"], "writes": ["y"]},
        ],
    }
    path.write_text(json.dumps(document))
    problem = read_problem(path).problem
    plan = solved("greedy", problem, "latency")
    assert plan is not None
    assert score(plan).noncompulsory_bytes == 0
