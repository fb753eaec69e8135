"""Commands run in this process, with a tiny model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from tests.support.cli import Json
from ullage.cli.main import run


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Json:
    """Run a command with --json; returns the one document on stdout."""

    def call(*arguments: object, code: int = 0) -> dict[str, Any]:
        assert run([*map(str, arguments), "--json"]) == code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    return call


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """Run a command; returns what it said on stdout and stderr."""

    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        assert run([*map(str, arguments)]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return call


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        square,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("models") / "tiny.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def plan_path(ask: Json, tiny: Path, tmp_path: Path) -> Path:
    return Path(ask("compile", tiny, "--dim", "n=8", "-o", tmp_path / "out")["plan"])
