"""Loops that look at the clock."""

import time

import pytest

from ullage.compiler.common.clock import CHECKED_EVERY, check_time, timed
from ullage.compiler.common.errors import TimeLimitError


def test_items_come_until_the_deadline() -> None:
    assert list(timed(range(5), None, "model")) == [0, 1, 2, 3, 4]
    assert list(timed(range(3), time.monotonic() + 1e9, "model")) == [0, 1, 2]
    with pytest.raises(TimeLimitError, match=r"^model: the time limit was over .*--time-limit"):
        next(timed(range(3), 0.0, "model"))


def test_the_clock_is_looked_at_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    items = timed(range(10 * CHECKED_EVERY), 1.0, "model")
    assert next(items) == 0
    now = 2.0
    assert [next(items) for _ in range(CHECKED_EVERY - 1)][-1] == CHECKED_EVERY - 1
    with pytest.raises(TimeLimitError):
        next(items)


def test_no_deadline_is_never_over() -> None:
    check_time(None, "model")
