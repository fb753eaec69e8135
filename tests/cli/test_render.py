"""What commands print while they work."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ullage.cli import render, streams
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


def test_first_columns_keep_their_cells_and_their_headings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    columns = [("Fast memory", "right"), ("Lower bound", "right"), ("Other", "left")]
    rows = [["1 B", "2 ms", "a text"], ["256 KiB", "12.25 ms", "another text"]]
    for width in (24, 28, 36, 44, 60, 80):
        monkeypatch.setattr(streams, "PIPE_WIDTH", width)
        title = "A title that is longer than the table below it"
        render.print_table(title, columns, rows, optional=("Other",))
        out = capsys.readouterr().out
        words = out.replace("\u2503", " ").replace("\u2502", " ").split()
        for word in ("Fast", "memory", "Lower", "bound"):
            assert word in words, (width, out)
        assert "256 KiB" in out
        if width >= len(title):
            assert out.splitlines()[0] == title  # not broken to the width of the table


def test_lines_have_no_blanks_at_their_ends_and_break_their_last_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PIPE_WIDTH", 40)
    render.print_pairs([("a", "short"), ("longer", "many words " * 6), ("", "x"), ("b", "")])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line != line.rstrip()] == []
    assert max(map(len, lines)) <= 40
    assert lines[0] == "a       short"
    assert lines[1].startswith("longer  many")
    assert lines[2].startswith("        ")
    assert " ".join(" ".join(lines[1:-2]).split()) == "longer " + ("many words " * 6).strip()
    assert lines[-2:] == ["        x", "b"]
    render.print_lines([["x", "1", "end"], ["long", "23", ""]], ("left", "right", "left"))
    assert capsys.readouterr().out.splitlines() == ["x     1 end", "long 23"]


def test_an_empty_memory_has_no_map(capsys: pytest.CaptureFixture[str]) -> None:
    render.print_memory_map("sram", [0, 0, 0], 1024)
    assert capsys.readouterr().out == "nothing lives in sram\n"


def test_short_commands_say_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert 10 <= render.LINE_S <= 30
    with render.progress(quiet=False) as tell:
        tell("a")
    assert capsys.readouterr() == ("", "")
