"""What bodies store counts as weights, once for each body."""

import numpy as np
import onnx
import pytest

from tests.support.onnx_models import const, imported, info, model, node, only, subgraph, weight
from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.build import ImportOptions, import_detailed
from ullage.compiler.ir.graph import Graph


def weights_of(graph: Graph) -> list[int]:
    return [v.size_bytes for v in graph.values.values() if v.kind == "weight"]


def branch(
    nodes: list[onnx.NodeProto], initializers: list[onnx.TensorProto] | None = None
) -> onnx.GraphProto:
    result = onnx.ValueInfoProto(name=nodes[-1].output[0])
    return subgraph(nodes, (), [result], initializers or [])


def choosing(then: onnx.GraphProto, other: onnx.GraphProto) -> onnx.ModelProto:
    return model(
        [node("If", "c", "y", then_branch=then, else_branch=other)],
        [info("c", (), "bool"), info("x", (4, 256))],
        "y",
    )


def matmul(name: str) -> onnx.GraphProto:
    return branch([node("MatMul", f"x {name}", f"{name}_y")], [weight(name, (256, 256))])


@pytest.mark.parametrize(("first", "second"), [("wa", "wb"), ("w", "w")])
def test_initializers_of_two_branches_are_two_weights(first: str, second: str) -> None:
    graph = imported(choosing(matmul(first), matmul(second)))
    assert weights_of(graph) == [262_144, 262_144]
    assert set(only(graph).inputs) >= {v.name for v in graph.values.values() if v.kind == "weight"}


def test_constants_inside_count_and_arguments_do_not() -> None:
    stored = node("Constant", "", "k", value=const("v", np.ones((256, 8)), "float32"))
    target = node("Constant", "", "n", value=const("v", [8, 4]))
    then = branch([stored, target, node("MatMul", "x k", "m"), node("Reshape", "m n", "a")])
    other = branch([node("Slice", "x lo hi", "b")], [const("lo", [0, 0]), const("hi", [4, 8])])
    graph = imported(
        model(
            [
                node("If", "c", "t", then_branch=then, else_branch=other),
                node("Flatten", "t", "y", axis=0),
            ],
            [info("c", (), "bool"), info("x", (4, 256))],
            "y",
        )
    )
    assert weights_of(graph) == [256 * 8 * 4]
    assert graph.values["y"].size_bytes == 32 * 4


def test_a_loop_stores_its_weight_once() -> None:
    body = subgraph(
        [node("Identity", "going", "on"), node("MatMul", "s w", "n")],
        [info("i", (), "int64"), info("going", (), "bool"), info("s", (4, 256))],
        [info("on", (), "bool"), info("n", (4, 256))],
        [weight("w", (256, 256))],
    )
    proto = model(
        [node("Loop", "trips _ x", "y", body=body)], {"x": (4, 256)}, "y", [const("trips", 4)]
    )
    graph = imported(proto)
    assert weights_of(graph) == [262_144]
    assert only(graph).macs == 4 * 4 * 256 * 256


def test_weights_of_nested_bodies_and_of_what_is_computed_from_them() -> None:
    inner = branch(
        [node("Mul", "w w", "square"), node("MatMul", "x square", "a")], [weight("w", (256, 256))]
    )
    outer = branch([node("If", "c", "b", then_branch=inner, else_branch=matmul("v"))])
    graph = imported(choosing(outer, branch([node("Relu", "x", "r")])))
    assert weights_of(graph) == [262_144, 262_144]


def test_a_result_that_is_stored_is_still_made_inside() -> None:
    """Onnxruntime takes no outer tensor as the result of a body."""
    then = branch([node("Relu", "x", "unused")])
    then.output[0].name = "k"
    then.initializer.append(const("k", np.ones((4, 256)), "float32"))
    found = import_detailed(
        choosing(then, branch([node("Neg", "x", "b")])), ImportOptions(fuse=False), "m"
    )
    assert weights_of(found.graph) == [4096]
    body = next(a.g for a in found.proto.graph.node[0].attribute if a.name == "then_branch")
    assert not body.initializer
    assert [n.op_type for n in body.node] == ["Identity", "Relu"]


def test_a_sparse_initializer_inside_is_refused() -> None:
    other = branch([node("Neg", "x", "b")])
    other.sparse_initializer.add().values.name = "thin"
    with pytest.raises(ModelError, match="sparse initializer 'thin'"):
        imported(choosing(branch([node("Relu", "x", "a")]), other))


def test_only_the_shape_of_a_state_is_no_weight_and_what_is_made_of_it_takes_bytes() -> None:
    """The zeros follow from constants; they are made inside, in each iteration."""
    body = subgraph(
        [
            node("Identity", "going", "on"),
            node("Shape", "s", "shape"),
            node("ConstantOfShape", "shape", "zeros"),
            node("Add", "s zeros", "n"),
        ],
        [info("i", (), "int64"), info("going", (), "bool"), info("s", (4, 256))],
        [info("on", (), "bool"), info("n", (4, 256))],
    )
    proto = model(
        [node("Loop", "trips _ x", "y", body=body, name="loop")],
        {"x": (4, 256)},
        "y",
        [const("trips", 4)],
    )
    graph = imported(proto)
    assert weights_of(graph) == []
    state, zeros, result, condition = 4096, 4096, 4096, 1
    assert graph.values["loop#body"].size_bytes == state + zeros + result + condition
