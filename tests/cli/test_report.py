"""The report command, the summary's memory map, and one truth in report, terminal and JSON."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper
from onnx import save as save_model

from ullage.cli.main import run
from ullage.cli.render import BLOCKS, block_chart, short_name

SMALL = ("--fast-memory", "16KiB", "--solver", "msa", "--batch", "64")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two matrix products and a residual sum over a symbolic batch."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w2"], ["b"], name="second"),
        helper.make_node("Add", ["b", "x"], ["y"], name="sum"),
    ]
    square = [
        helper.make_tensor(name, TensorProto.FLOAT, [64, 64], [0.01] * 4096)
        for name in ("w1", "w2")
    ]
    shape: list[str | int | None] = ["n", 64]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:], square)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    save_model(made, path)
    return path


def embedded(path: Path) -> dict[str, Any]:
    """The data in a report."""
    found = re.search(r'type="application/json">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_report_terminal_and_json_agree(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emitted = ("-o", str(tmp_path), "--emit", "json,html")
    assert run(["compile", str(model), *SMALL, *emitted]) == 0
    terminal = capsys.readouterr().out
    assert run(["compile", str(model), *SMALL, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    at_once = embedded(tmp_path / "report.html")
    assert run(["report", str(tmp_path / "plan.json"), "-o", str(tmp_path / "later.html")]) == 0
    later = embedded(tmp_path / "later.html")
    changing = {"import_s", "order_s", "solve_s", "total_s", "plan", "written", "anytime"}
    for key, value in document.items():
        if key not in changing:
            assert at_once["summary"][key] == value, key
            assert later["summary"][key] == value, key
    for name, text in at_once["rows"]:
        assert " ".join(text.split()) in " ".join(terminal.split()), name
    assert later["rows"] == at_once["rows"]  # wall-clock times too: summary.json has them


def test_a_report_knows_types_and_shapes(model: Path, tmp_path: Path) -> None:
    emitted = ("-o", str(tmp_path), "--emit", "json,html")
    assert run(["compile", str(model), *SMALL, *emitted, "--quiet"]) == 0
    types = embedded(tmp_path / "report.html")["values"]["types"]
    assert "float32 [64, 64]" in types
    assert run(["report", str(tmp_path / "plan.json")]) == 0  # over the first one
    assert embedded(tmp_path / "report.html")["values"]["types"] == types


def test_report_takes_rows_of_other_commands(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, rows = tmp_path / "plan.json", tmp_path / "rows.json"
    assert run(["compile", str(model), *SMALL, "-o", str(tmp_path), "-q"]) == 0
    capsys.readouterr()
    assert run(["compare", str(model), "--solvers", "greedy,msa", "--batch", "64", "--json"]) == 0
    rows.write_text(capsys.readouterr().out)
    assert run(["report", str(plan), "--with", str(rows), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    data = embedded(Path(said["report"]))
    assert [row["solver"] for row in data["compare"]] == ["greedy", "msa"]
    assert said["size_bytes"] == Path(said["report"]).stat().st_size


@pytest.mark.parametrize("given", ["missing.json", "model"])
def test_what_is_no_plan_is_a_usage_error(model: Path, tmp_path: Path, given: str) -> None:
    assert run(["report", str(model if given == "model" else tmp_path / given)]) == 2


def test_quiet_says_nothing_and_verbose_says_more(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["compile", str(model), *SMALL, "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert run(["compile", str(model), *SMALL]) == 0
    plain = capsys.readouterr().out
    assert "sram live" in plain
    assert set(BLOCKS[1:]) & set(plain)
    assert run(["compile", str(model), *SMALL, "-v"]) == 0
    verbose = capsys.readouterr().out
    assert "Slowest steps" not in plain
    assert "Slowest steps" in verbose
    assert "at its peak (step" in verbose


def test_names_are_cut_as_the_terminal_can_show(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "layers.0/attention/MatMul"
    for encoding, wanted in (("utf-8", "laye\u2026n/MatMul"), ("ascii", "laye.../MatMul")):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr("sys.stdout", stream)
        shown = short_name(name, len(wanted))
        assert shown == wanted
        assert short_name(name, len(name)) == name


def test_block_chart_rises_with_its_values() -> None:
    assert block_chart([0, 8, 16], 16, 10, 2) == ["  █", " ██"]
    assert block_chart([1, 15, 16], 16, 10, 1) == ["▁██"]  # what is not zero is seen
    assert block_chart([0, 9, 0, 0], 9, 2, 1) == ["█ "]  # a column shows the largest
    assert block_chart([0, 0], 0, 4, 2) == ["  ", "  "]
    assert block_chart([], 16, 4, 1) == [""]
