"""`ullage diff`."""

from collections.abc import Callable
from pathlib import Path

from tests.support.cli import Json

Say = Callable[..., tuple[str, str]]


def test_diff_exits_with_5_where_the_second_is_slower(
    ask: Json, say: Say, tiny: Path, tmp_path: Path
) -> None:
    plans = []
    for solver in ("fluid", "all-slow"):
        out = tmp_path / solver
        plans.append(ask("compile", tiny, "--batch", 8, "--solver", solver, "-o", out)["plan"])
    fast, slow = plans
    found = ask("diff", fast, slow, "--fail-if-slower", "1%", code=5)
    assert found["passed"] is False
    assert found["fail_if_slower"] == 0.01
    assert found["slower"] > 0.01
    text, _ = say("diff", fast, slow, "--fail-if-slower", "1%", code=5)
    assert f"{100 * found['slower']:.3g} % slower: FAILED, 1 % allowed" in text
    assert ask("diff", slow, fast, "--fail-if-slower", 0)["passed"] is True
    assert ask("diff", fast, slow)["passed"] is True
    text, _ = say("diff", fast, fast)
    assert "the plans are the same" in text
    error = ask("diff", fast, slow, "--fail-if-slower", "fast", code=2)["error"]
    assert "--fail-if-slower" in error["message"]
    assert ask("diff", fast, tiny, code=2)["error"]["kind"] == "usage"
