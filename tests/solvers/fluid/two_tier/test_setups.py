"""Set-ups in the linear program: the bound sees those that no plan avoids, and only those."""

from dataclasses import replace
from random import Random

import pytest

from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import solve_with
from tests.support.wide import share
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.fluid.two_tier.setups import setups_matter
from ullage.solvers.state.segments import segments_of

SETUP_S = 1e-6


def with_setups(problem: Problem, setup_s: float) -> Problem:
    """The problem on its target with set-ups on all links."""
    links = tuple(replace(link, setup_s=setup_s) for link in problem.target.links)
    return problem.on(replace(problem.target, links=links))


def one_operator(weights: int) -> Problem:
    """One operator that needs an input and so many small weights, and leaves one output."""
    names = [f"w{i}" for i in range(weights)]
    tensors = [Tensor("x", 400, "input"), Tensor("y", 400, "output")]
    tensors += [Tensor(name, 400, "weight") for name in names]
    operators = [Op("op", ["x", *names], ["y"], macs=50_000)]
    target = load_target("edge-npu-spm")
    return with_setups(problem_from_lists("one", tensors, operators, target), SETUP_S)


def test_the_first_operator_waits_for_a_set_up_for_each_operand_and_the_end_for_the_output() -> (
    None
):
    plan = solve_with("fluid", one_operator(5))
    latency_s = score(plan).latency_s
    assert latency_s >= 7 * SETUP_S
    assert plan.lower_bound == pytest.approx(latency_s, rel=1e-3)


@pytest.mark.parametrize("steady_state", [False, True])
@pytest.mark.parametrize("granularity", [8, 0])
def test_the_bound_with_set_ups_is_below_all_plans(granularity: int, *, steady_state: bool) -> None:
    counted = 0
    for seed in range(share(25, 5)):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=rng.choice((256, 512, 2048)))
        target = replace(target, slice_granularity_bytes=granularity)
        problem = scratchpad_problem(rng, target, 6, steady_state=steady_state)
        problem = with_setups(problem, rng.choice((2e-8, 2e-7)))
        try:
            fluid = solve_with("fluid", problem)
        except InfeasibleError:
            continue
        assert not find_violations(fluid)
        assert fluid.lower_bound is not None
        counted += setups_matter(problem, segments_of(problem), score(fluid).latency_s)
        for name in ("fluid", "greedy", "msa", "all-slow"):
            plan = fluid if name == "fluid" else solve_with(name, problem)
            assert fluid.lower_bound <= score(plan).latency_s * (1 + 1e-9), (seed, name)
    assert counted > share(10, 3)


def test_small_set_ups_are_left_out() -> None:
    problem = with_setups(one_operator(5), 1e-12)
    assert not setups_matter(problem, segments_of(problem), 1e-5)
    assert setups_matter(one_operator(5), segments_of(one_operator(5)), 1e-5)
