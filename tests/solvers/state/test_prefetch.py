"""Mandatory operands beside computing: never worse, legal, and what is to be had is had."""

from dataclasses import replace
from random import Random

import pytest

from tests.support.scratchpads import (
    BEST_OF_FOUR_S,
    four_operators,
    scratchpad_problem,
    scratchpad_target,
)
from tests.support.solving import plan_of, solve_with
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.exact.residencies import residencies_of_plan
from ullage.solvers.interface import Solution
from ullage.solvers.state.build_plan import SegmentResidency, assemble, with_accesses
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.prefetch import prefetched, prefetched_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


@pytest.mark.parametrize(
    "solver", ["greedy", "msa", "fluid", "cpsat", "divide", "rl", "noisy-greedy"]
)
@pytest.mark.parametrize("split", [False, True])
def test_every_solver_fetches_weights_beside_computing(solver: str, *, split: bool) -> None:
    problem = four_operators()
    problem = problem.on(replace(problem.target, split_operands=split))
    plan = solve_with(solver, problem)
    assert score(plan).latency_s == pytest.approx(BEST_OF_FOUR_S, rel=1e-6)


@pytest.mark.parametrize("searches", [False, True])
def test_plans_are_legal_and_no_slower(*, searches: bool) -> None:
    faster = 0
    for seed in range(16 if searches else 40):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=rng.choice((256, 512, 2048)), granularity=0)
        problem = scratchpad_problem(rng, target, 7)
        segments = segments_of(problem)
        try:
            state = ResidencyState(problem, segments)
            place_residencies(state)
        except InfeasibleError:
            continue
        before = [residency for _, _, residency in state.all_residencies()]
        better = prefetched(state, Budget(), searches=searches)
        assert [residency for _, _, residency in state.all_residencies()] == before
        after = [residency for _, _, residency in better.all_residencies()]
        plans = [plan_of("x", Solution(assemble(problem, segments, r))) for r in (before, after)]
        assert not find_violations(plans[1])
        seconds = [score(plan).latency_s for plan in plans]
        assert seconds[1] <= seconds[0] * (1 + 1e-9)
        faster += seconds[1] < seconds[0] * 0.99
        again = prefetched_residencies(problem, segments, before, Budget(), searches=searches)
        assert again == after
    assert faster > (2 if searches else 5)


@pytest.mark.parametrize("solver", ["greedy", "fluid", "rl"])
def test_a_fill_may_begin_as_early_as_there_is_idle_link_time(solver: str) -> None:
    problem = _late_weight(80)
    plan = solve_with(solver, problem)
    assert score(plan).latency_s == pytest.approx(1000e-6 + 79 * 25e-6 + 0.5e-6, rel=1e-6)


def _late_weight(operators: int) -> Problem:
    """Operators that keep the link busy with weights, but the first; the last needs two's time.

    Only the first one's 1000 us have idle link time for it.
    """
    tensors, ops = [Tensor("x0", 1000, "input")], []
    for i in range(operators):
        last = i == operators - 1
        weights = [f"w{i}"] if i else []
        tensors += [Tensor(name, 200_000 if last else 100_000, "weight") for name in weights]
        tensors.append(Tensor(f"x{i + 1}", 1000, "output" if last else "activation"))
        macs = 12_500_000 if i else 500_000_000
        ops.append(Op(f"op{i}", [f"x{i}", *weights], [f"x{i + 1}"], macs=macs))
    problem = problem_from_lists("late", tensors, ops, load_target("edge-npu-spm"))
    return problem.on(replace(problem.target, split_operands=False))


def _skip(idle: int) -> Problem:
    """A tensor that skips two weights which fill the memory together, but not beside it.

    The link is idle before them for `idle` operators of 25 us each, and behind them for eight.
    """
    tensors = [Tensor("x0", 1000, "input"), Tensor("skip", 300_000, "activation")]
    tensors += [Tensor(name, 450_000, "weight") for name in ("w0", "w1")]
    reads: list[list[str]] = [[]] * idle + [["w0"], ["w1"]] + [[]] * 8 + [["skip"]]
    ops = [Op("first", ["x0"], ["skip", "x1"], macs=12_500_000)]
    for i, more in enumerate(reads, 1):
        macs = 250_000 if more else 12_500_000
        ops.append(Op(f"op{i}", [f"x{i}", *more], [f"x{i + 1}"], macs=macs))
    last = len(reads) + 1
    tensors += [
        Tensor(f"x{i}", 1000, "output" if i == last else "activation") for i in range(1, last + 1)
    ]
    target = load_target("edge-npu-spm").with_fast_memory(1_000_000)
    problem = problem_from_lists("skip", tensors, ops, target)
    return problem.on(replace(target, split_operands=False))


@pytest.mark.parametrize(("idle", "leaves"), [(16, True), (4, False)])
def test_what_stays_between_two_uses_leaves_where_that_lets_others_come_sooner(
    idle: int, *, leaves: bool
) -> None:
    """With four idle operators the link has no time to store it and to fetch both weights."""
    problem = _skip(idle)
    segments = segments_of(problem)
    given = solve_with("greedy", problem)
    state = ResidencyState(problem, segments)
    state.replace_all(with_accesses(segments, residencies_of_plan(given, segments) or []))
    number = next(i for i, s in enumerate(segments) if problem.buffers[s.buffer].name == "skip")
    assert len(state.residencies[number]) == 1
    better = prefetched(state, Budget(), searches=True)
    assert len(better.residencies[number]) == (2 if leaves else 1)
    residencies = [residency for _, _, residency in better.all_residencies()]
    plan = plan_of("x", Solution(assemble(problem, segments, residencies)))
    assert not find_violations(plan)
    before_s, after_s = (score(each).latency_s for each in (given, plan))
    assert after_s <= before_s
    if leaves:  # both weights are there when they are needed: nothing waits for them
        assert after_s == pytest.approx(25e-6 * (1 + idle + 8), rel=1e-2)
        assert before_s > after_s + 100e-6


def test_what_stays_for_all_inferences_does_not_leave_between_two_uses() -> None:
    """It would have to come back to its address, which the search for times does not see to."""
    operators = 20
    tensors = [Tensor("x0", 1000, "input"), Tensor("kept", 300_000, "weight")]
    tensors += [Tensor(name, 450_000, "weight") for name in ("w0", "w1")]
    more = {0: ["kept"], 12: ["w0"], 13: ["w1"], operators - 1: ["kept"]}
    operations = []
    for i in range(operators):
        macs = 250_000 if i in {12, 13} else 12_500_000
        operations.append(Op(f"op{i}", [f"x{i}", *more.get(i, [])], [f"x{i + 1}"], macs=macs))
        kind = "output" if i == operators - 1 else "activation"
        tensors.append(Tensor(f"x{i + 1}", 1000, kind))
    target = load_target("edge-npu-spm").with_fast_memory(1_000_000)
    problem = problem_from_lists("kept", tensors, operations, target)
    problem = problem.on(replace(target, split_operands=False))
    problem = replace(problem, program=replace(problem.program, steady_state=True))
    segments = segments_of(problem)
    state = ResidencyState(problem, segments)
    number = next(i for i, s in enumerate(segments) if problem.buffers[s.buffer].name == "kept")
    for first in sorted(state.residencies[number]):
        state.remove(number, first)
    state.add(number, 0, 1, SegmentResidency(number, 0, 0, state.steps))
    place_residencies(state)
    better = prefetched(state, Budget(), searches=True)
    assert list(better.residencies[number]) == [0]
    residencies = [residency for _, _, residency in better.all_residencies()]
    assert not find_violations(plan_of("x", Solution(assemble(problem, segments, residencies))))


def test_searches_find_better_times_in_sum() -> None:
    sums_s = [0.0, 0.0]
    better = 0
    for seed in range(15):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=512, granularity=0)
        problem = scratchpad_problem(rng, target, 14)
        try:
            state = ResidencyState(problem, segments_of(problem))
            place_residencies(state)
        except InfeasibleError:
            continue
        plain, searched = (prefetched(state, Budget(), searches=on) for on in (False, True))
        for i, found in enumerate((plain, searched)):
            sums_s[i] += found.busy_time.total_s
        better += searched.busy_time.total_s < plain.busy_time.total_s * (1 - 1e-6)
    assert sums_s[1] < sums_s[0]
    assert better > 1


def test_other_objectives_and_time_that_is_over_change_nothing() -> None:
    problem = four_operators()
    for asked, budget in ((problem.minimising("traffic"), Budget()), (problem, Budget(0.0))):
        state = ResidencyState(asked, segments_of(asked))
        place_residencies(state)
        assert prefetched(state, budget) is state
