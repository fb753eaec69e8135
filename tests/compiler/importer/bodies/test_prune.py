"""Branches that never run leave no trace: neither operators nor weights nor shapes."""

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.support.onnx_models import const, imported, info, model, node, subgraph
from ullage.compiler.common.errors import ModelError
from ullage.compiler.importer.build import ImportOptions, import_detailed
from ullage.compiler.ir.graph import Graph

UNTYPED = onnx.ValueInfoProto


def branch(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return subgraph(nodes, (), [UNTYPED(name=nodes[-1].output[0])])


def squeezing(channels: int) -> Graph:
    """What exporters write for a squeeze of an axis that may have the length 1."""
    proto = model(
        [
            node("Relu", "x", "r"),
            node("Shape", "r", "s"),
            node("Gather", "s one", "c", axis=0),
            node("Equal", "c one", "single"),
            node("If", "single", "t",
                 then_branch=branch(node("Squeeze", "r axis", "then")),
                 else_branch=branch(node("Identity", "r", "else"))),
            node("Sigmoid", "t", "y"),
        ],
        [info("x", (4, "C", 64))],
        "y",
        [const("one", 1), const("axis", [1])],
    )  # fmt: skip
    return imported(proto, dims={"C": channels})


@pytest.mark.parametrize(("channels", "shape"), [(1, (4, 64)), (3, (4, 3, 64))])
def test_conditions_that_follow_from_shapes_are_constants(
    channels: int, shape: tuple[int, ...]
) -> None:
    graph = squeezing(channels)
    assert graph.values["y"].shape == shape
    assert not graph.values["y"].is_upper_bound
    assert graph.fallbacks == ()
    assert "If" not in [o.kind for o in graph.operators]


@pytest.mark.parametrize(("rows", "padded"), [(8, 8), (5, 69)])
def test_padding_to_a_multiple_happens_where_it_is_needed(rows: int, padded: int) -> None:
    proto = model(
        [
            node("Relu", "x", "r"),
            node("Shape", "r", "s"),
            node("Gather", "s zero", "n", axis=0),
            node("Mod", "n eight", "m"),
            node("Equal", "m zero", "fits"),
            node("If", "fits", "t",
                 then_branch=branch(node("Identity", "r", "a")),
                 else_branch=branch(node("Concat", "r z", "b", axis=0))),
            node("Sigmoid", "t", "y"),
        ],
        {"x": (rows, 64)},
        "y",
        [const("zero", 0), const("eight", 8), const("z", np.zeros((64, 64)), "float32")],
    )  # fmt: skip
    graph = imported(proto)
    assert graph.values["y"].shape == (padded, 64)
    assert ("z" in graph.values) == (rows != 8)  # a dead branch has no weights


def test_names_of_several_branches_do_not_collide() -> None:
    """Two branches that use the same names inside, one in the other's place, and a dead one."""
    double = branch(node("Add", "h h", "a"), node("Neg", "a", "b"))
    inner = branch(
        node("Add", "p p", "a"),
        node("If", "yes", "b", then_branch=branch(node("Abs", "a", "c")),
             else_branch=branch(node("Mystery", "a", "c"))),
    )  # fmt: skip
    proto = model(
        [
            node(
                "If", "yes", "p", then_branch=double, else_branch=branch(node("Mystery", "h", "z"))
            ),
            node("If", "yes", "y", then_branch=inner, else_branch=double),
        ],
        {"h": (3, 4)},
        "y",
        [const("yes", True, "bool")],
    )
    found = import_detailed(proto, ImportOptions(fuse=False), "m")
    assert [o.kind for o in found.graph.operators] == ["Add", "Neg", "Add", "Abs"]
    flat = found.proto
    del flat.opset_import[1:]
    flat.ir_version = 9
    typed = onnx.shape_inference.infer_shapes(flat)
    session = onnxruntime.InferenceSession(typed.SerializeToString())
    h = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(session.run(["y"], {"h": h})[0], 4 * h)


def test_a_branch_that_returns_an_outer_tensor_twice() -> None:
    both = subgraph([node("Relu", "x", "a")], (), [UNTYPED(name="a"), UNTYPED(name="a")])
    proto = model(
        [node("If", "no", "y z", then_branch=both, else_branch=both)],
        {"x": (3,)},
        "y z",
        [const("no", False, "bool")],
    )
    graph = imported(proto)
    assert [o.kind for o in graph.operators] == ["Relu", "Identity"]
    assert graph.outputs == ("y", "z")


def test_constants_of_a_branch_are_weights_of_what_reads_them() -> None:
    stored = node("Constant", "", "k", value=const("v", np.ones((4, 4)), "float32"))
    proto = model(
        [
            node("If", "yes", "w", then_branch=branch(stored),
                 else_branch=branch(node("Identity", "x", "other"))),
            node("MatMul", "x w", "y"),
        ],
        {"x": (4, 4)},
        "y",
        [const("yes", True, "bool")],
    )  # fmt: skip
    graph = imported(proto)
    assert [o.kind for o in graph.operators] == ["MatMul"]
    assert [v.size_bytes for v in graph.values.values() if v.kind == "weight"] == [64]


def test_a_condition_that_data_decides_keeps_both_branches() -> None:
    proto = model(
        [node("If", "c", "y", then_branch=branch(node("Relu", "x", "a")),
              else_branch=branch(node("Neg", "x", "b")))],
        [info("x", (3,)), info("c", (), "bool")],
        "y",
    )  # fmt: skip
    assert [o.kind for o in imported(proto).operators] == ["If"]


def test_a_condition_that_differs_between_iterations_keeps_both_branches() -> None:
    """In each iteration it follows from the state's shape; so do the weights that are read."""
    inside = subgraph(
        [
            node("Identity", "going", "on"),
            node("Shape", "s", "shape"),
            node("Gather", "shape zero", "n", axis=0),
            node("Equal", "n four", "first"),
            node("If", "first", "t",
                 then_branch=branch(node("Add", "s w1", "a")),
                 else_branch=branch(node("Add", "s w2", "b"))),
            node("Concat", "t x", "next", axis=0),
        ],
        [info("i", (), "int64"), info("going", (), "bool"), UNTYPED(name="s")],
        [info("on", (), "bool"), UNTYPED(name="next")],
    )  # fmt: skip
    proto = model(
        [node("Loop", "trips _ x", "y", body=inside)],
        {"x": (4, 2)},
        "y",
        [
            const("trips", 2),
            const("zero", 0),
            const("four", 4),
            const("w1", np.ones(2), "float32"),
            const("w2", np.ones(2), "float32"),
        ],
    )
    graph = imported(proto)
    assert graph.values["y"].shape == (12, 2)
    assert {v.name for v in graph.values.values() if v.kind == "weight"} == {"w1", "w2"}


def by_rate(*, then: onnx.NodeProto, otherwise: onnx.NodeProto) -> onnx.ModelProto:
    """An If whose condition is an input, over a tensor of shape [4, 64]."""
    return model(
        [
            node("Relu", "x", "r"),
            node("If", "c", "t", name="rate",
                 then_branch=branch(then), else_branch=branch(otherwise)),
            node("Sigmoid", "t", "y"),
        ],
        [info("x", (4, 64)), info("c", (), "bool")],
        "y",
        [const("a", np.zeros((64, 8)), "float32"), const("b", np.zeros((32, 8)), "float32")],
    )  # fmt: skip


def test_a_branch_that_contradicts_its_operands_is_left_out_with_a_note() -> None:
    proto = by_rate(then=node("MatMul", "r a", "p"), otherwise=node("MatMul", "r b", "q"))
    graph = imported(proto)
    assert [o.kind for o in graph.operators] == ["Relu", "MatMul", "Sigmoid"]
    assert graph.values["y"].shape == (4, 8)
    assert "b" not in graph.values
    (note,) = graph.fallbacks
    assert (note.operator, note.kind) == ("If 'rate'", "If")
    assert "else_branch is left out, it cannot run" in note.reason
    assert "MatMul" in note.reason


def test_branches_that_both_contradict_their_operands_are_refused_by_name() -> None:
    proto = by_rate(then=node("MatMul", "r b", "p"), otherwise=node("MatMul", "r b", "q"))
    with pytest.raises(ModelError, match=r"else_branch: MatMul .* is malformed \(output 'q'\)"):
        imported(proto)


def test_a_branch_that_may_run_and_cannot_be_typed_is_refused_by_name() -> None:
    unknown = node("Mystery", "r", "q", domain="nobody.knows")
    proto = by_rate(then=node("MatMul", "r a", "p"), otherwise=unknown)
    with pytest.raises(ModelError, match=r"the shape of 'q', a result of Mystery"):
        imported(proto)


def test_a_loop_that_contradicts_its_operands_may_go_round_never() -> None:
    """What is around it can run, so that it is refused, and no branch is left out for it."""
    number, more, state = info("i", (), "int64"), info("m", (), "bool"), info("s", (4, 64))
    body = subgraph(
        [node("Identity", "m", "on"), node("MatMul", "s b", "bad"), node("Identity", "s", "s2")],
        [number, more, state],
        [UNTYPED(name="on"), UNTYPED(name="s2")],
    )
    looping = node("Loop", "n _ r", "q", body=body)
    proto = by_rate(then=node("MatMul", "r a", "p"), otherwise=looping)
    proto.graph.input.append(info("n", (), "int64"))
    with pytest.raises(ModelError, match="MatMul"):
        imported(proto)
