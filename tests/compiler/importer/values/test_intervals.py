"""Bounds of elements: arithmetic on shapes that depend on data is never wrong, and mostly tight."""

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.onnx_models import const, imported, info, model, node
from ullage.compiler.importer.scope import Interval, Scope, TensorType
from ullage.compiler.importer.values.evaluate import evaluate
from ullage.compiler.importer.values.intervals import bound_values, enter_interval, interval_of

COUNT = [
    node("NonZero", "x", "nz"),
    node("Shape", "nz", "s"),
    node("Gather", "s one", "k"),
]
CONSTANTS = [
    const("one", [1]),
    const("total", [64]),
    const("two", [2]),
    const("zero", [0]),
    const("half", [0.5], "float32"),
]


def sized(nodes: list[onnx.NodeProto], size: str) -> tuple[tuple[int, ...], bool]:
    """Shape of a tensor of ones whose length a chain computes, and whether it is a bound."""
    proto = model(
        [*COUNT, *nodes, node("ConstantOfShape", size, "o"), node("Add", "o z", "y")],
        {"x": (64,), "z": (1,)},
        "y",
        CONSTANTS,
    )
    value = imported(proto).values["y"]
    return value.shape, value.is_upper_bound


@pytest.mark.parametrize(
    ("nodes", "size", "most"),
    [
        ([], "k", 64),
        ([node("Sub", "total k", "r")], "r", 64),
        ([node("Add", "total k", "r")], "r", 128),
        ([node("Mul", "k two", "r")], "r", 128),
        ([node("Div", "k two", "r")], "r", 32),
        ([node("Mod", "k two", "r")], "r", 1),
        ([node("Min", "k two", "r")], "r", 2),
        ([node("Cast", "k", "f", to=1), node("Mul", "f half", "h"), node("Ceil", "h", "c"),
          node("Cast", "c", "r", to=7)], "r", 32),
        ([node("Greater", "k two", "g"), node("Where", "g two k", "r")], "r", 64),
        ([node("ReduceProd", "s", "r", keepdims=1)], "r", 64),
        ([node("Neg", "k", "m"), node("Abs", "m", "r")], "r", 64),
    ],
)  # fmt: skip
def test_what_is_computed_from_a_bounded_shape_is_bounded(
    nodes: list[onnx.NodeProto], size: str, most: int
) -> None:
    assert sized(nodes, size) == ((most,), True)


def test_the_axes_that_are_exact_are_constants() -> None:
    """NonZero of a vector has one row; only the number of columns depends on data."""
    nodes = [node("Gather", "s zero", "rows"), node("Mul", "rows total", "r")]
    assert sized(nodes, "r") == ((64,), False)


def test_an_element_with_one_possible_value_is_a_constant() -> None:
    """There are at most 64."""
    assert sized([node("Max", "k total", "r"), node("Sub", "r two", "q")], "q") == ((62,), False)


def test_a_comparison_that_always_holds_is_a_constant() -> None:
    nodes = [
        node("Add", "total two", "more"),
        node("Less", "k more", "always"),
        node("Where", "always two total", "r"),
    ]
    assert sized(nodes, "r") == ((2,), False)


def test_the_size_of_a_bounded_tensor_is_no_constant() -> None:
    proto = model(
        [node("NonZero", "x", "nz"), node("Size", "nz", "n"), node("Range", "o n i", "y")],
        {"x": (4, 8)},
        "y",
        [const("o", 0), const("i", 1)],
    )
    graph = imported(proto)
    assert graph.values["y"].shape == (64,)
    assert graph.values["y"].is_upper_bound
    assert [o.kind for o in graph.operators] == ["NonZero", "Size", "Range"]


def test_nothing_is_claimed_where_integers_may_wrap_round() -> None:
    proto = model(
        [node("Min", "n most", "m"), node("Sub", "m one", "r"), node("ConstantOfShape", "r", "y")],
        [info("n", (1,), "int64")],
        "y",
        [const("most", [9]), const("one", [1])],
    )
    with pytest.raises(Exception, match="cannot be known"):
        imported(proto)


UNARY = ["Neg", "Abs", "Identity", "ReduceProd", "ReduceMax", "ReduceSum"]
BINARY = """Add Sub Mul Div Mod Min Max Less LessOrEqual Greater GreaterOrEqual Equal""".split()
ENDS = st.tuples(st.integers(-9, 9), st.integers(0, 9))


@given(
    st.sampled_from(UNARY + BINARY),
    st.lists(st.tuples(ENDS, ENDS), min_size=2, max_size=2),
    st.integers(0, 2**20),
)
def test_no_value_is_outside_its_bounds(
    op: str, ends: list[tuple[tuple[int, int], tuple[int, int]]], seed: int
) -> None:
    scope = Scope("m", {"": 20})
    intervals: list[Interval] = []
    for name, ((a, width_a), (b, width_b)) in zip("ab", ends, strict=True):
        scope.types[name] = TensorType("int64", (2,))
        low = np.array([a, b], np.float64)
        intervals.append((low, low + np.array([width_a, width_b])))
        enter_interval(name, intervals[-1], scope)
    made = node(op, "a" if op in UNARY else "a b", "y")
    generator = np.random.default_rng(seed)
    values = {
        name: generator.integers(low.astype(int), high.astype(int) + 1)
        for name, (low, high) in zip("ab", intervals, strict=True)
    }
    if op in ("Div", "Mod") and (values["b"] == 0).any():
        return
    if op == "Mod" and ((values["a"] < 0) | (values["b"] < 0)).any():
        return
    (result,) = evaluate(made, 20, {name: values[name] for name in made.input})
    assert result is not None
    truth = op in BINARY[7:]
    scope.types["y"] = TensorType("bool" if truth else "int64", result.shape)
    bound_values(made, scope)
    known = interval_of("y", scope)
    assert known is not None
    assert (known[0] <= result).all()
    assert (result <= known[1]).all()
