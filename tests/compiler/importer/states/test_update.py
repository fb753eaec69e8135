"""`--update`: which parameters are updated, what remains, and its execution."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.joint_file import joint_file
from tests.support.onnx_models import imported
from tests.support.training import saved_step, training_step
from ullage.compiler.common.errors import UsageError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.provenance import check_model_matches, import_options
from ullage.compiler.execute.runner import run_plan
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.importer.states.update import parse_updates, with_updates
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan_json import dump_plan, load_plan

SPARSE = CompileOptions(fast_memory_bytes=1 << 18, solver="fluid", schedule="whole")


def step() -> Graph:
    """Six layers; the gradient of the network's input is an output, too."""
    return imported(training_step())


def without_input_gradient(graph: Graph) -> Graph:
    return replace(graph, outputs=tuple(name for name in graph.outputs if name != "d0"))


def test_the_backward_pass_ends_at_the_first_that_is_updated() -> None:
    graph = with_updates(without_input_gradient(step()), 2)
    assert graph.outputs == ("new5", "new4")
    made = {name for operator in graph.operators for name in operator.outputs}
    assert {"x6", "d6", "e5", "g5", "e4", "g4"} <= made
    assert made.isdisjoint({"g3", "e3", "d4", "mask3", "new3"})
    assert set(graph.inputs) == {"x0", "wanted", *(f"w{i}" for i in range(6))}
    assert {v.name for v in graph.values.values() if v.kind == "output"} == {"new5", "new4"}


def test_what_is_no_new_value_remains() -> None:
    graph = with_updates(step(), ("w5",))
    assert graph.outputs == ("new5", "d0")  # so the whole backward pass remains
    made = {name for operator in graph.operators for name in operator.outputs}
    assert "d1" in made
    assert "g0" not in made


def test_named_parameters_of_any_place() -> None:
    graph = with_updates(without_input_gradient(step()), ("w4", "w1"))
    assert graph.outputs == ("new4", "new1")
    made = {name for operator in graph.operators for name in operator.outputs}
    assert "e1" in made
    assert made.isdisjoint({"g0", "g2", "g3", "g5", "e0"})


def test_all_of_them_change_nothing() -> None:
    graph = step()
    assert with_updates(graph, None) == graph
    assert replace(with_updates(graph, 6), notes=()) == graph


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(UsageError, match=r"last:99: .* updates 6 parameters; give 1 to 6"):
        with_updates(step(), 99)


def test_a_note_says_which_parameters_are_updated() -> None:
    (note,) = with_updates(step(), 2).notes
    assert note == "--update: 2 of 6 parameters get new values: w4, w5"
    (note,) = with_updates(step(), ("w1",)).notes
    assert note == "--update: 1 of 6 parameters gets new values: w1"


def test_one_of_two_gradients_of_an_operator_goes(tmp_path: Path) -> None:
    path = joint_file(tmp_path)
    whole = import_model(path)
    sparse = import_model(path, ImportOptions(updates=("w",)))
    assert sparse.outputs == ("sum_1", "new_w", "getitem_2")
    (back,) = [operator for operator in sparse.operators if operator.name == "back"]
    (both,) = [operator for operator in whole.operators if operator.name == "back"]
    assert (back.outputs, both.outputs) == (("getitem_2",), ("getitem_2", "getitem_3"))
    assert back.macs * 2 == both.macs
    options = replace(SPARSE, fast_memory_bytes=8192, update="last:1")
    plan = compile_model(path, options).plan
    assert any(note.startswith("--update: 1 of") for note in plan.notes)
    assert check_model_matches(plan, path) is None


def test_a_sparse_step_is_planned_and_executed(tmp_path: Path) -> None:
    path = saved_step(tmp_path)
    names = tmp_path / "names.txt"
    names.write_text("w5\n\nw3\n")
    compiled = compile_model(path, replace(SPARSE, update=str(names)))
    plan = load_plan(dump_plan(compiled.plan))
    assert plan.model["updates"] == ["w5", "w3"]
    assert import_options(plan).updates == ("w5", "w3")
    check_model_matches(plan, path)
    execution = run_plan(path, plan)
    assert execution.passed
    assert {output.name for output in execution.outputs} == {"new5", "new3", "d0"}
    whole = compile_model(path, SPARSE)
    assert compiled.plan.program.operators < whole.plan.program.operators
    assert "updates" not in whole.plan.model
    assert "--update: 2 of 6 parameters get new values: w5, w3" in compiled.plan.notes


@pytest.mark.parametrize("updates", [0, -1, [], [3], "w5", True])
def test_a_plan_that_states_nonsense_is_refused(tmp_path: Path, updates: object) -> None:
    plan = compile_model(saved_step(tmp_path, layers=1), SPARSE).plan
    odd = replace(plan, model={**plan.model, "updates": updates})
    with pytest.raises(UsageError, match=r"model\.updates"):
        import_options(odd)


def test_lists_of_names(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_text(json.dumps(["a", "b", "a"]))
    assert parse_updates(str(file)) == ("a", "b")
    file.write_text(" a \nb\n")
    assert parse_updates(str(file)) == ("a", "b")
    assert parse_updates("last:6") == 6
    assert parse_updates("last:00000000000000000006") == 6
    assert parse_updates("last:999999999") == 999_999_999


@pytest.mark.parametrize(
    "text", ["last:", "last:0", "last:-1", "last:two", "last:9999999999", "nowhere.txt"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--update"):
        parse_updates(text)


@pytest.mark.parametrize("content", ["", "\n", "[", "[1]", "{}", '{"a": 1}'])
def test_files_without_names_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "names"
    file.write_text(content)
    with pytest.raises(UsageError, match="name"):
        parse_updates(str(file))


def test_what_is_no_parameter_is_refused() -> None:
    with pytest.raises(UsageError, match=r"'x0' is no parameter .* it updates"):
        with_updates(step(), ("x0",))
    with pytest.raises(UsageError, match="no output of"):
        with_updates(replace(step(), outputs=("d0",)), 1)
