"""Changed plan files through the commands that read plans: an error by name or a sound answer."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.models import model_file
from tests.support.plan_mutants import sample, text_of
from ullage.cli.main import run

REFUSALS = {2, 3, 4, 5, 7}


def answered(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str]:
    """Exit code and everything that was printed."""
    code = run([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    return code, printed.out + printed.err


@pytest.mark.wide(2)
@pytest.mark.parametrize("seed", range(4))
def test_no_changed_plan_ends_in_a_traceback(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = model_file("residual")
    compiled = tmp_path / "out"
    assert (
        run(
            [
                "compile",
                str(model),
                "--fast-memory",
                "2KiB",
                "--solver",
                "greedy",
                "-o",
                str(compiled),
                "--json",
            ]
        )
        == 0
    )
    document: dict[str, Any] = json.loads((compiled / "plan.json").read_bytes())
    path = tmp_path / "plan.json"
    for change, mutant in sample(document, 60, seed):
        path.write_bytes(text_of(mutant))
        legal, said = answered(capsys, "verify", path)
        assert legal in {0, *REFUSALS}, (change, said)
        for command in (
            ("report", path, "-o", tmp_path / "r.html"),
            ("run", model, path),
        ):
            code, said = answered(capsys, *command)
            assert code in {0, *REFUSALS}, (change, said)
            assert code != 0 or legal == 0 or command[0] == "run", change
