"""Another batch is exact: each sample as in the model as it is; else it is refused by name."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.models import numbers
from tests.support.onnx_models import const, imported, info, model, node
from ullage.compiler.common.errors import UsageError
from ullage.compiler.execute.kernels import open_session
from ullage.compiler.importer.build import ImportOptions, import_detailed

MAP = (1, 4, 6, 6)
TOKENS = (1, 5, 8)


def made(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int] = MAP,
    stored: Sequence[onnx.TensorProto] = (),
    opset: int = 20,
) -> onnx.ModelProto:
    proto = model(nodes, {"x": shape}, "y", stored, opset=opset)
    proto.ir_version = 10
    return proto


def refused(proto: onnx.ModelProto, batch: int = 3) -> str:
    with pytest.raises(UsageError) as caught:
        imported(proto, batch=batch)
    assert caught.value.exit_code == 2
    return caught.value.message


def prove(proto: onnx.ModelProto, batch: int) -> None:
    """Run the larger model, and the model as it is on each group of its samples."""
    read = import_detailed(proto, ImportOptions(batch=batch, fuse=False), "m")
    drawn = np.random.default_rng(0)
    feeds: dict[str, Any] = {}
    for value in proto.graph.input:
        kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = (batch, *(d.dim_value for d in value.type.tensor_type.shape.dim[1:]))
        feeds[value.name] = (
            drawn.integers(0, 4, shape) if kind == np.int64 else drawn.standard_normal(shape)
        ).astype(kind)
    flat = read.proto
    flat.ir_version = 10
    del flat.graph.value_info[:]
    for value in flat.graph.output:
        known = read.scope.types[value.name]
        number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(known.dtype))
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, number, known.shape))
    (whole,) = open_session(flat).run(None, feeds)
    alone = onnx.ModelProto()
    alone.CopyFrom(proto)
    plain = import_detailed(proto, ImportOptions(fuse=False), "m").scope.types["y"]
    number = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(plain.dtype))
    alone.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", number, plain.shape))
    session = open_session(alone)
    group = proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    assert batch % group == 0
    parts = [
        session.run(None, {n: a[i : i + group] for n, a in feeds.items()})[0]
        for i in range(0, batch, group)
    ]
    grown = [i for i, (a, b) in enumerate(zip(whole.shape, plain.shape, strict=True)) if a != b]
    assert len(grown) == 1
    np.testing.assert_allclose(whole, np.concatenate(parts, axis=grown[0]), rtol=1e-4, atol=1e-5)


EXACT: dict[str, onnx.ModelProto] = {
    "classifier": made(
        [
            node("Conv", "x w", "c", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("BatchNormalization", "c s b m v", "n"),
            node("Relu", "n", "r"),
            node("Add", "r x", "a"),
            node("GlobalAveragePool", "a", "p"),
            node("Reshape", "p flat", "f"),
            node("Gemm", "f g h", "z", transB=1),
            node("Softmax", "z", "y"),
        ],
        stored=[
            numbers("w", (4, 4, 3, 3)),
            *(numbers(name, (4,)) for name in "sbm"),
            const("v", np.ones(4), "float32"),
            const("flat", [1, 4]),
            numbers("g", (10, 4)),
            numbers("h", (10,)),
        ],
    ),
    "minus-one": made(
        [node("Reshape", "x t", "f"), node("MatMul", "f w", "y")],
        stored=[const("t", [1, -1]), numbers("w", (144, 3))],
    ),
    "minus-one-first": made([node("Reshape", "x t", "y")], stored=[const("t", [-1, 144])]),
    "flatten-all": made([node("Flatten", "x", "y", axis=0)]),
    "flatten": made([node("Flatten", "x", "f"), node("Exp", "f", "y")]),
    "heads": made(
        [
            node("MatMul", "x w", "q"),
            node("Reshape", "q split", "h"),
            node("Transpose", "h", "t", perm=[0, 2, 1, 3]),
            node("Transpose", "h", "u", perm=[0, 2, 3, 1]),
            node("MatMul", "t u", "s"),
            node("Softmax", "s", "p"),
            node("MatMul", "p t", "o"),
            node("Transpose", "o", "b", perm=[0, 2, 1, 3]),
            node("Reshape", "b joined", "j"),
            node("LayerNormalization", "j g", "y"),
        ],
        TOKENS,
        [
            numbers("w", (8, 8)),
            const("split", [1, 5, 2, 4]),
            const("joined", [0, 0, -1]),
            numbers("g", (8,)),
        ],
    ),
    "channel-shuffle": made(
        [
            node("Reshape", "x a", "g"),
            node("Transpose", "g", "t", perm=[0, 2, 1, 3, 4]),
            node("Reshape", "t b", "y"),
        ],
        stored=[const("a", [1, 2, 2, 6, 6]), const("b", [1, 4, 6, 6])],
    ),
    "batch-moves": made(
        [
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            node("LSTM", "t w r", "_ h", hidden_size=3),
            node("Squeeze", "h zero", "y"),
        ],
        TOKENS,
        [numbers("w", (1, 12, 8)), numbers("r", (1, 12, 3)), const("zero", [0])],
    ),
    "shape-arithmetic": made(
        [
            node("Shape", "x", "s"),
            node("Gather", "s zero", "n"),
            node("Unsqueeze", "n axis", "n1"),
            node("Concat", "n1 rest", "t", axis=0),
            node("Reshape", "x t", "y"),
        ],
        stored=[const("zero", 0), const("axis", [0]), const("rest", [-1])],
    ),
    "axes-beside": made(
        [
            node("Slice", "x start end ax", "c"),
            node("Pad", "c pads", "p"),
            node("ReduceMean", "p ax", "m", keepdims=0),
            node("Concat", "m m", "k", axis=1),
            node("Split", "k", "u v", axis=1, num_outputs=2),
            node("Unsqueeze", "u front", "y"),
        ],
        stored=[
            const("start", [1]),
            const("end", [4]),
            const("ax", [2]),
            const("pads", [0, 0, 1, 0, 0, 0, 0, 2]),
            const("front", [0]),
        ],
    ),
    "resize": made(
        [node("Resize", "x _ _ sizes", "r", mode="nearest"), node("Relu", "r", "y")],
        stored=[const("sizes", [1, 4, 12, 12])],
    ),
    "old-softmax": made([node("Softmax", "x", "y")], opset=11),
}


@pytest.mark.parametrize("batch", [2, 5])
@pytest.mark.parametrize("name", EXACT)
def test_every_sample_is_computed_as_if_alone(name: str, batch: int) -> None:
    prove(EXACT[name], batch)


def test_groups_of_samples_become_more_groups() -> None:
    prove(made([node("Reshape", "x t", "y")], (2, 6), [const("t", [2, 3, 2])]), 8)


def test_indices_may_be_the_samples() -> None:
    proto = model(
        [node("Gather", "table ids", "h"), node("MatMul", "h w", "y")],
        [info("ids", (1, 5), "int64")],
        "y",
        [numbers("table", (4, 8)), numbers("w", (8, 3))],
    )
    proto.ir_version = 10
    prove(proto, 3)


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("Softmax", "x", "y", axis=0)], "works along the axis of the samples"),
        ([node("ReduceSum", "x", "y")], "works along the axis of the samples"),
        ([node("Transpose", "x", "t"), node("MatMul", "x t", "y")], "different axes"),
        ([node("Squeeze", "x zero", "y")], "takes the axis of the samples away"),
        ([node("Squeeze", "x", "y")], "whatever has length 1"),
        ([node("Concat", "x x", "y", axis=0)], "joins along the axis"),
        ([node("Gather", "x zero", "y", axis=0)], "works along the axis"),
        ([node("Add", "x k", "h"), node("Reshape", "h gone", "y")], ""),
        ([node("Mystery", "x", "y", domain="acme")], "no rule says"),
        ([node("Tile", "x twice", "y")], "works along the axis"),
        ([node("Expand", "x four", "y")], "repeats along the axis"),
        ([node("RandomNormal", "", "r", shape=[1, 4]), node("Add", "x r", "y")], "no samples"),
        (
            [
                node("Shape", "x", "s"),
                node("Cast", "s", "f", to=1),
                node("ReduceProd", "f", "n", keepdims=0),
                node("Div", "x n", "y"),
            ],
            "computed from the number of samples",
        ),
    ],
)
def test_what_mixes_samples_is_refused_by_name(nodes: list[onnx.NodeProto], reason: str) -> None:
    proto = model(
        nodes,
        {"x": (1, 4)},
        [info("y", (1, 4))] if nodes[-1].domain else "y",
        [
            const("zero", [0]),
            const("twice", [2, 1]),
            const("four", [4, 4]),
            const("k", np.ones(4), "float32"),
            const("gone", [4]),
        ],
        domains=["acme"],
    )
    if not reason:  # a vector of samples: rows are runs of elements still
        prove(proto, 3)
        return
    message = refused(proto)
    assert "the model's batch is fixed at [1], and " in message
    assert reason in message
    assert f"{nodes[-1].op_type} (unnamed)" in message or "RandomNormal" in message


def test_inputs_that_disagree_are_refused() -> None:
    proto = model([node("MatMul", "x w", "y")], {"x": (1, 4), "w": (4, 2)}, "y")
    assert "fixed at [1, 4] (x 1, w 4)" in refused(proto)


def test_a_row_for_each_sample_among_the_constants_is_refused() -> None:
    proto = made([node("Add", "x k", "y")], (2, 3), [const("k", np.ones((2, 3)), "float32")])
    assert "'k' has a row for each sample" in refused(proto, 4)


def test_the_batch_that_it_has_is_no_change() -> None:
    assert imported(EXACT["flatten"], batch=1).values["y"].shape == (1, 144)
