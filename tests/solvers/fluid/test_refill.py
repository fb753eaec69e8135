"""Weights that stream through the tier behind their home in steady state."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from tests.support.solving import Asked, solve_with
from tests.support.wide import share
from ullage.compiler.ir.assignment import Assignment, assignment_of
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Buffer, Program, Step, Use
from ullage.compiler.lowering.lower import end_steps, steps_before
from ullage.compiler.verify.verifier import find_violations, verify
from ullage.hwmodels.bounds import _refill_seconds as refill_bound
from ullage.hwmodels.bounds import order_free_bound
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import value_of
from ullage.solvers.fluid.refill.data import Blocks
from ullage.solvers.fluid.refill.one_slot import Room, slot_ways
from ullage.solvers.fluid.refill.pieces import Readable
from ullage.solvers.fluid.refill.plan import refill
from ullage.solvers.fluid.refill.reduced import reduce
from ullage.solvers.paths.streaming import home_assignment

KIB = 1024


def layers(count: int, rng: Random, share: float) -> Problem:
    """Operators in a row, each with a weight; DRAM has room for a share of their bytes."""
    sizes = [rng.randint(20, 60) * 4 * KIB for _ in range(count)]
    weights = [Buffer(f"w{i}", size, "weight", (), (), KIB) for i, size in enumerate(sizes)]
    acts: list[Buffer] = [
        Buffer(f"a{i}", 4 * KIB, "activation", (), (), KIB) for i in range(count - 1)
    ]
    acts.append(Buffer("out", 4 * KIB, "output", (), ((0, 4 * KIB),), KIB))
    acts.append(Buffer("in", 4 * KIB, "input", (), (), KIB))
    target = load_target("phone-npu-flash")
    steps = end_steps("start", target.dma_steps)
    for i, size in enumerate(sizes):
        source = 2 * count if i == 0 else count + i - 1
        uses = (
            Use(i, 0, size, False, size, f"w{i}"),
            Use(source, 0, 4 * KIB, False, 4 * KIB, "x"),
            Use(count + i, 0, 4 * KIB, True, 4 * KIB, "y"),
        )
        if i:
            steps += steps_before(f"op{i}", target.dma_steps)
        steps.append(Step(f"op{i}", "MatMul", i, uses, macs=10 * size, mac_dtype="int8"))
    steps += end_steps("finish", target.dma_steps)
    program = Program("layers", "model", tuple(steps), (*weights, *acts), steady_state=True)
    dram = replace(target.tier("dram"), capacity_bytes=int(share * sum(sizes)) + 64 * KIB)
    tiers = tuple(dram if tier.name == "dram" else tier for tier in target.tiers)
    links = tuple(replace(link, setup_s=0.0) for link in target.links)
    chip = replace(target, tiers=tiers, links=links).with_fast_memory(128 * KIB)
    return Problem(program, chip)


def inner_of(problem: Problem) -> Assignment:
    roomy = reduce(problem)
    assert roomy is not None
    return assignment_of(solve_with("greedy", roomy))


@pytest.mark.wide(6)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_plans_are_legal_and_read_little_more_than_must_come(seed: int, share: float) -> None:
    problem = layers(24, Random(seed), share)
    found = refill(problem, inner_of(problem))
    assert found is not None
    verify(found)
    bound = order_free_bound(problem)
    assert bound.source in {"refill", "refill-transfers"}
    assert bound.value <= value_of(found)
    weights = sum(b.size_bytes for b in problem.buffers if b.constant)
    link = next(link for link in problem.target.links if link.source == "flash")
    everything = weights / min(link.bandwidth_bytes_per_s, 2e9)
    assert value_of(found) < 0.5 * (bound.value + everything)


def test_every_weight_is_read_from_flash_once_at_most() -> None:
    problem = layers(24, Random(1), 0.5)
    found = refill(problem, inner_of(problem))
    assert found is not None
    seen: set[tuple[int, int]] = set()
    for transfer in found.transfers:
        if transfer.source == "flash":
            spans = {
                (transfer.buffer, k) for k in range(transfer.start_byte, transfer.end_byte, KIB)
            }
            assert not spans & seen
            seen |= spans


def test_a_piece_that_arrives_too_late_is_caught() -> None:
    problem = layers(24, Random(2), 0.5)
    found = refill(problem, inner_of(problem))
    assert found is not None
    late = max((t for t in found.transfers if t.source == "flash"), key=lambda t: t.moves[0][0])
    step, size = late.moves[0]
    moved = replace(late, moves=((step + 1, size),))
    broken = replace(found, transfers=tuple(moved if t is late else t for t in found.transfers))
    assert find_violations(broken)


def test_fluid_streams_and_has_the_bound_of_both() -> None:
    problem = layers(share(10, 4), Random(3), 0.5)
    plan = solve_with("fluid", problem, Asked(parameters={"own_plan": True}))
    bound = order_free_bound(problem)
    assert plan.lower_bound is not None
    assert bound.value <= value_of(plan) * (1 + 1e-9)
    assert value_of(plan) <= 1.25 * max(bound.value, plan.lower_bound)


def test_where_all_weights_fit_nothing_streams() -> None:
    problem = layers(12, Random(4), 4.0)
    assert not order_free_bound(problem).source.startswith("refill")


@pytest.mark.parametrize(
    "changes",
    [
        {"program": "once"},
        {"objective": "traffic"},
    ],
)
def test_other_problems_have_no_such_plan(changes: dict[str, str]) -> None:
    problem = layers(12, Random(5), 0.5)
    if "program" in changes:
        problem = replace(problem, program=replace(problem.program, steady_state=False))
    else:
        problem = problem.minimising(changes["objective"])
    assert reduce(problem) is None


def test_the_bound_is_what_does_not_fit_over_the_rate_of_the_link() -> None:
    problem = layers(10, Random(0), 0.4)
    target = problem.target
    weights = sum(b.size_bytes for b in problem.buffers if b.constant)
    room = sum(tier.capacity_bytes for tier in target.tiers if tier.name != "flash") - 4 * KIB
    seconds = (weights - room) / target.tier("flash").read_bytes_per_s
    overhead = sum(target.compute.overhead_s for step in problem.steps if step.operator >= 0)
    assert refill_bound(problem) == pytest.approx(seconds)
    assert order_free_bound(problem).value >= seconds + overhead


def with_setups(problem: Problem, setup_s: float) -> Problem:
    links = tuple(replace(link, setup_s=setup_s) for link in problem.target.links)
    return problem.on(replace(problem.target, links=links))


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize("setup_s", [1e-6, 1e-4])
def test_parts_in_one_slot_are_legal_and_near_the_bound_with_set_ups(
    share: float, setup_s: float
) -> None:
    problem = with_setups(layers(30, Random(7), share), setup_s)
    roomy = reduce(problem)
    assert roomy is not None
    found = refill(problem, home_assignment(roomy))
    assert found is not None
    verify(found)
    bound = order_free_bound(problem)
    assert bound.source == "refill-transfers"
    assert bound.value <= value_of(found) <= 1.1 * bound.value


def test_the_first_part_comes_at_the_end_of_the_inference_before() -> None:
    weights = [Readable(0, ((0, 64 * KIB),), 2, 2), Readable(1, ((0, 64 * KIB),), 6, 6)]
    nothing = np.zeros(0, dtype=np.int64)
    spare = np.zeros(12)
    spare[8:] = 40.0 * KIB  # the link has nothing to do behind the last reader
    data = Blocks(nothing, nothing, nothing, nothing, nothing, 12)
    room = Room(spare, 0.0, 100 * KIB, 4 * KIB, data)
    ways = list(slot_ways(weights, room, lambda: False))
    assert ways
    for way in ways:
        assert sum(s.end - s.start for s in way.streams) >= 128 * KIB + way.size_bytes - 100 * KIB
        first = next(stream for stream in way.streams if stream.weight.buffer == 0)
        assert min(step for step, _ in first.moves) > 6
