"""Shared storage: every view and every part of a whole is executed and compared byte by byte."""

from collections.abc import Sequence
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from tests.support.onnx_models import const, imported, info, model, node, only, weight
from ullage.compiler.ir.graph import Sharing


def executed(proto: onnx.ModelProto, random: Random) -> dict[str, NDArray[Any]]:
    """Values of all tensors of a one-node model, every element of the inputs different."""
    values: dict[str, NDArray[Any]] = {}
    start = random.randrange(1000)
    for given in proto.graph.input:
        shape = [dim.dim_value for dim in given.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(given.type.tensor_type.elem_type)
        count = int(np.prod(shape, dtype=int))
        values[given.name] = np.arange(start, start + count).astype(dtype).reshape(shape)
        start += count
    names = [value.name for value in proto.graph.output]
    return values | dict(zip(names, ReferenceEvaluator(proto).run(None, values), strict=True))


def proven(proto: onnx.ModelProto, seed: int = 0) -> tuple[Sharing, ...]:
    """The sharings of a one-node model, each checked against an execution."""
    sharings = only(imported(proto)).sharings
    values = {n: a.tobytes() for n, a in executed(proto, Random(seed)).items()}
    for sharing in sharings:
        output, whole = values[sharing.output], values[sharing.input]
        if sharing.kind == "view":
            assert output == whole
        elif sharing.kind == "split":
            assert output == whole[sharing.offset_bytes :][: len(output)]
        elif sharing.kind == "concat":
            assert whole == output[sharing.offset_bytes :][: len(whole)]
        else:
            assert len(output) == len(whole)
    return sharings


def one(
    made: onnx.NodeProto, shape: Sequence[int], *stored: onnx.TensorProto, opset: int = 20
) -> onnx.ModelProto:
    return model([made], {"x": shape}, " ".join(made.output), stored, opset=opset)


@pytest.mark.parametrize(
    ("made", "shape", "is_view"),
    [
        (node("Reshape", "x k", "y"), (3, 4), True),
        (node("Flatten", "x", "y"), (2, 3, 4), True),
        (node("Identity", "x", "y"), (3, 4), True),
        (node("Squeeze", "x zero", "y"), (1, 4), True),
        (node("Unsqueeze", "x zero", "y"), (3, 4), True),
        (node("Dropout", "x", "y"), (3, 4), True),
        (node("Transpose", "x", "y", perm=[1, 0]), (3, 4), False),
        (node("Transpose", "x", "y", perm=[1, 0]), (1, 4), True),
        (node("Transpose", "x", "y"), (4, 1), True),
        (node("Transpose", "x", "y", perm=[1, 2, 0, 3]), (1, 3, 4, 2), True),
        (node("Transpose", "x", "y", perm=[0, 2, 1, 3]), (1, 3, 1, 2), True),
        (node("Transpose", "x", "y", perm=[0, 2, 1, 3]), (1, 3, 2, 2), False),
        (node("Cast", "x", "y", to=1), (3, 4), True),
        (node("Cast", "x", "y", to=6), (3, 4), False),
        (node("Expand", "x k34", "y"), (3, 4), True),
        (node("Expand", "x k34", "y"), (1, 4), False),
        (node("Concat", "x", "y", axis=0), (3, 4), True),
        (node("Slice", "x zero big", "y"), (3, 4), True),
        (node("Slice", "x big low zero back", "y"), (3, 4), False),
    ],
)
def test_views(made: onnx.NodeProto, shape: tuple[int, ...], *, is_view: bool) -> None:
    proto = one(
        made,
        shape,
        const("k", [-1]),
        const("zero", [0]),
        const("k34", [3, 4]),
        const("big", [2**62]),
        const("low", [-(2**62)]),
        const("back", [-1]),
    )
    assert any(s.kind == "view" for s in proven(proto)) is is_view


def test_dropout_in_training_is_no_view() -> None:
    stored = [const("ratio", 0.5, "float32"), const("on", True, "bool")]
    found = only(imported(one(node("Dropout", "x ratio on", "y"), (3, 4), *stored)))
    assert found.sharings == ()


def test_dropout_that_may_train_is_no_view() -> None:
    inputs = [info("x", (3, 4)), info("on", (), "bool")]
    stored = [const("ratio", 0.5, "float32")]
    proto = model([node("Dropout", "x ratio on", "y")], inputs, "y", stored)
    assert only(imported(proto)).sharings == ()


def test_views_of_weights_are_no_sharings() -> None:
    proto = model(
        [node("If", "c", "y", then_branch=EMPTY, else_branch=EMPTY)],
        [info("c", (), "bool")],
        "y",
        [weight("w", (4,))],
    )
    assert only(imported(proto)).sharings == ()


EMPTY = onnx.helper.make_graph([node("Relu", "w", "r")], "b", [], [info("r", (4,))])


@pytest.mark.parametrize("axis", [0, -2, 1])
@pytest.mark.parametrize("lead", [1, 2])
def test_split_offsets(axis: int, lead: int) -> None:
    """Parts are contiguous only where everything before the axis is 1."""
    proto = model(
        [node("Split", "x sizes", "a b c", axis=axis)],
        {"x": (lead, 6) if axis == 1 else (6, 4)},
        "a b c",
        [const("sizes", [1, 2, 3])],
    )
    sharings = proven(proto)
    if axis == 1 and lead == 2:
        assert sharings == ()
    else:
        row = 4 if axis == 1 else 16
        assert [s.offset_bytes for s in sharings] == [0, row, 3 * row]
        assert {s.kind for s in sharings} == {"split"}


def test_a_split_with_an_unused_part_shares_nothing() -> None:
    """The part that nobody names would have no bytes of its own, but its neighbours would."""
    proto = model([node("Split", "x", "a _ c", axis=0, num_outputs=3)], {"x": (6, 4)}, "a c")
    assert only(imported(proto)).sharings == ()


@pytest.mark.parametrize(
    ("axis", "a", "b", "offsets"),
    [
        (0, (2, 4), (3, 4), [0, 32]),
        (1, (1, 4), (1, 5), [0, 16]),
        (-1, (1, 1, 4), (1, 1, 5), [0, 16]),
        (1, (2, 4), (2, 5), []),
        (0, (0, 4), (3, 4), [0, 0]),
    ],
)
def test_concat_offsets(
    axis: int, a: tuple[int, ...], b: tuple[int, ...], offsets: list[int]
) -> None:
    proto = model([node("Concat", "a b", "y", axis=axis)], {"a": a, "b": b}, "y")
    sharings = proven(proto)
    assert [s.offset_bytes for s in sharings] == offsets
    assert {s.kind for s in sharings} <= {"concat"}


def test_an_input_that_appears_twice_in_a_concat_has_no_place() -> None:
    proto = model([node("Concat", "a b a", "y", axis=0)], {"a": (2,), "b": (3,)}, "y")
    assert [(s.input, s.offset_bytes) for s in proven(proto)] == [("b", 8)]


def test_a_constant_part_of_a_concat_keeps_its_gap() -> None:
    proto = model(
        [node("Concat", "a k b", "y", axis=0)],
        {"a": (2,), "b": (3,)},
        "y",
        [const("k", [1, 2, 3, 4], "float32")],
    )
    assert [(s.input, s.offset_bytes) for s in proven(proto)] == [("a", 0), ("b", 24)]


@pytest.mark.parametrize(("index", "row"), [(0, 0), (2, 2), (-1, 3)])
def test_gather_of_one_row(index: int, row: int) -> None:
    proto = one(node("Gather", "x k", "y"), (4, 6), const("k", index))
    assert [(s.kind, s.offset_bytes) for s in proven(proto)] == [("split", 24 * row)]


def test_gather_elsewhere_is_a_copy() -> None:
    across = one(node("Gather", "x k", "y", axis=1), (4, 6), const("k", 1))
    several = one(node("Gather", "x k", "y"), (4, 6), const("k", [1, 2]))
    assert proven(across) == proven(several) == ()
    inputs = [info("x", (4, 6)), info("k", (), "int64")]
    unknown = model([node("Gather", "x k", "y")], inputs, "y")
    assert only(imported(unknown)).sharings == ()


def test_slices_at_random() -> None:
    """Whatever is called contiguous is; and whatever is contiguous and smaller is called so."""
    random = Random(5)
    found = 0
    for case in range(300):
        shape = [random.choice([1, 1, 2, 3, 5]) for _ in range(random.randint(1, 4))]
        axes = random.sample(range(len(shape)), random.randint(1, len(shape)))
        starts = [random.randint(-shape[a] - 2, shape[a]) for a in axes]
        ends = [random.choice([2**62, random.randint(-3, shape[a] + 2)]) for a in axes]
        stored = [
            const("from", starts),
            const("to", ends),
            const("axes", [a - len(shape) if random.random() < 0.5 else a for a in axes]),
            const("steps", [random.choice([1, 1, 1, 1, 2]) for _ in axes]),
        ]
        proto = one(node("Slice", "x from to axes steps", "y"), shape, *stored)
        sharings = proven(proto, case)
        values = executed(proto, Random(case))
        whole, part = values["x"].tobytes(), values["y"].tobytes()
        is_run = bool(part) and part in whole
        unit = all(int(s) == 1 for s in onnx.numpy_helper.to_array(stored[3]))
        found += bool(sharings)
        if is_run and unit:
            assert sharings
    assert found > 60


def test_slices_with_attributes() -> None:
    made = node("Slice", "x", "y", starts=[1], ends=[3], axes=[0])
    assert [s.offset_bytes for s in proven(one(made, (4, 6), opset=9))] == [24]
    made = node("Slice", "x", "y", starts=[0, 2], ends=[1, 4])
    assert [s.offset_bytes for s in proven(one(made, (4, 6), opset=9))] == [8]


@pytest.mark.parametrize(("length", "start", "offsets"), [(8, 4, [2]), (8, 3, []), (7, 2, [])])
def test_parts_that_do_not_begin_on_a_byte_are_copies(
    length: int, start: int, offsets: list[int]
) -> None:
    """Seven packed int4 elements end in half a byte: no byte is the fourth part of theirs."""
    stored = [const("from", [start]), const("to", [length])]
    proto = one(node("Slice", "x from to", "y"), (length,), *stored)
    found = only(imported(proto, dtype="int4")).sharings
    assert [s.offset_bytes for s in found] == offsets


def test_offsets_follow_the_planned_data_type() -> None:
    proto = one(node("Split", "x", "a b", axis=0, num_outputs=2), (4, 6))
    assert [s.offset_bytes for s in only(imported(proto, dtype="int8")).sharings] == [0, 12]


def test_upper_bounds_are_never_parts() -> None:
    proto = model(
        [node("NonZero", "x", "n"), node("Split", "n", "a b", axis=0, num_outputs=2)],
        {"x": (3, 4)},
        "a b",
    )
    assert only(imported(proto), "Split").sharings == ()


@pytest.mark.parametrize(
    ("made", "inputs", "shared"),
    [
        (node("Add", "a b", "y"), {"a": (2, 3), "b": (2, 3)}, ["a", "b"]),
        (node("Add", "a b", "y"), {"a": (2, 3), "b": (3,)}, ["a"]),
        (node("Add", "a b", "y"), {"a": (2, 1), "b": (1, 3)}, []),
        (node("Add", "a a", "y"), {"a": (2, 3)}, ["a"]),
        (node("Relu", "a", "y"), {"a": (2, 3)}, ["a"]),
        (node("Softmax", "a", "y"), {"a": (2, 3)}, []),
        (node("Equal", "a b", "y"), {"a": (2, 3), "b": (2, 3)}, []),
        (node("Where", "c a b", "y"), {"c": (6,), "a": (6,), "b": (6,)}, ["a", "b"]),
        (node("CumSum", "a k", "y"), {"a": (6,)}, []),
    ],
)
def test_in_place(
    made: onnx.NodeProto, inputs: dict[str, tuple[int, ...]], shared: list[str]
) -> None:
    typed = [info(n, s, "bool" if n == "c" else "float32") for n, s in inputs.items()]
    sharings = only(imported(model([made], typed, "y", [const("k", 0)]))).sharings
    assert [s.input for s in sharings if s.kind == "in_place"] == shared
    assert all(s.kind == "in_place" for s in sharings)
