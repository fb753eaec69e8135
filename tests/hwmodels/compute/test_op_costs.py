"""Measured times of operators: read by name, charged instead of the model, in parts by share."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.onnx_models import imported, model, node, weight
from ullage.compiler.common.errors import UsageError, VerificationError
from ullage.compiler.driver.compile import CompileOptions, compile_model
from ullage.compiler.driver.provenance import check_model_matches
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan_json import dump_plan, load_plan
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.part_work import part_work
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.compute.op_costs import with_op_costs
from ullage.hwmodels.cost import score

PROTO = model(
    [
        node("Conv", "x w", "c", name="conv"),
        node("MaxPool", "c", "y", name="pool", kernel_shape=[2, 2]),
    ],
    {"x": (1, 4, 10, 10)},
    "y",
    [weight("w", (8, 4, 3, 3))],
)
GRID = {
    f"compute.systolic.{key}": v
    for key, v in (("rows", "8"), ("columns", "8"), ("clock_hz", "1e6"))
}


def costed(folder: Path, text: str, target: Target | None = None) -> tuple[Graph, str]:
    path = folder / "costs.csv"
    path.write_text(text, encoding="utf-8")
    return with_op_costs(imported(PROTO), path, target or load_target("edge-npu"))


def times(graph: Graph) -> list[float | None]:
    return [operator.measured_s for operator in graph.operators]


def test_seconds_and_cycles(tmp_path: Path) -> None:
    graph, note = costed(tmp_path, "operator,seconds\nconv,2e-3\n")
    assert times(graph) == [2e-3, None]
    assert note.startswith("compute times of 1 of 2 operators are those of ")
    assert note.endswith("costs.csv, not of edge-npu's model")
    graph, _ = costed(
        tmp_path, "cycles,operator\n500,pool\n0,conv\n", load_target("edge-npu", GRID)
    )
    assert times(graph) == [0.0, 5e-4]


def test_parts_have_their_share(tmp_path: Path) -> None:
    graph, _ = costed(tmp_path, "operator,seconds\nconv,8e-3\n")
    assert part_work(graph, graph.operators[0], {2: (0, 2)}).measured_s == pytest.approx(2e-3)
    assert part_work(graph, graph.operators[1], {2: (0, 2)}).measured_s is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("operator,seconds\nconvv,1\n", r"no operator 'convv'; did you mean 'conv'\?"),
        ("operator,cycles\nconv,1\n", "model peak, which has no clock; give `seconds`"),
        ("operator,seconds,cycles\nconv,1,1\n", "exactly one of `cycles`, `seconds`"),
        ("name,seconds\nconv,1\n", "it has name, seconds"),
        ("", "it has none"),
        ("operator,seconds\nconv,-1\n", "row 2 needs an operator and seconds from 0 to 1e"),
        ("operator,seconds\nconv,1e12\n", r"seconds from 0 to 1e\+09, it has 'conv' and '1e12'"),
        ("operator,seconds\nconv,1_000\n", "row 2 needs"),
        ("operator,seconds\nconv,\u0663\n", "row 2 needs"),
        ("operator,seconds\nconv,5,6\n", "row 2 has more fields than the 2 columns"),
        ("operator,seconds,seconds\nconv,1,2\n", "'seconds' stands twice"),
        ("operator,seconds\n", "no row has an operator"),
        ("operator,seconds\nconv,1\npool,nan\n", "row 3 needs"),
        ("operator,seconds\nconv\n", "row 2 needs"),
        ("operator,seconds\nconv,1\nconv,2\n", "row 3: 'conv' stands twice"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        costed(tmp_path, text)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "costs.csv"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not a CSV file"):
        with_op_costs(imported(PROTO), path, load_target("edge-npu"))


def test_plans_carry_measured_times(tmp_path: Path) -> None:
    path, source = tmp_path / "costs.csv", tmp_path / "m.onnx"
    source.write_bytes(PROTO.SerializeToString())
    path.write_text("operator,seconds\nconv,0.25\npool,0.5\n")
    compiled = compile_model(source, CompileOptions(solver="greedy", op_costs=path))
    assert compiled.score.compute_s == pytest.approx(0.75, rel=1e-3)
    assert any("costs.csv" in note for note in compiled.plan.notes)
    again = load_plan(dump_plan(compiled.plan))
    assert score(again).compute_s == compiled.score.compute_s
    check_model_matches(again, source)
    steps = tuple(replace(s, macs=s.macs + 1) if s.macs else s for s in again.program.steps)
    problem = replace(again.problem, program=replace(again.program, steps=steps))
    with pytest.raises(VerificationError, match="step 1 of the plan"):
        check_model_matches(replace(again, problem=problem), source)
