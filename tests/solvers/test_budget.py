"""Time: what is left, how it is shared out, and who is told."""

import math
import time
from dataclasses import replace

import pytest

from ullage.solvers import budget as budget_module
from ullage.solvers.budget import Budget


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that stands until it is told."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_without_a_deadline_there_is_no_end() -> None:
    free = Budget()
    assert free.remaining_s() == math.inf
    assert not free.is_over()
    assert free.share(0.1) is free
    assert free.reserving(5.0) is free
    assert free.until(math.inf) is free


def test_what_is_left(clock: list[float]) -> None:
    budget = Budget(103.0)
    assert budget.remaining_s() == 3.0
    clock[0] = 103.0
    assert budget.is_over()
    clock[0] = 104.5
    assert budget.remaining_s() == -1.5


@pytest.mark.parametrize(
    ("share", "at_least_s", "end"),
    [
        (0.5, 0.0, 105.0),
        (0.0, 0.0, 100.0),
        (1.0, 0.0, 110.0),
        (0.1, 4.0, 104.0),
        (0.1, 40.0, 110.0),  # no more than there is
        (0.9, 4.0, 109.0),
    ],
)
def test_shares_are_of_what_is_left(
    clock: list[float], share: float, at_least_s: float, end: float
) -> None:
    assert Budget(110.0).share(share, at_least_s=at_least_s).deadline == end
    clock[0] = 111.0  # nothing is left: a share ends now
    assert Budget(110.0).share(share, at_least_s=at_least_s).deadline == 111.0


def test_limits_only_shorten(clock: list[float]) -> None:
    assert clock == [100.0]
    assert Budget().at_most(2.0).deadline == 102.0
    assert Budget(101.0).at_most(2.0).deadline == 101.0
    assert Budget(105.0).at_most(2.0).deadline == 102.0
    assert Budget(105.0).until(103.0).deadline == 103.0
    early = Budget(101.0)
    assert early.until(103.0) is early
    assert early.until(math.inf) is early
    assert Budget(105.0).reserving(1.5).deadline == 103.5


def test_members_tell_of_their_progress_but_not_of_their_plans() -> None:
    texts: list[str] = []
    values: list[float] = []
    budget = Budget(5.0, texts.append, values.append)
    inner = budget.for_member()
    inner.progress("begun")
    inner.on_improvement(1.0)
    assert (texts, values, inner.deadline) == (["begun"], [], 5.0)
    for part in (budget.share(0.5), budget.at_most(1.0), budget.until(4.0), budget.reserving(1.0)):
        assert part == replace(budget, deadline=part.deadline)


def test_work_is_limited_by_what_the_process_does(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long others have the machine meanwhile; a deadline counts beside it."""
    work = [10.0]
    monkeypatch.setattr(time, "process_time", lambda: work[0])
    budget = Budget().at_most_work(5.0)
    clock[0] += 1000.0
    assert budget.remaining_s() == 5.0
    assert budget.until(clock[0] + 1.0).remaining_s() == 1.0
    half = budget.share(0.5)
    assert half.remaining_s() == 2.5
    assert half.deadline is None
    assert half.at_most_work(3.0) is half  # a limit only shortens
    assert half.at_most_work(1.0).remaining_s() == 1.0
    assert half.at_most_work(math.inf) is half
    both = budget.until(clock[0] + 8.0).share(0.25)
    assert (both.deadline, both.work_ends) == (clock[0] + 2.0, 11.25)
    work[0] += 5.0
    assert budget.is_over()
    assert budget.share(0.5).remaining_s() == 0.0


def test_what_nothing_interrupts_needs_a_share_of_a_core(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    share = [1.0]
    monkeypatch.setattr(budget_module, "core_share", lambda: share[0])
    budget = Budget(clock[0] + 6.0)
    assert budget.has_time_for(6.0)
    assert budget.has_time_to_compile(5.9)
    assert not budget.has_time_to_compile(6.0)
    share[0] = 1 / 3
    assert budget.has_time_for(1.9)
    assert not budget.has_time_for(2.1)
    assert budget.has_time_to_compile(5.9)
    share[0] = 0.25  # compiling takes four times as long as on an idle core
    assert not budget.has_time_to_compile(5.9)
    assert Budget().has_time_for(1e9)
    assert Budget().at_most_work(1.0).has_time_to_compile(1e9)


def test_the_share_of_a_core_is_what_a_moment_of_work_gets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    work = iter([10.0, 10.01, 10.025])
    monkeypatch.setattr(time, "process_time", lambda: next(work))
    walls = iter([100.0, 100.1])
    monkeypatch.setattr(time, "monotonic", lambda: next(walls))
    assert budget_module.core_share() == pytest.approx(0.25)
