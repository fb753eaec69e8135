"""Loop nests of operators: the geometry of convolutions, products, pools and vector work."""

import pytest
from onnx import NodeProto

from tests.support.onnx_models import const, imported, info, model, node, subgraph, weight
from tests.support.reach_cases import CASES, ReachCase
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import LoopNest
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.lowering.part_work import part_work

IMAGE = {"x": (2, 6, 9, 8)}
CONV = weight("w", (12, 6, 3, 2))
# How its results are padded and strided: rows (9 + 2 - 3) / 2 + 1, columns 8 + 1 - 2 + 1.
STRIDED = {"strides": [2, 1], "pads": [1, 0, 1, 1], "dilations": [1, 1]}


def nests(nodes: list[NodeProto], *weights: object, shape: object = IMAGE) -> tuple[LoopNest, ...]:
    graph = imported(model(nodes, shape, "y", list(weights)), fuse=True)
    return graph.operators[-1].nests


@pytest.mark.parametrize(
    ("made", "kernel", "wanted"),
    [
        (
            node("Conv", "x w", "y", **STRIDED),
            (12, 6, 3, 2),
            LoopNest("convolution", "Conv", 1, 2, 5, 8, 12, 6, (3, 2), (2, 1)),
        ),
        (
            node("Conv", "x w", "y", group=3, dilations=[2, 1]),
            (12, 2, 3, 2),
            LoopNest("convolution", "Conv", 1, 2, 5, 7, 12, 2, (3, 2), (1, 1), (2, 1), 3),
        ),
        (
            node("Conv", "x w", "y", group=6),
            (12, 1, 3, 3),
            LoopNest("depthwise", "Conv", 1, 2, 7, 6, 12, 1, (3, 3), groups=6),
        ),
        (
            node("ConvTranspose", "x w", "y", strides=[2, 2]),
            (6, 4, 2, 2),
            LoopNest("convolution", "ConvTranspose", 1, 2, 9, 8, 16, 6, stride=(2, 2)),
        ),
    ],
    ids=["strided", "grouped", "depthwise", "transposed"],
)
def test_convolutions(made: NodeProto, kernel: tuple[int, ...], wanted: LoopNest) -> None:
    assert nests([made], weight("w", kernel)) == (wanted,)


def test_spaces_of_one_and_three_axes() -> None:
    line = nests(
        [node("Conv", "x w", "y", strides=[3])], weight("w", (4, 6, 5)), shape={"x": (1, 6, 20)}
    )
    assert line == (LoopNest("convolution", "Conv", 1, 1, 1, 6, 4, 6, (1, 5), (1, 3)),)
    volume = nests(
        [node("Conv", "x w", "y")], weight("w", (4, 6, 2, 3, 1)), shape={"x": (1, 6, 5, 7, 8)}
    )
    assert volume == (LoopNest("convolution", "Conv", 1, 4, 5, 8, 4, 6, (6, 1)),)


def test_what_is_fused_stands_behind_the_main_node() -> None:
    chain = [
        node("Conv", "x w", "c"),
        node("BatchNormalization", "c s s s s", "n"),
        node("Relu", "n", "y"),
    ]
    (nest,) = nests(chain, CONV, weight("s", (12,)))
    assert nest.then == ("BatchNormalization", "Relu")
    assert nest.kind == "convolution"


def test_dequantised_operands_are_read_as_integers() -> None:
    chain = [
        node("QuantizeLinear", "x s z", "q"),
        node("DequantizeLinear", "q s z", "d"),
        node("Conv", "d w", "c"),
        node("QuantizeLinear", "c s z", "y"),
    ]
    constants = [const("s", 0.5, "float32"), const("z", 0, "uint8"), CONV]
    graph = imported(model(chain, IMAGE, "y", constants), fuse=True)
    assert [o.nests for o in graph.operators] == [
        (LoopNest("quantization", "QuantizeLinear", width=2 * 6 * 9, channels=8),),
        (LoopNest("convolution", "Conv", 1, 2, 7, 7, 12, 6, (3, 2), then=("QuantizeLinear",)),),
    ]


@pytest.mark.parametrize(
    ("made", "wanted"),
    [
        (
            node("MaxPool", "x", "y", kernel_shape=[3, 2], strides=[3, 2]),
            LoopNest("pooling", "MaxPool", 1, 2, 3, 4, 6, kernel=(3, 2), stride=(3, 2)),
        ),
        (
            node("GlobalAveragePool", "x", "y"),
            LoopNest("pooling", "GlobalAveragePool", 1, 2, 1, 1, 6, kernel=(9, 8)),
        ),
        (node("Softmax", "x", "y"), LoopNest("softmax", "Softmax", width=2 * 6 * 9, channels=8)),
        (node("Relu", "x", "y"), LoopNest("elementwise", "Relu", width=2 * 6 * 9, channels=8)),
        (
            node("Transpose", "x", "y", perm=[0, 2, 3, 1]),
            LoopNest("movement", "Transpose", width=2 * 9 * 8, channels=6),
        ),
    ],
    ids=lambda v: v.op_type if isinstance(v, NodeProto) else "",
)
def test_vector_work(made: NodeProto, wanted: LoopNest) -> None:
    assert nests([made]) == (wanted,)


def test_a_mean_over_space_is_a_window() -> None:
    made = node("ReduceMean", "x a", "y", keepdims=0)
    (nest,) = nests([made], const("a", [2, 3]))
    assert nest == LoopNest("reduction", "ReduceMean", 1, 2, 1, 1, 6, kernel=(9, 8))
    (rows,) = nests([node("ReduceMean", "x a", "y", keepdims=0)], const("a", [3]))
    assert rows == LoopNest("reduction", "ReduceMean", width=2 * 6, channels=9, kernel=(1, 8))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_nests_are_all_of_the_work(case: ReachCase) -> None:
    for operator in import_model(case.proto(), ImportOptions(), case.name).operators:
        assert sum(nest.visits for nest in operator.nests if nest.is_mac) == operator.macs
        assert bool(operator.nests) == bool(operator.macs or operator.vector_elements)


def test_a_loop_repeats_its_nests() -> None:
    body = subgraph(
        [node("Identity", "going", "on"), node("MatMul", "state w", "next")],
        [info("i", (), "int64"), info("going", (), "bool"), info("state", (2, 4))],
        [info("on", (), "bool"), info("next", (2, 4))],
    )
    graph = imported(
        model(
            [node("Loop", "trips _ x", "y", body=body)],
            {"x": (2, 4)},
            "y",
            [const("trips", 3), weight("w", (4, 4))],
        )
    )
    products = [nest for o in graph.operators for nest in o.nests if nest.is_mac]
    assert products == [LoopNest("matmul", "MatMul", count=3, width=2, channels=4, depth=4)]


def test_parts_of_a_mean_over_space_have_fewer_channels() -> None:
    made = node("ReduceMean", "x a", "y")
    graph = imported(model([made], IMAGE, "y", [const("a", [2, 3])]))
    work = part_work(graph, graph.operators[0], {1: (0, 2)})
    assert work.nests == (LoopNest("reduction", "ReduceMean", 1, 2, 1, 1, 2, kernel=(9, 8)),)


def test_parts_of_an_image_have_fewer_rows() -> None:
    chain = [node("Conv", "x w", "c", group=6), node("Relu", "c", "y")]
    graph = imported(model(chain, IMAGE, "y", [weight("w", (12, 1, 3, 3))]), fuse=True)
    work = part_work(graph, graph.operators[0], {1: (0, 6), 2: (2, 5)})
    assert work.nests == (
        LoopNest("depthwise", "Conv", 1, 2, 3, 6, 6, 1, (3, 3), groups=3, then=("Relu",)),
    )
    assert work.macs == work.nests[0].visits


def test_parts_of_a_mean_have_fewer_rows_and_divide_the_work() -> None:
    graph = imported(model([node("GlobalAveragePool", "x", "y")], IMAGE, "y"))
    (operator,) = graph.operators
    rows = operator.nests[0].kernel[0]
    parts = [part_work(graph, operator, {REDUCTION: (r, r + 1)}) for r in range(rows)]
    assert [part.nests[0].kernel for part in parts] == [(1, operator.nests[0].kernel[1])] * rows
    assert sum(part.vector_elements for part in parts) == operator.vector_elements


def test_parts_of_a_reduction_have_less_depth() -> None:
    graph = imported(model([node("Conv", "x w", "y")], IMAGE, "y", [CONV]))
    first = part_work(graph, graph.operators[0], {REDUCTION: (0, 2)})
    assert first.nests == (LoopNest("convolution", "Conv", 1, 2, 7, 7, 12, 2, (3, 2)),)
