"""Problem files: nothing is lost, the schema holds, what is wrong is refused in words."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cases import random_case
from tests.support.wide import share
from ullage.compiler import CompileOptions, compile_model, compile_problem
from ullage.compiler.common.errors import UsageError
from ullage.compiler.emit import emit_plan
from ullage.compiler.exchange.problem_file import (
    Changes,
    Record,
    dump_problem,
    is_problem_file,
    load_problem,
    problem_schema,
    published_problem_schema,
    read_problem,
)
from ullage.compiler.lowering.from_lists import Op, Tensor, problem_from_lists
from ullage.hwmodels.catalog.registry import load_target

LISTS: dict[str, Any] = {
    "format": "ullage-problem",
    "format_version": 1,
    "name": "mine",
    "target": "edge-npu",
    "fast_memory_bytes": 65536,
    "tensors": [
        {"name": "image", "size_bytes": 48000, "kind": "input"},
        {"name": "filters", "size_bytes": 4608, "kind": "weight"},
        {"name": "features", "size_bytes": 32000},
        {"name": "activated", "size_bytes": 32000},
        {"name": "classes", "size_bytes": 100, "kind": "output"},
    ],
    "operators": [
        {"name": "conv", "reads": ["image", "filters"], "writes": ["features"], "macs": 36000000},
        {
            "name": "relu",
            "reads": ["features"],
            "writes": ["activated"],
            "in_place": {"activated": "features"},
        },
        {"name": "pool", "reads": ["activated"], "writes": ["classes"], "vector_elements": 32000},
    ],
}


def text_of(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def changed(**fields: object) -> bytes:
    return text_of({k: v for k, v in (LISTS | fields).items() if v is not None})


@settings(max_examples=share(60, 20), deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_problems_survive_the_round_trip(seed: int) -> None:
    problem = random_case(seed)
    data = dump_problem(problem, Record(1.5, "somebody", 1.25, "fluid-lp"))
    jsonschema.validate(json.loads(data), published_problem_schema())
    read = load_problem(data)
    assert read.problem == problem
    assert read.record == Record(1.5, "somebody", 1.25, "fluid-lp")


def test_the_published_schema_is_of_this_code() -> None:
    assert published_problem_schema() == json.loads(json.dumps(problem_schema()))


def test_lists_are_the_problem_that_the_library_makes_of_them() -> None:
    jsonschema.validate(LISTS, published_problem_schema())
    target = load_target("edge-npu").with_fast_memory(65536)
    made = problem_from_lists(
        "mine",
        [Tensor(**tensor) for tensor in LISTS["tensors"]],
        [Op(**operator) for operator in LISTS["operators"]],
        target,
    )
    assert load_problem(text_of(LISTS)).problem == made


def test_steady_state_and_limits_are_read() -> None:
    steady = load_problem(changed(steady_state=True)).problem
    assert steady.steady_state
    assert load_problem(dump_problem(steady)).problem == steady
    limited = load_problem(changed(objective="peak", latency_limit_s=1e-3)).problem
    assert (limited.objective, limited.latency_limit_s) == ("peak", 1e-3)
    assert load_problem(dump_problem(limited)).problem == limited


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"format": "something"}, "not a problem file"),
        ({"format_version": 2}, "this version reads 1"),
        ({"format_version": True}, "this version reads 1"),
        ({"tensors": None}, "has no tensors"),
        ({"operators": None}, "has no operators"),
        ({"target": "no-such-chip"}, "no-such-chip"),
        ({"target": 5}, "field target"),
        ({"objective": "beauty"}, "field objective"),
        ({"unknown": 1}, "field unknown"),
        ({"latency_limit_s": 1.0}, "latency_limit_s limits the latency of objective peak"),
        ({"fast_memory_bytes": -1}, "field fast_memory_bytes"),
        ({"tensors": [{"name": "a", "size_bytes": 1.5}]}, "field tensors"),
        ({"tensors": [{"name": "a", "size_bytes": 1}] * 2}, "the same name"),
        ({"operators": [{"name": "x", "reads": ["ghost"], "writes": []}]}, "unknown tensor"),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        load_problem(changed(**fields), "mine.json")
    assert refused.value.message.startswith("mine.json: ")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"3", b"[" * 200_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="not a problem file"):
        load_problem(data)


def test_a_program_and_lists_contradict_one_another() -> None:
    program = json.loads(dump_problem(load_problem(text_of(LISTS)).problem))["program"]
    with pytest.raises(UsageError, match="leave one"):
        load_problem(changed(program=program))


def test_a_problem_and_its_program_say_the_same_of_steady_state() -> None:
    document = json.loads(dump_problem(load_problem(text_of(LISTS)).problem))
    assert document["program"]["steady_state"] is False
    document["steady_state"] = True
    with pytest.raises(UsageError, match="field steady_state is true, and that of its program"):
        load_problem(text_of(document), "mine.json")


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("cut.json", text_of(LISTS)[:-9], "not a problem file"),
        ("twice.json", b'{"name": "a", ' + text_of(LISTS)[1:], "stands twice"),
        ("bom.json", b"\xef\xbb\xbf" + text_of(LISTS), "byte order mark"),
        ("half.json", text_of(LISTS | {"name": "\ud800"}), "not a problem file"),
        ("other.json", changed(format="x"), "its field format is 'x'"),
        ("noname", text_of(LISTS)[:-9], "not a problem file"),
    ],
)
def test_damaged_json_is_no_onnx_file(tmp_path: Path, name: str, data: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=told) as refused:
        compile_model(tmp_path / name, CompileOptions(solver="greedy"))
    assert refused.value.exit_code == 2
    assert "ONNX" not in refused.value.message


def test_a_malformed_program_is_refused() -> None:
    document = json.loads(dump_problem(load_problem(text_of(LISTS)).problem))
    document["program"]["steps"][1]["uses"][0]["buffer"] = 99
    with pytest.raises(UsageError, match="the problem is malformed"):
        load_problem(text_of(document))


def test_changes_make_another_problem_without_the_record() -> None:
    document = text_of(LISTS | {"record": {"value": 1e-3, "solver": "x"}})
    assert load_problem(document).record.value == 1e-3
    larger = load_problem(document, changes=Changes(fast_memory_bytes=131072))
    assert larger.problem.target.fastest.capacity_bytes == 131072
    assert larger.record == Record()
    other = load_problem(document, changes=Changes(target="edge-npu-spm", objective="energy"))
    assert (other.problem.target.name, other.problem.objective) == ("edge-npu-spm", "energy")
    named = load_problem(document, changes=Changes(overrides={"split_operands": "false"}))
    assert not named.problem.target.split_operands


def test_steps_are_not_planned_for_a_chip_that_needs_others() -> None:
    exact = dump_problem(load_problem(text_of(LISTS)).problem)
    with pytest.raises(UsageError, match="made for another chip"):
        load_problem(exact, changes=Changes(target="edge-npu-spm"))
    assert load_problem(exact, changes=Changes(target="tpu-v4i")).problem.target.name == "tpu-v4i"
    with pytest.raises(UsageError, match="has a whole target"):
        load_problem(exact, changes=Changes(overrides={"split_operands": "false"}))


def test_a_compiled_model_is_handed_over_as_a_problem(tmp_path: Path) -> None:
    options = CompileOptions(solver="fluid", dtype="int8", fast_memory_bytes=2**18)
    compiled = compile_model("squeezenet", replace(options, schedule="whole"))
    path = Path(emit_plan(compiled, tmp_path, "problem")["problem"])
    assert is_problem_file(path)
    stated = read_problem(path)
    assert stated.problem == compiled.plan.problem
    assert stated.record == Record(
        compiled.value, "fluid", compiled.bound.value, compiled.bound.source
    )
    again = compile_model(path, CompileOptions(solver="fluid"))
    assert again.value == compiled.value
    assert again.bound == compiled.bound
    assert again.plan.residencies == compiled.plan.residencies


def test_the_peak_that_is_asked_for_is_that_of_the_chip(tmp_path: Path) -> None:
    problem = load_problem(changed(objective="peak")).problem
    compiled = compile_problem(problem)
    assert compiled.plan.target.fastest.capacity_bytes > 65536  # what the plan needs
    path = Path(emit_plan(compiled, tmp_path, "problem")["problem"])
    assert read_problem(path).problem == problem


def test_other_files_are_no_problem_files(tmp_path: Path) -> None:
    for name, data in (("a.json", b"{}"), ("b.json", b"["), ("c.onnx", text_of(LISTS))):
        (tmp_path / name).write_bytes(data)
        assert not is_problem_file(tmp_path / name)
    assert not is_problem_file(tmp_path / "absent.json")
    assert not is_problem_file("text")
