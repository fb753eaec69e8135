"""`divide`: legal, never worse than the quick solvers, and better where parts can be solved."""

import time
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest

from tests.support.cases import random_case
from tests.support.graphs import Builder
from tests.support.solving import Asked, solve_with
from tests.support.timing import within_limit
from tests.support.tiny import tiny_problem, tiny_target
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.assignment import assignment_of
from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import objective_value, score
from ullage.solvers.decomposition.parts import crossing_bytes, narrow_cuts, part_of
from ullage.solvers.exact.residencies import residencies_of_plan
from ullage.solvers.paths.greedy import brings_operands
from ullage.solvers.state.segments import segments_of


def planned(name: str, problem: Problem, objective: str = "latency", **given: int) -> Plan | None:
    options = Asked(objective=objective, deadline=time.monotonic() + 60, parameters={**given})
    try:
        plan = solve_with(name, problem, options)
    except (InfeasibleError, UsageError):
        return None
    assert find_violations(plan) == []
    return plan


def value(plan: Plan) -> float:
    return objective_value(score(plan), plan.objective)


def blocks(count: int) -> Problem:
    """A chain of diamonds on a chip that keeps operands whole: narrow between any two."""
    rng = Random(3)
    build = Builder("diamonds")
    source = build.value("x", 512, "input")
    for i in range(count):
        size = 64 * rng.randint(4, 24)
        left = build.op([source], [(f"l{i}", size)], macs=40000 * rng.randint(0, 3))
        weight = build.value(f"w{i}", 64 * rng.randint(1, 20), "weight")
        right = build.op([source, weight], [(f"r{i}", size)], macs=30000 * rng.randint(0, 3))
        other = build.op([left], [(f"o{i}", 64 * rng.randint(2, 12))], macs=9000)
        source = build.op([left, right, other], [(f"y{i}", 512)], macs=20000)
    graph = build.graph([source])
    target = replace(load_target("edge-npu", {}), split_operands=False).with_fast_memory(2048)
    order = range(len(graph.operators))
    return Problem(build_program(graph, order, aliases=alias_options(target)), target)


@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
def test_plans_of_random_problems_are_legal_and_no_worse(objective: str) -> None:
    seen = solved = 0
    for seed in range(8):
        problem = random_case(seed, 14)
        found = planned("divide", problem, objective, part_operators=4)
        quick = [planned(name, problem, objective) for name in ("greedy", "msa")]
        if found is None:
            assert not any(quick)
            continue
        seen += 1
        assert not [note for note in found.notes if "illegal" in note]
        solved += int(found.statistics["parts_solved"])
        assert found.lower_bound is not None
        assert found.lower_bound <= value(found) * (1 + 1e-9)
        for plan in quick:  # whole segments are divide's; those that cut operands may be better
            cuts = plan is not None and brings_operands(problem)
            assert plan is None or cuts or value(found) <= value(plan) * (1 + 1e-9)
    assert seen >= 3
    assert solved


def test_one_part_is_as_good_as_the_exact_solver() -> None:
    cases = 0
    for seed in range(6):
        rng = Random(seed)
        target = tiny_target(rng, fastest=False)
        problem = tiny_problem(rng, target, 5)
        exact, found = (planned(name, problem) for name in ("cpsat", "divide"))
        assert (exact is None) == (found is None)
        if exact is not None and found is not None:
            cases += 1
            assert value(found) == pytest.approx(value(exact), rel=1e-5)
    assert cases >= 3


def test_parts_improve_what_quick_solvers_find() -> None:
    problem = blocks(5)
    quick = [planned(name, problem) for name in ("greedy", "msa")]
    found = planned("divide", problem, part_operators=10)
    assert found is not None
    assert found.statistics["parts_solved"] >= 2
    assert all(plan is not None and value(found) < value(plan) for plan in quick)


def test_cuts_are_where_little_is_alive() -> None:
    problem = blocks(6)
    segments = segments_of(problem)
    crossing = crossing_bytes(problem, segments)
    cuts = narrow_cuts(problem, segments, 8, at_dma=False)
    assert (cuts[0], cuts[-1], len(cuts)) == (0, len(problem.steps), 4)
    assert all(a < b for a, b in pairwise(cuts))
    for cut in cuts[1:-1]:
        assert crossing[cut] <= min(crossing[cut - 2 : cut + 3])
    made = next(t for t, step in enumerate(problem.steps) if step.uses and step.name == "Conv3")
    assert crossing[made] == 0  # y0 is made there, and all it is made of dies
    assert crossing[made + 2] >= 512  # behind its first reader, before its second
    nowhere = narrow_cuts(problem, segments, 8, at_dma=True)
    assert nowhere == [0, len(problem.steps)]  # such steps stand at the ends only


def test_bandwidth_by_kind_counts_once_in_a_part() -> None:
    """Bytes that an operator reads at four fifths of the bandwidth weigh the same in its part."""
    problem = blocks(6)
    steps = tuple(
        replace(
            step,
            nests=(LoopNest("matmul", "MatMul", width=30, channels=8, depth=16),),
            uses=tuple(replace(use, accessed_bytes=use.accessed_bytes // 2) for use in step.uses),
        )
        if step.operator >= 0
        else step
        for step in problem.steps
    )
    compute = replace(problem.target.compute, bandwidth_efficiency={"matmul": 0.8})
    problem = Problem(
        replace(problem.program, steps=steps), replace(problem.target, compute=compute)
    )
    segments = segments_of(problem)
    plan = planned("greedy", problem)
    assert plan is not None
    residencies = residencies_of_plan(assignment_of(plan), segments)
    assert residencies is not None
    part = part_of(problem, segments, residencies, (5, 17))
    inner = {segment.buffer: segment for segment in segments_of(part.problem)}
    compared = 0
    for number, index in enumerate(part.segments):
        for access in segments[index].accesses:
            (found,) = (e for e in inner[number].accesses if e.step == access.step - 5)
            for one, other in (
                (found.read_bytes, access.read_bytes),
                (found.written_bytes, access.written_bytes),
            ):
                assert one == pytest.approx(other, abs=2)  # whole bytes before they are divided
            compared += 1
    assert compared


def test_a_part_leaves_what_crosses_its_ends_alone() -> None:
    problem = blocks(6)
    segments = segments_of(problem)
    plan = planned("greedy", problem)
    assert plan is not None
    residencies = residencies_of_plan(assignment_of(plan), segments)
    assert residencies is not None
    part = part_of(problem, segments, residencies, (5, 17))
    assert len(part.problem.steps) == 12
    assert {part.problem.steps[i].kind for i in (0, -1)} == {DMA_STEP}
    for residency in residencies:
        if residency.start < 5 < residency.end or residency.start < 17 < residency.end:
            assert residency in part.pinned
            assert residency.segment not in part.segments
    for index in part.segments:
        steps = {access.step for access in segments[index].accesses}
        assert not steps & {5, 16}
    own = part.residencies_of_part(residencies)
    assert own
    assert all(0 <= residency.start < residency.end <= 12 for residency in own)
    whole = {replace(residency, offset=-1) for residency in residencies}
    assert set(part.residencies_of_whole(own)) == whole
    assert len(part.residencies_of_whole([])) == len(part.pinned)


def test_the_deadline_holds_and_parameters_are_checked() -> None:
    problem = blocks(30)
    planned("divide", blocks(2))  # loads what is compiled
    plan = within_limit(2.0, lambda end: solve_with("divide", problem, Asked(deadline=end)))
    assert find_violations(plan) == []
    with pytest.raises(UsageError, match="part_operators"):
        solve_with("divide", problem, Asked(parameters={"part_operators": 1}))
