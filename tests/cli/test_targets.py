"""`ullage targets`: tables with units, one JSON document, errors raised for the main entry."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ullage.cli.targets import app
from ullage.compiler.common.errors import UsageError
from ullage.hwmodels.catalog.registry import list_targets
from ullage.hwmodels.catalog.schema import CHIP_KINDS

CHILD = """
name: mine
description: Mine [/b] has brackets
inherit: edge-npu
tiers:
  - name: sram
    capacity_bytes: {value: 512KiB, source: "data sheet [S] of mine", confidence: medium}
"""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stderr == ""
    return result.stdout


def run_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.yaml"
    path.write_text(CHILD)
    return str(path)


def test_list() -> None:
    text = run("list")
    assert all(name in text for name in list_targets())
    document = run_json("list")
    assert document["default"] == "edge-npu"
    assert [each["name"] for each in document["targets"]] == list(list_targets())
    by_name = {each["name"]: each for each in document["targets"]}
    assert by_name["cosma"]["fast_memory_bytes"] == 1 << 20
    assert by_name["cosma"]["kind"] == "research"
    kinds = {name: kind for kind, names in document["kinds"].items() for name in names}
    assert kinds == {name: each["kind"] for name, each in by_name.items()}


def test_list_is_grouped_by_kind() -> None:
    text = run("list")
    assert text.startswith(f"{len(list_targets())} targets (default: edge-npu)")
    heads = [line for line in text.splitlines() if line in CHIP_KINDS.values()]
    assert heads == [CHIP_KINDS[kind] for kind in run_json("list")["kinds"]]
    npus = text.split("NPUs\n")[1].split("Microcontrollers\n")[0]
    assert "ethos-u55-32" in npus
    assert "stm32h743" not in npus


def test_show_has_units_and_origins() -> None:
    text = run("show", "ethos-u55-128")
    for part in ("Read [GB/s]", "Alignment [bytes]", "vela.ini", "2 MiB", "read-only", "row"):
        assert part in text


def test_show_json(mine: str) -> None:
    document = run_json("show", mine)
    assert document["name"] == "mine"
    assert document["inherits"] == ["edge-npu"]
    assert document["target"]["tiers"][0]["capacity_bytes"] == 512 << 10
    values = {value["field"]: value for value in document["values"]}
    capacity = values["tiers.sram.capacity_bytes"]
    assert capacity["origin"] == mine
    assert capacity["confidence"] == "medium"
    assert capacity["unit"] == "bytes"
    assert values["tiers.dram.capacity_bytes"]["origin"] == "edge-npu"


def test_show_sets_published_figures_beside_ours(tmp_path: Path) -> None:
    path = tmp_path / "known.yaml"
    path.write_text(
        CHILD.replace("name: mine", "name: known")
        + """
published:
  ops_per_s: {int8: {value: 2.0e12, source: a leaflet, confidence: medium}}
  runs:
    - {model: resnet50, dtype: int8, latency_s: {value: 9.0e-3, source: a talk, confidence: low}}
  missing: Nothing on energy was found
"""
    )
    text = run("show", str(path))
    assert re.search(r"peak int8 +│ 2 Tops/s +│ 1 Tops/s", text)
    assert re.search(r"resnet50 int8 +│ 9 ms +│ - ", text)
    assert "Nothing on energy was found" in text
    document = run_json("show", str(path))
    assert document["kind"] == "npu"
    assert [(row["value"], row["ours"]) for row in document["published"]] == [
        (2e12, 1e12),
        (9e-3, None),
    ]
    assert document["unpublished"] == "Nothing on energy was found"


def test_show_says_how_well_a_model_uses_the_multipliers() -> None:
    text = run("show", "tpu-v4i", "--model", "squeezenet", "--dtype", "int8")
    assert "squeezenet on tpu-v4i" in text
    assert "Utilisation" in text
    assert "compute.systolic.rows" not in text
    document = run_json("show", "tpu-v4i", "--model", "squeezenet", "--dtype", "int8")
    assert document["compute_model"] == "systolic"
    by_kind = {row["kind"]: row for row in document["utilisation"]}
    assert 0 < by_kind["convolution"]["utilisation"] < 1
    assert by_kind["pooling"]["utilisation"] is None


def test_brackets_of_a_file_are_no_markup(mine: str) -> None:
    text = run("show", mine)
    assert "Mine [/b] has brackets" in text
    assert "data sheet [S] of mine" in text


def test_validate(mine: str) -> None:
    assert "'mine' is valid" in run("validate", mine)
    document = run_json("validate", mine)
    assert document["valid"] is True
    assert document["confidence"]["medium"] > 0


def test_errors_are_raised_for_the_main_entry(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(CHILD.replace("512KiB", "-1"))
    for arguments in (["validate", str(wrong)], ["show", "no-such-chip"]):
        result = CliRunner().invoke(app, arguments)
        assert isinstance(result.exception, UsageError)
        assert result.stdout == ""


def entries(figure: Any) -> list[str]:
    """A value as it is shown; each entry of a list has a row."""
    value = figure["value"]
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return (shown.lower() if isinstance(value, bool) else shown).split(", ")


@pytest.mark.wide(1)
@pytest.mark.parametrize("width", [60, 80, 100])
def test_tables_are_readable_on_narrow_terminals(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr("ullage.cli.streams.PIPE_WIDTH", width)
    for name in list_targets():
        document, text = run_json("show", name), run("show", name)
        lines = text.splitlines()
        assert max(map(len, lines)) <= width
        longest = max(len(figure["field"]) for figure in document["values"])
        widest = max(len(entry) for figure in document["values"] for entry in entries(figure))
        for figure in document["values"]:
            row = next(line for line in lines if line.startswith(f"│ {figure['field']} "))
            # Names of fields are never broken, values only where no room is left for them.
            assert entries(figure)[0][: width - longest - len("│  │  │")] in row
        assert f"not shown in {width} columns" in text
        values = text.split("Values and where they come from")[1].split("not shown in")[0]
        assert ("Source" in values) == (width >= longest + widest + 30)
    assert max(map(len, run("list").splitlines())) <= width
