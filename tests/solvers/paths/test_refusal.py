"""Refusals: what is called proven is, and a size that is named has a plan."""

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.paths.streaming import streaming_assignment, streaming_capacities
from ullage.solvers.run import run_solver

# A chip whose data crosses two links between home and where operators reach it.
NPU_L2 = Path(__file__).parents[3] / "benchmarks" / "targets" / "npu-l2.yaml"


def on_size(problem: Problem, size: int) -> Problem:
    return problem.on(problem.target.with_fast_memory(size))


@pytest.mark.parametrize("hops", [1, 2])
def test_the_size_that_is_named_has_a_plan(hops: int) -> None:
    kinds = set()
    for seed in range(60):
        rng = Random(seed)
        problem = scratchpad_problem(rng, scratchpad_target(rng, hops, room=64), 6)
        steps = tuple(
            replace(s, workspace_bytes=rng.choice((0, 0, 40))) if s.uses else s
            for s in problem.steps
        )
        problem = replace(problem, program=replace(problem.program, steps=steps))
        tried = 0
        while True:
            try:
                streaming_assignment(problem)
                break
            except InfeasibleError as error:
                details = {
                    name: int(str(error.details[name]))
                    for name in ("needed_bytes", "available_bytes", "excess_bytes")
                }
                kinds.add(bool(error.details["proven"]))
                tier = problem.target.tier(str(error.details["tier"]))
                assert details["available_bytes"] == tier.capacity_bytes
                if error.details["proven"]:
                    size = details["needed_bytes"]
                    assert details["excess_bytes"] == size - tier.capacity_bytes > 0
                else:  # no operator needs more than there is; what was tried stands apart
                    size = int(str(error.details["enough_bytes"]))
                    assert details["needed_bytes"] <= tier.capacity_bytes < size
                    assert details["excess_bytes"] == 0
                tiers = [
                    replace(t, capacity_bytes=size) if t.name == tier.name else t
                    for t in problem.target.tiers
                ]
                problem = problem.on(replace(problem.target, tiers=tuple(tiers)))
                tried += 1
                assert tried <= 3 * hops + 6
    assert True in kinds


@pytest.mark.parametrize("split", [True, False])
def test_what_passes_the_middle_memory_needs_room_there_for_its_largest_piece(
    *, split: bool
) -> None:
    """Between DRAM and a scratchpad all must pass L2: whole tensors at once, others in slices."""
    tensors = [Tensor("x", 2048, "input"), Tensor("w", 4096, "weight"), Tensor("y", 512, "output")]
    target = load_target(str(NPU_L2))
    l2 = replace(target.tier("l2"), capacity_bytes=3072)
    small = replace(target, tiers=(target.tiers[0], l2, target.tiers[2]), split_operands=split)
    operators = [Op("only", ["x", "w"], ["y"], macs=100)]
    problem = problem_from_lists("one operator", tensors, operators, small)
    with pytest.raises(InfeasibleError) as refused:
        streaming_assignment(problem)
    details = refused.value.details
    figures = [details[f"{name}_bytes"] for name in ("needed", "available", "excess")]
    assert details["tier"] == "l2"
    if not split:
        assert details["proven"]
        assert figures == [4096, 3072, 1024]
        assert "--set tiers.l2.capacity_bytes=4096" in details["remedies"]
        return
    assert refused.value.message.startswith("found no plan for npu-l2")
    assert not details["proven"]
    assert figures == [target.slice_granularity_bytes, 3072, 0]
    enough = replace(l2, capacity_bytes=int(str(details["enough_bytes"])))
    larger = replace(small, tiers=(target.tiers[0], enough, target.tiers[2]))
    assert streaming_assignment(problem.on(larger)) is not None


def test_proven_holds_below_the_size_too() -> None:
    """With a byte less than is needed no plan exists: the operator's operands alone are larger."""
    proven = 0
    for seed in range(30):
        rng = Random(seed)
        problem = scratchpad_problem(rng, scratchpad_target(rng, 1, room=16), 5)
        try:
            streaming_assignment(problem)
        except InfeasibleError as error:
            if error.details["proven"]:
                step = problem.steps[int(str(error.details["step"]))]
                sizes = {u.buffer: problem.buffers[u.buffer].size_bytes for u in step.uses}
                assert sum(sizes.values()) + step.workspace_bytes > 16
                proven += 1
    assert proven > 10


def test_without_links_the_missing_one_is_named() -> None:
    rng = Random(0)
    problem = scratchpad_problem(rng, scratchpad_target(rng, 2, room=4096), 4)
    cut = replace(problem.target, links=problem.target.links[2:])
    with pytest.raises(UsageError, match="no link between them") as raised:
        streaming_assignment(problem.on(cut))
    assert {raised.value.details["source"], raised.value.details["destination"]} == {"t0", "t2"}


@pytest.mark.parametrize("solver", ["greedy", "msa", "fluid", "all-slow"])
def test_a_workspace_that_is_too_large_counts_with_the_operands_beside_it(solver: str) -> None:
    tensors = [Tensor("x", 96, "input"), Tensor("w", 64, "weight"), Tensor("y", 32, "output")]
    tensors.append(Tensor("t", 32))
    operators = [
        Op("first", ["x", "w"], ["t"], macs=100, workspace_bytes=40),
        Op("second", ["t"], ["y"], workspace_bytes=48),
    ]
    target = load_target("edge-npu-spm").with_fast_memory(16)
    problem = problem_from_lists("workspaces", tensors, operators, target)
    with pytest.raises(InfeasibleError) as refused:
        run_solver(solver, problem)
    needed = int(str(refused.value.details["needed_bytes"]))
    assert needed >= 96 + 64 + 32 + 40
    assert refused.value.details["operator"] == "first"
    assert run_solver(solver, problem.on(target.with_fast_memory(needed))).plan is not None


def test_capacities_of_all_memories_at_once_have_a_plan() -> None:
    several = 0
    for seed in range(12):
        rng = Random(seed)
        problem = scratchpad_problem(rng, scratchpad_target(rng, 2, room=64), 6)
        sizes = streaming_capacities(problem)
        if not sizes:
            streaming_assignment(problem)
            continue
        with pytest.raises(InfeasibleError):
            streaming_assignment(problem)
        tiers = [
            replace(tier, capacity_bytes=sizes.get(tier.name, tier.capacity_bytes))
            for tier in problem.target.tiers
        ]
        streaming_assignment(problem.on(replace(problem.target, tiers=tuple(tiers))))
        several += len(sizes) > 1
    assert several > 2
