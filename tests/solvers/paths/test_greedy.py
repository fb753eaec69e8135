"""Coordinate descent over pieces: legal, above every bound, and near it."""

from dataclasses import dataclass, field, replace
from random import Random

import pytest

from tests.support.scratchpads import (
    BEST_OF_FOUR_S,
    four_operators,
    scratchpad_problem,
    scratchpad_target,
)
from tests.support.solving import plan_of, solve_with
from tests.support.wide import share
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import value_of
from ullage.hwmodels.replay.replay import simulate
from ullage.solvers.budget import Budget
from ullage.solvers.interface import Solution
from ullage.solvers.paths import greedy
from ullage.solvers.paths.greedy import by_bytes_per_use, by_first_use, plan_of_pieces
from ullage.solvers.paths.streaming import streaming_assignment


@dataclass(frozen=True)
class CountedBudget(Budget):
    """Time that is over after so many questions, with the questions asked."""

    lasts: int = 0
    asked: list[bool] = field(default_factory=list)

    def is_over(self) -> bool:
        """Whether it was asked as often as it lasts; notes that it was."""
        self.asked.append(len(self.asked) >= self.lasts)
        return self.asked[-1]


RANKS = {"by_first_use": by_first_use, "by_bytes_per_use": by_bytes_per_use}


@pytest.mark.parametrize("rank", RANKS)
@pytest.mark.parametrize("hops", [1, 2, 3])
def test_plans_are_legal_and_between_the_bound_and_streaming(hops: int, rank: str) -> None:
    planned = gained = 0
    for seed in range(share(25, 5)):
        rng = Random(seed)
        target = scratchpad_target(rng, hops, room=rng.choice((256, 512, 2048)))
        problem = scratchpad_problem(rng, target, 7, steady_state=rng.random() < 0.3)
        try:
            streamed = streaming_assignment(problem)
        except InfeasibleError:
            continue
        found = plan_of_pieces(problem, (RANKS[rank],), Budget())
        plan = plan_of("greedy", Solution(found))
        assert not find_violations(plan)
        assert simulate(plan).latency_s >= 0
        bound = solve_with("fluid", problem).lower_bound
        assert bound is not None
        assert bound * (1 - 1e-9) <= value_of(found) <= value_of(streamed) * (1 + 1e-9)
        planned += 1
        gained += value_of(found) < 0.9 * value_of(streamed)
    assert planned > share(10, 3)
    assert gained > share(5, 1)


@pytest.mark.parametrize("steady", [False, True])
def test_a_second_order_is_tried_where_the_first_leaves_much_to_wait_for(
    steady: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The better plan stays; in steady state the first order's."""
    rng = Random(12)
    target = scratchpad_target(rng, 1, room=256)
    problem = scratchpad_problem(rng, target, 8, steady_state=steady)
    orders = (by_first_use, by_bytes_per_use)
    one, two = (value_of(plan_of_pieces(problem, (rank,), Budget())) for rank in orders)
    both = value_of(plan_of_pieces(problem, orders, Budget()))
    assert both == pytest.approx(one if steady else min(one, two), rel=1e-9)
    if not steady:
        assert two < 0.9 * one
        monkeypatch.setattr(greedy, "is_enough", lambda *_: True)
        assert value_of(plan_of_pieces(problem, orders, Budget())) == one


@pytest.mark.parametrize("objective", ["traffic", "energy"])
def test_other_objectives_get_no_worse_than_streaming(objective: str) -> None:
    gained = 0
    for seed in range(15):
        rng = Random(seed)
        target = scratchpad_target(rng, rng.choice((1, 2)), room=2048)
        problem = scratchpad_problem(rng, target, 6).minimising(objective)
        streamed = streaming_assignment(problem)
        found = plan_of_pieces(problem, (by_first_use,), Budget())
        assert not find_violations(plan_of("greedy", Solution(found)))
        assert value_of(found) <= value_of(streamed) * (1 + 1e-9)
        gained += value_of(found) < value_of(streamed)
    assert gained > 5


def test_weights_are_fetched_while_something_is_computed() -> None:
    found = plan_of_pieces(four_operators(), (by_first_use,), Budget())
    assert value_of(found) == pytest.approx(BEST_OF_FOUR_S, rel=1e-6)


def test_when_the_time_is_over_operators_are_streamed() -> None:
    problem = four_operators()
    found = plan_of_pieces(problem, (by_first_use,), Budget(0.0))
    assert value_of(found) == value_of(streaming_assignment(problem))


def test_weights_are_kept_where_their_own_operator_needs_the_room_anyway() -> None:
    """2 MB of room, 3 MB of weights, 1.57 MB of them of one operator: nearly 2 MB can be kept."""
    tensors, operators = [Tensor("x0", 1000, "input")], []
    loads = ((640_000, 1_000_000), (790_000, 75_000_000), (1_570_000, 75_000_000))
    for i, (size, macs) in enumerate(loads):
        tensors.append(Tensor(f"w{i}", size, "weight"))
        tensors.append(Tensor(f"x{i + 1}", 1000, "output" if i == 2 else "activation"))
        operators.append(Op(f"op{i}", [f"x{i}", f"w{i}"], [f"x{i + 1}"], macs=macs))
    target = load_target("edge-npu-spm").with_fast_memory(2_000_000)
    once = problem_from_lists("three", tensors, operators, target)
    problem = Problem(replace(once.program, steady_state=True), target, "latency")
    bound = solve_with("fluid", problem).lower_bound
    assert bound is not None
    assert value_of(plan_of_pieces(problem, (by_first_use,), Budget())) < 1.03 * bound


@pytest.mark.parametrize("seed", [3, 5])
def test_a_plan_is_legal_whenever_the_time_ends(seed: int) -> None:
    """In steady state, where weights are kept and transfers joined, after any question."""
    rng = Random(seed)
    once = scratchpad_problem(rng, scratchpad_target(rng, 2, room=1024), 6)
    problem = replace(once, program=replace(once.program, steady_state=True))
    streamed = value_of(streaming_assignment(problem))
    whole = CountedBudget(lasts=1 << 30)
    plan_of_pieces(problem, (by_first_use,), whole)
    total = len(whole.asked)
    assert total > 50
    for lasts in range(0, total + 1, total // 30):
        budget = CountedBudget(lasts=lasts)
        assignment = plan_of_pieces(problem, (by_first_use,), budget)
        assert find_violations(plan_of("greedy", Solution(assignment))) == []
        assert value_of(assignment) <= streamed * (1 + 1e-9)
        assert sum(budget.asked) < 20  # what is told that the time is over, ends


def _five_of_a_kind(sram_bytes: int) -> Problem:
    """Five equal operators for ever, with weights of 100 kB; each computes as long as two come."""
    tensors, operators = [Tensor("x0", 1000, "input")], []
    for i in range(5):
        tensors.append(Tensor(f"w{i}", 100_000, "weight"))
        tensors.append(Tensor(f"x{i + 1}", 1000, "output" if i == 4 else "activation"))
        operators.append(Op(f"op{i}", [f"x{i}", f"w{i}"], [f"x{i + 1}"], macs=25_000_000))
    target = load_target("edge-npu-spm").with_fast_memory(sram_bytes)
    once = problem_from_lists("five", tensors, operators, target)
    return Problem(replace(once.program, steady_state=True), target, "latency")


@pytest.mark.parametrize("sram_bytes", [330_000, 410_000, 480_000])
def test_what_can_come_in_time_is_not_kept(sram_bytes: int) -> None:
    """Weights kept up to the last byte leave no room in which the rest could come in time."""
    problem = _five_of_a_kind(sram_bytes)
    bound = solve_with("fluid", problem).lower_bound
    assert bound is not None
    assert value_of(plan_of_pieces(problem, (by_first_use,), Budget())) < 1.005 * bound
