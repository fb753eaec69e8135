"""`ullage pack`: the JSON document, the written file and the errors."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.support.cli import Json
from ullage.cli.pack import pack_command
from ullage.compiler.common.errors import InfeasibleError, UsageError

HEADER = "id,lower,upper,size\n"

app = typer.Typer()
app.command()(pack_command)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(HEADER + "a,0,2,1000\nb,1,3,500\nc,2,4,1000\n")
    return path


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None:
        raise result.exception
    assert result.exit_code == 0
    return result.stdout


def test_json_document(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    printed = run(str(file), "--capacity", "1.5kB", "-o", str(out), "--json")
    document = json.loads(printed)
    assert document.pop("solve_s") >= 0
    assert document.pop("method")
    assert document == {
        "buffers": 3,
        "capacity_bytes": 1500,
        "peak_bytes": 1500,
        "lower_bound_bytes": 1500,
        "status": "optimal",
        "alignment_bytes": 1,
        "output": str(out),
    }
    with out.open(newline="") as written:
        offsets = {row["id"]: int(row["offset"]) for row in csv.DictReader(written)}
    assert offsets["a"] == offsets["c"]
    assert sorted(offsets.values()) in ([0, 0, 1000], [0, 500, 500])


def test_text_and_alignment(file: Path) -> None:
    printed = run(str(file), "--alignment", "1KiB")
    assert printed.startswith("3 buffers in 1524 bytes (1.49 KiB), optimal")


def test_impossible_capacity_says_so(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    with pytest.raises(InfeasibleError, match="impossible") as caught:
        run(str(file), "--capacity", "1KiB", "-o", str(out))
    assert caught.value.exit_code == 4
    details = caught.value.details
    assert details["needed_bytes"] == 1500
    assert details["available_bytes"] == 1024
    assert details["excess_bytes"] == 476
    assert details["proven"] is True
    assert details["largest_buffers"][0]["size_bytes"] == 1000
    assert not out.exists()


def test_capacity_missed_without_proof_is_told_apart(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ullage.solvers.packing import report as packing_report
    from ullage.solvers.packing.pack import Packing, pack

    def give_up(*arrays: object, **options: object) -> Packing:
        assert options["proof"] is True
        good = pack(*arrays)
        stacked = good.offsets + 4000
        return Packing(stacked, 5500, good.lower_bound_bytes, optimal=False, method="test")

    monkeypatch.setattr(packing_report, "pack", give_up)
    with pytest.raises(InfeasibleError, match="not proven impossible") as caught:
        run(str(file), "--capacity", "2000")
    assert caught.value.details["proven"] is False
    assert caught.value.details["excess_bytes"] == 3500


@pytest.mark.parametrize(
    "options",
    [
        ["--capacity", "lots"],
        ["--capacity=-1"],
        ["--alignment", "0"],
        ["--time-limit", "nan"],
        ["--time-limit=-1"],
    ],
)
def test_senseless_options_are_usage_errors(file: Path, options: list[str]) -> None:
    with pytest.raises(UsageError):
        run(str(file), *options)


def test_pack_proves_a_small_instance(
    ask: Json, say: Callable[..., tuple[str, str]], tmp_path: Path
) -> None:
    path = tmp_path / "buffers.csv"
    path.write_text("id,lower,upper,size\na,0,2,16\nb,1,3,16\nc,2,4,16\n")
    out_path = tmp_path / "packed.csv"
    found = ask("pack", path, "-o", out_path)
    assert (found["buffers"], found["peak_bytes"], found["lower_bound_bytes"]) == (3, 32, 32)
    assert found["status"] == "optimal"
    assert out_path.read_text().splitlines()[0] == "id,lower,upper,size,offset"
    out, _ = say("pack", path)
    assert out.startswith("3 buffers in 32 bytes")
    assert ask("pack", path, "--capacity", 16, code=4)["error"]["kind"] == "infeasible"
