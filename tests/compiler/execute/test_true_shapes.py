"""Tensors that are planned by a bound run with the shapes that they really have."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.onnx_models import const, info, model, node
from tests.support.solving import solve_with
from ullage.compiler.common.errors import VerificationError
from ullage.compiler.driver.compile import prepare
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.runner import Execution, Executor, RunOptions, import_options
from ullage.compiler.execute.true_shapes import TrueShapes

X = np.array([[0, 1, 2, 0], [3, 0, 0, 4]], dtype=np.float32)


def ran(folder: Path, proto: onnx.ModelProto, **inputs: object) -> Execution:
    path = folder / "m.onnx"
    onnx.save(proto, path)
    prepared = prepare(path, CompileOptions())
    plan = replace(solve_with("greedy", prepared.problem), model=prepared.model)
    executor = Executor(path, import_options(plan))
    return executor.run(plan, RunOptions(inputs={n: np.asarray(a) for n, a in inputs.items()}))


def test_a_chain_of_bounded_tensors_runs_at_its_true_size(tmp_path: Path) -> None:
    proto = model(
        [
            node("NonZero", "x", "n"),
            node("Transpose", "n", "t"),
            node("GatherND", "x t", "g"),
            node("Softmax", "g", "y", axis=0),
        ],
        {"x": (2, 4)},
        "y",
    )
    done = ran(tmp_path, proto, x=X)
    assert done.passed
    assert done.arrays["y"].shape == (4,)


def test_views_of_bounded_tensors_have_their_own_shapes(tmp_path: Path) -> None:
    """The views are no steps of the plan; one of them has a shape that data decides."""
    proto = model(
        [
            node("NonZero", "x", "n"),
            node("Unsqueeze", "n axis", "u"),
            node("Flatten", "u", "f", axis=2),
            node("Shape", "n", "s"),
            node("Gather", "s one", "k"),
            node("Concat", "k two", "target", axis=0),
            node("Reshape", "f target", "r"),
            node("Cast", "r", "y", to=1),
        ],
        {"x": (2, 4)},
        "y",
        [const("axis", [1]), const("one", [1]), const("two", [2])],
    )
    done = ran(tmp_path, proto, x=X)
    assert done.passed
    assert done.arrays["y"].shape == (4, 2)


def test_each_inference_has_shapes_of_its_own(tmp_path: Path) -> None:
    proto = model([node("NonZero", "x", "n"), node("Cast", "n", "y", to=1)], {"x": (64,)}, "y")
    proto.graph.input[0].CopyFrom(info("x", (64,), "int32"))
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    prepared = prepare(path, CompileOptions())
    plan = replace(solve_with("greedy", prepared.problem), model=prepared.model)
    done = Executor(path, import_options(plan)).run(plan, RunOptions(inferences=3))
    assert done.passed
    assert len(done.outputs) == 3
    assert 0 < done.arrays["y"].shape[1] < 64


def test_an_empty_result_runs(tmp_path: Path) -> None:
    proto = model([node("NonZero", "x", "n"), node("Cast", "n", "y", to=1)], {"x": (2, 4)}, "y")
    done = ran(tmp_path, proto, x=np.zeros((2, 4), np.float32))
    assert done.passed
    assert done.arrays["y"].shape == (2, 0)


@pytest.mark.parametrize("shape", [(2, 9), (3, 4), (8,)])
def test_what_is_larger_than_planned_is_an_error(tmp_path: Path, shape: tuple[int, ...]) -> None:
    proto = model([node("NonZero", "x", "n"), node("Cast", "n", "y", to=1)], {"x": (2, 4)}, "y")
    path = tmp_path / "m.onnx"
    onnx.save(proto, path)
    executor = Executor(path, import_options_of(path))
    imported = executor.imported
    shapes = TrueShapes(imported.graph, imported.scope.types, executor.kernels, ())
    with pytest.raises(VerificationError, match=r"planned at most \[2, 8\]"):
        shapes.record("n", np.zeros(shape, np.int64), "NonZero")


def import_options_of(path: Path):  # noqa: ANN201 - what the executor takes
    prepared = prepare(path, CompileOptions())
    return import_options(replace(solve_with("greedy", prepared.problem), model=prepared.model))
