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


def test_diff_shows_no_dictionaries_and_no_rows_of_nothing(
    ask: Json, say: Say, tiny: Path, tmp_path: Path
) -> None:
    plans = []
    for name, batch in (("two", 2), ("eight", 8)):
        arguments = ("compile", tiny, "--solver", "greedy", "--batch", batch, "-o", tmp_path / name)
        plans.append(ask(*arguments)["plan"])
    found = ask("diff", *plans)
    [sizes] = [each for each in found["differences"] if each["what"] == "buffers"]
    text, _ = say("diff", *plans)
    differing = [line for line in text.splitlines() if line.startswith("differs: ")]
    assert len(differing) == len(found["differences"])
    assert not any(sign in line for line in differing for sign in "{}[]'")
    count = len(sizes["before"].keys() | sizes["after"].keys())
    first = next(iter(sizes["before"]))
    assert f"differs: {count} buffers of other size: {first} 512 B -> 2 KiB" in text
    cells = [line.split("│")[2:4] for line in text.splitlines() if line.startswith("│")]
    rows = [tuple(cell.strip() for cell in row) for row in cells]
    assert ("0 B", "0 B") not in rows[6:]  # those above are of the table of figures
    alike = sum(len(set(row["transferred_bytes"])) == 1 for row in found["buffers"])
    assert (f"{alike} buffer" in text) == (alike > 0)
