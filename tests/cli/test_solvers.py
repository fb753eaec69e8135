"""`ullage solvers`."""

from collections.abc import Callable
from importlib.metadata import EntryPoint

import pytest

from tests.support.cli import Json


def test_a_broken_package_does_not_hide_the_other_solvers(
    ask: Json, say: Callable[..., tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = EntryPoint("broken", "no_such_module_anywhere:solve", "ullage.solvers")
    monkeypatch.setattr("ullage.solvers.registry.entry_points", lambda **_: [point])
    found = ask("solvers", "list")
    assert "greedy" in [each["name"] for each in found["solvers"]]
    assert "no_such_module_anywhere" in found["broken"]["broken"]
    out, err = say("solvers", "list")
    assert "greedy" in out
    assert "no_such_module_anywhere" in err
    assert ask("solvers", "show", "broken", code=2)["error"]["kind"] == "usage"
