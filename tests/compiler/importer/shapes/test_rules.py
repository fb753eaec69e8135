"""Upper bounds of data-dependent shapes: each axis by itself, and never too small."""

import math

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.support.onnx_models import const, imported, info, model, node, subgraph
from ullage.compiler.common.errors import ModelError
from ullage.compiler.ir.graph import Value

Infos = list[onnx.ValueInfoProto]


def value(proto: onnx.ModelProto, name: str = "y", **dims: int) -> Value:
    return imported(proto, dims=dims).values[name]


def bounded_model(
    nodes: list[onnx.NodeProto],
    inputs: Infos | None = None,
    constants: list[onnx.TensorProto] | None = None,
) -> onnx.ModelProto:
    """A model of nodes that start from t [at most 12, 2], float32."""
    first = [
        node("NonZero", "x", "nz"),
        node("Transpose", "nz", "tz"),
        node("Cast", "tz", "t", to=1),
    ]
    entering = [info("x", (3, 4)), *(inputs or [])]
    return model([*first, *nodes], entering, "y", constants or [])


CASES = [
    ([node("ReduceSum", "t one", "y", keepdims=0)], [const("one", [1])], (12,), 48),
    ([node("ReduceSum", "t zero", "y", keepdims=1)], [const("zero", [0])], (1, 2), 8),
    ([node("Add", "t k", "y")], [const("k", np.ones((5, 2)), "float32")], (5, 2), 40),
    ([node("Add", "t u", "y"), node("Relu", "t", "u")][::-1], [], (12, 2), 96),
    ([node("Concat", "t k", "y", axis=0)], [const("k", np.ones((5, 2)), "float32")], (17, 2), 136),
    ([node("Concat", "t k", "y", axis=1)], [const("k", np.ones((5, 3)), "float32")], (5, 5), 100),
    ([node("Slice", "t a b axis0", "y")], [const("a", [0]), const("b", [5])], (5, 2), 40),
    ([node("Slice", "t a b axis0", "y")], [const("a", [3]), const("b", [2**31])], (9, 2), 72),
    ([node("Slice", "t a b axis0", "y")], [const("a", [-4]), const("b", [10])], (4, 2), 32),
    ([node("Slice", "t a b axis0", "y")], [const("a", [-4]), const("b", [-1])], (3, 2), 24),
    ([node("Slice", "t a b axis0", "y")], [const("a", [1]), const("b", [-1])], (10, 2), 80),
    ([node("Split", "t", "y z", axis=0, num_outputs=2)], [], (6, 2), 48),
    ([node("Reshape", "t all", "y")], [const("all", [-1])], (24,), 96),
    ([node("Reshape", "t keep", "y")], [const("keep", [0, 1, 2])], (12, 1, 2), 96),
    ([node("Reshape", "t rest", "y")], [const("rest", [0, -1])], (12, 2), 96),
    ([node("Reshape", "t fixed", "y")], [const("fixed", [5, 2])], (5, 2), 40),
    ([node("Flatten", "t", "y", axis=0)], [], (1, 24), 96),
    ([node("Tile", "t twice", "y")], [const("twice", [2, 1])], (24, 2), 192),
    ([node("Expand", "t big", "y")], [const("big", [3, 1, 1])], (3, 12, 2), 288),
    ([node("Pad", "t pads", "y")], [const("pads", [1, 0, 2, 1])], (15, 3), 180),
    ([node("MatMul", "t k", "y")], [const("k", np.ones((2, 7)), "float32")], (12, 7), 336),
    ([node("TopK", "t k", "y i", axis=0)], [const("k", [3])], (3, 2), 24),
    ([node("Compress", "t c", "y", axis=0)], [const("c", [True, False], "bool")], (12, 2), 96),
    ([node("Unsqueeze", "t zero", "y")], [const("zero", [0])], (1, 12, 2), 96),
    ([node("OneHot", "r depth pair", "y"), node("ArgMax", "t", "r", axis=1, keepdims=0)][::-1],
     [const("depth", 4), const("pair", [0, 1], "float32")], (12, 4), 192),
    ([node("Gather", "t at", "y", axis=1)], [const("at", [1, 0, 1])], (12, 3), 144),
    ([node("CumSum", "t axis", "y")], [const("axis", 0)], (12, 2), 96),
    ([node("NonZero", "t", "y")], [], (2, 24), 384),
]  # fmt: skip


@pytest.mark.parametrize(("nodes", "constants", "shape", "size_bytes"), CASES)
def test_bounds_follow_each_axis_by_itself(
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    shape: tuple[int, ...],
    size_bytes: int,
) -> None:
    proto = bounded_model(nodes, constants=[*constants, const("axis0", [0])])
    planned = value(proto)
    assert planned.shape == shape
    assert planned.size_bytes == size_bytes
    exact = shape in ((5, 2), (1, 2), (3, 2), (5, 5)) and nodes[0].op_type != "Slice"
    assert planned.is_upper_bound != exact


@pytest.mark.parametrize(("nodes", "constants", "shape", "size_bytes"), CASES)
@pytest.mark.parametrize("count", [0, 3, 5, 12])
def test_no_run_is_larger_than_its_bound(
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    shape: tuple[int, ...],
    size_bytes: int,
    count: int,
) -> None:
    proto = bounded_model(nodes, constants=[*constants, const("axis0", [0])])
    proto.ir_version = 9
    x = np.zeros(12, np.float32)
    x[:count] = 1
    try:
        session = onnxruntime.InferenceSession(proto.SerializeToString())
        (result,) = session.run(["y"], {"x": x.reshape(3, 4)})
    except Exception:  # noqa: BLE001 - so many rows do not fit the other operands
        pytest.skip("this number of rows fits no other operand")
    assert all(a <= b for a, b in zip(result.shape, shape, strict=True))
    assert result.nbytes <= size_bytes


@pytest.mark.parametrize(
    ("keepdims", "axes", "shape", "most"),
    [(1, (2,), (3, 4, 5), 60), (0, (1,), (4, 5), 20), (0, (2,), (5,), 5), (0, (3,), (), 1)],
)
def test_a_reduction_over_axes_that_data_chooses(
    keepdims: int, axes: tuple[int, ...], shape: tuple[int, ...], most: int
) -> None:
    proto = model(
        [node("ReduceSum", "x axes", "y", keepdims=keepdims)],
        [info("x", (3, 4, 5)), info("axes", axes, "int64")],
        "y",
    )
    planned = value(proto)
    assert planned.shape == shape
    assert planned.size_bytes == 4 * most


def test_a_reshape_to_a_shape_that_data_says_keeps_its_bytes() -> None:
    """Each axis may hold all elements; what is reduced over one of them may too."""
    proto = model(
        [node("Reshape", "x n", "t"), node("ReduceSum", "t zero", "u"), node("Softmax", "u", "y")],
        [info("x", (64,)), info("n", (2,), "int64")],
        "y",
        [const("zero", [0])],
    )
    graph = imported(proto)
    assert graph.values["t"].shape == (64, 64)
    assert graph.values["t"].size_bytes == 256
    assert graph.values["y"].size_bytes == 256


def test_a_reshape_of_what_may_be_empty_has_no_bound_without_its_target() -> None:
    proto = bounded_model([node("Reshape", "t n", "y")], [info("n", (2,), "int64")])
    with pytest.raises(ModelError, match="a bound of element 0 of 'n'"):
        value(proto)


def test_branches_of_different_shape_are_joined_axis_by_axis() -> None:
    def branch(name: str) -> onnx.GraphProto:
        return subgraph([node("Identity", name, f"{name}_out")], (), [info(f"{name}_out", ())])

    proto = model(
        [
            node("Relu", "a", "ra"),
            node("Relu", "b", "rb"),
            node("If", "c", "t", then_branch=branch("ra"), else_branch=branch("rb")),
            node("ReduceSum", "t zero", "y"),
        ],
        [info("a", (64, 2)), info("b", (2, 60)), info("c", (), "bool")],
        "y",
        [const("zero", [0])],
    )
    graph = imported(proto)
    assert graph.values["t"].shape == (64, 60)
    assert graph.values["t"].size_bytes == 4 * 128
    assert graph.values["y"].shape == (1, 60)
    assert graph.values["y"].size_bytes == 240


def test_squeezing_an_unknown_axis_is_refused() -> None:
    with pytest.raises(ModelError, match="which axes have the length 1"):
        value(bounded_model([node("Squeeze", "t", "y")]))


@pytest.mark.parametrize(
    ("made", "inputs", "shape"),
    [
        (node("Expand", "x n", "y"), [info("n", (3,), "uint8")], (255, 3, 4)),
        (node("Pad", "x n", "y"), [info("n", (4,), "uint8")], (3 + 2 * 255, 4 + 2 * 255)),
        (node("Tile", "x n", "y"), [info("n", (2,), "uint8")], (3 * 255, 4 * 255)),
    ],
)
def test_small_integer_types_bound_what_they_decide(
    made: onnx.NodeProto, inputs: Infos, shape: tuple[int, ...]
) -> None:
    """A uint8 is at most 255."""
    wide = node("Cast", "n", "wide", to=7)
    made.input[1] = "wide"
    planned = value(model([wide, made], [info("x", (3, 4)), *inputs], "y"))
    assert planned.shape == shape
    assert planned.is_upper_bound
    assert planned.size_bytes == 4 * math.prod(shape)


def test_a_range_is_bounded_by_its_ends() -> None:
    proto = model(
        [
            node("NonZero", "x", "nz"),
            node("Size", "nz", "n"),
            node("Range", "one n three", "y"),
        ],
        {"x": (10,)},
        "y",
        [const("one", 1), const("three", 3)],
    )
    assert value(proto).shape == (3,)


def test_what_the_file_declares_counts_where_it_has_all_elements() -> None:
    """A Reshape keeps its elements; how many indices NonZero finds, no file can say."""
    sized = [info("x", (64,)), info("n", (2,), "int64")]
    reshaped = value(model([node("Reshape", "x n", "y")], sized, [info("y", (4, 16))]))
    assert (reshaped.shape, reshaped.is_upper_bound) == ((4, 16), False)
    found = model([node("NonZero", "x", "y")], [info("x", (3, 4))], [info("y", (2, 5), "int64")])
    assert (value(found).shape, value(found).is_upper_bound) == ((2, 12), True)


def test_a_shape_is_known_backwards_from_what_is_declared() -> None:
    proto = model(
        [node("Range", "zero n one", "r"), node("Cos", "r", "c"), node("Mul", "c two", "y")],
        [info("n", ())],
        [info("y", (10,))],
        [const("zero", 0, "float32"), const("one", 1, "float32"), const("two", 2, "float32")],
    )
    planned = value(proto, "r")
    assert planned.shape == (10,)
    assert planned.is_upper_bound
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(ModelError, match=r"Range .* would need a bound of its ends"):
        value(proto)
