"""Addresses of many residencies."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recurrent import chip, recurrent
from tests.support.solving import solve_with
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.state import place as placement
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.greedy_moves import keep_what_pays
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), capacity_bytes=st.sampled_from((168, 232, 328, 488)))
def test_residencies_beyond_many_are_placed_legally(seed: int, capacity_bytes: int) -> None:
    target = chip(capacity_bytes)
    problem = recurrent(target, 60, seed)
    try:
        slow = score(solve_with("all-slow", problem))
    except InfeasibleError:
        return
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(placement, "MAX_TOGETHER", 5)
        plan = solve_with("greedy", problem)
    assert find_violations(plan) == []
    assert score(plan).latency_s <= slow.latency_s * (1 + 1e-9)
    assert any("near-linear" in note for note in plan.notes)


@pytest.mark.parametrize("seed", [1, 5])
def test_what_may_be_dropped_is_never_why_there_is_no_plan(seed: int) -> None:
    rng = random.Random(seed)
    tensors, operators = [Tensor("x0", 100_000, "input")], []
    for i in range(400):
        tensors.append(Tensor(f"w{i}", rng.randrange(1000, 200_000), "weight"))
        size = rng.randrange(10_000, 200_000)
        tensors.append(Tensor(f"x{i + 1}", size, "activation" if i < 399 else "output"))
        reads = dict.fromkeys([f"x{i}", f"w{i}", f"x{max(0, i - rng.randrange(2, 20))}"])
        operators.append(Op(f"o{i}", list(reads), [f"x{i + 1}"], macs=rng.randrange(10**6, 10**8)))
    problem = problem_from_lists("long", tensors, operators, load_target("edge-npu"))
    state = ResidencyState(problem, segments_of(problem))
    keep_what_pays(state, 64, Budget(), compiles=False)
    placement.place_residencies(state, lambda: True)  # no time: one by one
    assert all(residency.offset >= 0 for _, _, residency in state.all_residencies())
    kept = [residency for _, _, residency in state.all_residencies()]
    assert find_violations(assemble(problem, state.segments, kept)) == []
