"""Weights behind a slow home stay, in steady state, where they can: every solver plans so."""

from dataclasses import replace
from random import Random

import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import solve_with
from tests.support.wide import share
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Link, Target, Tier
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score, value_of
from ullage.hwmodels.replay.replay import simulate
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.multi_tier.solver import solve_tiers
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.heuristics.all_slow import solve as streamed
from ullage.solvers.kept_weights import reduce
from ullage.solvers.parameters import NoOptions
from ullage.solvers.paths.greedy import by_first_use, plan_of_pieces
from ullage.solvers.reductions import recover

SOLVERS = ("greedy", "msa", "fluid", "divide", "rl", "evolution", "auto")


def flash_target(rng: Random, *, writable: bool = False, granularity: int = 8) -> Target:
    """A scratchpad before DRAM before flash, where weights are; starting a read there is dear."""
    near = scratchpad_target(rng, 1, room=2048, granularity=granularity)
    flash = Tier("flash", 1 << 20, 5e8, 4e8, 64, 1e-10, 1e-10, addressable=False)
    flash = replace(flash, read_only=not writable)
    links = [*near.links, Link("flash", "t1", 5e8, 4e-6, 0.0)]
    links += [Link("t1", "flash", 4e8, 4e-6, 0.0)] if writable else []
    homes = {**near.homes, "weight": "flash"}
    return replace(near, tiers=(*near.tiers, flash), links=tuple(links), homes=homes)


def looping(seed: int, *, writable: bool = False, granularity: int = 8) -> Problem:
    """A random program in steady state on such a chip."""
    rng = Random(seed)
    target = flash_target(rng, writable=writable, granularity=granularity)
    return scratchpad_problem(rng, target, 7, steady_state=True)


def _leaves_flash(plan: Plan) -> bool:
    return any(transfer.source == "flash" for transfer in plan.transfers)


@pytest.mark.parametrize("writable", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_no_inference_waits_for_flash(solver: str, writable: bool) -> None:
    planned = 0
    for seed in range(share(6, 2)):
        problem = looping(seed, writable=writable)
        try:
            plan = solve_with(solver, problem)
        except InfeasibleError:
            continue
        planned += 1
        assert find_violations(plan) == []
        assert plan.target == problem.target
        assert not _leaves_flash(plan)
        value = score(plan).latency_s
        assert plan.lower_bound is None or plan.lower_bound <= value * (1 + 1e-9)
        assert simulate(plan).latency_s > 0
        whole = [r for r in plan.residencies if r.tier == "flash"]
        weights = [b for b, buffer in enumerate(problem.buffers) if buffer.kind == "weight"]
        assert {r.buffer for r in whole} == {b for b in weights if problem.buffers[b].size_bytes}
    assert planned > share(3, 0)


@pytest.mark.parametrize("solver", ["greedy", "msa", "fluid"])
def test_whole_operands_stay_as_well(solver: str) -> None:
    planned = 0
    for seed in range(6):
        try:
            plan = solve_with(solver, looping(seed, granularity=0))
        except InfeasibleError:
            continue
        planned += 1
        assert find_violations(plan) == []
        assert not _leaves_flash(plan)
    assert planned > 2


def test_the_reference_has_everything_at_home() -> None:
    plans = [solve_with("all-slow", looping(seed)) for seed in (0, 2, 3)]
    assert all(find_violations(plan) == [] for plan in plans)
    assert any(_leaves_flash(plan) for plan in plans)


def test_a_reduced_plan_costs_what_the_plan_made_of_it_costs() -> None:
    for seed in range(6):
        problem = looping(seed)
        reduced = reduce(problem)
        assert [tier.name for tier in reduced.target.tiers] == ["t0", "t1"]
        try:
            solution = streamed(reduced, NoOptions(), Budget())
        except InfeasibleError:
            continue
        plan = recover(problem, solution).assignment
        assert value_of(plan) == pytest.approx(value_of(solution.assignment), rel=1e-12)


def test_what_cannot_stay_is_left_alone() -> None:
    problem = looping(2)
    target = problem.target
    once = replace(problem, program=replace(problem.program, steady_state=False))
    reachable = replace(target.tiers[2], addressable=True)
    small = replace(target.tiers[1], capacity_bytes=256)
    past = Link("flash", "t0", 5e8, 0.0, 0.0)
    others = (
        once,
        problem.on(replace(target, tiers=(*target.tiers[:2], reachable))),
        problem.on(replace(target, tiers=(target.tiers[0], small, target.tiers[2]))),
        problem.on(replace(target, links=(*target.links, past))),
    )
    for other in others:
        assert reduce(other) is other
    assert reduce(problem) is not problem


def test_searches_over_chains_keep_weights_where_there_is_room() -> None:
    """Also where a way past DRAM leaves the problem as it is."""
    planned = 0
    for seed in range(8):
        problem = looping(seed)
        slow = Link("flash", "t0", 1e6, 1e-3, 0.0)
        target = replace(problem.target, links=(*problem.target.links, slow))
        problem = problem.on(target)
        assert reduce(problem) is problem
        try:
            found = plan_of_pieces(problem, (by_first_use,), Budget())
            fluid = solve_tiers(problem, FluidOptions(), Budget()).assignment
        except InfeasibleError:
            continue
        planned += 1
        for plan in (found, fluid):
            assert all(transfer.source != "flash" for transfer in plan.transfers)
            assert not find_violations(plan)
    assert planned > 3
