"""The agent `muzero`: many games at once, targets, search, learning, checkpoints, the solver."""

import time

import numpy as np
import pytest

from tests.support.games import CASES
from tests.support.muzero import GAMES, INSTANCE, PROBLEM
from tests.support.solving import Asked, solve_with
from tests.support.timing import within_limit
from ullage.cli.main import run
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.ir.plan import Plan
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.rl_agent.env.game_instance import by_live_bytes
from ullage.rl_agent.muzero import solver as muzero
from ullage.rl_agent.muzero.arena import advance, begin_games, finished_state, open_arena
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.state.build_plan import assemble


def test_what_finds_no_address_is_left_out_and_the_rest_is_a_plan() -> None:
    repaired = 0
    for seed, problem, strict in CASES:
        instance = by_live_bytes(strict)
        packer = muzero.packer_of(problem, instance, Budget())
        arena = open_arena(instance, 4)
        rng = np.random.default_rng(seed)
        begin_games(arena)
        while not arena.over.all():
            advance(arena, (rng.random((4, 3)) * (arena.masks + 1e-9)).argmax(1))
        for game in range(4):
            found = packer.repair(finished_state(arena, game))
            if found is None:
                continue
            repaired += 1
            busy_s, residencies = found
            plan = assemble(problem, instance.segments, residencies)
            assert find_violations(plan) == []
            assert score(plan).latency_s == pytest.approx(busy_s + instance.overhead_s, rel=1e-9)
    assert repaired > 2 * len(CASES)


def test_the_solver_gives_legal_plans_and_says_whose_they_are() -> None:
    parameters = {"generations": 2, "games": GAMES, "simulations": 4}
    told: list[float] = []
    options = Asked(parameters=parameters, on_improvement=told.append)
    plan = solve_with("muzero", PROBLEM, options)
    assert find_violations(plan) == []
    assert score(plan).latency_s == pytest.approx(min([*told, INSTANCE.all_slow_s]), rel=1e-9)
    said = " ".join(plan.notes)
    assert "the best of 16 games in 2 generations" in said
    assert "msa has" in said
    assert plan == solve_with("muzero", PROBLEM, options)


def test_without_time_to_compile_the_game_there_is_no_plan_but_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(muzero, "is_ready", lambda: False)
    soon = Asked(deadline=time.monotonic() + 5.0)
    with pytest.raises(TimeLimitError, match=r"kernels of muzero .*`ullage warm-up`"):
        solve_with("muzero", PROBLEM, soon)


def test_with_little_time_games_are_played_by_chance() -> None:
    arena = open_arena(INSTANCE, 1)
    begin_games(arena)  # compiled from here on
    advance(arena, arena.masks.argmax(axis=1).astype(np.int64))

    def attempt(deadline: float) -> Plan:
        return solve_with("muzero", PROBLEM, Asked(deadline=deadline, parameters={"games": 4}))

    plan = within_limit(1.0, attempt)
    assert find_violations(plan) == []
    assert any("games by chance" in note for note in plan.notes)
    assert score(plan).latency_s <= INSTANCE.all_slow_s * (1 + 1e-9)


def test_ctrl_c_keeps_the_best_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ullage.rl_agent.muzero.train.study", stopped)
    outcome = run_solver("muzero", PROBLEM, parameters={"games": 4})
    assert outcome.solution.stop_reason == "interrupted"
    assert find_violations(outcome.plan) == []


def test_a_missing_extra_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muzero, "missing_packages", lambda _: ("jax", "mctx"))
    with pytest.raises(UsageError, match=r"needs jax, mctx.*pip install 'ullage\[muzero\]'"):
        solve_with("muzero", PROBLEM)
    assert run(["train", "squeezenet", "--agent", "muzero"]) == 2


@pytest.mark.parametrize(
    ("parameters", "until"),
    [
        ({}, "until 294 s are over"),
        ({"generations": 7}, "7 generations or until 294 s are over"),
        ({"time_limit_s": 100.0}, "until 98 s are over"),
    ],
)
def test_progress_says_first_until_when_it_trains(
    monkeypatch: pytest.MonkeyPatch, parameters: dict[str, float], until: str
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ullage.rl_agent.muzero.train.study", stopped)
    told: list[str] = []
    run_solver("muzero", PROBLEM, Budget(None, told.append), parameters={"games": 4, **parameters})
    assert told[0] == f"muzero: trains with 4 games a generation, {until}"
