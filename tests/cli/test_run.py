"""`ullage run` and `compile --prove`: documents, exit codes, messages."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from tests.support.onnx_models import const, model, node
from tests.support.tiled_models import residual_network, saved
from ullage.cli.main import run
from ullage.cli.run import print_device
from ullage.compiler.device.runner import DeviceCheck, DeviceRun
from ullage.compiler.device.toolchain import missing_tools
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import read_plan, write_plan

RUN_KEYS = {
    *("outputs", "steps", "transfers", "bytes_moved", "inferences", "fallbacks", "passed"),
}
OUTPUT_KEYS = {
    *("name", "inference", "max_abs_diff", "tolerance", "bit_exact", "finite", "constant"),
    "passed",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model of three operators."""
    path = tmp_path / "small.onnx"
    weights = [
        const(name, [[0.1 * i - 0.02 * j for i in range(16)] for j in range(16)], "float32")
        for name in "wv"
    ]
    proto = model(
        [
            node("MatMul", "x w", "a"),
            node("Softmax", "a", "b"),
            node("MatMul", "b v", "y"),
            node("ReduceMax", "a", "top", keepdims=0),
        ],
        {"x": (16, 16)},
        "y top",
        weights,
    )
    onnx.save(proto, path)
    return path


@pytest.fixture
def plan(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Its plan, made by the command line."""
    code = run(
        [
            "compile",
            str(file),
            "--fast-memory",
            "4KiB",
            "--solver",
            "greedy",
            "-o",
            str(tmp_path),
            "--json",
        ]
    )
    assert code == 0
    return Path(json.loads(capsys.readouterr().out)["plan"])


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = run([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def broken(plan: Path, change: Any) -> Path:
    """A plan file changed by a function of the plan."""
    found: Plan = read_plan(plan)
    path = plan.with_name("broken.json")
    write_plan(change(found), path)
    return path


def test_json(file: Path, plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "run", file, plan, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document.keys() == RUN_KEYS
    assert document["passed"] is True
    assert document["steps"] == 4
    assert document["transfers"] == len(read_plan(plan).transfers)
    assert document["fallbacks"] == []
    assert [o["name"] for o in document["outputs"]] == ["y", "top"]
    for output in document["outputs"]:
        assert output.keys() == OUTPUT_KEYS
        assert output["bit_exact"] is output["passed"] is output["finite"] is True
        assert output["max_abs_diff"] == 0.0
        assert output["constant"] is False


def test_text(file: Path, plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "run", file, plan)
    assert (code, err) == (0, "")
    assert out.startswith("y: bit-exact (ok)\ntop: bit-exact (ok)\npassed: 4 operators, ")


def test_text_of_a_plan_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(residual_network(size=32), tmp_path)
    given = ("--fast-memory", "6KiB", "--schedule", "cascade", "-o", tmp_path, "-q")
    assert call(capsys, "compile", path, *given)[0] == 0
    program = read_plan(tmp_path / "plan.json").program
    assert program.parts > program.operators
    code, out, _ = call(capsys, "run", path, tmp_path / "plan.json")
    assert code == 0
    assert f"passed: {program.operators} operators in {program.parts} parts, " in out
    code, out, _ = call(capsys, "run", path, tmp_path / "plan.json", "--until", 2)
    assert ": 1 operator in 1 part, " in out


def test_results_of_parts_on_a_processor_are_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    check = DeviceCheck("a", 1, "Conv", 1, 7, 7, 0.0, 0.0, passed=True)
    made = DeviceRun("cortex-m55", (check, check), (), 2, 0, 0, 1, {})
    print_device(made, in_parts=True)
    assert "2 of 2 part results bit-exact" in capsys.readouterr().out
    print_device(made)
    assert "2 of 2 operator results bit-exact" in capsys.readouterr().out


def test_several_inferences(file: Path, plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "run", file, plan, "--inferences", 2, "--json")
    document = json.loads(out)
    assert code == 0
    assert document["inferences"] == 2
    assert document["steps"] == 8
    said = [(o["name"], o["inference"], o["bit_exact"]) for o in document["outputs"]]
    assert said == [("y", 1, True), ("top", 1, True), ("y", 2, True), ("top", 2, True)]
    lines = call(capsys, "run", file, plan, "--inferences", 2)[1].splitlines()
    assert lines[2] == "y, inference 2: bit-exact (ok)"
    assert lines[-1].endswith(" in 2 inferences")
    assert call(capsys, "run", file, plan, "--inferences", 0)[0] == 2


def test_steady_state(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--steady-state", "--solver", "greedy", "-o", tmp_path, "--prove", "--json")
    code, out, _ = call(capsys, "compile", file, *options)
    document = json.loads(out)
    assert code == 0
    assert document["steady_state"] is True
    assert document["execution"]["inferences"] == 3
    path = tmp_path / "plan.json"
    made = read_plan(path)
    assert made.problem.steady_state is made.model["steady_state"] is True
    code, out, _ = call(capsys, "run", file, path, "--json")
    assert code == 0
    assert json.loads(out)["inferences"] == 3
    code, out, _ = call(capsys, "compare", file, "--steady-state", "--solvers", "msa", "--json")
    assert code == 0
    assert json.loads(out)["rows"][0]["steady_state"] is True


def test_output_of_one_number_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "zeros.onnx"
    proto = model(
        [node("Mul", "x z", "zeros"), node("Relu", "x", "varied")],
        {"x": (4, 8)},
        "zeros varied",
        [const("z", [0.0], "float32")],
    )
    onnx.save(proto, path)
    assert call(capsys, "compile", path, "-o", tmp_path, "--json")[0] == 0
    plan = tmp_path / "plan.json"
    code, out, _ = call(capsys, "run", path, plan, "--json")
    assert code == 0
    said = {o["name"]: o["constant"] for o in json.loads(out)["outputs"]}
    assert said == {"zeros": True, "varied": False}
    lines = call(capsys, "run", path, plan)[1].splitlines()
    assert lines[0] == "zeros: bit-exact (ok; one number everywhere, which proves little)"
    assert lines[1] == "varied: bit-exact (ok)"


def test_broken_plan_is_a_mismatch(
    file: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def overlapping(found: Plan) -> Plan:
        """Everything that is in a memory at address 0."""
        moved = tuple(replace(r, offset=0) for r in found.residencies)
        return replace(found, residencies=moved)

    path = broken(plan, overlapping)
    code, out, _ = call(capsys, "run", file, path, "--json")
    error = json.loads(out)["error"]
    assert code == 5
    assert error["kind"] == "verification"
    assert "expected data of" in error["message"]
    assert error["details"].keys() == {"step", "tier", "address", "expected", "found"}
    code, out, err = call(capsys, "run", file, path)
    assert (code, out) == (5, "")
    assert err.startswith("ullage: step ")


def test_missing_transfer_is_a_mismatch(
    file: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_plan(plan).transfers
    path = broken(plan, lambda found: replace(found, transfers=()))
    code, out, _ = call(capsys, "run", file, path, "--json")
    assert code == 5
    assert "transfers did not bring all of them" in json.loads(out)["error"]["message"]


def test_output_that_differs_is_a_mismatch(
    file: Path,
    plan: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Data in its place, but other numbers: the document is printed and says which output."""
    from ullage.compiler.execute.kernels import Kernels

    right = Kernels.run

    def wrong(self: Kernels, operator: Any, feeds: Any) -> Any:
        found = right(self, operator, feeds)
        return {n: a + 1 if n == "y" else a for n, a in found.items()}

    monkeypatch.setattr(Kernels, "run", wrong)
    code, out, _ = call(capsys, "run", file, plan, "--json")
    document = json.loads(out)
    assert code == 5
    assert document["passed"] is False
    assert {o["name"]: o["passed"] for o in document["outputs"]} == {"y": False, "top": True}
    code, out, _ = call(capsys, "run", file, plan)
    assert code == 5
    assert "y: max difference 1 (MISMATCH, tolerance" in out
    assert "FAILED: 4 operators" in out


def test_infinite_difference_is_null(
    file: Path,
    plan: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ullage.compiler.execute.kernels import Kernels

    right = Kernels.run
    monkeypatch.setattr(
        Kernels, "run", lambda *given: {n: a * float("nan") for n, a in right(*given).items()}
    )
    code, out, _ = call(capsys, "run", file, plan, "--json")
    assert code == 5
    assert "NaN" not in out
    assert {o["max_abs_diff"] for o in json.loads(out)["outputs"]} == {None}


def test_plan_sized_for_another_type_is_a_usage_error(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "int8"
    code, out, _ = call(capsys, "compile", file, "--dtype", "int8", "-o", folder, "--json")
    assert code == 0
    made = json.loads(out)["plan"]
    code, out, _ = call(capsys, "run", file, made, "--json")
    error = json.loads(out)["error"]
    assert (code, error["kind"]) == (2, "usage")
    assert (
        "--dtype int8: it is sized for numbers that the model does not contain"
        in (error["message"])
    )


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_unreadable_model(
    plan: Path, tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    code, out, _ = call(capsys, "run", path, plan, "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (3, "model")
    assert str(path) in json.loads(out)["error"]["message"]


def test_unreadable_plan(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.json"
    path.write_text("{}")
    code, out, _ = call(capsys, "run", file, path, "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (2, "usage")


def test_plan_of_another_model(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "run", "squeezenet", plan, "--json")
    assert code == 5
    assert "not the same model" in json.loads(out)["error"]["message"]


def test_until_checks_the_last_operator(
    file: Path, plan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Sequence[str]] = []
    for until in range(1, len(read_plan(plan).problem.steps)):
        code, out, _ = call(capsys, "run", file, plan, "--until", until, "--json")
        document = json.loads(out)
        assert (code, document["passed"]) == (0, True)
        seen.append([o["name"] for o in document["outputs"]])
    assert seen == [[], ["a"], ["b"], ["y"], ["top"]]


@pytest.mark.parametrize("until", ["0", "99", "x"])
def test_until_outside_the_plan(
    file: Path, plan: Path, until: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = call(capsys, "run", file, plan, "--until", until, "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (2, "usage")


def test_trace(file: Path, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "trace.txt"
    code, out, _ = call(capsys, "run", file, plan, "--trace", path, "--json")
    assert code == 0
    assert json.loads(out)["passed"]
    lines = path.read_text().splitlines()
    moves = sum(len(t.moves) for t in read_plan(plan).transfers)
    assert sum("DMA of" in line for line in lines) == moves
    assert sum(" reads " in line for line in lines) == 6
    assert sum(" writes " in line for line in lines) == 4


def test_seed(file: Path, plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "run", file, plan, "--seed", "5", "--json")[0] == 0


def test_prove_refuses_a_data_type_before_anything_else(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    for asked in (file, tmp_path / "missing.onnx"):  # the model is not even looked for
        code, stdout, err = call(
            capsys, "compile", asked, "--dtype", "int8", "--prove", "-o", out, "--json"
        )
        assert code == 2
        error = json.loads(stdout)["error"]
        assert error["kind"] == "usage"
        assert "--prove" in error["message"]
        assert "QDQ" in error["message"]
        assert err == ""
        assert not out.exists()


def test_compile_prove(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "compile", file, "--fast-memory", "4KiB", "--prove", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["execution"].keys() == RUN_KEYS
    assert document["execution"]["passed"] is True
    assert document["verified"] is True
    code, out, _ = call(capsys, "compile", file, "--prove")
    assert code == 0
    assert "y: bit-exact (ok)" in out
    assert "passed: 4 operators" in out
    code, out, _ = call(capsys, "compile", file, "--json")
    assert "execution" not in json.loads(out)


def test_compile_prove_with_another_type(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "compile", file, "--dtype", "int8", "--prove", "--json")
    assert (code, json.loads(out)["error"]["kind"]) == (2, "usage")
    assert "leave --dtype out" in json.loads(out)["error"]["message"]


def test_a_plan_of_another_model_is_named_not_its_dimensions(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.onnx"
    onnx.save(model([node("Relu", "x", "y")], {"x": ("batch", 4)}, "y"), other)
    for command in (
        ["run", str(other), str(plan)],
        ["verify", str(plan), "--model", str(other)],
        ["report", str(plan), "--model", str(other)],
    ):
        assert run(command) == 5
        said = capsys.readouterr().err
        assert "gives no value for the dimensions" in said
        assert "(batch): not the same model" in said
        assert "--dim" not in said  # none of these commands has it


def test_what_belongs_to_a_processor_is_said(
    file: Path, plan: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, err = call(capsys, "run", file, plan, "--on", "pdp-11")
    assert (code, "there is: cortex-m55" in err) == (2, True)
    code, _, err = call(capsys, "run", file, plan, "--on", "cortex-m55", "--until", 2)
    assert (code, "--until" in err) == (2, True)
    code, _, err = call(capsys, "run", file, plan, "-o", tmp_path)
    assert (code, "--on" in err) == (2, True)
    code, _, err = call(capsys, "run", file, plan, "--on", "cortex-m55")
    assert (code, "compile with --target mps3-an547" in err) == (2, True)


@pytest.mark.skipif(missing_tools() is not None, reason=missing_tools() or "")
def test_run_on_a_processor(file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    options = ("--target", "mps3-an547", "--solver", "greedy", "-o", tmp_path, "--emit", "json,c")
    assert call(capsys, "compile", file, *options)[0] == 0
    assert (tmp_path / "Makefile").exists()
    path, kept = tmp_path / "plan.json", tmp_path / "firmware"
    code, out, err = call(capsys, "run", file, path, "--on", "cortex-m55", "-o", kept, "--json")
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document.keys() == {
        *(RUN_KEYS - {"fallbacks"}),
        *("processor", "operators", "reference_nodes"),
    }
    assert [o["name"] for o in document["outputs"]] == ["y", "top"]
    assert all(o["passed"] and o["tolerance"] > 0 for o in document["operators"])
    assert (kept / "firmware.elf").exists()
