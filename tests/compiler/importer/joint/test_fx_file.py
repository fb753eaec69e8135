"""Joint graphs in fx form: tuples, views, dead operators, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.joint_file import joint_document, joint_file
from ullage.compiler.common.errors import ModelError, UsageError, VerificationError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.provenance import check_model_matches
from ullage.compiler.exchange.problem_file import is_problem_file
from ullage.compiler.execute.runner import run_plan
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.importer.joint.fx_file import import_joint, is_joint_file
from ullage.compiler.ir.plan_json import dump_plan, load_plan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return joint_file(tmp_path)


def test_tuples_become_outputs_and_dead_operators_go(path: Path) -> None:
    graph = import_joint(path)
    operators = {operator.name: operator for operator in graph.operators}
    assert "unused" not in operators
    assert not any("getitem" in name for name in operators)
    assert operators["native_batch_norm"].outputs == ("getitem",)  # nothing reads the other
    assert operators["back"].outputs == ("getitem_2", "getitem_3")
    assert graph.inputs == ("w", "x", "kernel")
    assert graph.outputs == ("sum_1", "new_kernel", "new_w", "getitem_2")
    kinds = {name: value.kind for name, value in graph.values.items()}
    assert (kinds["w"], kinds["view"], kinds["new_w"]) == ("input", "activation", "output")
    assert graph.name == "joint"
    assert graph.fallbacks == ()


def test_storage_is_shared_as_the_operators_allow(path: Path) -> None:
    operators = {operator.name: operator for operator in import_joint(path).operators}
    assert [s.kind for s in operators["view"].sharings] == ["view"]
    assert operators["view"].vector_elements == 0
    assert [s.input for s in operators["relu_"].sharings] == ["getitem"]
    assert {s.input for s in operators["new_w"].sharings} == {"alias", "grad_w"}
    assert operators["mm"].sharings == operators["permute"].sharings == ()


def test_floating_point_is_planned_as_another_type(path: Path) -> None:
    graph = import_model(path, ImportOptions(dtype="float16"))
    assert {value.dtype for value in graph.values.values()} == {"float16"}
    assert graph.values["x"].size_bytes == 2 * 2 * 3 * 8 * 8


def test_it_is_planned_verified_and_never_executed(path: Path) -> None:
    options = CompileOptions(fast_memory_bytes=8192, solver="fluid", recompute="auto")
    plan = load_plan(dump_plan(compile_model(path, options).plan))
    assert check_model_matches(plan, path) is None
    with pytest.raises(ModelError, match="not executed"):
        run_plan(path, plan)
    document = joint_document()
    document["tensors"]["w"]["shape"] = [256, 6]
    with pytest.raises(VerificationError):
        check_model_matches(plan, joint_file(path.parent, document))


def test_options_of_onnx_models_are_refused(path: Path) -> None:
    for options in (ImportOptions(batch=2), ImportOptions(dims={"n": 2})):
        with pytest.raises(UsageError, match="--dim and --batch"):
            import_model(path, options)


def test_other_files_are_none(tmp_path: Path) -> None:
    assert is_joint_file(joint_file(tmp_path))
    assert not is_problem_file(joint_file(tmp_path))
    for text in ("[]", "{", '{"ops": []}'):
        (tmp_path / "other.json").write_text(text)
        assert not is_joint_file(tmp_path / "other.json")
    assert not is_joint_file(tmp_path / "missing.json")
    assert not is_joint_file("joint.json")


def _set(*keys: Any, to: Any) -> dict[str, Any]:
    """The document with one entry replaced, or removed where `to` is None."""
    document: Any = joint_document()
    inner = document
    for key in keys[:-1]:
        inner = inner[key]
    if to is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = to
    return dict(document)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (_set("ops", to={}), 'has a list "ops"'),
        (_set("outputs", to=None), 'has a list "outputs"'),
        (_set("tensors", to=[]), 'has an object "tensors"'),
        (_set("ops", 0, to=7), 'entry 0 of "ops"'),
        (_set("ops", 0, "inputs", to=[3]), 'entry 0 of "ops"'),
        (_set("ops", 7, "inputs", to=["view", "nobody"]), "'mm' reads 'nobody'"),
        (_set("tensors", "mm", to=None), "no entry for 'mm'"),
        (_set("tensors", "mm", "shape", to=[2, -1]), "'mm' has no \"shape\""),
        (_set("tensors", "mm", "shape", to=[10**30, 5]), "'mm' has a dimension beyond 2"),
        (_set("tensors", "x", "shape", to=[10**30]), "'x' has a dimension beyond 2"),
        (_set("tensors", "mm", "shape", to=[2**62 + 1, 0]), "'mm' has a dimension beyond 2"),
        (_set("tensors", "mm", "shape", to=[2**40, 2**40]), "'mm' .* is larger than"),
        (_set("ops", 13, "name", to="new_w"), "entries 12 and 13 .* both named 'new_w'"),
        (_set("ops", 4, "name", to="getitem"), "entries 3 and 4 .* both named 'getitem'"),
        (_set("ops", 13, "name", to="kernel"), "entry 13 .* makes 'kernel'.* given .param"),
        (_set("outputs", to=["mm", ["mm"]]), '"outputs" is a list of names'),
        (_set("tensors", "mm", "dtype", to=["float32"]), "'mm' has an unknown data type"),
        (_set("tensors", "mm", "dtype", to="complex7"), "unknown data type: 'complex7'"),
        (_set("outputs", to=[]), "it has none"),
        (_set("outputs", to=["mm", "nobody"]), "output 'nobody' is made by none"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, document: object, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        import_joint(joint_file(tmp_path, document))


def test_work_without_end_is_refused(tmp_path: Path) -> None:
    """Tensors of sensible size, but more MACs than 64-bit integers hold."""
    document = joint_document()
    for name in ("view", "alias", "w", "permute"):
        document["tensors"][name]["shape"] = [2**22, 2**22]
    path = joint_file(tmp_path, document)
    with pytest.raises(ModelError, match=r"MACs, at most 2.*the most has operator 'mm'"):
        import_model(path)
    document = joint_document()  # no elements at all, but endless columns
    document["tensors"]["kernel"]["shape"] = [0, 2**40, 2**40, 1]
    path = joint_file(tmp_path, document)
    with pytest.raises(ModelError, match=r"columns of a product.*operator 'convolution'"):
        import_model(path)


def test_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "joint.json").write_text("{")
    with pytest.raises(ModelError, match="no JSON document"):
        import_joint(tmp_path / "joint.json")
