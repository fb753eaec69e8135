"""Training of the schedule agent: resumed or not, by whomever it is played, the same; it learns."""

from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from ullage.compiler.common.engines import open_engine
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.rl_agent.schedule import train as training_module
from ullage.rl_agent.schedule.exercises import (
    Specification,
    SyntheticExercise,
    load_exercise,
    synthetic_exercises,
)
from ullage.rl_agent.schedule.network import random_network, zero_network
from ullage.rl_agent.schedule.session import run_schedule_session
from ullage.rl_agent.schedule.train import (
    ScheduleTrainOptions,
    begin_training,
    load_training,
    save_training,
    train,
)
from ullage.rl_agent.schedule.workloads import FAMILIES, HELD_OUT, TRAINED, synthetic_graph
from ullage.rl_agent.training.session import Session

OPTIONS = ScheduleTrainOptions(exercises=3, batch=2, pairs=2, families=("chain",))


@pytest.fixture(scope="module")
def pool() -> list[Specification]:
    return list(synthetic_exercises(5, OPTIONS.families, OPTIONS.exercises))


def test_a_resumed_training_equals_an_uninterrupted_one(
    pool: list[Specification], tmp_path: Path
) -> None:
    whole = train(begin_training(OPTIONS), pool, lambda now: now.generation < 4)
    half = train(begin_training(OPTIONS), pool, lambda now: now.generation < 2)
    save_training(half, tmp_path / "half.safetensors")
    rest = train(load_training(tmp_path / "half.safetensors"), pool, lambda n: n.generation < 4)
    save_training(rest, tmp_path / "rest.safetensors")
    save_training(whole, tmp_path / "whole.safetensors")
    data = (tmp_path / "whole.safetensors").read_bytes()
    assert (tmp_path / "rest.safetensors").read_bytes() == data
    assert np.abs(whole.average).max() > 0
    assert (whole.average != begin_training(OPTIONS).average).any()


def test_processes_change_nothing(pool: list[Specification]) -> None:
    alone = train(begin_training(OPTIONS), pool, lambda now: now.generation < 2)
    with open_engine("processes", 2) as engine:
        shared = train(begin_training(OPTIONS), pool, lambda n: n.generation < 2, engine=engine)
    assert (alone.moving.weights == shared.moving.weights).all()


def test_training_follows_the_values(
    pool: list[Specification], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a decode is worth more the smaller a weight is, that weight falls."""

    class Slope:
        def log_ratio(self, network: object) -> float:
            return float(network.weights[0])  # type: ignore[attr-defined]

    monkeypatch.setattr(training_module, "load_exercise", lambda _: Slope())
    trained = train(begin_training(OPTIONS), pool, lambda now: now.generation < 30)
    others = np.abs(trained.moving.weights[1:5]).max()
    assert trained.moving.weights[0] < -0.2
    assert trained.moving.weights[0] < -1.5 * others


def test_an_exercise_values_decodes_by_the_lp(pool: list[Specification]) -> None:
    exercise = load_exercise(pool[0])
    assert exercise is not None
    assert exercise.log_ratio(zero_network()) == pytest.approx(0.0, abs=1e-12)
    assert any(exercise.log_ratio(random_network(seed)) != 0 for seed in range(8))


def test_every_family_makes_networks_that_can_be_cut() -> None:
    for name in FAMILIES:
        for seed in range(4):
            graph = synthetic_graph(Random(seed), (name,))
            assert graph.name == f"synthetic-{name}"
            assert sum(operator.reach is not None for operator in graph.operators) >= 3
    assert not set(HELD_OUT) & set(TRAINED)


def test_specifications_are_the_same_everywhere() -> None:
    one, two = (load_exercise(SyntheticExercise(5, 1, FAMILIES_ALL)) for _ in range(2))
    assert one is two
    load_exercise.cache_clear()
    again = load_exercise(SyntheticExercise(5, 1, FAMILIES_ALL))
    assert (one is None) == (again is None)
    if one is not None and again is not None:
        assert (one.encoding.features == again.encoding.features).all()


FAMILIES_ALL = tuple(FAMILIES)


def test_a_session_writes_a_checkpoint_and_a_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ullage.rl_agent.schedule.session.ScheduleTrainOptions",
        lambda seed: replace(OPTIONS, seed=seed),
    )
    session = Session((), "edge-npu", None, tmp_path / "s.safetensors", steps=2, seed=3)
    result = run_schedule_session(session, lambda _: None)
    assert result.training.generation == 2
    assert len(result.log.read_text().splitlines()) == 2
    further = replace(session, out=tmp_path / "t.safetensors", resume=session.out, steps=3)
    result = run_schedule_session(further, lambda _: None)
    assert result.training.options.seed == 3
    assert len(result.log.read_text().splitlines()) == 3


def test_wrong_sessions_are_refused(tmp_path: Path) -> None:
    session = Session((), "edge-npu", None, tmp_path / "s.txt")
    with pytest.raises(UsageError, match="safetensors file"):
        run_schedule_session(session, lambda _: None)
    late = replace(session, out=tmp_path / "s.safetensors", time_limit_s=1e-9)
    with pytest.raises(TimeLimitError, match="nothing was trained"):
        run_schedule_session(late, lambda _: None)
    assert not (tmp_path / "s.safetensors").exists()
    with pytest.raises(UsageError, match="nothing to train"):
        train(begin_training(OPTIONS), [], lambda _: True)
