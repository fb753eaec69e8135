"""Engines: who leaves the loop ends what still runs, and nobody waits longer than was asked."""

import math
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ullage.compiler.common.engines import HERE, Engine, in_order, open_engine

# Seconds that no test lasts.
FOR_EVER_S = 600.0


def process_of(item: tuple[str, float]) -> int:
    """The process that runs this, which writes itself down and then takes some seconds."""
    file, seconds = item
    if file:
        Path(file).write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(seconds)
    return os.getpid()


def half(number: int) -> float:
    return number / 2


@pytest.fixture(scope="module")
def processes() -> Iterator[Engine]:
    with open_engine("processes", 2) as engine:
        yield engine


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True


@pytest.mark.skipif(os.name == "nt", reason="signal 0")
def test_who_leaves_the_loop_ends_what_runs(processes: Engine, tmp_path: Path) -> None:
    """The loser of a race is gone, and the engine takes other items afterwards."""
    losers = tmp_path / "loser"
    with closing(processes.run(process_of, [("", 0.0), (str(losers), FOR_EVER_S)])) as race:
        number, winner = next(race)
        assert number == 0
        while not (losers.exists() and losers.read_text()):
            time.sleep(0.02)
    loser = int(losers.read_text())
    assert loser not in {winner, os.getpid()}
    assert not is_there(loser)
    assert in_order(processes, half, range(5)) == [0.0, 0.5, 1.0, 1.5, 2.0]


def test_nobody_waits_longer_than_asked(processes: Engine) -> None:
    late = processes.run(process_of, [("", FOR_EVER_S)], time.monotonic() + 0.2)
    assert list(late) == []
    assert list(processes.run(half, [1], math.inf)) == [(0, 0.5)]


def test_here_begins_nothing_when_time_is_over() -> None:
    assert list(HERE.run(half, [1, 2], time.monotonic() - 1)) == []
    assert list(HERE.run(half, [1, 2])) == [(0, 0.5), (1, 1.0)]
    assert HERE.jobs == 1
