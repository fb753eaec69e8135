"""The agent `muzero`: many games at once, targets, search, learning, checkpoints, the solver."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.games import CASES
from tests.support.solving import Asked, solve_with
from ullage.cli.main import run
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.ir.problem import Problem
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import score
from ullage.rl_agent.env.game_instance import Table, by_live_bytes
from ullage.rl_agent.env.rules import begin, step
from ullage.rl_agent.env.state import BUSY_S, copy_of, start_of
from ullage.rl_agent.muzero import solver as muzero
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.state.build_plan import assemble

pytest.importorskip("jax")
pytest.importorskip("mctx")
pytest.importorskip("optax")

import jax

from ullage.rl_agent.muzero.agent import Agent, MuZeroOptions, new_agent
from ullage.rl_agent.muzero.arena import advance, deal, finished_state, open_arena
from ullage.rl_agent.muzero.checkpoint import load_agent, save_agent
from ullage.rl_agent.muzero.learn import learn, loss_of, optimiser
from ullage.rl_agent.muzero.nets import (
    SUPPORT,
    VALUE_HIGH,
    Seen,
    move,
    new_params,
    predict,
    represent,
    two_hot,
)
from ullage.rl_agent.muzero.play import noise_of, play, seen_in
from ullage.rl_agent.muzero.replay import Episode, Positions, draw, joined, lay_out
from ullage.rl_agent.muzero.search import search
from ullage.rl_agent.muzero.train import Report, train

GAMES = 8
SMALL = MuZeroOptions(
    seed=5, games=GAMES, simulations=4, unroll=3, batch=64, window=24, elites=4, passes=4.0
)


def biggest() -> tuple[Problem, Table]:
    """The case with most uses."""
    _, problem, table = max(CASES, key=lambda case: len(case[2].board.ev_segment))
    return problem, by_live_bytes(table)


PROBLEM, TABLE = biggest()
USES = len(TABLE.board.ev_segment)


def agent_of(options: MuZeroOptions = SMALL) -> Agent:
    rivals = muzero.rivals_of(PROBLEM, Budget()).values()
    reference_s = muzero.reference_of(PROBLEM, TABLE, rivals)
    return new_agent(TABLE, reference_s, options, muzero.packer_of(PROBLEM, TABLE, Budget()))


# Many games at once


def test_games_side_by_side_are_the_games_one_by_one() -> None:
    for seed, _, strict in CASES[::5]:
        table = by_live_bytes(strict)
        arena = open_arena(table, 4)
        rng = np.random.default_rng(seed)
        deal(arena)
        states = [copy_of(start_of(table)) for _ in range(4)]
        masks = np.zeros((4, 3), dtype=np.bool_)
        for state, mask in zip(states, masks, strict=True):
            begin(table.board, state, arena.start, mask)
            while mask.sum() == 1:
                step(table.board, state, arena.start, int(mask.argmax()), mask)
        while not arena.over.all():
            assert (arena.masks[~arena.over].sum(1) > 1).all()
            assert (arena.masks == masks).all()
            actions = (rng.random((4, 3)) * (masks + 1e-9)).argmax(1)
            playing = ~arena.over
            advance(arena, actions)
            for game in np.flatnonzero(playing):
                state, mask = states[game], masks[game]
                step(table.board, state, arena.start, int(actions[game]), mask)
                while mask.sum() == 1:
                    step(table.board, state, arena.start, int(mask.argmax()), mask)
                assert state.total[BUSY_S] == arena.busy_s[game]
        assert (arena.uses_decided >= 0).all()


# Targets and batches


def episode(rewards: list[float], values: list[float]) -> Episode:
    length = len(rewards)
    return Episode(
        cells=np.zeros((length, 2), np.uint8),
        decided=np.zeros((length, 5), np.int8),
        cursor=np.arange(length, dtype=np.int32),
        masks=np.ones((length, 3), np.bool_),
        actions=np.arange(length, dtype=np.int8) % 3,
        rewards=np.array(rewards, np.float32),
        policies=np.full((length, 3), 1 / 3, np.float32),
        values=np.array(values, np.float32),
    )


def two_games() -> Positions:
    return lay_out([episode([1, 2, 3], [10, 20, 30]), episode([5, 7], [50, 70])])


def test_targets_sum_rewards_and_trust_values_behind_them() -> None:
    positions = two_games()
    assert positions.targets(1).tolist() == [21, 32, 3, 75, 7]
    assert positions.targets(2).tolist() == [33, 5, 3, 12, 7]
    assert positions.targets(99).tolist() == [6, 5, 3, 12, 7]


def test_batches_unroll_to_the_end_of_a_game_and_not_beyond() -> None:
    positions = two_games()
    targets = positions.targets(99)
    picked = np.array([1, 4])
    rng = np.random.default_rng(0)
    batch = draw(positions, targets, picked, 2, rng, imitate=False)
    assert batch.real.tolist() == [[1, 1, 0], [1, 0, 0]]
    assert batch.rewards.tolist() == [[2, 3], [7, 0]]
    assert batch.values.tolist() == [[5, 3, 0], [7, 0, 0]]
    assert batch.actions[0].tolist() == [1, 2]
    assert batch.seen.cursor.tolist() == [1, 1]
    copied = draw(positions, targets, picked, 2, rng, imitate=True)
    assert copied.policies[0, 0].tolist() == [0, 1, 0]
    both = joined(batch, copied)
    assert len(both.actions) == len(both.seen.cells) == len(both.real) == 4


# Networks and search


def some_positions(count: int = GAMES) -> tuple[Seen, Any]:
    arena = open_arena(TABLE, count)
    deal(arena)
    for number in range(3):
        advance(arena, np.array([np.flatnonzero(m)[(number + i) % m.sum()] if m.any() else 0
                                 for i, m in enumerate(arena.masks)]))  # fmt: skip
    return seen_in(arena), arena.masks.copy()


def test_values_are_what_their_two_bins_say() -> None:
    values = np.array([-1.23, 0.0, 0.777, VALUE_HIGH])
    hot = np.asarray(two_hot(values))
    assert hot @ SUPPORT == pytest.approx(values, abs=1e-5)
    assert ((hot > 0).sum(-1) <= 2).all()
    assert np.asarray(two_hot(np.array([99.0]))) @ SUPPORT == pytest.approx(VALUE_HIGH)


def test_networks_tell_positions_and_actions_apart() -> None:
    params = new_params(0, USES)
    seen, _ = some_positions()
    hidden = np.asarray(represent(params, seen))
    assert len(np.unique(hidden.round(4), axis=0)) > 1
    after = [np.asarray(move(params, hidden, np.full(GAMES, a))[0]) for a in range(3)]
    assert not np.allclose(after[0], after[1], atol=1e-3)
    logits, _ = predict(params, hidden)
    assert np.asarray(logits) == pytest.approx(0.0)  # an even policy to begin with


def test_the_search_plays_what_is_legal_and_without_noise_always_the_same() -> None:
    params = new_params(0, USES)
    seen, masks = some_positions()
    for key in range(5):
        noise = np.full(GAMES, 1.0, np.float32)
        found = search(params, jax.random.key(key), seen, masks, noise, simulations=4)
        assert masks[np.arange(GAMES), np.asarray(found.action)].all()
        assert (np.asarray(found.policy)[~masks] == 0).all()
        assert np.asarray(found.policy).sum(-1) == pytest.approx(1.0, abs=1e-5)
    still = [
        np.asarray(search(params, jax.random.key(k), seen, masks, 0 * noise, simulations=4).action)
        for k in range(2)
    ]
    assert (still[0] == still[1]).all()


def test_learning_lowers_the_loss() -> None:
    agent = agent_of()
    episodes = play(agent, open_arena(TABLE, GAMES), float("inf"))
    positions = lay_out(episodes)
    rng = np.random.default_rng(0)
    picked = rng.integers(len(positions), size=32)
    batch = draw(positions, positions.targets(99), picked, 3, rng, imitate=True)
    params, moments = agent.params, optimiser(1e-3).init(agent.params)
    before = float(loss_of(params, batch)[0])
    for _ in range(30):
        params, moments, _ = learn(params, moments, batch, rate=1e-3)
    assert float(loss_of(params, batch)[0]) < 0.7 * before


def test_noise_is_steady_in_some_games_and_a_burst_in_others() -> None:
    agent = agent_of()
    at = noise_of(agent, GAMES)
    rows = np.array([at(number) for number in range(200)])
    steady = GAMES // 2
    assert rows[:, 0].tolist() == [0.0] * 200
    assert (rows[:, :steady] == rows[0, :steady]).all()
    assert rows[0, steady - 1] == SMALL.noise
    bursts = rows[:, steady:]
    assert set(np.unique(bursts)) == {0.0, SMALL.burst_noise}
    for game in bursts.T:
        inside = np.flatnonzero(game)
        assert (np.diff(inside) == 1).all()
        assert len(inside) <= 41


# Training


def test_training_makes_games_better_and_keeps_the_best() -> None:
    agent = agent_of()
    reports: list[Report] = []
    told: list[float] = []
    train(agent, lambda a: a.generation < 25, reports.append, told.append)
    means = [report.mean_s for report in reports]
    assert np.mean(means[-5:]) < np.mean(means[:2])
    assert told == sorted(told, reverse=True)
    assert agent.best_s == min(told)
    assert agent.best_s <= min(report.greedy_s for report in reports) or agent.unplaced
    assert agent.elites or agent.unplaced
    assert agent.games == 25 * GAMES
    assert len(agent.window) == SMALL.window
    totals = [elite.total for elite in agent.elites]
    assert totals == sorted(totals, reverse=True)
    assert len({elite.actions.tobytes() for elite in agent.elites}) == len(totals)


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, half = agent_of(), agent_of()
    train(whole, lambda a: a.generation < 4)
    train(half, lambda a: a.generation < 2)
    save_agent(half, tmp_path / "half.safetensors")
    resumed = load_agent(tmp_path / "half.safetensors", TABLE, half.packer)
    assert resumed.best == half.best
    train(resumed, lambda a: a.generation < 4)
    save_agent(whole, tmp_path / "whole.safetensors")
    save_agent(resumed, tmp_path / "resumed.safetensors")
    assert (tmp_path / "whole.safetensors").read_bytes() == (
        tmp_path / "resumed.safetensors"
    ).read_bytes()


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    agent = agent_of()
    save_agent(agent, tmp_path / "a.safetensors")
    other = by_live_bytes(min(CASES, key=lambda case: len(case[2].board.ev_segment))[2])
    with pytest.raises(UsageError, match="trained per program"):
        load_agent(tmp_path / "a.safetensors", other, agent.packer)
    (tmp_path / "b.safetensors").write_bytes(b"no zip")
    with pytest.raises(UsageError, match="cannot be read as a checkpoint"):
        load_agent(tmp_path / "b.safetensors", TABLE, agent.packer)


def test_what_finds_no_address_is_left_out_and_the_rest_is_a_plan() -> None:
    repaired = 0
    for seed, problem, strict in CASES:
        table = by_live_bytes(strict)
        packer = muzero.packer_of(problem, table, Budget())
        arena = open_arena(table, 4)
        rng = np.random.default_rng(seed)
        deal(arena)
        while not arena.over.all():
            advance(arena, (rng.random((4, 3)) * (arena.masks + 1e-9)).argmax(1))
        for game in range(4):
            found = packer.repair(finished_state(arena, game))
            if found is None:
                continue
            repaired += 1
            busy_s, residencies = found
            plan = assemble(problem, table.segments, residencies)
            assert find_violations(plan) == []
            assert score(plan).latency_s == pytest.approx(busy_s + table.overhead_s, rel=1e-9)
    assert repaired > 2 * len(CASES)


# The solver


def test_the_solver_gives_legal_plans_and_says_whose_they_are() -> None:
    parameters = {"generations": 2, "games": GAMES, "simulations": 4}
    told: list[float] = []
    options = Asked(parameters=parameters, on_improvement=told.append)
    plan = solve_with("muzero", PROBLEM, options)
    assert find_violations(plan) == []
    assert score(plan).latency_s == pytest.approx(min([*told, TABLE.all_slow_s]), rel=1e-9)
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
    arena = open_arena(TABLE, 1)
    deal(arena)  # compiled from here on
    advance(arena, arena.masks.argmax(axis=1).astype(np.int64))
    begun = time.monotonic()
    options = Asked(deadline=begun + 1.0, parameters={"games": 4})
    plan = solve_with("muzero", PROBLEM, options)
    assert time.monotonic() - begun < 2.1
    assert find_violations(plan) == []
    assert any("games by chance" in note for note in plan.notes)
    assert score(plan).latency_s <= TABLE.all_slow_s * (1 + 1e-9)


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


def test_train_makes_a_checkpoint_that_compile_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.safetensors"
    program = ["--dtype", "int8", "--fast-memory", "512KiB", "--set", "split_operands=false"]
    words = ["train", "bvlc_alexnet", "--agent", "muzero", *program, "--out", str(out), "--json"]
    assert run([*words, "--steps", "1"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (first["generations"], first["games"], first["agent"]) == (1, 64, "muzero")
    assert run([*words, "--steps", "2", "--resume", str(out)]) == 0
    second = json.loads(capsys.readouterr().out)
    assert second["best_latency_s"] <= first["best_latency_s"]
    lines = [json.loads(line) for line in Path(second["log"]).read_text().splitlines()]
    assert [line["generation"] for line in lines] == [1, 2]
    more = ["--solver", "muzero", "--param", f"checkpoint={out}", "--param", "generations=1"]
    assert run(["compile", "bvlc_alexnet", *program, *more, "--json"]) == 0
    compiled = json.loads(capsys.readouterr().out)
    assert compiled["verified"]
    assert compiled["latency_s"] <= second["best_latency_s"] * (1 + 1e-9)
    assert run(["compile", "bvlc_alexnet", *more, "--json"]) == 2  # another program
    assert "trained per program" in capsys.readouterr().out
    for wrong in (["squeezenet"], ["--jobs", "2"], ["--engine", "ray"]):
        assert run([*words, *wrong]) == 2
        capsys.readouterr()


def test_an_interrupted_training_leaves_its_last_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def once(agent: Agent, *_: object) -> dict[str, float]:
        if agent.generation:
            raise KeyboardInterrupt
        return {}

    monkeypatch.setattr("ullage.rl_agent.muzero.train.study", once)
    words = ["train", "bvlc_alexnet", "--agent", "muzero", "--out", str(tmp_path / "a.safetensors")]
    assert run([*words, "--json"]) == 130
    document = json.loads(capsys.readouterr().out)
    assert (document["generations"], document["interrupted"]) == (1, True)
    assert (tmp_path / "a.safetensors").is_file()
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 1
