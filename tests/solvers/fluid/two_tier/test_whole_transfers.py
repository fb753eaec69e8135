"""Whole set-ups and rows in the fluid program: its bound is below all plans, its plans are near."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from tests.solvers.fluid.two_tier.test_diving import chain, relaxed
from tests.solvers.fluid.two_tier.test_setups import SETUP_S, one_operator, with_setups
from tests.support.scratchpads import scratchpad_problem, scratchpad_target
from tests.support.solving import solve_with
from tests.support.wide import share
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import score
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.two_tier import whole_transfers
from ullage.solvers.fluid.two_tier.whole_transfers import with_whole_transfers


def two_long_rows(*, steady_state: bool = True) -> Problem:
    """Two weights of two rows each, of which the memory keeps one and a half."""
    size, names = 65_536, ("a", "b")
    tensors = [Tensor("t0", 64, "input"), Tensor("t1", 64), Tensor("t2", 64, "output")]
    tensors += [Tensor(name, size, "weight") for name in names]
    operators = [
        Op(name, [f"t{i}", name], [f"t{i + 1}"], macs=64_000) for i, name in enumerate(names)
    ]
    target = load_target("edge-npu-spm").with_fast_memory(size * 3 // 2 + 16_384 + 256)
    target = replace(target, slice_granularity_bytes=size // 2)
    problem = problem_from_lists("rows", tensors, operators, target)
    return Problem(replace(problem.program, steady_state=steady_state), target, "latency")


@pytest.mark.parametrize("steady_state", [False, True])
@pytest.mark.parametrize("granularity", [8, 0])
def test_the_bound_is_below_all_plans(granularity: int, *, steady_state: bool) -> None:
    raised = 0
    for seed in range(share(12, 3)):
        rng = Random(seed)
        target = scratchpad_target(rng, 1, room=rng.choice((256, 512, 2048)))
        target = replace(target, slice_granularity_bytes=granularity)
        problem = scratchpad_problem(rng, target, 6, steady_state=steady_state)
        problem = with_setups(problem, rng.choice((2e-8, 2e-7)))
        try:
            plans = {name: solve_with(name, problem) for name in ("fluid", "greedy", "msa")}
        except InfeasibleError:
            continue
        relaxation = relaxed(problem)
        whole = with_whole_transfers(relaxation, score(plans["fluid"]).latency_s, Budget())
        if whole is None:
            continue
        assert whole.bound is not None
        assert relaxation.bound is not None
        assert whole.bound >= relaxation.bound
        raised += whole.bound > relaxation.bound * (1 + 1e-4)
        for name, plan in plans.items():
            assert not find_violations(plan)
            assert whole.bound <= score(plan).latency_s * (1 + 1e-9), (seed, name)
    assert raised


def test_the_bound_has_a_whole_set_up_where_a_weight_is_kept_in_part() -> None:
    relaxation = relaxed(chain(SETUP_S))
    whole = with_whole_transfers(relaxation, 1e-3, Budget())
    assert whole is not None
    assert whole.moved is not None
    for gap in whole.fluid.gaps:
        begun, moved = whole.solution.values[gap.moved], whole.moved[gap.moved]
        assert begun.sum() == pytest.approx(moved.sum(), abs=1e-5)
        assert (np.cumsum(begun) >= np.cumsum(moved) - 1e-5).all()


def test_rows_are_kept_whole_and_the_bound_says_so() -> None:
    relaxation = relaxed(two_long_rows())
    whole = with_whole_transfers(relaxation, 1e-5, Budget())
    assert whole is not None
    assert whole.bound is not None
    assert relaxation.bound is not None
    assert whole.proved_by == "fluid-whole"
    assert whole.bound > 1.05 * relaxation.bound
    for gap in whole.fluid.gaps:
        if gap.wraps:
            rows = 2 * float(whole.solution.values[gap.kept])
            assert rows == pytest.approx(round(rows), abs=1e-5)


def test_without_set_ups_and_with_fine_rows_there_is_no_program() -> None:
    assert with_whole_transfers(relaxed(chain(0.0)), 1e-3, Budget()) is None
    assert with_whole_transfers(relaxed(chain(SETUP_S)), 1e-3, Budget(0.0)) is None


def test_without_times_nothing_is_whole_of_what_comes_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one inference each weight comes once, so only when its rows come could be counted."""
    relaxation = relaxed(two_long_rows(steady_state=False))
    timed = with_whole_transfers(relaxation, 1e-5, Budget())
    assert timed is not None
    for most in ("MOST_BEGINNINGS", "MOST_TIMED"):
        monkeypatch.setattr(whole_transfers, most, 0)
    assert with_whole_transfers(relaxation, 1e-5, Budget()) is None


def test_room_that_is_spared_proves_nothing() -> None:
    relaxation = relaxed(chain(SETUP_S))
    spared = with_whole_transfers(relaxation, 1e-3, Budget(), spare=True)
    assert spared is not None
    assert spared.bound == relaxation.bound
    assert spared.proved_by == relaxation.proved_by


def test_one_operator_has_a_set_up_for_each_operand() -> None:
    whole = with_whole_transfers(relaxed(one_operator(5)), 1e-4, Budget())
    assert whole is not None
    assert whole.bound is not None
    assert whole.bound >= 7 * SETUP_S * (1 - 1e-4)
