"""`msa` on large programs and without time."""

import pytest

from tests.support.recurrent import chip, recurrent
from tests.support.solving import Asked, solve_with
from ullage.compiler.verify.verifier import find_violations
from ullage.solvers.heuristics import msa


def test_prefetch_starts_do_not_depend_on_how_far_msa_looks_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = chip(512)
    problem = recurrent(target, 120, 5)
    wide = solve_with("msa", problem)
    monkeypatch.setattr(msa, "FIRST_LOOK_STEPS", 1)
    assert solve_with("msa", problem) == wide


def test_msa_tries_fewer_lengths_of_residencies_with_many_uses_and_says_so() -> None:
    target = chip(1024)
    problem = recurrent(target, 120, 7)
    plan = solve_with("msa", problem, Asked(parameters={"max_run_ends": 2}))
    assert find_violations(plan) == []
    assert any("max_run_ends" in note for note in plan.notes)
    few = recurrent(target, 40, 7)
    assert solve_with("msa", few).notes == ()


@pytest.mark.parametrize("solver", ["greedy", "msa"])
def test_heuristics_out_of_time_say_so(solver: str) -> None:
    target = chip(512)
    problem = recurrent(target, 30)
    plan = solve_with(solver, problem, Asked(deadline=0.0))
    assert find_violations(plan) == []
    assert any("time limit" in note for note in plan.notes)
