"""Figures from end to end of what target files admit: plans or errors by name, never a crash.

`benchmarks/fuzz_targets.py` runs hundreds of these over all solvers.
"""

import time
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from tests.support.extreme_targets import (
    LIMIT_S,
    OBJECTIVES,
    breaches_of,
    extreme_problem,
    extreme_target,
    extreme_target_file,
)
from tests.support.scratchpads import four_operators
from tests.support.tiny import tiny_problem, tiny_target
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import (
    Compute,
    KernelCycles,
    Link,
    MacBlocks,
    OutputStage,
    Target,
    Tier,
)
from ullage.compiler.verify.target_form import target_faults
from ullage.hwmodels.catalog.checks import check_target
from ullage.solvers.budget import Budget
from ullage.solvers.paths.greedy import _pieces
from ullage.solvers.paths.setting import tiered_problem
from ullage.solvers.paths.streaming import streaming
from ullage.solvers.run import run_solver

SOLVERS = ("greedy", "all-slow", "msa", "fluid", "cpsat", "divide", "ilp", "no-spill", "auto")
OTHERS = ("fluid", "msa", "cpsat", "divide")


def test_memory_that_nothing_needs_makes_pages_and_pieces_no_larger() -> None:
    problem = four_operators()
    units, pieces = [], []
    for size in (1 << 22, 1 << 40):
        larger = replace(problem, target=problem.target.with_fast_memory(size))
        tiered = tiered_problem(larger)
        slicer, _ = streaming(tiered)
        units.append(slicer.ledger.units)
        pieces.append({index: len(items) for index, items in _pieces(tiered, slicer).items()})
    assert units[0] == units[1]
    assert pieces[0] == pieces[1]
    assert max(pieces[0].values()) > 4


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_solvers_answer_on_extreme_targets(seed: int, objective: str) -> None:
    answers: dict[str, int] = {}
    problem = extreme_problem(seed).minimising(objective)
    assert list(breaches_of(problem, SOLVERS, answers)) == []
    assert answers


def with_requests(target: Target, rng: Random) -> Target:
    """The same with latencies, bursts and outstanding limits from end to end; itself if none is."""
    tiers = tuple(
        replace(
            tier,
            latency_s=rng.choice((0.0, 1e-18, 1e-6, 1e9)),
            burst_bytes=rng.choice((1, 64, LARGEST)),
            max_outstanding_requests=rng.choice((0, 0, 1, 2**62)),
        )
        for tier in target.tiers
    )
    links = tuple(
        replace(link, max_outstanding_transfers=rng.choice((1, 2, LARGEST)))
        for link in target.links
    )
    shares = {"matmul": 1e-6, "other": 1.0}
    compute = replace(target.compute, bandwidth_efficiency=rng.choice((None, shares)))
    changed = replace(target, tiers=tiers, links=links, compute=compute)
    return target if any(target_faults(changed)) else changed


@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
def test_solvers_answer_on_extreme_latencies_and_bursts(objective: str) -> None:
    answers: dict[str, int] = {}
    changed = 0
    for seed in range(12):
        problem = extreme_problem(seed).minimising(objective)
        target = with_requests(problem.target, Random(seed))
        if target is problem.target:
            continue
        changed += 1
        assert list(breaches_of(problem.on(target), ("greedy", "msa", "fluid"), answers)) == []
    assert changed > 2
    assert answers


SLOWEST = MacBlocks(1e-3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1e9, 1.0, {"default": 1e9})
LARGEST = 999_999_999
FASTEST = MacBlocks(
    1e24, LARGEST, 1, 1, 1, 1, 1, LARGEST, LARGEST, LARGEST, 0.0, 1e-6, {"default": 0.0}
)


@pytest.mark.parametrize(
    "model",
    [
        {"mac_blocks": SLOWEST},
        {"mac_blocks": FASTEST},
        {
            "kernel_cycles": KernelCycles(
                1e-3, {"int8": {"default": 1e9}}, {"int8": {"output": 1e9}}
            )
        },
        {"efficiency": {"matmul": 1e-6}, "output_stage": OutputStage(1e-3, ("Relu",))},
    ],
    ids=["slowest blocks", "fastest blocks", "slowest kernels", "least efficient"],
)
def test_compute_models_from_end_to_end(model: dict[str, Any]) -> None:
    problem = extreme_problem(1)
    compute = replace(problem.target.compute, systolic=None, **model)
    problem = problem.on(replace(problem.target, compute=compute))
    assert list(breaches_of(problem, ("greedy", "msa", "fluid"), {})) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_slow_memory_behind_a_very_fast_one(seed: int) -> None:
    """SRAM at 1e15 bytes/s, DRAM at 1 byte/s."""
    rng = Random(seed)
    sram = Tier("sram", rng.choice((64, 192, 1 << 20)), 1e15, 1e15, 16)
    dram = Tier("dram", 1 << 20, 1.0, 1.0, 16)
    rate = rng.choice((1e9, 1.0, 1e15))
    links = (Link("dram", "sram", rate), Link("sram", "dram", rate))
    homes = dict.fromkeys(extreme_target(rng).homes, "dram")
    target = Target("apart", (sram, dram), links, Compute({"int8": 1e12}, 1e12), homes)
    problem = extreme_problem(seed)
    assert list(breaches_of(replace(problem, target=target), SOLVERS, {})) == []


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (("tiers", 0, "read_bytes_per_s"), 1e25, "a rate is from 0.001 to 1e\\+24"),
        (("links", 0, "bandwidth_bytes_per_s"), 1e-4, "a rate is from 0.001 to 1e\\+24"),
        (("links", 0, "setup_s"), 1e10, "0 or a number from 1e-18 to 1e\\+09"),
        (("links", 0, "energy_j_per_byte"), 1e-30, "0 or a number from 1e-18 to 1e\\+09"),
        (("tiers", 0, "capacity_bytes"), 2**63, "at most 2\\*\\*62 bytes"),
    ],
)
def test_figures_beyond_the_range_are_refused(
    path: tuple[str, int, str], value: float, says: str
) -> None:
    document = extreme_target_file(Random(1))
    part, place, field = path
    document[part][place][field]["value"] = value
    with pytest.raises(UsageError, match=says):
        check_target(document, "mine")


def small_case(seed: int) -> Problem:
    """A problem of a few bytes whose alignment and granularity are of their size."""
    rng = Random(seed)
    target = tiny_target(rng, fastest=rng.random() < 0.5)
    alignment = rng.choice((1, 1, 2, 4))
    tiers = tuple(replace(tier, alignment_bytes=alignment) for tier in target.tiers)
    target = replace(
        target,
        tiers=tiers,
        split_operands=rng.random() < 0.7,
        slice_granularity_bytes=rng.choice((0, 1, 2, 2, 4)),
    )
    return tiny_problem(rng, target, rng.randint(2, 5), rng.choice((2, 3, 5)))


def test_nobody_calls_infeasible_what_greedy_plans() -> None:
    planned = 0
    for seed in range(20):
        problem = small_case(seed)
        try:
            run_solver("greedy", problem)
        except InfeasibleError:
            continue
        planned += 1
        for name in OTHERS:
            budget = Budget(time.monotonic() + LIMIT_S)
            assert run_solver(name, problem, budget).plan.target == problem.target, (seed, name)
    assert planned > 8
