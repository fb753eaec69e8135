"""Single nodes by the rules of their own operator set; where it runs them, onnxruntime judges."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.support.onnx_models import info, model, node
from ullage.compiler.importer.values.evaluate import Array, NotComputableError, evaluate

F = np.float32
MATRIX = np.array([[[3, 9], [1, 2]]], dtype=F)
IMAGE = np.arange(4, dtype=F).reshape(1, 1, 2, 2)
HALVES = [np.full((1, 2, 2), 3, F), *[np.array([1, 2], F)] * 4]


def run(op: str, version: int, inputs: Sequence[Array], **attributes: Any) -> Array:
    names = [f"i{k}" for k in range(len(inputs))]
    made = node(op, " ".join(names), "y z" if op == "TopK" else "y", **attributes)
    (result, *_) = evaluate(made, version, dict(zip(names, inputs, strict=True)))
    assert result is not None
    return result


def judged(op: str, version: int, inputs: Sequence[Array], **attributes: Any) -> Array:
    """The result of onnxruntime."""
    names = [f"i{k}" for k in range(len(inputs))]
    types = [info(n, a.shape, str(a.dtype)) for n, a in zip(names, inputs, strict=True)]
    made = node(op, " ".join(names), "y z" if op == "TopK" else "y", **attributes)
    proto = model([made], types, "y", opset=version)
    proto.ir_version = 8
    del proto.opset_import[1:]
    typed = onnx.shape_inference.infer_shapes(proto)
    session = onnxruntime.InferenceSession(
        typed.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, dict(zip(names, inputs, strict=True)))[0])


@pytest.mark.parametrize(
    ("op", "version", "inputs", "attributes"),
    [
        ("Unsqueeze", 11, [np.array(3)], {"axes": [0]}),
        ("Unsqueeze", 13, [np.array(3), np.array([0])], {}),
        ("Squeeze", 11, [np.array([3])], {"axes": [0]}),
        ("Clip", 7, [np.array([3, 9], F)], {"max": 4.0}),
        ("Clip", 11, [np.array([3, 9], F), np.array(1, F), np.array(4, F)], {}),
        ("Pad", 7, [np.array([3, 9], F)], {"pads": [1, 2]}),
        ("TopK", 7, [np.array([3, 9], F)], {"k": 1}),
        ("TopK", 10, [np.array([3, 9], F), np.array([1])], {}),
        ("Scatter", 9, [np.array([3, 9], F), np.array([1]), np.array([7], F)], {}),
        ("Slice", 7, [np.array([3, 9], F)], {"starts": [0], "ends": [1]}),
        ("Split", 11, [np.array([3, 9], F)], {"split": [2]}),
        ("ReduceSum", 11, [MATRIX], {"axes": [1]}),
        ("ReduceMax", 13, [MATRIX], {"axes": [1], "keepdims": 0}),
        ("Softmax", 11, [MATRIX], {}),
        ("Softmax", 11, [MATRIX], {"axis": 2}),
        ("Softmax", 13, [MATRIX], {}),
        ("LogSoftmax", 11, [MATRIX], {}),
        ("Cast", 9, [np.array([3.5], F)], {"to": 7}),
        ("Upsample", 7, [IMAGE], {"scales": [1.0, 1.0, 2.0, 2.0]}),
        ("Upsample", 9, [IMAGE, np.array([1, 1, 2, 2], F)], {}),
        ("Dropout", 7, [MATRIX], {}),
        ("BatchNormalization", 7, HALVES, {}),
        ("BatchNormalization", 9, HALVES, {}),
        ("BatchNormalization", 14, HALVES, {}),
        ("QuantizeLinear", 13, [np.ones((2, 3), F), np.array([1, 0.5], F)], {"axis": 0}),
        ("ArgMax", 11, [MATRIX], {"axis": 2}),
        ("OneHot", 11, [np.array([1, 0]), np.array(3), np.array([0, 1], F)], {}),
        ("PRelu", 9, [-MATRIX, np.array([1, 2], F)], {}),
        ("HardSwish", 14, [MATRIX], {}),
        ("Div", 7, [np.array([-7, 7]), np.array([2, -2])], {}),
    ],
    ids=lambda value: str(value) if isinstance(value, str | int) else "",
)
def test_old_versions_follow_their_own_rules(
    op: str, version: int, inputs: Sequence[Array], attributes: dict[str, Any]
) -> None:
    expected = judged(op, version, inputs, **attributes)
    found = run(op, version, inputs, **attributes)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "version", "inputs", "attributes", "expected"),
    [
        ("Add", 6, [np.eye(2, dtype=F), np.array([10, 20], F)], {"axis": 0, "broadcast": 1},
         [[11, 10], [20, 21]]),
        ("Add", 6, [np.eye(2, dtype=F), np.array([10, 20], F)], {"broadcast": 1},
         [[11, 20], [10, 21]]),
        ("Equal", 1, [np.array([[1, 2], [2, 2]]), np.array([1, 2])], {"axis": 0, "broadcast": 1},
         [[True, False], [True, True]]),
        ("Cast", 1, [np.array([3.5], F)], {"to": "INT64"}, [3]),
        ("Reshape", 1, [np.array([3, 9], F)], {"shape": [2, 1]}, [[3], [9]]),
        ("Concat", 1, [np.zeros((2, 1), F), np.ones((2, 1), F)], {}, [[0, 1], [0, 1]]),
        ("Dropout", 1, [np.array([3, 9], F)], {}, [3, 9]),
        ("Max", 6, [np.array([3, 9], F), np.array([4, 5], F)], {}, [4, 9]),
        ("Abs", 1, [np.array([-3], F)], {"consumed_inputs": [1]}, [3]),
        ("Unsqueeze", 1, [np.array([3])], {"axes": [0, 2]}, [[[3]]]),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "",
)  # fmt: skip
def test_versions_that_onnxruntime_does_not_know(
    op: str,
    version: int,
    inputs: Sequence[Array],
    attributes: dict[str, Any],
    expected: Any,
) -> None:
    np.testing.assert_array_equal(run(op, version, inputs, **attributes), expected)


@pytest.mark.parametrize(
    ("op", "version", "inputs"),
    [
        ("Hardmax", 11, [MATRIX]),  # the converter keeps it as it is, with another meaning
        ("Mystery", 13, [MATRIX]),
        ("MatMul", 13, [MATRIX, np.zeros((5, 7), F)]),
    ],
)
def test_what_cannot_be_computed_says_so(op: str, version: int, inputs: Sequence[Array]) -> None:
    with pytest.raises(NotComputableError):
        run(op, version, inputs)
