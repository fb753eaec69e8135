"""The solvers that play: legal plans, little time, senseless parameters."""

import time

import pytest

from tests.support.games import CASES
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.rl_agent import solver as rl
from ullage.rl_agent.env import plans
from ullage.rl_agent.policy.players import Player, Policy
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver


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


def interrupting(monkeypatch: pytest.MonkeyPatch, at_call: int, *, addresses: bool) -> None:
    """Ctrl-C comes at a call of the players of one round of games."""
    play = Player.value

    def value(player: Player, policy: Policy) -> float:
        if player.addresses is addresses and player.calls + 1 == at_call:
            raise KeyboardInterrupt
        return play(player, policy)

    monkeypatch.setattr(Player, "value", value)


@pytest.mark.parametrize("name", ["rl", "evolution", "noisy-greedy"])
@pytest.mark.parametrize("addresses", [True, False])
def test_ctrl_c_keeps_the_best_plan(
    name: str, addresses: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupting(monkeypatch, 9, addresses=addresses)
    for _, problem, instance in CASES[::6]:
        told: list[float] = []
        budget = Budget(on_improvement=told.append)
        outcome = run_solver(name, problem, budget, parameters={"simulations": 20})
        assert outcome.interrupted
        assert find_violations(outcome.plan) == []
        assert outcome.value <= instance.all_slow_s * (1 + 1e-9)
        assert outcome.value <= min(told) * (1 + 1e-9)


def test_ctrl_c_before_the_first_game_leaves_the_plan_of_msa(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interrupting(monkeypatch, 1, addresses=True)
    _, problem, _ = CASES[0]
    outcome = run_solver("rl", problem, parameters={"simulations": 20})
    assert outcome.interrupted
    assert outcome.plan.solver == "msa"
    assert find_violations(outcome.plan) == []
    for name, parameters in (("evolution", {}), ("rl", {"msa": False}), ("rl", {"own_plan": True})):
        with pytest.raises(KeyboardInterrupt):
            run_solver(name, problem, parameters={"simulations": 20, **parameters})


@pytest.mark.parametrize("stage", ["packed", "prefetched_residencies"])
def test_ctrl_c_at_the_end_keeps_the_plan(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(plans if stage == "packed" else rl, stage, stopped)
    reasons = set()
    for _, problem, _ in CASES[::6]:
        outcome = run_solver("rl", problem, parameters={"simulations": 12})
        reasons.add(outcome.solution.stop_reason)
        assert find_violations(outcome.plan) == []
    assert "interrupted" in reasons
