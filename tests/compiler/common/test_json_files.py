"""JSON from anywhere: what is damaged is told in one way, whoever reads it, and read once."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.joint_file import joint_document, joint_file
from tests.support.plans import PLANS
from ullage.compiler.common import json_files
from ullage.compiler.common.errors import UllageError
from ullage.compiler.common.json_files import json_object, json_value, object_at
from ullage.compiler.contest.instance import read_instance
from ullage.compiler.driver.schedules import read_schedule
from ullage.compiler.exchange.problem_file import load_problem
from ullage.compiler.exchange.solution_file import load_solution
from ullage.compiler.frontend import FrontendOptions, prepare
from ullage.compiler.importer.joint.fx_file import import_joint
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.plan_json import dump_plan, load_plan
from ullage.compiler.report.extras import read_extras

DAMAGE = {
    "marked": (b'\xef\xbb\xbf{"a": 1}', "byte order mark; save it as UTF-8 without one"),
    "utf-16": ('{"a": 1}'.encode("utf-16"), r"no UTF-8 text \(byte 0 is 0xff\); save it as UTF-8"),
    "latin": (b'{"a": "\xe9"}', r"no UTF-8 text \(byte 7 is 0xe9\); save it as UTF-8"),
    "empty": (b" \n", "it is empty"),
    "cut": (b'{"a": [1, ', "the file ends before the document does"),
    "cut text": (b'{"a": "hal', "the file ends before the document does"),
    "text": (b"hello", "invalid JSON: Expecting value: line 1 column 1"),
    "list": (b"[1]", "it holds an array, not an object"),
    "twice": (b'{"a": 1, "a": 2}', "the key 'a' stands twice"),
    "deep": (b"[" * 100_000, "nested too deep"),
}
READERS: dict[str, Callable[[Path], Any]] = {
    "plan": lambda path: load_plan(path.read_bytes()),
    "problem": lambda path: load_problem(path.read_bytes()),
    "solution": lambda path: load_solution(path.read_bytes(), PLANS["prefetch"].problem),
    "joint graph": import_joint,
    "instance": read_instance,
    "report's extras": lambda path: read_extras([path]),
    "schedule": lambda path: read_schedule(path, Graph("g", {}, (), (), ())),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_says_what_is_damaged(reader: str, damage: str, tmp_path: Path) -> None:
    data, told = DAMAGE[damage]
    if reader == "schedule" and damage == "list":
        told = "."  # it says what a schedule is
    path = tmp_path / "file.json"
    path.write_bytes(data)
    with pytest.raises(UllageError, match=told) as refused:
        READERS[reader](path)
    assert refused.value.exit_code in {2, 3}


def test_what_python_takes_for_json_is_told_of_a_plan() -> None:
    document = json.loads(dump_plan(PLANS["prefetch"]))
    half = json.dumps(document | {"solver": "\ud800"}).encode()
    with pytest.raises(UllageError, match="not a plan file: invalid JSON"):
        load_plan(half)


def test_whatever_a_document_holds_is_read() -> None:
    assert json_value(b"[1, null]") == [1, None]
    assert json_object('{"a": "é"}'.encode()) == {"a": "é"}


def test_a_joint_graph_is_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, parsed = joint_file(tmp_path), []
    plain = json_files.json_object

    def counted(data: bytes) -> dict[str, Any]:
        parsed.append(len(data))
        return plain(data)

    monkeypatch.setattr(json_files, "json_object", counted)
    first = prepare(path, FrontendOptions()).problem
    assert len(parsed) == 1
    document = joint_document()
    joint_file(tmp_path, document | {"outputs": document["outputs"][:1]})  # it is another file now
    os.utime(path, ns=(1, 1))
    assert prepare(path, FrontendOptions()).problem != first
    assert len(parsed) == 2


def test_a_pipe_is_left_to_its_reader(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    assert object_at(pipe) is None  # and does not wait for a writer
