"""One wrapper for all solvers: options, labels, refusals, addresses."""

from dataclasses import replace

import pytest

from tests.support import evil
from tests.support.cases import chain, problem_for, target_of
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.interface import ShadowPrice, Solution, Solver
from ullage.solvers.registry import find_solver
from ullage.solvers.run import run_solver


def test_parameters_are_converted_and_kept_in_the_plan() -> None:
    target = target_of(1024)
    problem = problem_for(chain(), ["y"], target)
    options = Asked(parameters={"prefetch_window_steps": "7"}, seed=5)
    plan = solve_with("greedy", problem, options)
    assert (plan.options, plan.seed) == ({"prefetch_window_steps": 7}, 5)
    plan = solve_with("msa", problem, Asked(parameters={"sweeps": 2}))
    assert plan.options == {}  # as the default


def asked() -> Problem:
    return problem_for(chain(), ["y"], target_of(1024))


def test_an_outcome_is_labelled_verified_and_scored() -> None:
    problem = asked()
    outcome = run_solver("greedy", problem, seed=3)
    assert outcome.plan.problem is problem
    assert (outcome.plan.solver, outcome.plan.seed) == ("greedy", 3)
    assert outcome.score.latency_s == score(outcome.plan).latency_s
    assert outcome.value == outcome.score.latency_s
    assert run_solver("greedy", problem.minimising("energy")).value == score(outcome.plan).energy_j
    assert not outcome.interrupted
    assert outcome.solve_s >= 0
    assert run_solver(find_solver("greedy"), problem).plan == run_solver("greedy", problem).plan


def test_notes_bounds_prices_and_figures_go_into_the_plan() -> None:
    def says(problem: Problem, options: object, budget: Budget) -> Solution:
        found = evil.honest(problem, options, budget)
        return replace(
            found,
            bound=Bound(1e-9, "thought"),
            notes=("short cut",),
            shadow_prices=(ShadowPrice("1 KiB more of sram", 2e-6),),
            statistics={"rounds": 2.0},
        )

    plan = run_solver(Solver("says", "", says), asked()).plan
    assert (plan.lower_bound, plan.bound_source) == (1e-9, "thought")
    assert (plan.claimed_bound, plan.claimed_by) == (None, "")
    assert plan.notes == ("short cut",)
    assert plan.shadow_prices == (("1 KiB more of sram", 2e-6),)
    assert plan.statistics == {"rounds": 2.0}


def test_who_made_a_plan_is_told_by_ours_only() -> None:
    def modest(problem: Problem, options: object, budget: Budget) -> Solution:
        return replace(evil.honest(problem, options, budget), made_by="greedy")

    ours, theirs = Solver("modest", "", modest), Solver("modest", "", modest, origin="elsewhere")
    assert run_solver(ours, asked()).plan.solver == "greedy"
    assert run_solver(theirs, asked()).plan.solver == "modest"


def test_unplaced_residencies_that_do_not_fit_are_infeasible() -> None:
    def greedy_for_more(problem: Problem, options: object, budget: Budget) -> Solution:
        wide = problem.on(problem.target.with_fast_memory(1 << 20))
        found = evil.unplaced(wide, options, budget)
        return replace(found, assignment=replace(found.assignment, problem=problem))

    tight = asked().on(target_of(48))
    with pytest.raises(InfeasibleError, match="as packed"):
        run_solver(Solver("wide", "", greedy_for_more), tight)


def test_parameters_are_checked_before_the_solver_runs() -> None:
    def never(_problem: Problem, _options: object, _budget: Budget) -> Solution:
        raise AssertionError

    solver = Solver("never", "", never, objectives=("energy",))
    with pytest.raises(UsageError, match="cannot minimise latency"):
        run_solver(solver, asked())
    with pytest.raises(UsageError, match="has no parameter 'depth'"):
        run_solver(solver, asked().minimising("energy"), parameters={"depth": 1})
