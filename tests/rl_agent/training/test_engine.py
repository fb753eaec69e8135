"""Training in processes and on Ray: the same bytes as in one process, whoever plays."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.agent import POOL, begun
from ullage.cli.main import run
from ullage.compiler.common import engines
from ullage.compiler.common.engines import in_order, open_engine
from ullage.compiler.common.errors import UllageError, UsageError
from ullage.rl_agent.training.evolution import ItemResult
from ullage.rl_agent.training.train import items_of, save_training, train
from ullage.rl_agent.training.work import WorkItem, play_item

STEPS = 2


def checkpoint(path: Path, name: str, jobs: int) -> bytes:
    with open_engine(name, jobs) as engine:
        trained = train(begun(), POOL, lambda t: t.generation < STEPS, lambda _: None, engine)
    save_training(trained, path)
    return path.read_bytes()


def test_processes_give_the_same_checkpoint(tmp_path: Path) -> None:
    alone = checkpoint(tmp_path / "one.safetensors", "processes", 1)
    assert checkpoint(tmp_path / "two.safetensors", "processes", 2) == alone


@pytest.mark.wide(0)
def test_ray_gives_the_same_checkpoint(tmp_path: Path) -> None:
    """In a process of its own: Ray forks, and JAX, which other tests import, forbids that."""
    pytest.importorskip("ray")
    program = "from ullage.cli.main import main; main()"
    words = [sys.executable, "-c", program, "train", "squeezenet", "--steps", "2"]
    for engine_name in ("processes", "ray"):
        out = tmp_path / f"{engine_name}.safetensors"
        asked = [*words, "--engine", engine_name, "--out", str(out)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
    one, other = sorted(tmp_path.glob("*.safetensors"))
    assert one.read_bytes() == other.read_bytes()


def kill_the_worker(_: WorkItem) -> ItemResult:
    signal.raise_signal(signal.SIGABRT)
    raise AssertionError


def test_a_worker_that_dies_is_told_of() -> None:
    items = items_of(begun(), POOL)
    died = pytest.raises(UllageError, match="use fewer --jobs")
    with open_engine("processes", 2) as engine, died:
        in_order(engine, kill_the_worker, items)


def test_engines_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda _: None)
    for name, jobs, message in (
        ("threads", 2, "unknown engine"),
        ("processes", 0, "1 or more"),
        ("ray", 1, r"pip install 'ullage\[ray\]'"),
    ):
        with pytest.raises(UsageError, match=message), open_engine(name, jobs):
            pass


def test_one_job_plays_here() -> None:
    items = items_of(begun(), POOL)
    with open_engine("processes", 1) as engine:
        assert [r.place for r in in_order(engine, play_item, items)] == [
            item.place for item in items
        ]


def test_train_takes_jobs_and_writes_for_tensorboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboardX")
    words = ["train", "squeezenet", "--steps", "2", "--json", "--out"]
    assert run([*words, str(tmp_path / "one.safetensors")]) == 0
    board = tmp_path / "board"
    more = ["--jobs", "2", "--tensorboard", str(board)]
    assert run([*words, str(tmp_path / "two.safetensors"), *more]) == 0
    assert (tmp_path / "one.safetensors").read_bytes() == (
        tmp_path / "two.safetensors"
    ).read_bytes()
    assert any(file.stat().st_size for file in board.iterdir())
    capsys.readouterr()
    for wrong in (["--engine", "threads"], ["--jobs", "0"]):
        assert run([*words, str(tmp_path / "x.safetensors"), *wrong]) == 2
        assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage"


def test_tensorboard_that_is_missing_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ullage.rl_agent.training.log.find_spec", lambda _: None)
    words = ["train", "squeezenet", "--steps", "1", "--out", str(tmp_path / "x.safetensors")]
    assert run([*words, "--tensorboard", str(tmp_path)]) == 2
    assert "pip install 'ullage[tensorboard]'" in capsys.readouterr().err
