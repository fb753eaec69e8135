"""Hostile files end in an error by name or in a legal plan: never in a traceback or half a plan.

`benchmarks/fuzz_import.py` runs a thousand of these in processes of their own.
"""

import json
from pathlib import Path

import pytest

from tests.support.hostile import ATTACKS, GENERATORS, hostile_file, valid_models
from ullage.cli.main import run
from ullage.compiler.ir.plan_json import read_plan
from ullage.compiler.verify.verifier import verify

KINDS = {2: "usage", 3: "model", 4: "infeasible"}


def check(data: bytes, folder: Path, capsys: pytest.CaptureFixture[str]) -> int:
    """Compile a file; the exit code, after everything that must hold for it."""
    folder.mkdir(exist_ok=True)
    path, written = folder / "case.onnx", folder / "plan"
    path.write_bytes(data)
    code = run(["compile", str(path), "--json", "-o", str(written), "--solver", "greedy"])
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert "Traceback" not in printed.out + printed.err
    if code == 0:
        assert document["verified"] is True
        verify(read_plan(written / "plan.json"))
    else:
        assert document["error"]["kind"] == KINDS[code]
        assert document["error"]["message"]
        assert not written.exists()
    assert path.read_bytes() == data
    return code


@pytest.mark.parametrize("seed", range(6 * len(GENERATORS)))
def test_hostile_files(seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(hostile_file(seed)[1], tmp_path, capsys) in (0, *KINDS)


def test_the_models_that_are_damaged_are_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Otherwise the damage would prove nothing."""
    codes = [check(d, tmp_path / str(i), capsys) for i, d in enumerate(valid_models())]
    assert sorted(codes) == [0] * (len(codes) - 1) + [3]  # one has a symbolic dimension


def test_cases_are_reproducible_and_attacks_all_have_names() -> None:
    assert hostile_file(77) == hostile_file(77)
    assert len({hostile_file(seed)[1] for seed in range(100)}) > 90
    assert all(attack.__doc__ for attack in ATTACKS)
