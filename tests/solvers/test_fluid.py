"""The fluid solver: its bound holds for every plan, its plans are legal and near the bound."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hwmodels.examples import HAND, random_plan, random_problem, seeded
from tests.solvers.test_solvers import random_case, solved
from ullage.compiler.compare import compare_solvers
from ullage.compiler.models import find_model
from ullage.compiler.pipeline import CompileOptions, compile_model, prepare
from ullage.compiler.verify import find_violations
from ullage.hwmodels.cost import score
from ullage.solvers.fluid_slices import page_runs
from ullage.solvers.registry import SolverOptions, find_solver

seeds = st.integers(0, 10**6)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_bound_is_below_every_plan_of_every_solver(seed: int) -> None:
    problem, target = random_case(seed, operators=10)
    fluid = solved("fluid", problem, target, "latency")
    if fluid is None:
        return
    assert not find_violations(fluid)
    if len(target.tiers) != 2:
        assert fluid.lower_bound is None  # other tiers could help in ways the LP does not know
        return
    assert fluid.lower_bound is not None
    for name in ("all-slow", "greedy", "msa", "fluid"):
        plan = fluid if name == "fluid" else solved(name, problem, target, "latency")
        if plan is not None:
            assert fluid.lower_bound <= score(plan).latency_s * (1 + 1e-9), name


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_bound_is_below_random_legal_plans(seed: int) -> None:
    rng = seeded(seed)
    problem = random_problem(rng, rng.randint(1, 8))
    bound = find_solver("fluid").solve(problem, HAND, SolverOptions()).lower_bound
    assert bound is not None
    for _ in range(6):
        assert bound <= score(random_plan(problem, HAND, rng)).latency_s * (1 + 1e-9)


@pytest.mark.parametrize("kib", [64, 256, 1024])
def test_plans_of_a_real_model_are_near_the_bound(kib: int) -> None:
    options = CompileOptions(dtype="int8", fast_memory_bytes=kib << 10)
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
        plan = find_solver("fluid").solve(prepared.problem, target, SolverOptions())
        assert plan.lower_bound is not None
        bounds.append(plan.lower_bound)
    assert all(a >= b * (1 - 1e-9) for a, b in pairwise(bounds))
    assert bounds[0] > bounds[-1] * 1.01


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=seeds)
def test_pages_use_no_more_than_what_is_alive(seed: int) -> None:
    rng = Random(seed)
    page = rng.choice([16, 256])
    rectangles = []
    for _ in range(rng.randint(1, 20)):
        start = rng.randint(0, 20)
        rectangles.append((start, start + rng.randint(1, 9), rng.randint(1, 5 * page)))
    found = page_runs(*map(list, zip(*rectangles, strict=True)), page)
    taken: dict[tuple[int, int], int] = {}
    load = [0] * 40
    pages = [[o for at, n in runs for o in range(at, at + n, page)] for runs in found]
    for number, ((start, end, size), offsets) in enumerate(zip(rectangles, pages, strict=True)):
        assert len(offsets) == -(-size // page)
        for t in range(start, end):
            load[t] += len(offsets)
            for offset in offsets:
                assert offset % page == 0
                assert taken.setdefault((t, offset), number) == number
    assert max(max(o) for o in pages) // page + 1 == max(load)


def test_a_comparison_gives_every_solver_the_best_bound() -> None:
    options = CompileOptions(dtype="int8")
    rows = compare_solvers(find_model("squeezenet"), ["msa", "fluid", "all-slow"], options)
    assert {row["bound_source"] for row in rows} <= {"fluid-lp", "operands", "compute"}
    assert len({row["lower_bound"] for row in rows}) == 1
    for row in rows:
        assert row["gap"] == pytest.approx(max(0.0, row["value"] / row["lower_bound"] - 1))
