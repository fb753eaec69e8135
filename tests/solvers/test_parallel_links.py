"""Several DMA queues between the same tiers: every solver plans, and plans are legal."""

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from tests.support.cases import random_case
from tests.support.solving import Asked, solve_with
from tests.support.wide import share
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.plan_json import read_plan, write_plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import objective_value, score
from ullage.hwmodels.replay.replay import simulate
from ullage.rl_agent.env.game import MallocGame
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.bound import fluid_bound
from ullage.solvers.parallel_links import is_needed, reduce
from ullage.solvers.registry import find_solver

SOLVERS = ("all-slow", "greedy", "msa", "fluid", "cpsat", "divide", "rl", "evolution", "auto")


def with_queues(problem: Problem, seed: int) -> Problem:
    """The same with a second queue beside each link: another bandwidth, another set-up."""
    rng = Random(seed)
    second = [
        replace(
            link,
            bandwidth_bytes_per_s=link.bandwidth_bytes_per_s * rng.choice((0.25, 1.0, 2.0)),
            setup_s=link.setup_s * rng.choice((0.5, 1.0, 3.0)),
            name=f"{link.name}:second",
        )
        for link in problem.target.links
    ]
    return problem.on(replace(problem.target, links=(*problem.target.links, *second)))


@pytest.mark.parametrize("solver", SOLVERS)
def test_plans_are_legal_name_their_queues_and_keep_their_bounds(solver: str) -> None:
    used: set[str] = set()
    solved = 0
    for seed in range(8):
        problem = with_queues(random_case(seed, operators=8), seed)
        assert is_needed(problem.target)
        for objective in {"latency", "energy"}.intersection(find_solver(solver).objectives):
            try:
                plan = solve_with(solver, problem, Asked(objective))
            except InfeasibleError:
                continue
            solved += 1
            assert find_violations(plan) == []
            assert plan.target == problem.target
            value = objective_value(score(plan), objective)
            assert plan.lower_bound is None or plan.lower_bound <= value * (1 + 1e-6)
            assert simulate(plan).latency_s > 0
            used |= {transfer.link for transfer in plan.transfers}
    assert solved > 4
    assert any(name.endswith(":second") for name in used)
    assert any(not name.endswith(":second") for name in used)


def test_a_plan_file_keeps_the_names(tmp_path: Path) -> None:
    plan = solve_with("greedy", with_queues(random_case(3, operators=8), 3))
    write_plan(plan, tmp_path / "plan.json")
    again = read_plan(tmp_path / "plan.json")
    assert [transfer.link for transfer in again.transfers] == [t.link for t in plan.transfers]


def test_values_on_the_way_are_those_of_plans_of_the_problem() -> None:
    """The reduced problem's plans cost less, so none of their values is told."""
    values: list[float] = []
    problem = with_queues(random_case(7, operators=14), 7)
    plan = solve_with("fluid", problem, Asked(on_improvement=values.append))
    assert all(value >= score(plan).latency_s * (1 - 1e-9) for value in values)


def test_one_link_between_any_two_tiers_is_left_alone() -> None:
    problem = random_case(3, operators=8)
    assert reduce(problem) is problem


def test_games_on_two_queues_end_in_legal_plans() -> None:
    games = transfers = 0
    for seed in range(6):
        problem = with_queues(random_case(seed, operators=8), seed)
        try:
            game = MallocGame(problem=problem)
        except InfeasibleError:
            continue
        game.reset()
        rng = np.random.default_rng(seed)
        over = False
        while not over:
            _, _, over, _, _ = game.step(int(rng.choice(np.flatnonzero(game.action_masks()))))
        plan = game.plan()
        assert find_violations(plan) == []
        games += 1
        transfers += len(plan.transfers)
    assert games > 2
    assert transfers > 0


@pytest.mark.parametrize("solver", ["all-slow", "greedy", "msa", "fluid", "cpsat", "auto"])
def test_links_with_names_of_their_own_are_used_under_them(solver: str) -> None:
    planned = 0
    for seed in range(share(25, 18)):
        problem = random_case(seed, operators=8)
        links = [replace(link, name=f"dma{i}") for i, link in enumerate(problem.target.links)]
        problem = problem.on(replace(problem.target, links=tuple(links)))
        try:
            plan = solve_with(solver, problem)
        except InfeasibleError:
            continue
        assert find_violations(plan) == []
        planned += bool(plan.transfers)
        assert {t.link for t in plan.transfers} <= {link.name for link in links}
    assert planned > 3


def test_the_bound_for_everybody_knows_that_queues_work_side_by_side() -> None:
    """It is never above a plan of any solver, with two queues beside every link."""
    compared = 0
    for seed in range(30):
        problem = with_queues(random_case(seed, operators=7), seed)
        try:
            values = [
                score(solve_with(name, problem)).latency_s
                for name in ("all-slow", "greedy", "fluid")
            ]
        except InfeasibleError:
            continue
        bound = fluid_bound(problem, max(values), Budget())
        if bound is not None:
            compared += 1
            assert bound.value <= min(values) * (1 + 1e-9)
    assert compared > 10
