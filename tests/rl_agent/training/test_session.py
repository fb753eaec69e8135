"""Sessions: what they read and train in a limited time, and what they write."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import pytest

from tests.support.agent import POOL
from ullage.compiler.common.errors import TimeLimitError, UsageError
from ullage.rl_agent.training import session as sessions
from ullage.rl_agent.training.instances import Program
from ullage.rl_agent.training.session import Session, SessionResult, old_lines, run_session
from ullage.rl_agent.training.train import Training, TrainOptions, load_training

PER_PROGRAM_S, PER_GENERATION_S = 1.0, 10.0


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Progress, and a clock on which programs and generations take their time."""
    now_s = 0.0

    def read(_seed: int, _kinds: tuple[str, ...], programs: int) -> Iterator[Program]:
        nonlocal now_s
        for program, _ in zip(cycle(POOL), range(programs), strict=False):
            now_s += PER_PROGRAM_S
            yield program

    def train(
        training: Training,
        _pool: list[Program],
        goes_on: Callable[[Training], bool],
        report: Callable[[Training], None],
        _play: object,
    ) -> Training:
        nonlocal now_s
        while goes_on(training):
            now_s += PER_GENERATION_S
            training = replace(training, generation=training.generation + 1)
            report(training)
        return training

    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    monkeypatch.setattr(sessions, "synthetic_programs", read)
    monkeypatch.setattr(sessions, "train", train)
    return []


def run(path: Path, limit_s: float, told: list[str], resume: Path | None = None) -> SessionResult:
    return run_session(
        Session((), "edge-npu", None, path, time_limit_s=limit_s, resume=resume), told.append
    )


def test_reading_leaves_time_to_train_and_no_generation_ends_late(
    tmp_path: Path, told: list[str]
) -> None:
    path = tmp_path / "a.safetensors"
    result = run(path, 300.0, told)
    assert result.programs == 120
    assert result.training.generation == 18
    assert result.total_s == 300.0
    assert "reading programs: 64 so far" in told
    assert load_training(path).options.programs == 120  # a resumed run reads as many
    resumed = run(tmp_path / "b.safetensors", 300.0, told, path)
    assert resumed.programs == 120


def test_a_batch_is_read_whatever_the_share(tmp_path: Path, told: list[str]) -> None:
    assert run(tmp_path / "a.safetensors", 100.0, told).programs == TrainOptions().batch


@pytest.mark.parametrize("limit_s", [30.0, 64.0])
def test_without_a_generation_there_is_an_error_and_no_checkpoint(
    tmp_path: Path, told: list[str], limit_s: float
) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(TimeLimitError, match="nothing was trained"):
        run(path, limit_s, told)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", [b"\xff", b"no JSON\n", b"[1]\n", b"{}\n", b'{"generation": null}\n']
)
def test_a_log_that_is_none_is_refused(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "agent.jsonl").write_bytes(text)
    with pytest.raises(UsageError, match="is not the log of a training run"):
        old_lines(tmp_path / "agent.safetensors", 3)


def test_the_log_is_kept_up_to_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "agent.jsonl").write_text('{"generation": 1}\n{"generation": 2}\n')
    assert old_lines(tmp_path / "agent.safetensors", 1) == ['{"generation": 1}']
    assert old_lines(tmp_path / "other.safetensors", 1) == old_lines(None, 1) == []
