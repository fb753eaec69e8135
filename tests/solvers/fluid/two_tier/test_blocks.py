"""Blocks of steps: legal plans, bounds below, two fronts at a time."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cases import random_case
from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import Asked, solve_with
from tests.support.targets import HAND
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import (
    compute_seconds,
    objective_value,
    overhead_seconds,
    score,
    value_of,
)
from ullage.solvers.fluid.two_tier import blocks as fluid_blocks
from ullage.solvers.fluid.two_tier import relaxation as fluid_relax
from ullage.solvers.fluid.two_tier.builder import TIE_BREAK, Builder
from ullage.solvers.fluid.two_tier.model import Windows, build_fluid
from ullage.solvers.fluid.two_tier.program import streaming_values
from ullage.solvers.fluid.two_tier.time_axis import time_axis
from ullage.solvers.lp.program import FrozenProgram, LpSolution
from ullage.solvers.lp.solve import solve_lps
from ullage.solvers.paths.streaming import home_assignment
from ullage.solvers.state.segments import segments_of

seeds = st.integers(0, 10**6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=seeds)
def test_blocks_of_steps_keep_plans_legal_and_bounds_below(seed: int) -> None:
    problem = random_case(seed, operators=12)
    for objective in ("latency", "traffic"):
        try:
            whole = solve_with("fluid", problem, Asked(objective=objective))
        except InfeasibleError:
            return
        parameters = {"whole_steps": 1}
        parts = solve_with("fluid", problem, Asked(objective=objective, parameters=parameters))
        assert not find_violations(parts)
        if parts.lower_bound is not None:
            value = objective_value(score(whole), objective)
            assert parts.lower_bound <= value * (1 + 1e-9)


def in_small_blocks(problem: Problem) -> tuple[Plan, int]:
    """A plan of blocks of four steps, and the most blocks that were solved at the same time."""
    together = 0

    def spy(programs: Sequence[FrozenProgram], **how: Any) -> list[LpSolution | None]:
        nonlocal together
        together = max(together, len(programs))
        return solve_lps(programs, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fluid_blocks, "BLOCK_STEPS", 4)
        patch.setattr(fluid_blocks, "OVERLAP_STEPS", 1)
        patch.setattr(fluid_blocks, "LOAD_STEPS", 2)
        patch.setattr(fluid_relax, "BLOCK_STEPS", 4)
        patch.setattr(fluid_relax, "LOAD_STEPS", 2)
        patch.setattr(fluid_relax, "solve_lps", spy)
        options = Asked(parameters={"whole_steps": 1, "window_steps": 1, "block_window_steps": 1})
        return solve_with("fluid", problem, options), together


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=seeds)
def test_blocks_of_two_fronts_keep_plans_legal_and_bounds_below(seed: int) -> None:
    problem = random_case(seed, operators=24)
    try:
        whole = solve_with("fluid", problem, Asked())
        parts, _ = in_small_blocks(problem)
    except InfeasibleError:
        return
    assert not find_violations(parts)
    if parts.lower_bound is not None:
        assert parts.lower_bound <= objective_value(score(whole), "latency") * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(12))
def test_blocks_of_operands_that_must_be_fast_bound_no_less_than_computing(seed: int) -> None:
    rng = Random(seed)
    target = scratchpad_target(rng, 1, room=rng.choice((512, 1024)))
    # Set-ups count in the bound of the whole program only.
    target = replace(target, links=tuple(replace(link, setup_s=0.0) for link in target.links))
    problem = scratchpad_problem(rng, target, 24)
    try:
        whole = solve_with("fluid", problem, Asked())
    except InfeasibleError:
        return
    parts, _ = in_small_blocks(problem)
    block = solve_with("fluid", problem, Asked(parameters={"whole_steps": 1}))
    floor = float(compute_seconds(problem)[0].sum() + overhead_seconds(problem).sum())
    for plan in (parts, block):
        assert not find_violations(plan)
        assert plan.lower_bound is not None
        assert floor * (1 - TIE_BREAK) <= plan.lower_bound
        assert plan.lower_bound <= score(whole).latency_s * (1 + 1e-9)
    assert block.lower_bound is not None
    assert whole.lower_bound is not None
    assert block.lower_bound >= 0.99 * whole.lower_bound


@pytest.mark.parametrize("seed", range(12))
def test_the_first_point_of_blocks_is_a_solution(seed: int) -> None:
    rng = Random(seed)
    target = scratchpad_target(rng, 1, room=1024)
    problem = scratchpad_problem(rng, target, 16)
    try:
        known = value_of(home_assignment(problem))
    except InfeasibleError:
        return
    axis = time_axis(problem, segments_of(problem))
    builder = Builder(axis.problem, reference=known, has_capacity=axis.has_capacity)
    fluid = build_fluid(builder, axis.segments, steady_state=False, windows=Windows(8))
    values = streaming_values(fluid, axis.segments)
    program = fluid.program
    values[builder.elapsed] = program.high[builder.elapsed]
    assert (values >= program.low).all()
    assert (values <= program.high).all()
    weights = program.entry_values * values[program.entry_columns]
    activity = np.bincount(program.entry_rows, weights, len(program.row_low))
    assert (activity >= program.row_low - 1e-9).all()
    assert (activity <= program.row_high + 1e-9).all()
    assert values[[gap.present for gap in fluid.gaps]].all()


def test_two_fronts_advance_together_and_the_plan_is_the_same_each_time() -> None:
    """A chain whose operators all read a weight: what is far apart has nothing in common."""
    tensors, ops = [Tensor("a0", 64, "input")], []
    for i in range(80):
        kind = "output" if i == 79 else "activation"
        tensors += [Tensor(f"w{i}", 100 + 7 * (i % 5), "weight"), Tensor(f"a{i + 1}", 64, kind)]
        ops.append(Op(f"op{i}", [f"a{i}", f"w{i}"], [f"a{i + 1}"], macs=40 * (i % 3)))
    problem = problem_from_lists("chain", tensors, ops, HAND)
    plan, together = in_small_blocks(problem)
    assert together == 2
    assert plan == in_small_blocks(problem)[0]
    assert plan.lower_bound is not None
    whole = solve_with("fluid", problem)
    assert 0 < plan.lower_bound <= score(whole).latency_s * (1 + 1e-9)


def test_fronts_solve_every_block_once() -> None:
    for count in range(30):
        begins = list(range(0, 7 * count, 7))
        groups = fluid_blocks._fronts(begins)
        assert sorted(b for group in groups for b in group) == begins
        assert all(len(group) <= 2 for group in groups)
