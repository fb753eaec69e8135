"""The solvers that play: legal plans, little time, senseless parameters."""

import time

import pytest

from tests.support.games import CASES
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import UsageError
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.rl_agent import solver as rl


@pytest.mark.parametrize("search", ["evolution", "gumbel", "noise", "none"])
def test_the_solver_gives_legal_plans(search: str) -> None:
    options = Asked(parameters={"search": search, "simulations": 12})
    for _, problem, table in CASES[::6]:
        plan = solve_with("rl", problem, options)
        assert find_violations(plan) == []
        assert score(plan).latency_s <= table.all_slow_s * (1 + 1e-9)
        assert plan == solve_with("rl", problem, options)


@pytest.mark.parametrize("name", ["rl", "evolution", "noisy-greedy"])
def test_a_game_that_is_not_compiled_is_not_begun_with_little_time(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rl, "is_ready", lambda: False)
    _, problem, _ = CASES[0]
    soon = Asked(deadline=time.monotonic() + 5.0)
    plan = solve_with(name, problem, soon)
    assert plan.solver == name
    assert find_violations(plan) == []
    assert f"{name}: the game is not compiled yet" in plan.notes[-1]
    assert "not compiled yet" in caplog.text
    rivals = [solve_with(n, problem, Asked()) for n in ("greedy", "msa")]
    others = [score(rival).latency_s for rival in rivals]
    assert score(plan).latency_s == (min(others) if name == "rl" else others[0])
    assert not solve_with(name, problem, Asked()).notes  # time enough


def test_the_solver_refuses_parameters_that_make_no_sense() -> None:
    _, problem, _ = CASES[0]
    for parameters, message in (
        ({"search": "luck"}, "rl: parameter search takes one of"),
        ({"simulations": -1}, "rl: parameter simulations takes a whole number of at least 0"),
    ):
        with pytest.raises(UsageError, match=message):
            solve_with("rl", problem, Asked(parameters=parameters))
