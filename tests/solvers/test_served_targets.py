"""Latencies, bursts, outstanding limits, bandwidth by kind: legal plans, no bound above one."""

from dataclasses import replace
from random import Random

import pytest

from tests.support.cases import random_case
from tests.support.solving import Asked, solve_with
from tests.support.wide import share
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Rereads, Target, Tier
from ullage.compiler.verify.target_form import target_faults
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.bounds import lower_bound
from ullage.hwmodels.cost import objective_value, score
from ullage.hwmodels.replay.replay import simulate
from ullage.hwmodels.rereads import operand_reads
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.bound import fluid_bound
from ullage.solvers.parallel_links import is_needed
from ullage.solvers.registry import find_solver
from ullage.solvers.state.segments import segments_of

SOLVERS = ("all-slow", "greedy", "msa", "fluid", "cpsat", "divide", "rl", "auto")
# What a plan is allowed to be below a bound, relative: sums round differently.
ROUNDING = 1e-6


def with_windows(problem: Problem, rng: Random) -> Problem:
    """The same problem with a geometry of convolutions and products for some of its operators."""

    def nest() -> LoopNest:
        channels = rng.choice((4, 48))
        return rng.choice(
            (
                LoopNest("convolution", "Conv", 1, 1, 6, 5, channels, 8, (3, 3)),
                LoopNest("depthwise", "Conv", 1, 1, 6, 5, channels, 1, (3, 3), groups=channels),
                LoopNest("matmul", "MatMul", width=30, channels=channels, depth=16),
                LoopNest("pooling", "MaxPool", 1, 1, 6, 5, channels, kernel=(3, 3)),
            )
        )

    steps = tuple(
        replace(step, nests=(nest(),)) if step.uses and rng.random() < 0.7 else step
        for step in problem.steps
    )
    return replace(problem, program=replace(problem.program, steps=steps))


def served(problem: Problem, seed: int) -> Problem:
    """The same problem on a chip whose memories have latencies, bursts and limits of requests."""
    rng = Random(seed)
    target = problem.target

    def memory(tier: Tier, number: int) -> Tier:
        latency_s = rng.choice((0.0, 1e-8, 2e-7))
        burst = rng.choice((1, 16, 64))
        # Few requests behind the fastest tier, which must stay that.
        requests = rng.choice((0, 1, 4)) if number and latency_s else 0
        return replace(
            tier, latency_s=latency_s, burst_bytes=burst, max_outstanding_requests=requests
        )

    tiers = tuple(memory(tier, number) for number, tier in enumerate(target.tiers))
    links = tuple(
        replace(
            link,
            max_outstanding_transfers=rng.choice((1, 2, 8)),
            range_setup_s=rng.choice((0.0, 1e-8)),
        )
        for link in target.links
    )
    shares = {kind: rng.choice((0.25, 0.5, 1.0)) for kind in ("matmul", "other", "convolution")}
    compute = replace(
        target.compute,
        bandwidth_efficiency=rng.choice((None, shares)),
        rereads=rng.choice((None, Rereads(16, 8), Rereads(256, 64, 64, 32))),
    )
    problem = with_windows(problem, rng) if compute.rereads else problem
    changed: Target = replace(target, tiers=tiers, links=links, compute=compute)
    if any(target_faults(changed)):  # requests leave a tier slower than the next one behind it
        tiers = tuple(replace(tier, max_outstanding_requests=0) for tier in tiers)
        changed = replace(changed, tiers=tiers)
    return problem.on(changed)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
def test_plans_are_legal_and_no_bound_is_above_one(solver: str, objective: str) -> None:
    if objective not in find_solver(solver).objectives:
        pytest.skip(f"{solver} does not minimise {objective}")
    solved = needed = again = 0
    for seed in range(
        share(10, 5) if solver in ("greedy", "msa", "fluid", "all-slow") else share(4, 2)
    ):
        problem = served(random_case(seed, operators=8), seed).minimising(objective)
        assert not list(target_faults(problem.target))
        needed += is_needed(problem.target)
        again += any(operand_reads(problem))
        try:
            plan = solve_with(solver, problem, Asked(objective))
        except InfeasibleError:
            continue
        solved += 1
        assert find_violations(plan) == []
        assert plan.target == problem.target
        value = objective_value(score(plan), objective)
        bounds = [lower_bound(problem).value, plan.lower_bound or 0.0]
        if solver == "greedy":
            bound = fluid_bound(problem, value, Budget())
            bounds.append(bound.value if bound else 0.0)
        assert max(bounds) <= value * (1 + ROUNDING) + 1e-15
        assert simulate(plan).latency_s > 0
    assert solved > 1
    assert needed > 1
    assert again


def test_no_figure_makes_a_plan_faster() -> None:
    """The same decisions take as long or longer than on the chip without any of it."""
    for seed in range(12):
        plain = random_case(seed, operators=8)
        try:
            plan = solve_with("greedy", plain)
        except InfeasibleError:
            continue
        slower = replace(plan, problem=served(plain, seed))
        assert score(slower).latency_s >= score(plan).latency_s * (1 - 1e-12)
        assert sum(score(slower).traffic_bytes.values()) >= sum(score(plan).traffic_bytes.values())


def test_bytes_count_as_they_are_whatever_was_asked_for_first() -> None:
    """Segments of latency divide bytes by what a kind reaches; those of traffic do not."""
    problem = next(
        served(random_case(seed, operators=8), seed)
        for seed in range(20)
        if served(random_case(seed, operators=8), seed).target.compute.bandwidth_efficiency
    )
    compute = replace(problem.target.compute, bandwidth_efficiency={"other": 0.5, "matmul": 0.5})
    problem = problem.on(replace(problem.target, compute=compute))

    def moved(of: Problem) -> float:
        return sum(a.read_bytes + a.written_bytes for s in segments_of(of) for a in s.accesses)

    in_time = moved(problem)
    in_bytes = moved(problem.minimising("traffic"))
    assert in_time > in_bytes == moved(replace(problem, objective="traffic"))
    assert moved(problem.minimising("traffic").minimising("latency")) == in_time
