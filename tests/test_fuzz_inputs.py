"""Odd values of options and changed target files: an error by name, nothing half-written.

`benchmarks/fuzz_inputs.py` runs hundreds of these, with files and plans, in processes of their own.
"""

from pathlib import Path
from random import Random

import pytest

from tests.support.hostile_words import OPTIONS, VALUES, hostile_option, hostile_target
from tests.support.models import model_file
from ullage.cli.main import run

CODES = {0, 2, 3, 4, 5, 6, 7}


@pytest.mark.parametrize("seed", range(60))
def test_changed_target_files(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, data = hostile_target(Random(seed))
    path = tmp_path / "target.yaml"
    path.write_bytes(data)
    code = run(["targets", "validate", str(path)])
    said = capsys.readouterr()
    assert code in (0, 2), name
    assert "Traceback" not in said.err
    words = ["compile", str(model_file("residual")), "--target", str(path), "--solver", "greedy"]
    again = run([*words, "-q", "-o", str(tmp_path / "out")])
    assert again in (CODES if code == 0 else {2}), capsys.readouterr().err
    assert (tmp_path / "out").exists() == (again == 0)


@pytest.mark.parametrize("seed", range(40))
def test_odd_values_of_options(
    seed: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    random = Random(seed)
    command, option, value = hostile_option(random)
    while command not in ("compile", "analyze", "pack"):
        command, option, value = hostile_option(random)
    model = str(model_file("residual"))
    words = {"pack": ["case.csv"], "compile": [model, "--solver", "greedy"]}.get(command, [model])
    (tmp_path / "case.csv").write_text("id,lower,upper,size\na,0,2,8\nb,1,3,8\n")
    code = run([command, *words, option, value])
    said = capsys.readouterr()
    assert code in CODES, (command, option, value, said.err)
    assert "Traceback" not in said.out + said.err
    assert not {"\x1b", "\u202e", "\udcff"} & set(said.out + said.err)
    if code:
        assert [path.name for path in tmp_path.iterdir()] == ["case.csv"]


def test_there_are_odd_values_of_every_kind() -> None:
    assert len(VALUES) == len(set(VALUES)) > 40
    assert {hostile_option(Random(seed))[0] for seed in range(200)} == set(OPTIONS)
