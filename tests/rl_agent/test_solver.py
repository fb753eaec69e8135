"""The solvers that play: legal plans, little time, senseless parameters."""

import time

import pytest

from tests.support.games import CASES
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.rl_agent import solver as rl


@pytest.mark.parametrize("search", ["evolution", "gumbel", "noise", "none"])
def test_the_solver_gives_legal_plans(search: str) -> None:
    options = Asked(parameters={"search": search, "simulations": 12})
    for _, problem, instance in CASES[::6]:
        plan = solve_with("rl", problem, options)
        assert find_violations(plan) == []
        assert score(plan).latency_s <= instance.all_slow_s * (1 + 1e-9)
        assert plan == solve_with("rl", problem, options)


@pytest.mark.parametrize("name", ["rl", "evolution", "noisy-greedy"])
def test_without_time_to_compile_there_is_no_plan_but_the_remedy(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rl, "is_ready", lambda: False)
    _, problem, _ = CASES[0]
    soon = Asked(deadline=time.monotonic() + 5.0)
    with pytest.raises(TimeLimitError, match=f"kernels of {name} .*`ullage warm-up`") as raised:
        solve_with(name, problem, soon)
    assert raised.value.details["needed_s"] == rl.COMPILE_S
    assert not solve_with(name, problem, Asked()).notes  # time enough


def test_auto_goes_on_without_what_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rl, "is_ready", lambda: False)
    _, problem, _ = CASES[0]
    late = Asked(deadline=time.monotonic() + 5.0, parameters={"members": "rl,greedy"})
    plan = solve_with("auto", problem, late)
    assert plan.solver == "greedy"
    assert any("rl found no plan" in note and "ullage warm-up" in note for note in plan.notes)
    alone = Asked(deadline=time.monotonic() + 5.0, parameters={"members": "rl"})
    with pytest.raises(TimeLimitError, match="ullage warm-up"):
        solve_with("auto", problem, alone)


def test_the_solver_refuses_parameters_that_make_no_sense() -> None:
    _, problem, _ = CASES[0]
    for parameters, message in (
        ({"search": "luck"}, "rl: parameter search takes one of"),
        ({"simulations": -1}, "rl: parameter simulations takes a whole number of at least 0"),
    ):
        with pytest.raises(UsageError, match=message):
            solve_with("rl", problem, Asked(parameters=parameters))
