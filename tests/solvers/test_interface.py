"""Every solver on random graphs and targets: legal plans or clear refusals, equal conditions."""

from random import Random

import pytest
from hypothesis import given, settings

from tests.support.cases import (
    BUILT_IN,
    KINDS,
    OBJECTIVES,
    chain,
    problem_for,
    random_case,
    solved,
    target_of,
)
from tests.support.graphs import seeds
from tests.support.plans import ANY, PLANS, WHOLE
from tests.support.wide import share
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.target import Target
from ullage.hwmodels.cost import objective_value, score
from ullage.solvers.registry import find_solver


@settings(max_examples=share(120, 24), deadline=None, derandomize=True)
@given(seed=seeds)
def test_solvers_return_legal_plans_or_say_why_not(seed: int) -> None:
    problem = random_case(seed)
    objective = Random(seed).choice(OBJECTIVES)
    plans: dict[str, Plan | None] = {}
    for name in BUILT_IN:
        if objective not in find_solver(name).objectives:
            continue
        plans[name] = solved(name, problem, objective)
        if plans[name] is not None:
            assert plans[name] == solved(name, problem, objective)
    best = [objective_value(score(p), objective) for n, p in plans.items() if p and n != "auto"]
    chosen = plans["auto"]
    assert (chosen is not None) == bool(best)
    if chosen is not None:
        value = objective_value(score(chosen), objective)
        if chosen.solver == "cpsat":  # asked where the others are far above the bound
            assert value <= min(best) * (1 + 1e-9)
        else:
            assert value == min(best)


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_input_without_reader_is_kept_where_fast_memory_is_home(name: str) -> None:
    target = target_of(256, homes=dict.fromkeys(KINDS, "sram"))
    build = chain()
    build.value("unread", 32, "input")
    build.value("passed", 32, "input")
    problem = problem_for(build, ["y", "passed"], target)
    objective = "latency" if name != "no-spill" else "peak"
    assert solved(name, problem, objective) is not None


@pytest.mark.parametrize("name", ["all-slow", "greedy", "msa", "fluid"])
def test_operators_work_in_place_where_no_link_leads_to_fast_memory(name: str) -> None:
    target = target_of(1024, links=())
    plan = solved(name, problem_for(chain(), ["y"], target), "latency")
    assert plan is not None
    assert not plan.transfers


@pytest.mark.parametrize("name", ["all-slow", "greedy", "msa", "fluid"])
@pytest.mark.parametrize("target", [ANY, WHOLE], ids=["split", "whole"])
def test_parts_written_one_by_one_keep_each_other(name: str, target: Target) -> None:
    """Where buffers are kept whole, writing the second part must not lose the first."""
    plan = solved(name, PLANS["concat"].problem.on(target), "latency")
    assert plan is not None
    assert "c" in {plan.problem.buffers[r.buffer].name for r in plan.residencies}
