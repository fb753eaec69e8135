"""Tests of `--recompute auto` need no long searches."""

import pytest

from ullage.solvers.scheduling.recompute import search


@pytest.fixture(autouse=True)
def _few_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_MOVES", 20_000)
