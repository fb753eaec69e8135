"""The schedule game: compiled and plain rules agree, games end in schedules, returns count."""

from pathlib import Path

import gymnasium
import numpy as np
import onnx
import pytest
from gymnasium.utils.env_checker import check_env

from tests.support.random_models import RandomModel
from tests.support.schedule_games import random_task, small_target, task_of
from tests.support.schedule_twin import ScheduleTwin
from tests.support.tile_runs import executed
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.compiler.importer.build import import_model
from ullage.compiler.verify.verifier import find_violations
from ullage.rl_agent.schedule import game as games
from ullage.rl_agent.schedule.game import GAME_ID, LP, ScheduleGame
from ullage.rl_agent.schedule.rules import decode
from ullage.rl_agent.schedule.tables import ACTIONS, EXTEND, WHOLE, ScheduleInstance, instance_of
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import Judge

NETWORKS, GAMES_EACH = 100, 20


def play_at_random(game: ScheduleGame, rng: np.random.Generator, extends: float = 0.7) -> float:
    """The return of a game; the running group is extended with that chance where it may be."""
    info = game.reset()[1]
    total, is_over = 0.0, False
    while not is_over:
        legal = np.flatnonzero(info["action_mask"])
        action = int(rng.choice(legal))
        if legal[0] == EXTEND and rng.random() < extends:
            action = EXTEND
        _, reward, is_over, is_cut_short, info = game.step(action)
        assert not is_cut_short
        total += reward
    return total


def decoded(instance: ScheduleInstance) -> tuple[Cascade, ...]:
    """The groups that the compiled dynamic program finds."""
    count = len(instance.groups)
    rows = np.zeros(instance.operators, dtype=np.int64)
    number = decode(instance.arrays, np.zeros(count), np.zeros(count, dtype=np.int64), rows)
    return instance.cascades(rows[:number][::-1].tolist())


def test_compiled_and_plain_rules_agree_on_2000_games() -> None:
    """Masks after every move, groups and costs at the end; and the dynamic program as well."""
    played = cut = 0
    for seed in range(NETWORKS):
        game = ScheduleGame(task=random_task(seed)[1])
        rng = np.random.default_rng(seed)
        for _ in range(GAMES_EACH):
            twin = ScheduleTwin(game.instance)
            info = game.reset()[1]
            total, is_over = 0.0, False
            extends = rng.random()
            while not is_over:
                legal = twin.legal()
                assert np.flatnonzero(info["action_mask"]).tolist() == sorted(legal), seed
                action = int(rng.choice(sorted(legal)))
                if EXTEND in legal and rng.random() < extends:
                    action = EXTEND
                _, reward, is_over, _, info = game.step(action)
                assert "rejected" not in info
                twin.play(action)
                total += reward
            assert twin.is_over
            assert game.cascades() == twin.cascades()
            assert info["estimate_s"] == pytest.approx(twin.seconds, rel=1e-12)
            assert total == pytest.approx(1 - twin.seconds / info["whole_s"], abs=1e-9)
            played += 1
            cut += any(cascade.is_cut for cascade in game.cascades())
        instance = game.instance
        assert decoded(instance) == tuple(instance.chain.best(0, instance.operators))
    assert played == 2000
    assert cut > 1000


def test_every_game_ends_in_a_schedule_that_is_planned_and_verified() -> None:
    for seed in range(40):
        game = ScheduleGame(task=random_task(seed)[1])
        rng = np.random.default_rng(seed)
        for _ in range(3):
            play_at_random(game, rng)
            problem = game.instance.task.problem_of(game.schedule())
            assert not find_violations(run_solver("greedy", problem).plan)


def test_every_game_ends_in_a_schedule_that_is_executed(tmp_path: Path) -> None:
    parts = 0
    for seed in range(100, 125):
        proto = RandomModel(seed).proto()
        path = tmp_path / f"{seed}.onnx"
        onnx.save(proto, path)
        game = ScheduleGame(task=task_of(import_model(path), small_target(4096)))
        play_at_random(game, np.random.default_rng(seed))
        execution = executed(path, game.schedule())
        assert execution.passed, seed
        parts += execution.steps - len(game.instance.facts.order)
    assert parts > 25


def test_gymnasium_finds_no_fault() -> None:
    game = gymnasium.make(GAME_ID, fast_memory="64KiB", dtype="int8", render_mode="ansi")
    check_env(game.unwrapped)
    game.close()


def test_the_return_by_the_lp_is_that_of_the_two_programs() -> None:
    task = random_task(7)[1]
    game = ScheduleGame(task=task, judge=LP)
    rng = np.random.default_rng(0)
    for _ in range(5):
        total = play_at_random(game, rng)
        judge = Judge(task, game.instance.facts)
        singles = [Cascade(p, p + 1) for p in range(game.instance.operators)]
        whole, cut = judge.value(singles), judge.value(game.cascades())
        assert whole is not None
        assert cut is not None
        assert total == pytest.approx(1 - cut.value / whole.value, abs=1e-9)


def test_whole_operators_return_nothing() -> None:
    game = ScheduleGame(task=random_task(3)[1], render_mode="ansi")
    game.reset()
    total, is_over = 0.0, False
    while not is_over:
        _, reward, is_over, _, _ = game.step(WHOLE)
        total += reward
    assert total == pytest.approx(0.0, abs=1e-12)
    assert game.schedule().is_whole
    assert str(game.render()).count("whole: ") == game.instance.operators


def test_a_forbidden_action_changes_nothing() -> None:
    game = ScheduleGame(task=random_task(3)[1])
    before, info = game.reset()
    forbidden = int(np.flatnonzero(info["action_mask"] == 0)[0])
    after, reward, is_over, is_cut_short, info = game.step(forbidden)
    assert info["rejected"]
    assert reward == 0
    assert not is_over
    assert not is_cut_short
    assert all((before[key] == after[key]).all() for key in before)
    for _ in range(5 * game.instance.operators):
        is_cut_short = game.step(ACTIONS)[3]
    assert is_cut_short


def test_a_group_that_cannot_be_cut_is_masked_and_begins_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nothing can be cut, whoever plays at random ends with whole operators."""
    real = games.cascade_parts
    monkeypatch.setattr(
        games,
        "cascade_parts",
        lambda graph, order, cascade, readers: (
            None if cascade.is_cut else real(graph, order, cascade, readers)
        ),
    )
    game = ScheduleGame(task=random_task(5)[1])
    rng = np.random.default_rng(1)
    info = game.reset()[1]
    rejected, is_over, is_cut_short = 0, False, False
    while not (is_over or is_cut_short):
        legal = np.flatnonzero(info["action_mask"])
        assert len(legal)
        _, _, is_over, is_cut_short, info = game.step(int(rng.choice(legal)))
        rejected += "rejected" in info
        if is_cut_short:  # what is known by now stays known
            info, is_cut_short = game.reset()[1], False
    assert rejected > 3
    assert game.schedule().is_whole


def test_what_is_wrong_is_refused() -> None:
    with pytest.raises(UsageError, match="estimate or lp"):
        ScheduleGame(judge="guess")
    with pytest.raises(UsageError, match="render_mode is ansi"):
        ScheduleGame(render_mode="rgb_array")
    with pytest.raises(UsageError, match="use --schedule cascade"):
        ScheduleGame(target="edge-npu-spm")
    task = random_task(3)[1]
    with pytest.raises(UsageError, match="would not count"):
        ScheduleGame("squeezenet", task=task)
    game = ScheduleGame(task=task)
    with pytest.raises(gymnasium.error.ResetNeeded):
        game.step(0)
    game.reset()
    with pytest.raises(UsageError, match="undecided"):
        game.schedule()
    with pytest.raises(UsageError, match="a number from 0 to 45"):
        game.step(np.float64(1.5))


def test_the_instance_is_refused_where_time_is_over() -> None:
    task = random_task(3)[1]
    with pytest.raises(TimeLimitError, match="time was over"):
        instance_of(task, lambda: True)
