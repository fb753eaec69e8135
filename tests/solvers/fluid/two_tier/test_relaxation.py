"""The fluid solver: its bound holds for every plan, its plans are legal and near the bound."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cases import random_case, solved
from tests.support.changes import with_program
from tests.support.long_wait import long_wait
from tests.support.solving import Asked, solve_with
from tests.support.targets import random_plan, random_problem, seeded
from tests.support.wide import share
from ullage.compiler.driver.compile import compile_model, prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import objective_value, score

seeds = st.integers(0, 10**6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_bound_is_below_every_plan_of_every_solver(seed: int) -> None:
    problem = random_case(seed, operators=10)
    fluid = solved("fluid", problem, "latency")
    if fluid is None:
        return
    assert not find_violations(fluid)
    if fluid.lower_bound is None:  # parts of tensors that stay whole, among three tiers
        whole = len(problem.target.tiers) > 2 and not problem.target.split_operands
        fastest, homes = problem.target.fastest.name, problem.target.homes
        assert whole or fastest in homes.values()  # it may be moved away
        return
    for name in ("all-slow", "greedy", "msa", "fluid"):
        plan = fluid if name == "fluid" else solved(name, problem, "latency")
        if plan is not None:
            assert fluid.lower_bound <= score(plan).latency_s * (1 + 1e-9), name


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_bound_is_below_random_legal_plans(seed: int) -> None:
    rng = seeded(seed)
    problem = random_problem(rng, rng.randint(1, 8))
    bound = solve_with("fluid", problem).lower_bound
    assert bound is not None
    for _ in range(6):
        assert bound <= score(random_plan(problem, rng)).latency_s * (1 + 1e-9)


@pytest.mark.wide(2)
@pytest.mark.parametrize("kib", [64, 256, 1024])
def test_plans_of_a_real_model_are_near_the_bound(kib: int) -> None:
    options = CompileOptions(dtype="int8", fast_memory_bytes=kib << 10, schedule="whole")
    fluid = compile_model("resnet50", options)
    assert fluid.bound.source == "fluid-lp"
    assert fluid.gap is not None
    assert fluid.gap < 0.1
    for name in ("greedy", "msa"):
        other = compile_model(
            "resnet50", CompileOptions(dtype="int8", fast_memory_bytes=kib << 10, solver=name)
        )
        assert fluid.value <= other.value
        assert fluid.bound.value <= other.value


@pytest.mark.parametrize("changes", [{"split_operands": "false"}, {"slice_granularity": "row"}])
def test_targets_that_do_not_cut_freely(changes: dict[str, str]) -> None:
    options = CompileOptions(dtype="int8", overrides=changes, solver="fluid")
    done = compile_model("squeezenet", options)
    assert done.gap is not None
    assert done.bound.value <= done.value


def test_more_fast_memory_lowers_the_bound() -> None:
    prepared = prepare(find_model("squeezenet"), CompileOptions(dtype="int8"))
    bounds = []
    for kib in (64, 128, 256, 512):
        target = prepared.target.with_fast_memory(kib << 10)
        plan = solve_with("fluid", prepared.problem.on(target))
        assert plan.lower_bound is not None
        bounds.append(plan.lower_bound)
    assert all(a >= b * (1 - 1e-9) for a, b in pairwise(bounds))
    assert bounds[0] > bounds[-1] * 1.01


@pytest.mark.parametrize("kib", [256, 1024, 4096])
def test_in_steady_state_weights_are_carried_over(kib: int) -> None:
    once = CompileOptions(dtype="int8", solver="fluid", fast_memory_bytes=kib << 10)
    loop = compile_model("squeezenet", replace(once, steady_state=True))
    single = compile_model("squeezenet", once)
    assert loop.gap is not None
    assert loop.gap < 0.01
    assert loop.value <= single.value
    fastest = loop.plan.target.fastest.name
    carried = [r for r in loop.plan.residencies if r.tier == fastest and not r.start]
    assert carried  # verified: each is left there by the inference before
    if kib == 4096:  # everything fits: nothing but inputs and outputs moves
        assert loop.score.noncompulsory_bytes == 0
        assert loop.score.compulsory_bytes < single.score.compulsory_bytes


@settings(max_examples=share(60, 8), deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_bound_holds_in_steady_state(seed: int) -> None:
    problem = random_case(seed, operators=10)
    problem = with_program(problem, steady_state=True)
    for objective in ("latency", "traffic", "energy"):
        fluid = solved("fluid", problem, objective)
        if fluid is None or fluid.lower_bound is None:
            continue
        assert not find_violations(fluid)
        for name in ("all-slow", "greedy", "msa", "fluid"):
            plan = fluid if name == "fluid" else solved(name, problem, objective)
            if plan is not None:
                value = objective_value(score(plan), objective)
                assert fluid.lower_bound <= value * (1 + 1e-9), name


@pytest.mark.parametrize("window", [1, 2, 8, 24, 1000])
@pytest.mark.parametrize("steps", [5, 60])
def test_fetching_very_early_pays_and_bounds_know_it(steps: int, window: int) -> None:
    problem = long_wait(steps)
    options = Asked(parameters={"window_steps": window})
    few = solve_with("fluid", problem, options)
    wide = solve_with("fluid", problem, Asked(parameters={"window_steps": 1000}))
    assert few.lower_bound is not None
    assert wide.lower_bound is not None
    assert few.lower_bound <= score(wide).latency_s * (1 + 1e-9)
    assert few.lower_bound == pytest.approx(wide.lower_bound, rel=2e-3)
    assert score(few).latency_s == pytest.approx(score(wide).latency_s, rel=2e-3)
    first = min(move[0] for t in wide.transfers for move in t.moves if t.source != "sram")
    assert first < steps  # otherwise the case shows nothing
