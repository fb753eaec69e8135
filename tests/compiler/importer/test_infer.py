"""Types of all tensors: folded chains, constant-derived weights, bounds, bodies, refusals."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.support.onnx_models import (
    MICROSOFT,
    const,
    imported,
    info,
    model,
    node,
    only,
    subgraph,
    weight,
)
from ullage.compiler.common.dtypes import storage_bytes
from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.values import folding
from ullage.compiler.ir.graph import Graph

Infos = list[onnx.ValueInfoProto]


def shape_of(graph: Graph, name: str) -> tuple[int, ...]:
    return graph.values[name].shape


def refused(proto: onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        imported(proto)
    return caught.value.message


def test_a_shape_computed_by_nodes_is_folded() -> None:
    proto = model(
        [
            node("Shape", "x", "s"),
            node("Gather", "s zero", "n", axis=0),
            node("Unsqueeze", "n axes", "n1"),
            node("Mul", "rest one", "rest1"),
            node("Concat", "n1 rest1", "target", axis=0),
            node("Reshape", "x target", "y"),
        ],
        {"x": (4, 3, 5)},
        "y",
        [const("zero", 0), const("axes", [0]), const("rest", [-1]), const("one", [1])],
    )
    graph = imported(proto)
    assert shape_of(graph, "y") == (4, 15)
    assert only(graph).kind == "Reshape"


def test_padding_of_old_exporters_is_folded() -> None:
    """ConstantOfShape, Concat, Reshape, strided Slice, Transpose, Cast: the arguments of a Pad."""
    proto = model(
        [
            node("ConstantOfShape", "four", "zeros", value=const("v", [0])),
            node("Concat", "pads zeros", "all", axis=0),
            node("Reshape", "all square", "pairs"),
            node("Slice", "pairs last first axis back", "swapped"),
            node("Transpose", "swapped", "turned", perm=[1, 0]),
            node("Reshape", "turned flat", "order"),
            node("Cast", "order", "arg", to=7),
            node("Pad", "x arg zero", "y"),
        ],
        {"x": (1, 2, 5, 5)},
        "y",
        [
            const("four", [4]),
            const("pads", [1, 2, 3, 4]),
            const("square", [-1, 2]),
            const("last", [-1]),
            const("first", [-(2**63)]),
            const("axis", [0]),
            const("back", [-1]),
            const("flat", [-1]),
            const("zero", 0.0, "float32"),
        ],
    )
    graph = imported(proto)
    assert shape_of(graph, "y") == (1, 2, 5 + 3 + 4, 5 + 1 + 2)
    assert only(graph).inputs == ("x",)  # constant arguments are no operands in memory


def test_shape_of_a_shape_slice_and_size() -> None:
    proto = model(
        [
            node("Shape", "x", "tail", start=-2, end=2),
            node("Size", "x", "count"),
            node("Reshape", "count flat", "counts"),
            node("Concat", "tail counts", "target", axis=0),
            node("Expand", "one target", "big"),
            node("Add", "big b", "y"),
        ],
        {"x": (2, 3, 4), "b": (1,)},
        "y",
        [const("flat", [-1]), const("one", [[1.0]], "float32")],
    )
    assert shape_of(imported(proto), "y") == (3, 24)


@pytest.mark.parametrize(
    ("made", "stored", "dtype"),
    [
        (node("Identity", "w", "v"), (6, 4), "float32"),
        (node("Transpose", "w", "v", perm=[0, 1]), (6, 4), "float32"),
        (node("DequantizeLinear", "w s", "v"), (6, 4), "int8"),
    ],
)
def test_constant_derived_tensors_are_the_stored_weight(
    made: onnx.NodeProto, stored: tuple[int, ...], dtype: str
) -> None:
    proto = model(
        [made, node("MatMul", "x v", "y")],
        {"x": (2, 6)},
        "y",
        [weight("w", stored, dtype), const("s", 0.5, "float32")],
    )
    graph = imported(proto)
    assert only(graph).inputs == ("x", "w")
    assert graph.values["w"].kind == "weight"
    assert graph.values["w"].size_bytes == 24 * (1 if dtype == "int8" else 4)
    assert "v" not in graph.values


def test_computed_constants_are_weights_of_their_own() -> None:
    proto = model(
        [node("Mul", "w w", "v"), node("Add", "x v", "y")],
        {"x": (6, 4)},
        "y",
        [weight("w", (6, 4))],
    )
    graph = imported(proto)
    assert graph.values["v"].kind == "weight"
    assert only(graph).inputs == ("x", "v")


def test_empty_optional_inputs_are_skipped() -> None:
    proto = model(
        [
            node("Clip", "x _ high", "c"),
            node("Resize", "c _ _ sizes", "r", mode="nearest"),
            node("Pad", "r pads _ axes", "y"),
        ],
        {"x": (1, 1, 4, 4)},
        "y",
        [
            const("high", 6.0, "float32"),
            const("sizes", [1, 1, 8, 8]),
            const("pads", [1, 1]),
            const("axes", [3]),
        ],
    )
    graph = imported(proto)
    assert shape_of(graph, "y") == (1, 1, 8, 10)
    assert [o.inputs for o in graph.operators] == [("x",), ("c",), ("r",)]


def test_recurrent_operators_with_gaps_and_unused_outputs() -> None:
    proto = model(
        [node("LSTM", "x w r _ _ _ c0", "_ h c", hidden_size=4)],
        {"x": (7, 2, 3), "c0": (1, 2, 4)},
        "h",
        [weight("w", (1, 16, 3)), weight("r", (1, 16, 4))],
    )
    graph = imported(proto)
    assert only(graph).inputs == ("x", "c0", "w", "r")
    assert only(graph).outputs == ("h", "c")
    assert graph.values["h"].kind == "output"
    assert graph.values["c"].kind == "activation"  # written, never read: alive for one step
    assert shape_of(graph, "c") == (1, 2, 4)


def branch(op: str, name: str, shape: tuple[int, ...]) -> onnx.GraphProto:
    return subgraph([node(op, "x w", name)], (), [info(name, shape)])


def choosing(**branches: onnx.GraphProto) -> onnx.ModelProto:
    return model(
        [node("If", "c", "y", **branches)],
        [info("c", (), "bool"), info("x", (8, 8))],
        "y",
        [weight("w", (8, 8))],
    )


def test_if_reads_what_its_branches_capture_weights_included() -> None:
    proto = choosing(
        then_branch=branch("MatMul", "a", (8, 8)), else_branch=branch("Add", "b", (8, 8))
    )
    graph = imported(proto)
    operator = only(graph)
    assert operator.inputs == ("c", "x", "w")
    assert operator.macs == 8 * 8 * 8
    assert not graph.values["y"].is_upper_bound


def test_if_with_branches_of_different_size_gets_the_larger() -> None:
    small = subgraph([node("ReduceSum", "x", "a", keepdims=1)], (), [info("a", (1, 1))])
    graph = imported(choosing(then_branch=small, else_branch=branch("Add", "b", (8, 8))))
    assert shape_of(graph, "y") == (8, 8)
    assert graph.values["y"].is_upper_bound
    assert "upper bound" in graph.fallbacks[0].reason


def test_if_without_a_branch_and_branches_that_differ_in_count_are_refused() -> None:
    whole = branch("Add", "b", (8, 8))
    assert "needs subgraphs else_branch, then_branch" in refused(choosing(then_branch=whole))
    none = subgraph([node("Add", "x w", "b")])
    assert "at least 1 are needed" in refused(choosing(then_branch=whole, else_branch=none))


LOOP_INPUTS = [info("i", (), "int64"), info("going", (), "bool"), info("state", (2, 4))]
LOOP_OUTPUTS = [info("going_on", (), "bool"), info("next", (2, 4)), info("row", (4,))]


def loop_body() -> onnx.GraphProto:
    return subgraph(
        [
            node("Identity", "going", "going_on"),
            node("MatMul", "state w", "product"),
            node("Add", "product x", "next"),
            node("ReduceSum", "next axes", "row", keepdims=0),
        ],
        LOOP_INPUTS,
        LOOP_OUTPUTS,
        [const("axes", [0])],
    )


def looping(trips: onnx.NodeProto | onnx.TensorProto) -> onnx.ModelProto:
    known = isinstance(trips, onnx.TensorProto)
    return model(
        [node("Loop", "trips _ x", "final rows", body=loop_body(), name="loop")],
        [info("x", (2, 4)), *([] if known else [info("trips", (), "int64")])],
        "final rows" if known else "final",
        [weight("w", (4, 4)), *([trips] if known else [])],
    )


def test_loop_stacks_its_scan_outputs_by_the_trip_count() -> None:
    graph = imported(looping(const("trips", 5)))
    assert shape_of(graph, "final") == (2, 4)
    assert shape_of(graph, "rows") == (5, 4)
    operator = only(graph)
    assert operator.inputs == ("x", "w")
    assert operator.macs == 5 * 2 * 4 * 4


def test_the_peak_of_a_body_is_a_value_of_its_operator() -> None:
    """Alive together at the MatMul: the state, its product, the condition of the next round."""
    graph = imported(looping(const("trips", 5)))
    state, product, condition = 32, 32, 1
    assert graph.values["loop#body"].size_bytes == state + product + condition
    assert only(graph).outputs == ("final", "rows", "loop#body")


def test_a_loop_of_unknown_length_cannot_stack() -> None:
    message = refused(looping(node("Relu", "x", "unused")))
    assert "'rows'" in message
    assert "Loop 'loop'" in message


def test_a_loop_of_unknown_length_is_costed_as_one_pass_and_says_so() -> None:
    body = loop_body()
    del body.output[-1]
    proto = model(
        [node("Loop", "trips _ x", "final", body=body)],
        [info("x", (2, 4)), info("trips", (), "int64")],
        "final",
        [weight("w", (4, 4))],
    )
    graph = imported(proto)
    assert only(graph).macs == 2 * 4 * 4
    assert "trip count of Loop depends on data" in graph.fallbacks[0].reason


def test_nested_bodies_see_outer_names_and_weights() -> None:
    inner = subgraph([node("MatMul", "state w", "t")], (), [info("t", (2, 4))])
    body = subgraph(
        [
            node("Identity", "going", "going_on"),
            node("If", "going", "next", then_branch=inner, else_branch=inner),
        ],
        LOOP_INPUTS,
        LOOP_OUTPUTS[:2],
    )
    proto = model(
        [node("Loop", "trips _ x", "y", body=body)],
        {"x": (2, 4)},
        "y",
        [const("trips", 3), weight("w", (4, 4))],
    )
    operator = only(imported(proto))
    assert operator.inputs == ("x", "w")
    assert operator.macs == 3 * 2 * 4 * 4


def test_bodies_that_do_not_fit_their_node_are_refused() -> None:
    body = loop_body()
    del body.input[-1]
    proto = model(
        [node("Loop", "t _ x", "y", body=body)],
        {"x": (2, 4)},
        "y",
        [const("t", 1), weight("w", (4, 4))],
    )
    assert "takes 2 tensors and returns 3; 3 and at least 2 are needed" in refused(proto)


@pytest.mark.parametrize(
    ("scan_axis", "result_axis", "stacked"), [(0, 0, (6, 5)), (1, 0, (5, 6)), (1, 1, (6, 5))]
)
def test_scan_slices_and_stacks_along_its_axes(
    scan_axis: int, result_axis: int, stacked: tuple[int, int]
) -> None:
    width = 5 if scan_axis == 0 else 6
    body = subgraph(
        [node("Add", "sum part", "next"), node("Neg", "next", "each")],
        [info("sum", (width,)), info("part", (width,))],
        [info("next", (width,)), info("each", (width,))],
    )
    made = node(
        "Scan",
        "start x",
        "total all",
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[scan_axis],
        scan_output_axes=[result_axis],
    )
    graph = imported(model([made], {"start": (width,), "x": (6, 5)}, "total all"))
    assert shape_of(graph, "total") == (width,)
    assert shape_of(graph, "all") == stacked
    assert only(graph).vector_elements == 2 * width * (6 if scan_axis == 0 else 5)


@pytest.mark.parametrize(
    ("made", "inputs", "bounds"),
    [
        (node("NonZero", "x", "y"), [info("x", (3, 4))], {"y": (2, 12)}),
        (
            node("TopK", "x k", "y i"),
            [info("x", (3, 4)), info("k", (1,), "int64")],
            {"y": (3, 4), "i": (3, 4)},
        ),
        (
            node("NonMaxSuppression", "b s five", "y"),
            [info("b", (2, 40, 4)), info("s", (2, 3, 40))],
            {"y": (2 * 3 * 5, 3)},
        ),
        (
            node("NonMaxSuppression", "b s", "y"),
            [info("b", (2, 40, 4)), info("s", (2, 3, 40))],
            {"y": (2 * 3 * 40, 3)},
        ),
        (
            node("Compress", "x c", "y", axis=1),
            [info("x", (3, 4)), info("c", (4,), "bool")],
            {"y": (3, 4)},
        ),
        (
            node("Compress", "x c", "y"),
            [info("x", (3, 4)), info("c", (12,), "bool")],
            {"y": (12,)},
        ),
        (
            node("Unique", "x", "y a b c"),
            [info("x", (3, 4))],
            {"y": (12,), "a": (12,), "b": (12,), "c": (12,)},
        ),
        (node("Unique", "x", "y a", axis=1), [info("x", (3, 4))], {"y": (3, 4), "a": (4,)}),
        (
            node("Slice", "x from to", "y"),
            [info("x", (3, 4)), info("from", (1,), "int64"), info("to", (1,), "int64")],
            {"y": (3, 4)},
        ),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_data_dependent_shapes_are_planned_by_their_largest(
    made: onnx.NodeProto, inputs: Infos, bounds: dict[str, tuple[int, ...]]
) -> None:
    graph = imported(model([made], inputs, "y", [const("five", [5])]))
    for name, shape in bounds.items():
        assert graph.values[name].shape == shape
        assert graph.values[name].is_upper_bound
    assert any("depends on data" in f.reason for f in graph.fallbacks)
    assert not any("no cost rule" in f.reason for f in graph.fallbacks)


def test_bounds_travel_to_what_is_computed_from_them() -> None:
    proto = model(
        [node("NonZero", "x", "n"), node("Transpose", "n", "t"), node("Neg", "t", "y")],
        {"x": (3, 4)},
        "y",
    )
    graph = imported(proto)
    assert graph.values["y"].is_upper_bound
    assert graph.values["y"].shape == (12, 2)
    said = [f.operator for f in graph.fallbacks if "depends on data" in f.reason]
    assert said == ["NonZero:n"]  # once, where it begins


def test_the_value_of_a_constant_beats_its_bound() -> None:
    proto = model(
        [node("NonZero", "k", "n"), node("Gather", "x n", "y")],
        {"x": (5, 3)},
        "y",
        [const("k", [0, 1, 0, 1])],
    )
    graph = imported(proto)
    assert shape_of(graph, "y") == (1, 2, 3)
    assert not graph.values["y"].is_upper_bound


def test_shapes_without_a_bound_are_refused_by_name_and_cause() -> None:
    proto = model(
        [node("Range", "zero n one", "y", name="count")],
        [info("n", (), "int64")],
        "y",
        [const("zero", 0), const("one", 1)],
    )
    message = refused(proto)
    assert "'y', a result of Range 'count'" in message
    assert "depends on 'n'" in message
    assert "export the model with fixed shapes" in message


def test_declared_types_fill_what_inference_leaves_open() -> None:
    proto = model(
        [node("Mystery", "x", "h", domain="vendor"), node("Relu", "h", "y")],
        {"x": (2, 3)},
        "y",
        domains=["vendor"],
    )
    message = refused(proto)
    assert "'h', a result of Mystery" in message
    assert "declare the type and shape of 'h' in the model's value_info" in message
    proto.graph.value_info.append(info("h", (2, 7), "float16"))
    graph = imported(proto)
    assert shape_of(graph, "y") == (2, 7)
    assert graph.values["y"].size_bytes == 28
    assert "no cost rule for Mystery" in graph.fallbacks[0].reason


def test_sequences_and_strings_are_refused_by_name() -> None:
    sequence = model([node("SplitToSequence", "x", "parts")], {"x": (4,)}, "parts")
    assert "'parts'" in refused(sequence)
    assert "sequence_type" in refused(sequence)
    text = model([node("Cast", "x", "words", to=8)], {"x": (4,)}, "words")
    assert "'words' holds string" in refused(text)
    reading = model(RELU_OF_TEXT, [info("words", (2,), "string"), info("x", (2,))], "y")
    assert "'words' holds string" in refused(reading)


RELU_OF_TEXT = [node("Relu", "x", "y")]


@pytest.mark.parametrize(
    ("dtype", "elements", "size_bytes"),
    [
        ("float16", 6, 12),
        ("bfloat16", 6, 12),
        ("bool", 6, 6),
        ("int64", 6, 48),
        ("uint8", 6, 6),
        ("float64", 6, 48),
        ("int4", 6, 3),
        ("int4", 7, 4),
        ("uint4", 1, 1),
        ("float32", 0, 0),
    ],
)
def test_sizes_follow_the_element_type(dtype: str, elements: int, size_bytes: int) -> None:
    graph = imported(
        model([node("Identity", "x", "y")], [info("x", (elements,), dtype)], "y", opset=21)
    )
    assert graph.values["y"].dtype == dtype
    assert graph.values["y"].size_bytes == size_bytes == storage_bytes(dtype, elements)


def test_scalars_have_no_dimensions() -> None:
    graph = imported(model([node("Neg", "x", "y")], {"x": ()}, "y"))
    assert shape_of(graph, "y") == ()
    assert graph.values["y"].size_bytes == 4


@pytest.mark.parametrize("opset", [7, 11])
def test_arguments_that_were_attributes_once(opset: int) -> None:
    proto = model(
        [
            node("Unsqueeze", "x", "u", axes=[0, 3]),
            node("Squeeze", "u", "s", axes=[0]),
            node("Slice", "s", "y", starts=[1], ends=[3], axes=[1])
            if opset < 10
            else node("Slice", "s from to one", "y"),
        ],
        {"x": (4, 6)},
        "y",
        [const("from", [1]), const("to", [3]), const("one", [1])],
        opset=opset,
    )
    graph = imported(proto)
    assert shape_of(graph, "u") == (1, 4, 6, 1)
    assert shape_of(graph, "y") == (4, 2, 1)


SCALE = [const("s", 0.5, "float32"), const("z", 0, "uint8")]


@pytest.mark.parametrize(
    ("made", "inputs", "shape", "dtype"),
    [
        (
            node("QLinearAdd", "a s z b s z s z", "y", domain=MICROSOFT),
            [info("a", (2, 1, 4), "uint8"), info("b", (3, 1), "uint8")],
            (2, 3, 4),
            "uint8",
        ),
        (
            node("QLinearConcat", "s z a s z b s z", "y", domain=MICROSOFT, axis=1),
            [info("a", (2, 3), "uint8"), info("b", (2, 5), "uint8")],
            (2, 8),
            "uint8",
        ),
        (
            node("QLinearGlobalAveragePool", "a s z s z", "y", domain=MICROSOFT),
            [info("a", (2, 3, 5, 5), "uint8")],
            (2, 3, 1, 1),
            "uint8",
        ),
        (
            node("QLinearGlobalAveragePool", "a s z s z", "y", domain=MICROSOFT, channels_last=1),
            [info("a", (2, 5, 5, 3), "uint8")],
            (2, 1, 1, 3),
            "uint8",
        ),
        (
            node("QGemm", "a s z b s z", "y", domain=MICROSOFT, transB=1),
            [info("a", (2, 8), "uint8"), info("b", (5, 8), "uint8")],
            (2, 5),
            "float32",
        ),
        (
            node("FusedMatMul", "a b", "y", domain=MICROSOFT, transA=1),
            [info("a", (3, 8, 2)), info("b", (8, 5))],
            (3, 2, 5),
            "float32",
        ),
        (node("Gelu", "a", "y", domain=MICROSOFT), [info("a", (2, 8))], (2, 8), "float32"),
        (
            node("QuantizeLinear", "a s z", "y", domain=MICROSOFT),
            [info("a", (2, 8))],
            (2, 8),
            "uint8",
        ),
        (
            node("MatMulNBits", "a b s", "y", domain=MICROSOFT, K=32, N=6, bits=4, block_size=32),
            [info("a", (2, 32), "float16"), info("b", (6, 1, 16), "uint8")],
            (2, 6),
            "float16",
        ),
        (
            node("Attention", "a b", "y", domain=MICROSOFT, num_heads=2),
            [info("a", (2, 5, 8)), info("b", (8, 24))],
            (2, 5, 8),
            "float32",
        ),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_operators_of_onnxruntime_have_types(
    made: onnx.NodeProto, inputs: Infos, shape: tuple[int, ...], dtype: str
) -> None:
    graph = imported(model([made], inputs, "y", SCALE))
    assert graph.values["y"].shape == shape
    assert graph.values["y"].dtype == dtype


def test_giant_constants_are_never_computed() -> None:
    proto = model(
        [
            node("ConstantOfShape", "size", "zeros"),
            node("Cast", "zeros", "cast", to=10),
            node("Add", "cast x", "y"),
        ],
        [info("x", (1,), "float16")],
        "y",
        [const("size", [2**40])],
    )
    graph = imported(proto)
    assert graph.values["y"].size_bytes == 2**41
    assert graph.values["cast"].kind == "weight"


def test_sizes_that_wrap_round_are_refused() -> None:
    """Four times 2**62 is 0 modulo 2**64."""
    proto = model([node("Tile", "x k", "y")], {"x": (4,)}, "y", [const("k", [2**62])])
    assert "'y' [18446744073709551616]" in refused(proto)


def test_folding_stops_at_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain of constants that doubles itself for ever must not fill the memory."""
    proto = model(
        [node("Add", "a a", "b"), node("Add", "b b", "c"), node("Reshape", "x c", "y")],
        {"x": (16,)},
        "y",
        [const("a", [1, 1])],
    )
    assert shape_of(imported(proto), "y") == (4, 4)
    monkeypatch.setattr(folding, "FOLD_BUDGET_BYTES", 8)
    graph = imported(proto)
    assert shape_of(graph, "y") == (16, 16)  # by bound: the target shape is no longer known
    assert graph.values["y"].size_bytes == 64
    assert graph.values["y"].is_upper_bound


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "domain"),
    [
        ("Attention", "x w", {"num_heads": 2, "qkv_hidden_sizes": [3]}, MICROSOFT),
        ("Attention", "x w", {"num_heads": b"two"}, MICROSOFT),
        ("QLinearConcat", "s z x s z", {"axis": [1]}, MICROSOFT),
        ("MatMulNBits", "x w s", {"K": 8, "N": [6], "bits": 4}, MICROSOFT),
        ("Unique", "x", {"axis": 7}, ""),
        ("Conv", "x w", {"strides": 2}, ""),
        ("Conv", "x w", {"group": 0}, ""),
        ("Softmax", "x", {"axis": 9}, ""),
        ("Einsum", "x w", {"equation": b"\xff\xfe"}, ""),
        ("Relu", "x x x", {}, ""),
        ("MatMul", "x", {}, ""),
        ("Relu", "", {}, ""),
    ],
)
def test_malformed_nodes_are_named(
    op: str, inputs: str, attributes: dict[str, Any], domain: str
) -> None:
    made = node(op, inputs, "y", domain=domain, name="culprit", **attributes)
    initializers = [weight("w", (8, 24)), *SCALE]
    message = refused(model([made], {"x": (2, 3, 8)}, "y", initializers))
    assert f"{op} 'culprit'" in message


def test_a_constant_without_a_value_is_refused() -> None:
    empty = helper.make_node("Constant", [], ["k"])
    assert "Constant 'k' holds nothing" in refused(
        model([empty, node("Add", "x k", "y")], {"x": (1,)}, "y")
    )


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ({"value_int": 3}, ()),
        ({"value_ints": [1, 2]}, (2,)),
        ({"value_float": 0.5}, ()),
        ({"value_floats": [0.5, 1.0, 2.0]}, (3,)),
        ({"value": const("v", np.zeros((2, 3)))}, (2, 3)),
    ],
)
def test_constants_come_in_many_forms(attributes: dict[str, Any], shape: tuple[int, ...]) -> None:
    proto = model(
        [
            node("Constant", "", "k", **attributes),
            node("Cast", "k", "f", to=1),
            node("Add", "x f", "y"),
        ],
        {"x": (1, 1)},
        "y",
    )
    assert shape_of(imported(proto), "y") == (1, 1, *shape)[-2:]


def test_the_first_result_may_be_absent() -> None:
    proto = model(
        [node("LSTM", "x w r", "_ h", hidden_size=3), node("Relu", "h", "y")],
        {"x": (5, 1, 8)},
        "y",
        [weight("w", (1, 12, 8)), weight("r", (1, 12, 3))],
    )
    assert shape_of(imported(proto), "y") == (1, 1, 3)
    assert shape_of(imported(proto, fuse=True), "h") == (1, 1, 3)
