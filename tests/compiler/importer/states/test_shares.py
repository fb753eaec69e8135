"""`--update` with ratios: what is cut, what is left as it was, and its execution."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.support.joint_file import joint_file
from tests.support.onnx_models import const, info, model, node
from tests.support.training import saved_step
from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.provenance import check_model_matches
from ullage.compiler.execute.runner import run_plan
from ullage.compiler.importer.build import ImportOptions, import_detailed, import_model
from ullage.compiler.importer.states.shares import share_of, split_shares
from ullage.compiler.importer.states.update import parse_updates
from ullage.compiler.ir.plan_json import dump_plan, load_plan

SPARSE = CompileOptions(fast_memory_bytes=1 << 18, solver="fluid", schedule="whole")


def conv_step() -> onnx.ModelProto:
    """A convolution, its gradient as a convolution, and the update of weights and bias."""
    nodes = [
        node("Conv", "x w b", "y", kernel_shape=[3, 3], pads=[1] * 4),
        node("Sub", "y wanted", "dy"),
        node("Transpose", "x", "xt", perm=[1, 0, 2, 3]),
        node("Transpose", "dy", "dyt", perm=[1, 0, 2, 3]),
        node("Conv", "xt dyt", "taps", kernel_shape=[6, 6], pads=[1] * 4),
        node("Transpose", "taps", "g", perm=[1, 0, 2, 3]),
        node("Mul", "g rate", "step"),
        node("Sub", "w step", "new_w"),
        node("ReduceSum", "dy axes", "gb", keepdims=0),
        node("Sub", "b gb", "new_b"),
    ]
    inputs = [
        info("x", [2, 4, 6, 6]),
        info("wanted", [2, 8, 6, 6]),
        info("w", [8, 4, 3, 3]),
        info("b", [8]),
    ]
    constants = [
        const("rate", 0.01, "float32"),
        const("axes", [0, 2, 3]),
    ]
    return model(nodes, inputs, [info("new_w", [8, 4, 3, 3]), info("new_b", [8])], constants)


def results(proto: onnx.ModelProto) -> dict[str, np.ndarray]:
    """What onnxruntime computes from the same random inputs."""
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    rng = np.random.default_rng(0)
    feed = {i.name: rng.standard_normal(i.shape).astype(np.float32) for i in session.get_inputs()}
    names = [output.name for output in session.get_outputs()]
    return {**feed, **dict(zip(names, session.run(names, feed), strict=True))}


@pytest.mark.parametrize(("ratio", "rows"), [("1/4", 2), ("1/8", 1), ("3/8", 3), ("1/99", 1)])
def test_only_the_first_output_channels_get_new_values(ratio: str, rows: int) -> None:
    whole = results(conv_step())
    cut = import_detailed(conv_step(), ImportOptions(updates=(f"w:{ratio}", "b")))
    some = results(cut.proto)
    np.testing.assert_allclose(some["new_w"][:rows], whole["new_w"][:rows], rtol=1e-5)
    np.testing.assert_array_equal(some["new_w"][rows:], whole["w"][rows:])
    np.testing.assert_array_equal(some["new_b"], whole["new_b"])
    shapes = {o.kind: cut.graph.values[o.outputs[0]].shape for o in cut.graph.operators}
    assert cut.scope.types["taps_share"].shape == (4, rows, 3, 3)  # computed for them alone
    assert "taps" not in cut.graph.values
    assert shapes["ScatterND"] == (8, 4, 3, 3)


def test_all_channels_change_nothing() -> None:
    whole = import_model(conv_step())
    cut = import_model(conv_step(), ImportOptions(updates=("w:8/8", "b")))
    assert [o.name for o in cut.operators] == [o.name for o in whole.operators]


@pytest.mark.parametrize("ratio", ["1/2", "1/5"])
def test_columns_of_matrices_are_joined(tmp_path: Path, ratio: str) -> None:
    path = saved_step(tmp_path, layers=2, batch=8)
    whole = results(onnx.load(path))
    cut = import_detailed(path, ImportOptions(updates=(f"w0:{ratio}", "w1")))
    some = results(cut.proto)
    count = max(1, round(32 * float(ratio[0]) / float(ratio[2])))
    np.testing.assert_allclose(some["new0"][:, :count], whole["new0"][:, :count], rtol=1e-5)
    np.testing.assert_array_equal(some["new0"][:, count:], whole["w0"][:, count:])
    np.testing.assert_array_equal(some["new1"], whole["new1"])
    assert cut.scope.types["g0_share"].shape == (32, count)
    assert any(note.endswith(f"w0 ({ratio}), w1") for note in cut.graph.notes)


def test_a_step_with_ratios_is_planned_verified_and_executed(tmp_path: Path) -> None:
    path = tmp_path / "step.onnx"
    onnx.save(conv_step(), path)
    names = tmp_path / "names.txt"
    names.write_text("w:1/4\nb\n")
    options = replace(SPARSE, update=str(names), states=("auto",))
    plan = load_plan(dump_plan(compile_model(path, options).plan))
    assert plan.model["updates"] == ["w:1/4", "b"]
    assert plan.model["state"] == [["w", "new_w"], ["b", "new_b"]]
    check_model_matches(plan, path)
    assert run_plan(path, plan).passed
    scatter = next(s for s in plan.problem.steps if "scatternd" in s.name.lower())
    written = sum(use.accessed_bytes for use in scatter.uses if use.write)
    assert written == 2 * 4 * 9 * 4  # in place: two channels of eight


def test_names_with_colons_and_ratios_apart() -> None:
    assert share_of("w:0") is None
    assert share_of("a/b") is None
    named = split_shares(["w:1/8", "v:1/2"], {"w:1/8": "new", "v": "new_v"})
    assert [(name, share and str(share.ratio)) for name, share in named] == [
        ("w:1/8", None),
        ("v", "1/2"),
    ]


@pytest.mark.parametrize("entry", ["w:0/3", "w:5/4", "w:1/0"])
def test_ratios_that_are_none_are_refused(tmp_path: Path, entry: str) -> None:
    file = tmp_path / "names"
    file.write_text(entry)
    with pytest.raises(UsageError, match="above 0 and at most 1"):
        parse_updates(str(file))


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no parameter"):
        import_model(conv_step(), ImportOptions(updates=("x:1/2",)))
    with pytest.raises(UsageError, match="joint graph in fx form"):
        import_model(joint_file(tmp_path), ImportOptions(updates=("w:1/2",)))
    old = onnx.load(saved_step(tmp_path, layers=1))
    old.opset_import[0].version = 10
    with pytest.raises(UsageError, match="opset 11"):
        import_model(old, ImportOptions(updates=("w0:1/2",)))
