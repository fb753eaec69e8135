"""Plans as JSON: nothing is lost, the schema holds, hostile files are refused in words."""

import contextlib
import json
import stat
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cases import random_case
from tests.support.plans import PLANS
from tests.support.solving import Asked, solve_with
from ullage.compiler.common.errors import InfeasibleError, OutputError, UsageError
from ullage.compiler.common.files import write_atomic
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.model_zoo import find_model
from ullage.compiler.ir.plan import Plan
from ullage.compiler.ir.plan_json import (
    PLAN_FORMAT,
    dump_plan,
    load_plan,
    plan_schema,
    published_schema,
    read_plan,
    write_plan,
)
from ullage.compiler.verify.verifier import verify


@pytest.fixture(scope="module")
def real_plan() -> Plan:
    options = CompileOptions(solver="auto", seed=3, parameters={"members": "msa"})
    return compile_model(find_model("squeezenet"), options).plan


def validator() -> jsonschema.Draft202012Validator:
    schema = published_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", PLANS)
def test_hand_made_plans_survive_the_round_trip(name: str) -> None:
    assert load_plan(dump_plan(PLANS[name])) == PLANS[name]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), solver=st.sampled_from(("greedy", "msa", "all-slow")))
def test_plans_of_solvers_survive_the_round_trip(seed: int, solver: str) -> None:
    problem = random_case(seed)
    try:
        plan = solve_with(solver, problem, Asked(seed=seed))
    except InfeasibleError:
        return
    data = dump_plan(plan)
    again = load_plan(data)
    assert again == plan
    assert dump_plan(again) == data


def test_a_real_plan_survives_the_round_trip(real_plan: Plan, tmp_path: Path) -> None:
    write_plan(real_plan, tmp_path / "new" / "plan.json")
    again = read_plan(tmp_path / "new" / "plan.json")
    assert again == real_plan
    assert read_plan(str(tmp_path / "new" / "plan.json")) == again
    verify(again)
    assert again.model["name"] == real_plan.problem.name
    validator().validate(json.loads((tmp_path / "new" / "plan.json").read_bytes()))


def test_the_published_schema_is_the_generated_one() -> None:
    assert published_schema() == plan_schema()


@pytest.mark.parametrize("name", PLANS)
def test_plans_obey_the_published_schema(name: str) -> None:
    validator().validate(json.loads(dump_plan(PLANS[name])))


def changed(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(dump_plan(PLANS["spill"]))
    document.update(changes)
    return document


def test_plans_of_before_steady_state_are_of_single_inferences() -> None:
    document = changed()
    del document["problem"]["steady_state"]
    validator().validate(document)
    assert load_plan(json.dumps(document).encode()).problem.steady_state is False


HOSTILE: dict[str, dict[str, Any]] = {
    "residencies": changed(residencies={"buffer": 0}),
    "residencies.0": changed(residencies=[17]),
    "residencies.0.offset": changed(residencies=[{**changed()["residencies"][0], "offset": "far"}]),
    "residencies.0.ready": changed(
        residencies=[{k: v for k, v in changed()["residencies"][0].items() if k != "ready"}]
    ),
    "transfers.0.moves.0": changed(transfers=[{**changed()["transfers"][0], "moves": [[1, 2, 3]]}]),
    "problem": changed(problem=None),
    "problem.steady_state": changed(problem={**changed()["problem"], "steady_state": "always"}),
    "target.tiers": changed(target={**changed()["target"], "tiers": "sram"}),
    "target.operand_access": changed(target={**changed()["target"], "operand_access": "never"}),
    "solver": changed(solver=["greedy"]),
    "seed": changed(seed=1.5),
}


@pytest.mark.parametrize("field", HOSTILE)
def test_wrong_types_are_refused_by_field(field: str) -> None:
    with pytest.raises(UsageError, match=r"^mine: not a plan: field ") as raised:
        load_plan(json.dumps(HOSTILE[field]).encode(), "mine")
    assert f"field {field}" in raised.value.message
    with pytest.raises(jsonschema.ValidationError):
        validator().validate(HOSTILE[field])


@pytest.mark.parametrize("version", [0, PLAN_FORMAT + 1, "1", None, [1], True])
def test_other_format_versions_are_refused(version: Any) -> None:
    with pytest.raises(UsageError, match="this version reads 1 and 2; compile again"):
        load_plan(json.dumps(changed(format_version=version)).encode())


def test_another_json_file_is_told_from_an_old_plan() -> None:
    with pytest.raises(UsageError) as raised:
        load_plan(b'{"model": "resnet50", "target": "edge-npu"}', "out/summary.json")
    message = raised.value.message
    assert message.startswith("out/summary.json: not a plan: it has no format_version")
    with pytest.raises(UsageError, match="but a file of format 'ullage-problem': `ullage compile`"):
        load_plan(b'{"format": "ullage-problem", "format_version": 1}', "problem.json")
    assert "plan.json" in message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"17",
        b"{",
        b'"plan"',
        b"\xff\xfe\x00",
        b"[" * 200_000,
        b'{"format_version": 1, "model": ' + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"}",
        b'{"format_version": 1}',
        b'{"format_version": ' + b"9" * 5_000 + b"}",
    ],
    ids=[
        "empty",
        "null",
        "list",
        "number",
        "truncated",
        "string",
        "no-utf8",
        "deep-lists",
        "deep-objects",
        "nothing-else",
        "long-number",
    ],
)
def test_files_that_are_no_plans_are_refused(data: bytes) -> None:
    with pytest.raises(UsageError):
        load_plan(data)


def test_truncated_plans_are_refused() -> None:
    data = dump_plan(PLANS["chain"])
    for length in Random(1).sample(range(len(data)), 60):
        with pytest.raises(UsageError):
            load_plan(data[:length])


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_garbled_plans_are_read_or_refused(seed: int) -> None:
    """A random node replaced by rubbish never ends in another kind of error."""
    rng = Random(seed)
    document: Any = json.loads(dump_plan(PLANS["flash"]))
    node, key = document, rng.choice(list(document))
    while isinstance(node[key], (dict, list)) and node[key] and rng.random() < 0.8:
        node = node[key]
        key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
    rubbish: tuple[Any, ...] = (
        None,
        -1,
        10**400,
        1e300,
        "x",
        [],
        {},
        [[[]]],
        True,
        "\ud800",
        {"a": {"b": 1}},
    )
    node[key] = rng.choice(rubbish)
    with contextlib.suppress(UsageError):
        assert isinstance(load_plan(json.dumps(document).encode()), Plan)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_plan(tmp_path / "missing.json")
    with pytest.raises(UsageError, match="cannot be read"):
        read_plan(tmp_path)


# Files


def test_write_atomic_replaces_a_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "plan.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in path.parent.iterdir()] == ["plan.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_write_atomic_leaves_nothing_behind_on_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "plan.json"
    write_atomic(path, b"old")

    def no_space(_: Path, __: Path) -> Path:
        raise OSError(28, "No space left on device")

    def interrupt(_: Path, __: Path) -> Path:
        raise KeyboardInterrupt

    for broken, error in ((no_space, OutputError), (interrupt, KeyboardInterrupt)):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", broken)
            with pytest.raises(error):
                write_atomic(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_says_why_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "plan.json", tmp_path / "folder"):
        with pytest.raises(UsageError, match="cannot be written: "):
            write_atomic(path, b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
