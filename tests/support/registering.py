"""Solvers registered for one test, in place of installed packages."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from ullage.solvers import registry
from ullage.solvers.interface import SolveFunction
from ullage.solvers.registry import find_solver


class FakePoint:
    """An entry point of a package that is not installed."""

    def __init__(self, name: str, loaded: object) -> None:
        self.name = name
        self.loaded = loaded
        self.dist = None

    def load(self) -> object:
        """What the entry point names."""
        if isinstance(self.loaded, BaseException):
            raise self.loaded
        return self.loaded


def put_in_place(name: str, function: SolveFunction, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another function answer for one of our solvers."""
    ours = replace(find_solver(name), solve=function)
    known = registry._built_in
    monkeypatch.setattr(
        registry, "_built_in", lambda asked: ours if asked == name else known(asked)
    )


def register(monkeypatch: pytest.MonkeyPatch, solvers: Mapping[str, object]) -> None:
    """Entry points of packages that are not installed; an exception is raised on import."""
    points = [FakePoint(name, loaded) for name, loaded in solvers.items()]

    def entry_points(*, group: str) -> list[FakePoint]:
        assert group == "ullage.solvers"
        return points

    monkeypatch.setattr(registry, "entry_points", entry_points)
