"""`ullage compile --dim NAME=FIRST..LAST --family SHARE`."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from tests.support.cli import Json
from tests.support.encoders import encoder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "encoder.onnx"
    onnx.save(encoder(1, 32, 2), path)
    return path


def test_a_family_is_planned_and_written(
    ask: Json, say: Callable[..., tuple[str, str]], model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("compile", model, "--dim", "seq=16..64:16", "--family", "5%", "--dtype", "int8")
    found = ask(*words, "--solver", "fluid", "--fast-memory", "16KiB", "-o", out)
    assert [row["length"] for row in found["lengths"]] == [16, 32, 48, 64]
    assert found["worst_loss"] <= 0.05
    assert found["verified"] is True
    assert found["buckets"][-1]["last"] == 64
    assert all(Path(path).exists() for path in found["written"])
    assert 0 < found["family_bytes"] < found["single_plans_bytes"] * 2
    last = out / f"plan_{found['buckets'][-1]['last']}.json"
    assert ask("verify", last, "--model", model)["model_checked"] is True
    text, _ = say(*words, "--solver", "greedy")
    assert "all verified" in text


def test_what_makes_no_sense_is_refused(ask: Json, model: Path) -> None:
    for words, told in (
        (["--dim", "seq=16..64"], "--family 5%"),
        (["--dim", "seq=16", "--family", "5%"], "none has a range"),
        (["--dim", "a=1..2", "--dim", "b=1..2", "--family", "5%"], "a and b have ranges"),
        (["--dim", "seq=64..16", "--family", "5%"], "the smaller length comes first"),
        (["--dim", "seq=16..64", "--family", "many"], "--family"),
        (["--dim", "seq=16..64", "--family", "5%", "--prove"], "--prove"),
        (["--dim", "other=16..64", "--family", "5%"], "no dimension named other"),
    ):
        assert told in ask("compile", model, *words, code=2)["error"]["message"]
