"""A model whose latency falls in many small steps of memory, and solvers for one test."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from ullage.compiler.driver.options import CompileOptions
from ullage.solvers import registry
from ullage.solvers.interface import SolveFunction, Solver


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six matrix products with residual sums: latency falls in many small steps of memory."""
    nodes, weights, last = [], [], "x"
    for k in range(6):
        name = "y" if k == 5 else f"s{k}"
        nodes.append(helper.make_node("MatMul", [last, f"w{k}"], [f"m{k}"]))
        nodes.append(helper.make_node("Add", [f"m{k}", last], [name]))
        weights.append(helper.make_tensor(f"w{k}", TensorProto.FLOAT, [64, 64], [0.01] * 4096))
        last = name
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [64, 64]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "deep", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("models") / "deep.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def solver(monkeypatch: pytest.MonkeyPatch) -> Callable[..., CompileOptions]:
    """Register a solver for one test; returns options that ask for it."""

    def put(solve: SolveFunction, **options: Any) -> CompileOptions:
        known = registry.find_solver

        def find(name: str) -> Solver:
            return Solver("made-up", "", solve) if name == "made-up" else known(name)

        monkeypatch.setattr("ullage.compiler.driver.options.find_solver", find)
        return CompileOptions(solver="made-up", **options)

    return put
