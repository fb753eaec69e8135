"""Multiply-accumulates and vector work, against figures worked out by hand."""

from collections.abc import Mapping
from itertools import product
from math import prod

import onnx
import pytest

from tests.support.onnx_models import MICROSOFT, const, imported, info, model, node, only, weight
from ullage.compiler.ir.graph import Operator

Shapes = Mapping[str, tuple[int, ...]]


def operator(
    made: onnx.NodeProto, shapes: Shapes, *stored: onnx.TensorProto, opset: int = 23
) -> Operator:
    return only(imported(model([made], shapes, made.output[0], stored, opset=opset)))


def typed(made: onnx.NodeProto, *inputs: onnx.ValueInfoProto, opset: int = 23) -> Operator:
    stored = [const("s", 0.5, "float32"), const("z", 0, "uint8")]
    return only(imported(model([made], inputs, made.output[0], stored, opset=opset)))


@pytest.mark.parametrize(
    ("made", "data", "kernel", "macs"),
    [
        # 4x4 outputs without padding; 3*3*3 taps; 8 filters
        (node("Conv", "x w", "y"), (1, 3, 6, 6), (8, 3, 3, 3), 4 * 4 * 27 * 8),
        # pads keep 6x6
        (node("Conv", "x w", "y", pads=[1] * 4), (1, 3, 6, 6), (8, 3, 3, 3), 36 * 27 * 8),
        # (7 + 1 + 1 - 3) // 2 + 1 = 4 rows and columns, two images
        (
            node("Conv", "x w", "y", pads=[1] * 4, strides=[2, 2]),
            (2, 3, 7, 7),
            (8, 3, 3, 3),
            2 * 16 * 27 * 8,
        ),
        # dilation 2: the kernel spans 5, 2x2 outputs
        (node("Conv", "x w", "y", dilations=[2, 2]), (1, 1, 6, 6), (4, 1, 3, 3), 4 * 9 * 4),
        # depthwise: one channel per filter
        (node("Conv", "x w", "y", group=8), (1, 8, 6, 6), (8, 1, 3, 3), 16 * 9 * 8),
        # two groups of 4 -> 6 channels
        (node("Conv", "x w", "y", group=2), (1, 8, 5, 5), (12, 4, 1, 1), 25 * 4 * 12),
        # one dimension, three dimensions
        (node("Conv", "x w", "y"), (1, 2, 10), (4, 2, 3), 8 * 6 * 4),
        (node("Conv", "x w", "y"), (1, 2, 3, 3, 3), (4, 2, 2, 2, 2), 8 * 16 * 4),
        # every input pixel meets every tap: 5*5*4 inputs, 6 outputs of 2x2 taps
        (
            node("ConvTranspose", "x w", "y", strides=[2, 2]),
            (1, 4, 5, 5),
            (4, 6, 2, 2),
            25 * 4 * 6 * 4,
        ),
        # grouped: 2 groups of 2 inputs and 3 outputs each
        (
            node("ConvTranspose", "x w", "y", group=2),
            (1, 4, 5, 5),
            (4, 3, 3, 3),
            2 * 25 * 2 * 3 * 9,
        ),
    ],
)
def test_convolutions(
    made: onnx.NodeProto, data: tuple[int, ...], kernel: tuple[int, ...], macs: int
) -> None:
    found = operator(made, {"x": data}, weight("w", kernel))
    assert found.macs == macs
    assert sum(g.m * g.k * g.n * g.count for g in found.gemms) == macs
    assert found.mac_dtype == "float32"


def test_a_convolution_is_seen_as_its_matrix_products() -> None:
    made = node("Conv", "x w", "y", group=2)
    (gemm,) = operator(made, {"x": (3, 8, 5, 5)}, weight("w", (12, 4, 1, 1))).gemms
    assert (gemm.m, gemm.k, gemm.n, gemm.count) == (75, 4, 6, 2)


@pytest.mark.parametrize(
    ("made", "a", "b", "macs"),
    [
        (node("Gemm", "a b", "y"), (2, 3), (3, 5), 30),
        (node("Gemm", "a b", "y", transA=1), (3, 2), (3, 5), 30),
        (node("Gemm", "a b", "y", transB=1), (2, 3), (5, 3), 30),
        (node("Gemm", "a b", "y", transA=1, transB=1), (3, 2), (5, 3), 30),
        (node("MatMul", "a b", "y"), (2, 3), (3, 5), 30),
        (node("MatMul", "a b", "y"), (3,), (3, 5), 15),
        (node("MatMul", "a b", "y"), (2, 3), (3,), 6),
        (node("MatMul", "a b", "y"), (3,), (3,), 3),
        (node("MatMul", "a b", "y"), (7, 2, 3), (3, 5), 210),
        (node("MatMul", "a b", "y"), (2, 3), (7, 3, 5), 210),
        (node("MatMul", "a b", "y"), (4, 1, 2, 3), (7, 3, 5), 4 * 7 * 30),
        (node("MatMul", "a b", "y"), (4, 1, 2, 3), (1, 7, 3, 5), 4 * 7 * 30),
        (node("MatMul", "a b", "y"), (4, 7, 2, 3), (4, 7, 3, 5), 4 * 7 * 30),
        (node("FusedMatMul", "a b", "y", domain=MICROSOFT, transB=1), (6, 2, 3), (6, 5, 3), 180),
    ],
)
def test_products(made: onnx.NodeProto, a: tuple[int, ...], b: tuple[int, ...], macs: int) -> None:
    assert operator(made, {"a": a, "b": b}).macs == macs


def brute_force(equation: str, *shapes: tuple[int, ...]) -> int:
    """Products of a two-operand einsum: one per combination of all indices."""
    terms = equation.partition("->")[0].split(",")
    sizes = {
        letter: size
        for term, shape in zip(terms, shapes, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    return sum(1 for _ in product(*(range(size) for size in sizes.values())))


@pytest.mark.parametrize(
    ("equation", "a", "b"),
    [
        ("ij,jk->ik", (2, 3), (3, 5)),
        ("bij,bjk->bik", (4, 2, 3), (4, 3, 5)),
        ("bhqd,bhkd->bhqk", (2, 3, 4, 5), (2, 3, 6, 5)),
        ("i,j->ij", (4,), (5,)),
        ("ij,ij->", (4, 5), (4, 5)),
        ("nchw,fc->nfhw", (1, 3, 2, 2), (6, 3)),
    ],
)
def test_einsum(equation: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    made = node("Einsum", "a b", "y", equation=equation)
    assert operator(made, {"a": a, "b": b}).macs == brute_force(equation, a, b)


def test_einsum_with_ellipsis_and_without_arrow() -> None:
    batched = node("Einsum", "a b", "y", equation="...ij,...jk->...ik")
    assert operator(batched, {"a": (7, 2, 3), "b": (7, 3, 5)}).macs == 7 * 30
    implied = node("Einsum", "a b", "y", equation="ij,jk")
    assert operator(implied, {"a": (2, 3), "b": (3, 5)}).macs == 30


def test_einsum_of_one_operand_multiplies_nothing() -> None:
    found = operator(node("Einsum", "a", "y", equation="ij->ji"), {"a": (2, 3)})
    assert (found.macs, found.vector_elements) == (0, 6)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
@pytest.mark.parametrize("directions", [1, 2])
def test_recurrent(op: str, gates: int, directions: int) -> None:
    """Each step and direction: the input's and the state's product with all gates' weights."""
    steps, batch, width, hidden = 7, 2, 3, 5
    made = node(
        op,
        "x w r",
        "y",
        hidden_size=hidden,
        direction="bidirectional" if directions == 2 else "forward",
    )
    found = operator(
        made,
        {"x": (steps, batch, width)},
        weight("w", (directions, gates * hidden, width)),
        weight("r", (directions, gates * hidden, hidden)),
    )
    assert found.macs == directions * steps * batch * gates * hidden * (width + hidden)


def test_attention_of_separate_heads() -> None:
    """Queries x keys x head size, then queries x keys x value size, per batch and head."""
    shapes = {"q": (2, 3, 5, 8), "k": (2, 3, 7, 8), "v": (2, 3, 7, 6)}
    assert operator(node("Attention", "q k v", "y"), shapes).macs == 2 * 3 * 5 * 7 * (8 + 6)


def test_attention_with_a_mask_and_a_cache() -> None:
    """A mask adds no keys; cached keys do."""
    shapes = {"q": (2, 3, 1, 8), "k": (2, 3, 1, 8), "v": (2, 3, 1, 8), "mask": (2, 3, 1, 1)}
    assert operator(node("Attention", "q k v mask", "y"), shapes).macs == 2 * 3 * 1 * 1 * 16
    cached = {**shapes, "mask": (1, 10), "pk": (2, 3, 9, 8), "pv": (2, 3, 9, 8)}
    made = node("Attention", "q k v mask pk pv", "y nk nv")
    assert operator(made, cached).macs == 2 * 3 * 1 * (9 + 1) * 16


def test_attention_of_packed_heads() -> None:
    made = node("Attention", "q k v", "y", q_num_heads=4, kv_num_heads=4)
    shapes = {"q": (2, 5, 32), "k": (2, 7, 32), "v": (2, 7, 32)}
    assert operator(made, shapes).macs == 2 * 4 * 5 * 7 * (8 + 8)


def test_attention_that_projects() -> None:
    """com.microsoft: the packed projection to Q, K and V first."""
    made = node("Attention", "x w b", "y", domain=MICROSOFT, num_heads=4)
    found = operator(made, {"x": (2, 5, 32)}, weight("w", (32, 96)), weight("b", (96,)))
    assert found.macs == 2 * 5 * 32 * 96 + 2 * 4 * 5 * 5 * (8 + 8)


def test_quantised_products() -> None:
    data, kernel = info("x", (1, 4, 5, 5), "uint8"), info("w", (6, 4, 3, 3), "uint8")
    conv = typed(node("QLinearConv", "x s z w s z s z", "y"), data, kernel)
    assert (conv.macs, conv.mac_dtype) == (9 * 36 * 6, "uint8")
    plain = typed(node("ConvInteger", "x w z z", "y"), data, kernel)
    assert (plain.macs, plain.mac_dtype) == (9 * 36 * 6, "uint8")
    a, b = info("a", (2, 8), "uint8"), info("b", (8, 3), "uint8")
    assert typed(node("QLinearMatMul", "a s z b s z s z", "y"), a, b).macs == 48
    assert typed(node("MatMulInteger", "a b", "y"), a, b).macs == 48
    made = node("QGemm", "a s z b s z", "y", domain=MICROSOFT)
    assert typed(made, a, b).macs == 48


def test_blockwise_quantised_weights() -> None:
    made = node("MatMulNBits", "a b c", "y", domain=MICROSOFT, K=64, N=6, bits=4, block_size=32)
    stored = [weight("b", (6, 2, 16), "uint8"), weight("c", (12,))]
    found = operator(made, {"a": (3, 5, 64)}, *stored)
    assert found.macs == 15 * 64 * 6
    assert found.inputs == ("a", "b", "c")


@pytest.mark.parametrize(
    ("made", "shape", "elements"),
    [
        # 2x2 outputs of 3x3 windows, 4 channels
        (node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2]), (1, 4, 5, 5), 16 * 9),
        (node("AveragePool", "x", "y", kernel_shape=[2, 2]), (1, 4, 3, 3), 16 * 4),
        (node("GlobalAveragePool", "x", "y"), (1, 4, 5, 5), 100),
        (node("ReduceSum", "x k", "y"), (4, 6), 24),
        (node("ReduceMax", "x k", "y", keepdims=0), (4, 6), 24),
        (node("ArgMax", "x", "y"), (4, 6), 24),
        (node("Softmax", "x", "y"), (4, 6), 3 * 24),
        (node("LayerNormalization", "x g", "y"), (4, 6), 4 * 24),
        (node("Relu", "x", "y"), (4, 6), 24),
        (node("Transpose", "x", "y"), (4, 6), 24),
        (node("Expand", "x e", "y"), (4, 6), 72),
        (node("Reshape", "x k", "y"), (4, 1), 0),
        # 24 elements searched, at most 24 pairs of indices found
        (node("NonZero", "x", "y"), (4, 6), 24 + 2 * 24),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_vector_work(made: onnx.NodeProto, shape: tuple[int, ...], elements: int) -> None:
    stored = [const("k", [-1]), const("g", [1] * 6, "float32"), const("e", [3, 4, 6])]
    found = operator(made, {"x": shape}, *stored)
    assert (found.macs, found.vector_elements) == (0, elements)


def test_gather_reads_what_it_selects() -> None:
    """An embedding of 1,000 rows of which four are read."""
    made = node("Gather", "table ids", "y")
    proto = model([made], [info("ids", (1, 4), "int64")], "y", [weight("table", (1000, 16))])
    found = only(imported(proto))
    assert found.accessed_bytes == (("table", 4 * 16 * 4),)
    assert found.inputs == ("ids", "table")


def test_unknown_operators_say_how_they_are_costed() -> None:
    graph = imported(model([node("Det", "x", "y")], {"x": (3, 3)}, "y"))
    assert graph.fallbacks[0].reason == "no cost rule for Det: costed by its bytes"
    assert only(graph).vector_elements == 10


def test_matrix_operators_of_unexpected_rank_say_so() -> None:
    proto = model(
        [node("FusedMatMul", "a b", "y", domain=MICROSOFT)],
        {"a": (), "b": (3, 5)},
        [info("y", (5,))],
    )
    graph = imported(proto)
    assert "unexpected rank" in graph.fallbacks[0].reason
    assert only(graph).vector_elements == 1 + 15 + 5


def test_fused_groups_keep_all_work() -> None:
    nodes = [node("Gemm", "x w", "g"), node("Relu", "g", "r"), node("Sigmoid", "r", "y")]
    proto = model(nodes, {"x": (2, 3)}, "y", [weight("w", (3, 5))])
    found = only(imported(proto, fuse=True))
    assert found.macs == prod((2, 3, 5))
    assert found.vector_elements == 20
