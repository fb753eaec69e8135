"""The smallest fast memory without a spill under a limit of the latency."""

from itertools import pairwise

import numpy as np
import pytest

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import live_bytes_by_step
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.smallest import CLOSE, smallest_within
from ullage.solvers.run import run_solver

# Two memories with pages, three with rows, and one whose tensors lie in one piece.
TARGETS = {
    "edge-npu": load_target("edge-npu"),
    "ethos-u55-128": load_target("ethos-u55-128"),
    "whole": load_target("edge-npu", {"split_operands": "false"}),
}


def chain(seed: int, target: Target) -> Problem:
    """Operators one behind the other, with weights, a skip and some computing."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 7))
    tensors = [Tensor("x0", 4096 * int(rng.integers(1, 8)), "input")]
    operators = []
    for i in range(count):
        kind = "output" if i + 1 == count else "activation"
        tensors.append(Tensor(f"x{i + 1}", 1024 * int(rng.integers(1, 32)), kind))
        tensors.append(Tensor(f"w{i}", 1024 * int(rng.integers(1, 48)), "weight"))
        reads = [f"x{i}", f"w{i}", *(["x0"] if i == 2 else [])]
        macs = int(rng.integers(1e5, 4e6))
        operators.append(Op(f"o{i}", reads, [f"x{i + 1}"], macs=macs))
    return problem_from_lists("chain", tensors, operators, target)


def check_without_spills(plan: Plan | Assignment) -> None:
    """Everything but weights has one residency in fast memory, from its first use to its last."""
    problem = plan.problem
    fast = problem.target.fastest.name
    for index, buffer in enumerate(problem.buffers):
        if buffer.kind == "weight":
            continue
        held = np.zeros((buffer.size_bytes, len(problem.steps)), dtype=bool)
        for r in plan.residencies:
            if r.buffer == index and r.tier == fast:
                assert not held[r.start_byte : r.end_byte, r.start : r.end].any()
                held[r.start_byte : r.end_byte, r.start : r.end] = True
        steps = [step for step, _ in problem.uses_of[index]]
        assert held[:, min(steps) : max(steps) + 1].all()


def fastest_s(problem: Problem) -> float:
    """Latency with all the memory that a plan without spills can use."""
    target = problem.target.with_fast_memory(1 << 24)
    inner = problem.minimising("latency").without_spills().on(target)
    return run_solver("fluid", inner).value


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("seed", range(4))
def test_the_limit_is_kept_without_spills_and_less_time_takes_no_less_memory(
    name: str, seed: int
) -> None:
    problem = chain(seed, TARGETS[name]).minimising("peak")
    best_s = fastest_s(problem)
    least = live_bytes_by_step(problem, problem.target).max()
    sizes = []
    for share in (0.0, 0.05, 0.3, 5.0):
        limit_s = best_s * (1 + share) * (1 + 1e-12)
        outcome = run_solver("no-spill", problem.within(limit_s))
        assert outcome.score.latency_s <= limit_s
        assert not find_violations(outcome.plan)
        check_without_spills(outcome.plan)
        assert outcome.value >= least
        sizes.append(outcome.value)
    for tight, loose in pairwise(sizes):
        assert loose <= tight * (1 + 2 * CLOSE) + problem.target.fastest.alignment_bytes
    assert sizes[-1] <= least * (1 + 2 * CLOSE) + 1024 * len(problem.buffers)


@pytest.mark.parametrize("seed", range(6))
def test_no_size_below_has_a_plan_that_keeps_the_limit(seed: int) -> None:
    problem = chain(seed, TARGETS["edge-npu"]).minimising("peak")
    limit_s = fastest_s(problem) * 1.1
    answer = run_solver("no-spill", problem.within(limit_s)).value
    inner = problem.minimising("latency").without_spills()
    least = int(live_bytes_by_step(problem, problem.target).max())
    page = 256
    for size in range(least, int(answer * (1 - CLOSE)) - page, page):
        sized = inner.on(inner.target.with_fast_memory(size))
        try:
            outcomes = [run_solver(solver, sized) for solver in ("fluid", "greedy")]
        except InfeasibleError:
            continue
        assert min(o.value for o in outcomes) > limit_s * (1 - 1e-3), size


def test_a_limit_that_nothing_keeps_is_refused_with_remedies() -> None:
    problem = chain(0, TARGETS["edge-npu"]).minimising("peak")
    best_s = fastest_s(problem)
    with pytest.raises(
        InfeasibleError, match=r"allow more \(--slower-by; in a problem file latency_limit_s\)"
    ) as error:
        run_solver("no-spill", problem.within(best_s / 2))
    assert error.value.details["latency_s"] == pytest.approx(best_s, rel=1e-3)
    with pytest.raises(TimeLimitError, match="--time-limit"):
        smallest_within(problem, best_s, Budget(deadline=0.0))


def test_a_limit_is_kept_with_what_memories_let_wait() -> None:
    """Solvers leave out the latency of a tier, and what they take less would break the limit."""
    slow = load_target("edge-npu", {"tiers.dram.latency_s": "1us"})
    planned = 0
    for seed in range(4):
        problem = chain(seed, slow).minimising("peak")
        limit_s = run_solver("fluid", problem.minimising("latency")).value * 1.02
        limited = problem.within(limit_s)
        try:
            outcome = run_solver("no-spill", limited)
        except InfeasibleError:  # what waits takes more than the limit leaves
            continue
        assert outcome.score.latency_s <= limit_s * (1 + 1e-9)
        planned += 1
    assert planned


def test_only_solvers_that_keep_a_limit_get_one() -> None:
    problem = chain(1, TARGETS["edge-npu"]).minimising("peak")
    limit_s = 2 * fastest_s(problem)
    with pytest.raises(UsageError, match="no-spill, auto"):
        run_solver("cpsat", problem.within(limit_s))
    portfolio = run_solver("auto", problem.within(limit_s))
    assert portfolio.plan.solver == "no-spill"
    assert portfolio.score.latency_s <= limit_s
    assert portfolio.value == run_solver("no-spill", problem.within(limit_s)).value


def test_inputs_arrive_before_their_first_use_and_outputs_leave_after_their_last() -> None:
    problem = chain(2, TARGETS["ethos-u55-128"])
    inner = problem.on(problem.target.with_fast_memory(1 << 22))
    for solver, ahead in (("fluid", False), ("greedy", True), ("all-slow", True)):
        plan = run_solver(solver, inner.without_spills(inputs_ahead=ahead)).plan
        check_without_spills(plan)
        moved = {
            kind: sum(
                size
                for t in plan.transfers
                for _, size in t.moves
                if plan.problem.buffers[t.buffer].kind == kind
            )
            for kind in ("input", "output", "activation")
        }
        sizes = {b.kind: b.size_bytes for b in problem.buffers if b.kind != "weight"}
        assert moved == {"input": sizes["input"], "output": sizes["output"], "activation": 0}
        assert score(plan).latency_s >= run_solver("fluid", problem).value * (1 - 1e-9)


@pytest.mark.parametrize("last_macs", [300_000, 0])
def test_inputs_that_come_ahead_make_nothing_wait(last_macs: int) -> None:
    """Where the step before computes nothing, an input is ready earlier than it is used."""
    chip = load_target("edge-npu")
    tensors = [
        Tensor("x", 4096, "input"),
        Tensor("late", 8192, "input"),
        *(Tensor(f"a{i}", 1024, "activation") for i in range(4)),
        Tensor("y", 1024, "output"),
    ]
    operators = [Op("o0", ["x"], ["a0"], macs=300_000)]
    operators += [Op(f"o{i}", [f"a{i - 1}"], [f"a{i}"], macs=300_000) for i in range(1, 3)]
    operators += [Op("o3", ["a2"], ["a3"], macs=last_macs)]
    operators += [Op("o4", ["a3", "late"], ["y"], macs=300_000)]
    problem = problem_from_lists("late", tensors, operators, chip)
    slow, fast = (
        run_solver("all-slow", problem.without_spills(inputs_ahead=ahead))
        for ahead in (False, True)
    )
    check_without_spills(slow.plan)
    check_without_spills(fast.plan)
    assert fast.value < slow.value
    # The first input has nothing to hide behind, and DMA has the link until the step begins.
    waits = [outcome.score.elapsed_s[1:].sum() for outcome in (fast, slow)]
    assert waits[0] < waits[1]
