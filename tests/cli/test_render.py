"""What commands print while they work."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ullage.cli import render
from ullage.cli.run import step_progress


@contextmanager
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Lines come at once and are collected here."""
    said: list[str] = []

    def keep(text: str, *, err: bool) -> None:
        assert err
        said.append(text)

    monkeypatch.setattr(render, "LINE_S", 0.005)
    monkeypatch.setattr(render, "say", keep)
    yield said


def wait_for(said: list[str], text: str) -> None:
    for _ in range(2000):
        if any(line.endswith(text) for line in said):
            return
        time.sleep(0.005)
    pytest.fail(f"{text!r} was not said: {said[-5:]}")


def test_where_there_is_no_terminal_lines_tell_the_latest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = threading.active_count()
    with soon(monkeypatch) as said, render.progress(quiet=False) as tell:
        wait_for(said, " s: starting")
        tell("solving [with] brackets")
        wait_for(said, " s: solving [with] brackets")
    assert all(line.startswith("after ") for line in said)
    assert threading.active_count() == before
    with soon(monkeypatch) as said, step_progress(quiet=False) as tell:
        tell(3, 8)
        wait_for(said, "executing, step 3 of 8")


def test_lines_end_with_what_they_tell_of_even_when_it_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = threading.active_count()
    with soon(monkeypatch), pytest.raises(KeyboardInterrupt), render.progress(quiet=False):
        raise KeyboardInterrupt
    assert threading.active_count() == before


def test_quiet_commands_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with soon(monkeypatch) as said:
        with render.progress(quiet=True) as tell:
            tell("a")
            time.sleep(0.03)
        with step_progress(quiet=True) as step:
            step(1, 2)
            time.sleep(0.03)
    assert not said


def test_short_commands_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert 10 <= render.LINE_S <= 30
    with render.progress(quiet=False) as tell:
        tell("a")
    assert capsys.readouterr() == ("", "")
