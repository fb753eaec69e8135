"""Fusion groups: what joins, what must not, and which operands a group may overwrite."""

import onnx
import pytest

from tests.support.onnx_models import const, imported, info, model, node, only, weight
from ullage.compiler.importer.optypes import MAX_FUSED_NODES, fusion_class, may_follow
from ullage.compiler.ir.graph import Graph, Sharing

BN = [weight("s", (4,)), weight("k", (4, 4, 1, 1)), weight("k2", (4, 4, 1, 1))]
X = {"x": (1, 4, 6, 6)}


def fused(
    nodes: list[onnx.NodeProto],
    outputs: str = "y",
    inputs: dict[str, tuple[int, ...]] | None = None,
    stored: list[onnx.TensorProto] | None = None,
) -> Graph:
    return imported(model(nodes, inputs or X, outputs, stored or BN), fuse=True)


def groups(graph: Graph) -> list[tuple[str, int]]:
    """(kind, number of nodes) of every operator."""
    return [(o.kind, len(o.nodes)) for o in graph.operators]


def test_convolution_normalisation_activation() -> None:
    graph = fused(
        [
            node("Conv", "x k", "c", name="conv"),
            node("BatchNormalization", "c s s s s", "n"),
            node("Relu", "n", "y"),
        ]
    )
    operator = only(graph)
    assert (operator.name, operator.kind, operator.nodes) == ("conv", "Conv", (0, 1, 2))
    assert operator.inputs == ("x", "k", "s")
    assert operator.outputs == ("y",)
    assert set(graph.values) == {"x", "k", "s", "y"}  # what is between them needs no memory


def test_swish_is_a_diamond_of_one_group() -> None:
    graph = fused([node("Conv", "x k", "c"), node("Sigmoid", "c", "g"), node("Mul", "c g", "y")])
    assert groups(graph) == [("Conv", 3)]


def test_half_a_diamond_stays_out() -> None:
    """The other operand of the Mul is a convolution of the same tensor: c must be stored."""
    graph = fused(
        [
            node("Conv", "x k", "c"),
            node("Sigmoid", "c", "g"),
            node("Conv", "c k2", "d"),
            node("Mul", "d g", "y"),
        ]
    )
    assert groups(graph)[0] == ("Conv", 1)
    assert "c" in graph.values


def test_a_residual_addition_joins_the_later_producer_only() -> None:
    graph = fused(
        [
            node("Conv", "x k", "a"),
            node("Relu", "a", "early"),
            node("Conv", "early k2", "late"),
            node("Add", "late early", "sum"),
            node("Relu", "sum", "y"),
        ]
    )
    assert groups(graph) == [("Conv", 2), ("Conv", 3)]
    assert graph.operators[1].inputs == ("early", "k2")


def test_an_addition_of_two_convolutions_waits_for_the_second() -> None:
    graph = fused([node("Conv", "x k", "a"), node("Conv", "x k2", "b"), node("Add", "a b", "y")])
    assert [o.nodes for o in graph.operators] == [(0,), (1, 2)]
    assert graph.operators[1].inputs == ("x", "k2", "a")


def test_gelu_written_out_joins_its_product() -> None:
    graph = fused(
        [
            node("MatMul", "x w", "m"),
            node("Div", "m root", "d"),
            node("Erf", "d", "e"),
            node("Add", "e one", "p"),
            node("Mul", "m p", "q"),
            node("Mul", "q half", "y"),
        ],
        inputs={"x": (3, 8)},
        stored=[
            weight("w", (8, 5)),
            const("root", 1.41, "float32"),
            const("one", 1.0, "float32"),
            const("half", 0.5, "float32"),
        ],
    )
    operator = only(graph)
    assert (operator.kind, len(operator.nodes)) == ("MatMul", 6)
    assert operator.inputs == ("x", "w")  # scalars are no operands in memory
    assert operator.vector_elements == 5 * 15


def test_elementwise_chains_fuse_without_a_matrix_operator() -> None:
    graph = fused([node("Relu", "x", "a"), node("Neg", "a", "b"), node("Exp", "b", "y")])
    assert groups(graph) == [("Relu", 3)]


def test_a_graph_output_ends_a_group() -> None:
    graph = fused([node("Conv", "x k", "c"), node("Relu", "c", "y")], "c y")
    assert groups(graph) == [("Conv", 1), ("Relu", 1)]
    assert graph.outputs == ("c", "y")


def test_an_output_in_the_middle_splits_a_chain() -> None:
    nodes = [node("Relu", "x", "a"), node("Neg", "a", "b"), node("Exp", "b", "y")]
    assert groups(fused(nodes, "a y")) == [("Relu", 1), ("Neg", 2)]


def test_a_tensor_with_two_distant_readers_is_stored() -> None:
    graph = fused(
        [
            node("Conv", "x k", "c"),
            node("Relu", "c", "r"),
            node("Transpose", "r", "t", perm=[0, 1, 3, 2]),
            node("MatMul", "r t", "y"),
        ]
    )
    assert groups(graph) == [("Conv", 2), ("Transpose", 1), ("MatMul", 1)]


def test_broadcasting_to_a_larger_result_does_not_fuse() -> None:
    nodes = [node("GlobalAveragePool", "x", "p"), node("Mul", "p x", "y")]
    assert groups(fused(nodes)) == [("GlobalAveragePool", 1), ("Mul", 1)]


def test_targets_may_run_operators_of_two_activations_by_themselves() -> None:
    nodes = [
        node("Conv", "x k", "c"),
        node("Sigmoid", "c", "g"),
        node("Mul", "c g", "m"),  # a swish: both operands come from inside
        node("Add", "m x", "a"),
        node("Relu", "a", "y"),
    ]
    proto = model(nodes, X, "y", BN)
    assert groups(imported(proto, fuse=True)) == [("Conv", 5)]
    alone = imported(proto, fuse=True, fuse_pairs=False)
    assert groups(alone) == [("Conv", 3), ("Add", 2)]
    bias = [node("Conv", "x k", "c"), node("Add", "c b", "y")]
    with_bias = model(bias, X, "y", [*BN, weight("b", (4, 1, 1))])
    assert groups(imported(with_bias, fuse=True, fuse_pairs=False)) == [("Conv", 2)]


def test_scaling_of_integers_is_no_vector_work_of_its_own() -> None:
    nodes = [
        node("QuantizeLinear", "x scale zero", "q"),
        node("DequantizeLinear", "q scale zero", "d"),
        node("Conv", "d k", "c"),
        node("Relu", "c", "r"),
        node("QuantizeLinear", "r scale zero", "y"),
    ]
    stored = [*BN, const("scale", 0.5, "float32"), const("zero", 0, "int8")]
    graph = fused(nodes, stored=stored)
    assert groups(graph) == [("QuantizeLinear", 1), ("Conv", 4)]
    assert [o.vector_elements for o in graph.operators] == [144, 144]  # the first; the Relu


def test_data_movement_takes_no_arithmetic_behind_it() -> None:
    nodes = [node("Transpose", "x", "t"), node("Relu", "t", "y")]
    assert groups(fused(nodes)) == [("Transpose", 1), ("Relu", 1)]


def test_groups_have_a_largest_size() -> None:
    length = 2 * MAX_FUSED_NODES + 3
    nodes = [node("Neg", f"t{i}", f"t{i + 1}") for i in range(length)]
    graph = fused(nodes, f"t{length}", {"t0": (8,)})
    assert [len(o.nodes) for o in graph.operators] == [MAX_FUSED_NODES, MAX_FUSED_NODES, 3]


def test_nodes_that_no_output_needs_are_dropped() -> None:
    nodes = [node("Conv", "x k", "unread"), node("Relu", "x", "y")]
    assert groups(fused(nodes)) == [("Relu", 1)]
    assert len(imported(model(nodes, X, "y", BN)).operators) == 2


QUANTISED = [
    const("s", 0.5, "float32"),
    const("z", 0, "int8"),
    weight("k", (4, 4, 1, 1), "int8"),
    weight("k2", (4, 4, 1, 1), "int8"),
]


def quantised_block() -> list[onnx.NodeProto]:
    return [
        node("QuantizeLinear", "x s z", "xq"),
        node("DequantizeLinear", "xq s z", "xd"),
        node("DequantizeLinear", "k s z", "kd"),
        node("Conv", "xd kd", "c"),
        node("Relu", "c", "r"),
        node("QuantizeLinear", "r s z", "rq"),
        node("DequantizeLinear", "rq s z", "rd"),
        node("DequantizeLinear", "k2 s z", "k2d"),
        node("Conv", "rd k2d", "d"),
        node("Add", "d rd", "sum"),
        node("QuantizeLinear", "sum s z", "sq"),
        node("DequantizeLinear", "sq s z", "y"),
    ]


def test_quantise_dequantise_pairs_leave_only_bytes_in_memory() -> None:
    graph = fused(quantised_block(), stored=QUANTISED)
    assert groups(graph) == [("QuantizeLinear", 1), ("Conv", 4), ("Conv", 5)]
    stored = {n: v.dtype for n, v in graph.values.items() if v.kind == "activation"}
    assert stored == {"xq": "int8", "rq": "int8"}
    assert [o.mac_dtype for o in graph.operators if o.kind == "Conv"] == ["int8", "int8"]
    assert graph.operators[1].inputs == ("xq", "k")


def test_a_dequantised_residual_is_read_by_the_window_too_and_so_not_overwritten() -> None:
    """The convolution's operand and the residual are one tensor, `rq`."""
    graph = fused(quantised_block(), stored=QUANTISED)
    assert graph.operators[2].inputs == ("rq", "k2")
    assert graph.operators[2].sharings == ()


def residual(op: str) -> Graph:
    return fused(
        [
            node("Relu", "x", "old"),
            node("Transpose", "old", "turned", perm=[0, 1, 3, 2]),
            node(op, "turned k" if op == "Conv" else "turned turned", "new"),
            node("Add", "new old", "sum"),
            node("Relu", "sum", "y"),
        ]
    )


@pytest.mark.parametrize("op", ["Conv", "MatMul"])
def test_the_residual_operand_may_be_overwritten_the_windows_may_not(op: str) -> None:
    """Both have the size of the result; only one is read element by element."""
    last = residual(op).operators[-1]
    assert last.kind == op
    assert {"turned", "old"} <= set(last.inputs)
    assert last.sharings == (Sharing("in_place", "y", "old"),)


def test_an_operand_of_both_kinds_is_not_overwritten() -> None:
    graph = fused(
        [
            node("Transpose", "x", "old", perm=[0, 1, 3, 2]),
            node("Conv", "old k", "new"),
            node("Add", "new old", "y"),
        ]
    )
    assert graph.operators[-1].sharings == ()


def test_broadcast_operands_are_not_overwritten() -> None:
    graph = fused(
        [node("Conv", "x k", "c"), node("Add", "c row", "y")],
        inputs={**X, "row": (1, 1, 1, 6)},
    )
    assert only(graph).sharings == ()


def test_an_elementwise_group_may_overwrite_either_operand() -> None:
    graph = fused(
        [node("Add", "a b", "c"), node("Relu", "c", "y")], inputs={"a": (2, 3), "b": (2, 3)}
    )
    assert only(graph).sharings == (Sharing("in_place", "y", "a"), Sharing("in_place", "y", "b"))


def test_a_cast_to_another_width_shares_nothing() -> None:
    nodes = [node("Neg", "x", "n"), node("Cast", "n", "y", to=10)]
    assert only(fused(nodes)).sharings == ()


def test_fused_and_unfused_do_the_same_work() -> None:
    proto = model(quantised_block(), X, "y", QUANTISED)
    whole, apart = imported(proto, fuse=True), imported(proto)
    scaling = ("QuantizeLinear", "DequantizeLinear")  # fused, it is no work of its own
    assert sum(o.vector_elements for o in whole.operators if o.kind not in scaling) == sum(
        o.vector_elements for o in apart.operators if o.kind not in scaling
    )
    assert sum(o.macs for o in whole.operators) == sum(o.macs for o in apart.operators)


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        ("Conv", "Relu", True),
        ("Softmax", "Mul", True),
        ("MaxPool", "Relu", True),
        ("Conv", "MaxPool", False),
        ("Relu", "Conv", False),
        ("Concat", "QuantizeLinear", True),
        ("Concat", "Relu", False),
        ("LSTM", "Relu", False),
        ("Relu", "Softmax", False),
    ],
)
def test_the_table_of_rules(first: str, second: str, *, allowed: bool) -> None:
    assert may_follow(first, second) is allowed


def test_operators_outside_the_table_have_a_class_of_their_own() -> None:
    assert fusion_class("LSTM") == "other"
    assert fusion_class("Conv") == "matrix"


def test_order_is_kept_when_a_group_ends_late() -> None:
    """Every operator reads only what an earlier one made."""
    graph = imported(
        model(
            [
                node("Conv", "x k", "a"),
                node("Conv", "x k2", "b"),
                node("Relu", "a", "c"),
                node("Add", "b c", "y"),
            ],
            [info("x", (1, 4, 6, 6))],
            "y",
            BN,
        ),
        fuse=True,
    )
    known = set(graph.inputs) | {n for n, v in graph.values.items() if v.kind == "weight"}
    for operator in graph.operators:
        assert set(operator.inputs) <= known
        known |= set(operator.outputs)


def overwritten(graph: Graph, result: str) -> set[str]:
    """Operands that the operator of a result may overwrite."""
    (operator,) = [o for o in graph.operators if result in o.outputs]
    return {s.input for s in operator.sharings if s.kind == "in_place"}


@pytest.mark.parametrize("fuse", [False, True])
def test_scales_that_are_computed_are_not_overwritten(*, fuse: bool) -> None:
    """64 bytes each: four times sixteen int8 data, sixteen float32 scales, the int8 result."""
    proto = model(
        [
            node("Softmax", "m", "scales"),
            node("DequantizeLinear", "q scales", "d", axis=1),
            node("QuantizeLinear", "d s z", "y"),
        ],
        [info("m", (16,)), info("q", (4, 16), "int8")],
        "y",
        [const("s", 0.05, "float32"), const("z", 0, "int8")],
        opset=21,
    )
    graph = imported(proto, fuse=fuse)
    assert overwritten(graph, "y") == ({"q"} if fuse else set())


def test_every_operand_but_the_data_stays() -> None:
    """One element each, so that no shape tells data from scales, statistics and limits."""
    one = dict.fromkeys("xsabmv", (1,))
    for op, operands in (
        ("QuantizeLinear", "x s"),
        ("BatchNormalization", "x s b m v"),
        ("Clip", "x a b"),
    ):
        shapes = one | (dict.fromkeys("ab", ()) if op == "Clip" else {})
        shapes |= {"x": (1, 1, 1, 1)} if op == "BatchNormalization" else {}
        proto = model([node(op, operands, "y")], {n: shapes[n] for n in operands.split()}, "y")
        expected = set() if op == "QuantizeLinear" else {"x"}
        assert overwritten(imported(proto, fuse=False), "y") == expected, op


def test_an_operand_that_is_its_own_scale_stays() -> None:
    proto = model(
        [node("DequantizeLinear", "q x", "d"), node("Mul", "d x", "y")],
        [info("q", (1,), "int32"), info("x", (1,))],
        "y",
    )
    assert overwritten(imported(proto, fuse=True), "y") == {"q"}


def test_a_dequantised_tensor_that_is_broadcast_stays() -> None:
    """Sixteen bytes of int8 become four rows of float32, which are 64 bytes like the result."""
    proto = model(
        [
            node("DequantizeLinear", "q s", "d"),
            node("Relu", "x", "r"),
            node("Add", "r d", "h"),
            node("QuantizeLinear", "h s z", "y"),
        ],
        [info("q", (16,), "int8"), info("x", (4, 16))],
        "y",
        [const("s", 0.05, "float32"), const("z", 0, "int8")],
    )
    assert overwritten(imported(proto, fuse=True), "y") == set()
