"""Reading files: what is refused and how, what is repaired, and how symbols get their values."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.support.onnx_models import const, imported, info, model, node, parsed, subgraph, weight
from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.importer.load import captures, check_model, load_model

RELU = [node("Relu", "x", "y")]


def refused(proto: onnx.ModelProto, **options: object) -> str:
    with pytest.raises(ModelError) as caught:
        imported(proto, **options)
    return caught.value.message


def test_missing_file_folder_and_garbage_are_refused_with_their_path(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.onnx"
    garbage.write_bytes(b"hello, this is no protobuf")
    for path, complaint in [
        (tmp_path / "none.onnx", "cannot be read"),
        (tmp_path, "cannot be read"),
        (garbage, "not an ONNX file"),
    ]:
        with pytest.raises(ModelError, match=complaint) as caught:
            load_model(path)
        assert str(path) in caught.value.message


def test_empty_files_hold_no_graph(tmp_path: Path) -> None:
    path = tmp_path / "empty.onnx"
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="holds no graph"):
        load_model(path)


UNDECODABLE = helper.make_node("LeakyRelu", ["x"], ["y"])
UNDECODABLE.attribute.add(name="alpha", type=onnx.AttributeProto.UNDEFINED)


@pytest.mark.parametrize(
    ("proto", "complaint"),
    [
        (model([node("Relu", "z", "y")], {"x": (2,)}, "y"), "reads 'z'"),
        (model([UNDECODABLE], {"x": (2,)}, "y"), "malformed"),
        (model(RELU, {"x": ("rows", 2)}, "y"), "without a value: rows"),
        (model(RELU, [info("x", (2,), "string")], "y"), "string"),
        (model([node("Range", "x x x", "y")], [info("x", (), "int64")], "y"), "cannot be known"),
    ],
    ids=["load", "attributes", "symbols", "types", "shapes"],
)
def test_every_stage_names_the_model_by_its_path(
    tmp_path: Path, proto: onnx.ModelProto, complaint: str
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=complaint) as caught:
        import_model(path)
    assert caught.value.message.startswith(f"{path}: ")


def test_external_weights_need_no_file(tmp_path: Path) -> None:
    path = tmp_path / "external.onnx"
    proto = model([node("MatMul", "x w", "y")], {"x": (2, 1000)}, "y", [weight("w", (1000, 8))])
    path.write_bytes(proto.SerializeToString())
    graph = import_model(path)
    assert graph.name == "external"
    assert graph.values["w"].kind == "weight"
    assert graph.values["w"].size_bytes == 32_000


def test_initializers_listed_as_inputs_are_weights() -> None:
    """IR version 3 demanded that every initializer be a graph input too."""
    inputs = [info("x", (2, 3)), info("w", (3, 4))]
    graph = imported(model([node("MatMul", "x w", "y")], inputs, "y", [weight("w", (3, 4))]))
    assert graph.inputs == ("x",)
    assert graph.values["w"].kind == "weight"


def test_a_model_without_operator_set_or_with_an_impossible_one_is_refused() -> None:
    proto = model(RELU, {"x": (2,)}, "y")
    for version in (0, -3, 2**62):
        proto.opset_import[0].version = version
        assert f"version {version} of operator set ai.onnx does not exist" in refused(proto)
    del proto.opset_import[:]
    assert "names no operator set" in refused(proto)


def test_two_versions_of_an_operator_set_contradict_each_other() -> None:
    proto = model(RELU, {"x": (2,)}, "y", opset=13)
    proto.opset_import.add(domain="ai.onnx", version=11)
    assert "contradicts version 13" in refused(proto)


def test_the_long_name_of_the_standard_domain_is_the_empty_one() -> None:
    """Squeeze took its axes as an attribute before set 13 and takes them as an input since."""
    proto = model([node("Squeeze", "x axes", "y")], {"x": (1, 3)}, "y", [const("axes", [0])])
    proto.opset_import[0].domain = "ai.onnx"
    assert imported(proto).values["y"].shape == (3,)


def test_cycles_are_refused_by_node() -> None:
    proto = model(
        [node("Add", "x b", "a", name="first"), node("Relu", "a", "b", name="second")],
        {"x": (2,)},
        "b",
    )
    assert "the graph has a cycle through Add 'first'" in refused(proto)


def test_a_long_cycle_is_named_in_part_and_what_hangs_on_it_is_not() -> None:
    ring = [node("Relu", f"t{(i - 1) % 7}", f"t{i}", name=f"n{i}") for i in range(1, 7)]
    ring.append(node("Add", "x t6", "t0", name="n0"))
    message = refused(model([node("Exp", "t3", "y", name="behind"), *ring], {"x": (2,)}, "y"))
    assert message.count("Relu 'n") + message.count("Add 'n") == 5
    assert message.endswith(" and 2 more nodes")
    assert "behind" not in message


def test_a_node_that_reads_its_own_result_is_a_cycle() -> None:
    assert "cycle" in refused(model([node("Add", "x y", "y")], {"x": (2,)}, "y"))


def test_nodes_in_the_wrong_order_are_sorted() -> None:
    proto = model(
        [node("Relu", "b", "y"), node("Exp", "a", "b"), node("Neg", "x", "a")], {"x": (2,)}, "y"
    )
    assert [o.kind for o in imported(proto).operators] == ["Neg", "Exp", "Relu"]


def test_sorting_sees_what_subgraphs_capture() -> None:
    branch = subgraph([node("Relu", "late", "r")], (), [info("r", (2,))])
    proto = model(
        [
            node("If", "c", "y", then_branch=branch, else_branch=branch),
            node("Neg", "x", "late"),
        ],
        [info("c", (), "bool"), info("x", (2,))],
        "y",
    )
    assert [o.kind for o in imported(proto).operators] == ["Neg", "If"]


@pytest.mark.parametrize(
    ("nodes", "complaint"),
    [
        ([node("Relu", "x", "y"), node("Neg", "x", "y")], "'y' is defined twice"),
        ([node("Relu", "x", "x")], "'x' is defined twice"),
        ([node("Split", "x", "y y", num_outputs=2)], "'y' is defined twice"),
        ([node("Relu", "nowhere", "y")], "reads 'nowhere', which nothing produces"),
        ([node("Relu", "x", "z")], "output 'y' is produced by nothing"),
        ([node("", "x", "y")], "has no operator type"),
    ],
)
def test_names_are_defined_once_and_somewhere(nodes: list[onnx.NodeProto], complaint: str) -> None:
    assert complaint in refused(model(nodes, {"x": (2,)}, "y"))


def test_sparse_initializers_are_refused_by_name() -> None:
    proto = model(RELU, {"x": (2,)}, "y")
    proto.graph.sparse_initializer.append(
        helper.make_sparse_tensor(const("thin", [1.0], "f4"), const("at", [0]), [4])
    )
    assert "sparse initializer 'thin'" in refused(proto)


def test_data_must_fit_dimensions() -> None:
    short = const("w", [1, 2, 3])
    short.dims[0] = 4
    proto = model([node("Add", "x w", "y")], [info("x", (4,), "int64")], "y", [short])
    assert "needs 32 bytes, the file has 24" in refused(proto)


def test_typed_data_must_fit_dimensions_too() -> None:
    short = onnx.TensorProto(name="w", dims=[4], data_type=1, float_data=[1.0, 2.0])
    proto = model([node("Add", "x w", "y")], {"x": (4,)}, "y", [short])
    assert "'w' cannot be decoded" in refused(proto)


@pytest.mark.parametrize(
    ("dims", "complaint"),
    [
        ((-2, 2), "negative dimension"),
        ((2**62,), "is larger than"),
        ((2**31, 2**31), "larger than"),
    ],
)
def test_impossible_sizes_are_refused(dims: tuple[int, ...], complaint: str) -> None:
    for proto in (
        model([node("Relu", "x", "y")], {"x": dims}, "y"),
        model([node("Add", "x w", "y")], {"x": (1,)}, "y", [weight("w", dims)]),
    ):
        message = refused(proto)
        assert complaint in message
        assert repr(proto.graph.initializer[0].name if proto.graph.initializer else "x") in message


def test_work_without_end_is_refused() -> None:
    """Two matrices of sensible size, but more MACs than 64-bit integers hold."""
    square = (2**22, 2**22)
    proto = model([node("MatMul", "a b", "c")], {"a": square, "b": square}, "c")
    assert f"{2**66} MACs, at most 2**62" in refused(proto)


def symbolic() -> onnx.ModelProto:
    return model(
        [node("MatMul", "x w", "y")], {"x": ("batch", "length", 8)}, "y", [weight("w", (8, 4))]
    )


def test_symbols_take_values_by_name() -> None:
    graph = imported(symbolic(), dims={"batch": 2, "length": 5})
    assert graph.values["y"].shape == (2, 5, 4)


def test_batch_binds_first_axes_only() -> None:
    graph = imported(symbolic(), batch=3, dims={"length": 7})
    assert graph.values["y"].shape == (3, 7, 4)


def test_a_name_wins_over_batch() -> None:
    graph = imported(symbolic(), batch=3, dims={"batch": 2, "length": 7})
    assert graph.values["y"].shape == (2, 7, 4)


def test_unbound_symbols_are_named_with_a_remedy() -> None:
    message = refused(symbolic())
    assert "batch (of x[0]), length (of x[1])" in message
    assert "--dim batch=1 --dim length=1" in message
    assert "batch" not in refused(symbolic(), batch=2).partition("dimensions")[2]


def test_dimensions_without_a_name_get_one() -> None:
    proto = model(RELU, {"x": (1, 4)}, "y")
    proto.graph.input[0].type.tensor_type.shape.dim[1].Clear()
    assert "--dim x_dim_1=1" in refused(proto)


def test_a_dimension_without_a_name_can_be_given() -> None:
    proto = model(RELU, {"x": (1, 4)}, "y")
    proto.graph.input[0].type.tensor_type.shape.dim[1].Clear()
    assert imported(proto, dims={"x_dim_1": 9}).values["y"].shape == (1, 9)


def test_values_for_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no dimension named width; .*: batch, length"):
        imported(symbolic(), dims={"width": 3})
    with pytest.raises(UsageError, match=r"--batch was given, but .* fixed at \[2, 4\]"):
        imported(model([node("MatMul", "x w", "y")], {"x": (2, 4), "w": (4, 5)}, "y"), batch=3)


def test_inputs_without_rank_or_of_other_kinds_are_refused_by_name() -> None:
    proto = model(RELU, {"x": (2,)}, "y")
    proto.graph.input[0].type.tensor_type.ClearField("shape")
    assert "the shape of input 'x' is unknown" in refused(proto)
    proto.graph.input[0].type.sequence_type.elem_type.tensor_type.elem_type = 1
    assert "input 'x' is a sequence_type" in refused(proto)


def test_captures_reach_through_nested_subgraphs() -> None:
    innermost = subgraph(
        [node("Add", "outer mine", "r"), node("Add", "r k", "s")],
        (),
        [info("s", (2,))],
        [const("k", [1.0, 2.0], "f4")],
    )
    middle = subgraph(
        [
            node("Neg", "x", "mine"),
            node("If", "c", "t", then_branch=innermost, else_branch=innermost),
        ],
        (),
        [info("t", (2,)), info("direct", (2,))],
    )
    made = node("If", "c", "y z", then_branch=middle, else_branch=middle)
    assert captures(made) == ("x", "c", "outer", "direct")


def test_text_and_builder_agree() -> None:
    text = parsed("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    built = model(RELU, {"x": (2, 3)}, "y")
    assert imported(text).values == imported(built).values


def test_checking_keeps_a_flat_ordered_model() -> None:
    proto = symbolic()
    assert check_model(proto, "m") is proto


def test_names_that_are_no_text_are_refused(tmp_path: Path) -> None:
    data = model([node("Relu", "NAME", "y")], {"NAME": (2,)}, "y").SerializeToString()
    path = tmp_path / "bytes.onnx"
    path.write_bytes(data.replace(b"NAME", b"\xff\xfe\xfd\xfc"))
    with pytest.raises(ModelError):
        import_model(path, ImportOptions())


def test_constants_with_data_are_read() -> None:
    proto = model([node("Reshape", "x s", "y")], {"x": (2, 6)}, "y", [const("s", np.array([3, 4]))])
    assert imported(proto).values["y"].shape == (3, 4)


def branching(*inside: onnx.NodeProto) -> onnx.ModelProto:
    """An If whose branches have some nodes; outside are `x`, `k` (a constant) and `h`."""
    branch = subgraph(inside, (), [info("r", (2, 3))])
    return model(
        [node("Exp", "x", "h"), node("If", "c", "y", then_branch=branch, else_branch=branch)],
        [info("c", (), "bool"), info("x", (2, 3))],
        "y h",
        [const("k", 1.0, "float32")],
    )


@pytest.mark.parametrize("name", ["k", "x", "h"])
def test_a_result_inside_with_the_name_of_a_tensor_outside_is_refused(name: str) -> None:
    """As onnx's checker does: who reads the name could mean either."""
    proto = branching(node("Neg", "x", name), node("Relu", name, "r"))
    with pytest.raises(onnx.checker.ValidationError, match="single static assignment"):
        onnx.checker.check_model(onnx.shape_inference.infer_shapes(proto))
    assert f"writes {name!r}, which is the name of a tensor outside" in refused(proto)


def test_names_inside_may_repeat_in_the_other_branch() -> None:
    graph = imported(branching(node("Neg", "x", "t"), node("Relu", "t", "r")))
    assert graph.values["y"].shape == (2, 3)


def test_a_dimension_of_minus_one_may_have_any_length() -> None:
    """As onnxruntime takes it: named after the input and its axis."""
    proto = model(
        [node("Relu", "x", "h"), node("Exp", "h", "y")],
        [info("x", (-1, 3))],
        [info("y", (-1, 3))],
    )
    assert "x_dim_0 (of x[0])" in refused(proto)
    assert imported(proto, batch=2).values["y"].shape == (2, 3)
    assert imported(proto, dims={"x_dim_0": 5}).values["y"].shape == (5, 3)
