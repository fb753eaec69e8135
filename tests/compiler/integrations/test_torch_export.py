"""`torch.export` programs as problems; runs where torch is installed: pip install '.[torch]'."""

import sys
from typing import Any

import pytest

from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.integrations.torch_export import problem_from_exported
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP
from ullage.hwmodels.catalog.registry import load_target

TARGET = load_target("edge-npu")


def exported(torch: Any, forward: Any, *sizes: tuple[int, ...], **options: Any) -> Any:
    """A program of a function that takes tensors of the given shapes."""

    class Model(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.linear = torch.nn.Linear(16, 8)
            self.register_buffer("shift", torch.ones(8))

        def forward(self, *inputs: Any) -> Any:
            return forward(self, *inputs)

    return torch.export.export(Model().eval(), tuple(torch.randn(s) for s in sizes), **options)


def operators(problem: Problem) -> dict[str, Any]:
    return {s.kind: s for s in problem.steps if s.kind != DMA_STEP}


@pytest.mark.filterwarnings("default")
def test_kinds_sizes_work_and_sharing() -> None:
    torch = pytest.importorskip("torch")

    def forward(model: Any, x: Any) -> Any:
        y = torch.relu(model.linear(x)) + model.shift
        return y.reshape(8, 4)

    problem = problem_from_exported(exported(torch, forward, (4, 16)), TARGET)
    found = operators(problem)
    assert list(found) == ["linear.default", "relu.default", "add.Tensor"]  # a view is no work
    assert (found["linear.default"].macs, found["linear.default"].mac_dtype) == (512, "float32")
    assert found["relu.default"].vector_elements == 32
    assert sorted((b.kind, b.size_bytes) for b in problem.buffers) == [
        ("input", 256),
        ("output", 128),  # linear, relu, add and the view of it share their bytes
        ("weight", 32),
        ("weight", 32),
        ("weight", 512),
    ]
    done = compile_problem(problem, CompileOptions(solver="greedy"))
    assert done.score.latency_s >= done.bound.value


@pytest.mark.filterwarnings("default")
def test_several_results_and_shared_outputs() -> None:
    torch = pytest.importorskip("torch")

    def forward(_: Any, x: Any) -> Any:
        a, b = torch.ops.aten.split.Tensor(x, 2)
        values, _ = torch.max(b, dim=1)
        return a.exp(), values

    problem = problem_from_exported(exported(torch, forward, (4, 6)), TARGET)
    outputs = {b.name for b in problem.buffers if b.kind == "output"}
    assert len(outputs) == 2
    assert "max.dim" in operators(problem)


@pytest.mark.filterwarnings("default")
def test_symbolic_dimensions_are_refused() -> None:
    torch = pytest.importorskip("torch")
    dims = ({0: torch.export.Dim("n")},)
    program = exported(torch, lambda model, x: model.linear(x), (4, 16), dynamic_shapes=(dims,))
    with pytest.raises(ModelError, match="symbolic dimension"):
        problem_from_exported(program, TARGET)


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"ullage\[torch\]"):
        problem_from_exported(None, TARGET)
