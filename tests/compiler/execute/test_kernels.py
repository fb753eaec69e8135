"""Single operators as small models."""

import logging
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.models import MODELS, model_file
from tests.support.onnx_models import MICROSOFT, const, info, model, node
from ullage.compiler.common.errors import ModelError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.element_types import Array
from ullage.compiler.execute.kernels import Kernels, open_session
from ullage.compiler.execute.runner import Executor, compare_arrays, run_plan
from ullage.compiler.importer.build import ImportOptions, import_detailed
from ullage.compiler.ir.graph import Operator


def kernels_of(proto: onnx.ModelProto, *, fuse: bool = True) -> tuple[Kernels, list[Operator]]:
    found = import_detailed(proto, ImportOptions(fuse=fuse), name="m")
    weights = {t.name: onnx.numpy_helper.to_array(t) for t in found.proto.graph.initializer}
    return Kernels(found.proto, found.scope, weights), list(found.graph.operators)


def drawn(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_operators_one_by_one_equal_the_whole_model(name: str, fuse: bool) -> None:
    """Without any plan: each operator is fed what its producers gave."""
    made = Executor(model_file(name), ImportOptions(fuse=fuse), name=name)
    graph, types = made.imported.graph, made.imported.scope.types
    known = {**made.inputs, **made.roots}
    for operator in graph.operators:
        known.update(made.kernels.run(operator, {n: known[n] for n in operator.inputs}))
    names = [v.name for v in made.imported.proto.graph.output]
    session = open_session(onnx.load(model_file(name)))
    for output, expected in zip(names, session.run(names, made.inputs), strict=True):
        assert types[output].shape == expected.shape
        check = compare_arrays(output, known[output], expected, half=made.half)
        assert check.passed
        assert check.bit_exact or (made.half and not fuse)
    assert made.kernels.fallbacks == []


def test_constants_derived_from_weights_are_computed_once() -> None:
    kernels, _ = kernels_of(
        model(
            [node("Mul", "a b", "c"), node("Exp", "c", "d"), node("Add", "x d", "y")],
            {"x": (3,)},
            "y",
            [const("a", [1, 2, 3], "float32"), const("b", [2, 2, 2], "float32")],
        )
    )
    kernels.constants.pop("d", None)
    kernels.constants.pop("c", None)
    kernels.constant(["d"])
    assert np.allclose(kernels.constants["d"], np.exp([2, 4, 6]))
    kernels.constants["d"] = np.zeros(3, dtype=np.float32)
    kernels.constant(["d"])
    assert not kernels.constants["d"].any()


def test_what_is_read_in_another_form_comes_from_the_stored_bytes() -> None:
    """A transposed weight: the operand in memory is the stored one, not the transposed."""
    stored = drawn(5, 3)
    kernels, (operator,) = kernels_of(
        model(
            [node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "x t", "y")],
            {"x": (2, 3)},
            "y",
            [const("w", stored, "float32")],
        )
    )
    x, other = drawn(2, 3), drawn(5, 3) * 2
    assert operator.inputs == ("x", "w")
    assert np.allclose(kernels.run(operator, {"x": x, "w": stored})["y"], x @ stored.T)
    assert np.allclose(kernels.run(operator, {"x": x, "w": other})["y"], x @ other.T)


def test_microsoft_operators_run() -> None:
    stored = drawn(4, 8)
    kernels, (operator,) = kernels_of(
        model(
            [node("FusedMatMul", "x w", "y", domain=MICROSOFT, transB=1)],
            {"x": (2, 8)},
            "y",
            [const("w", stored, "float32")],
        )
    )
    x = drawn(2, 8)
    assert np.allclose(kernels.run(operator, {"x": x, "w": stored})["y"], x @ stored.T, atol=1e-6)


def test_what_onnxruntime_lacks_runs_in_the_reference_evaluator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Relu of int16 is in the standard, but onnxruntime's CPU provider has no kernel for it."""
    kernels, (operator,) = kernels_of(
        model([node("Relu", "x", "y")], [info("x", (4,), "int16")], "y")
    )
    x = np.array([-2, -1, 0, 7], dtype=np.int16)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(kernels.run(operator, {"x": x})["y"], np.maximum(x, 0))
    (told,) = kernels.fallbacks
    assert "onnx reference evaluator, since" in told
    assert operator.name in told
    assert "reference evaluator" in caplog.text


def test_operator_that_nothing_runs_is_named() -> None:
    kernels, (operator,) = kernels_of(
        model(
            [
                node(
                    "LongformerAttention",
                    "x x x x x x x",
                    "y",
                    domain=MICROSOFT,
                    num_heads=1,
                    window=1,
                )
            ],
            {"x": (1, 4, 8)},
            [info("y", (1, 4, 8))],
        )
    )
    with pytest.raises(ModelError, match="runs neither in onnxruntime"):
        kernels.run(operator, {"x": drawn(1, 4, 8)})


def test_numbers_that_an_operator_cannot_take_are_a_model_error() -> None:
    kernels, (operator,) = kernels_of(
        model([node("Gather", "x i", "y")], [info("x", (4, 8)), info("i", (2,), "int64")], "y")
    )
    with pytest.raises(ModelError, match="fails on these numbers") as caught:
        kernels.run(operator, {"x": drawn(4, 8), "i": np.array([0, 99])})
    assert caught.value.details == {"operator": operator.name}


def test_a_chain_of_quantised_operators_of_microsoft_runs(tmp_path: Path) -> None:
    """Fused, in place where each element is read once, and concatenated with requantisation."""
    scale, zero = const("s", 0.05, "float32"), const("z", 128, "uint8")
    kernel = np.random.default_rng(0).integers(100, 150, (4, 4, 3, 3))
    proto = model(
        [
            node("QuantizeLinear", "x s z", "q"),
            node("QLinearConv", "q s z w s z s z", "c", pads=[1, 1, 1, 1]),
            node("QLinearLeakyRelu", "c s z s z", "r", domain=MICROSOFT),
            node("QLinearAdd", "r s z q s z s z", "a", domain=MICROSOFT),
            node("QLinearMul", "a s z r s z s z", "m", domain=MICROSOFT),
            node("QLinearSigmoid", "m s z s z", "g", domain=MICROSOFT),
            node("QLinearConcat", "s z g s z a s z", "j", domain=MICROSOFT, axis=1),
            node(
                "QLinearAveragePool",
                "j s z s z",
                "p",
                domain=MICROSOFT,
                kernel_shape=[2, 2],
                strides=[2, 2],
            ),
            node("QLinearGlobalAveragePool", "p s z s z", "h", domain=MICROSOFT),
            node("DequantizeLinear", "h s z", "y"),
        ],
        {"x": (1, 4, 8, 8)},
        "y",
        [scale, zero, const("w", kernel, "uint8")],
    )
    file = tmp_path / "m.onnx"
    onnx.save(proto, file)
    compiled = compile_model(file, CompileOptions(solver="greedy"))
    assert not compiled.fallbacks
    done = run_plan(file, compiled.plan)
    assert all(check.bit_exact for check in done.outputs)
    assert not done.fallbacks
