"""Refusals: what is called proven is, and a size that is named has a plan."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tests.support.cases import check_refusal, target_of
from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import solve_with
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Target, Tier
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
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
    assert refused.value.message.startswith("found no plan for npu-l2")
    assert not details["proven"]  # bytes of a tensor that is used whole may pass one by one, too
    assert figures == [target.slice_granularity_bytes if split else 3072, 3072, 0]
    assert f"in pieces of {'256 B' if split else '4 KiB'} or more" in refused.value.message
    enough = replace(l2, capacity_bytes=int(str(details["enough_bytes"])))
    larger = replace(small, tiers=(target.tiers[0], enough, target.tiers[2]))
    assert streaming_assignment(problem.on(larger)) is not None


def chain_of(capacities: Sequence[int], granularity: int, *, split: bool = True) -> Target:
    """A chain of tiers of which operators reach the first; everything is at home in the last."""
    tiers = tuple(
        Tier(f"t{m}", size, 1e9, 1e9, 1, addressable=m == 0) for m, size in enumerate(capacities)
    )
    pairs = [(f"t{m}", f"t{m + 1}") for m in range(len(tiers) - 1)]
    links = tuple(Link(*ends, 1e9) for a, b in pairs for ends in ((b, a), (a, b)))
    chip = target_of(capacities[0], tiers=tiers, links=links, slice_granularity_bytes=granularity)
    homes = dict.fromkeys(chip.homes, tiers[-1].name)
    return replace(chip, homes=homes, split_operands=split)


def three_outputs(target: Target) -> Problem:
    tensors = [Tensor("x", 100, "input"), Tensor("a0", 6000, "output")]
    tensors += [Tensor(name, 100, "output") for name in ("a1", "a2")]
    operators = [Op(f"op{n}", ["x"], [f"a{n}"], macs=100) for n in range(3)]
    return problem_from_lists("three outputs", tensors, operators, target)


@pytest.mark.parametrize("split", [True, False])
def test_an_output_passes_a_smaller_memory_in_pieces(*, split: bool) -> None:
    """6000 B pass 5000 B in two steps. Used whole, it can too, but no solver plans that."""
    problem = three_outputs(chain_of((1 << 20, 5000, 1 << 30), 1000, split=split))
    if split:
        assert find_violations(solve_with("all-slow", problem)) == []
        return
    with pytest.raises(InfeasibleError) as refused:
        streaming_assignment(problem)
    assert not refused.value.details["proven"]


def test_memories_that_are_too_small_together_are_named_together() -> None:
    """One operator's output passes t1 and t2 in the steps at the end, which are as many as hops."""
    tensors, operators = [Tensor("y", 6001, "output")], [Op("op", [], ["y"], vector_elements=1)]
    target = chain_of((1 << 20, 1000, 256, 1 << 30), 64)
    problem = problem_from_lists("one output", tensors, operators, target)
    with pytest.raises(InfeasibleError) as refused:
        streaming_assignment(problem)
    check_refusal(refused.value)
    details = refused.value.details
    sizes = details["enough_bytes_by_tier"]
    assert set(sizes) == {"t1", "t2"}
    options = " ".join(f"--set tiers.{t}.capacity_bytes={size}" for t, size in sizes.items())
    assert options in details["remedies"]
    tiers = (replace(t, capacity_bytes=sizes.get(t.name, t.capacity_bytes)) for t in target.tiers)
    assert streaming_assignment(problem.on(replace(target, tiers=tuple(tiers)))) is not None


def test_weights_that_leave_a_small_home_return_to_their_address() -> None:
    """In steady state t2 has room for the outputs and the weight, which need not leave it."""
    tensors = [Tensor("x", 5000, "input"), Tensor("w", 300, "weight")]
    tensors += [Tensor("a0", 4096, "output"), Tensor("a1", 6001, "output")]
    operators = [Op("op0", ["x", "w"], ["a0"], macs=100), Op("op1", ["w"], ["a1"], macs=100)]
    target = chain_of((57884, 1 << 40, 10397), 1000, split=False)
    target = replace(target, homes={**target.homes, "input": "t1"})
    problem = problem_from_lists("small home", tensors, operators, target)
    problem = replace(problem, program=replace(problem.program, steady_state=True))
    for name in ("all-slow", "greedy", "msa", "fluid"):
        assert find_violations(solve_with(name, problem)) == []


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
    for seed in range(20):
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
