"""Local functions: expanded to any depth, in any operator set that fits, constants stored once."""

import time

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from tests.support.onnx_models import const, imported, info, model, node, subgraph
from ullage.compiler.common.errors import ModelError, TimeLimitError
from ullage.compiler.execute.kernels import open_session
from ullage.compiler.importer.functions import MAX_INLINED_NODES, inline_functions


def refused(proto: onnx.ModelProto) -> str:
    with pytest.raises(ModelError) as caught:
        imported(proto)
    return caught.value.message


def local(name: str, *nodes: onnx.NodeProto, result: str = "b") -> onnx.FunctionProto:
    sets = [helper.make_opsetid("", 20), helper.make_opsetid("local", 1)]
    return helper.make_function("local", name, ["a"], [result], list(nodes), sets)


def calling(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    return model(
        [node("Outer", "x", "y", domain="local")],
        {"x": (2, 3)},
        "y",
        functions=functions,
        domains=["local"],
    )


def test_nested_functions_are_inlined() -> None:
    inner = local("Inner", node("Relu", "a", "m"), node("Exp", "m", "b"))
    outer = local(
        "Outer", node("Inner", "a", "m", domain="local"), node("Inner", "m", "b", domain="local")
    )
    graph = imported(calling(outer, inner))
    assert [o.kind for o in graph.operators] == ["Relu", "Exp", "Relu", "Exp"]
    assert graph.values["y"].shape == (2, 3)


def test_recursive_functions_are_refused_with_the_circle() -> None:
    direct = local("Outer", node("Outer", "a", "b", domain="local"))
    assert "in a circle: Outer -> Outer" in refused(calling(direct))
    outer = local("Outer", node("Inner", "a", "b", domain="local"))
    inner = local("Inner", node("Outer", "a", "b", domain="local"))
    assert "in a circle: Outer -> Inner -> Outer" in refused(calling(outer, inner))


@pytest.mark.parametrize("count", [1, 60, 2000])
def test_functions_call_each_other_to_any_depth(count: int) -> None:
    names = ["Outer", *(f"L{i}" for i in range(1, count))]
    calls = [node(name, "a", "b", domain="local") for name in names[1:]]
    bodies = zip(names, [*calls, node("Relu", "a", "b")], strict=True)
    proto = calling(*(local(name, body) for name, body in bodies))
    assert [o.kind for o in imported(proto).operators] == ["Relu"]


def test_recursion_through_a_subgraph_is_found() -> None:
    branch = subgraph([node("Outer", "a", "r", domain="local")], (), [info("r", (2, 3))])
    outer = local(
        "Outer",
        node("Constant", "", "c", value=const("v", True, "bool")),
        node("If", "c", "b", then_branch=branch, else_branch=branch),
    )
    assert "in a circle: Outer -> Outer" in refused(calling(outer))


def test_functions_that_explode_are_refused_before_they_do() -> None:
    """Ten levels of ten calls: 10**10 nodes."""
    levels = [
        local(
            "Outer" if level == 0 else f"L{level}",
            *(node(f"L{level + 1}", "a", f"b{i}", domain="local") for i in range(10)),
            result="b9",
        )
        for level in range(10)
    ]
    leaf = local("L10", node("Relu", "a", "b"))
    assert "nodes once local functions are inlined" in refused(calling(*levels, leaf))


def doubling(levels: int) -> onnx.ModelProto:
    """Every function calls the next one twice: 2**(levels - 1) nodes."""
    functions = [
        local(
            "Outer" if level == 0 else f"L{level}",
            node(f"L{level + 1}", "a", "m", domain="local"),
            node(f"L{level + 1}", "m", "b", domain="local"),
        )
        for level in range(levels - 1)
    ]
    return calling(*functions, local(f"L{levels - 1}", node("Neg", "a", "b")))


def test_small_functions_that_double_are_counted_before_they_are_copied() -> None:
    assert MAX_INLINED_NODES < 2**18
    assert "262144 nodes once local functions are inlined ('Outer' alone" in refused(doubling(19))
    assert len(imported(doubling(8)).operators) == 2**7


def test_expansion_ends_at_the_deadline() -> None:
    with pytest.raises(TimeLimitError, match="while local functions were expanded"):
        inline_functions(doubling(12), "m", deadline=time.monotonic() - 1)


def of_set(version: int, *nodes: onnx.NodeProto, sets: int = 20) -> onnx.ModelProto:
    """A model of operator set `sets` that calls a function of another one."""
    function = helper.make_function(
        "local", "Outer", ["a"], ["b"], list(nodes), [helper.make_opsetid("", version)]
    )
    return model(
        [node("Outer", "x", "y", domain="local")],
        {"x": (2, 3, 4)},
        [info("y", (2, 3, 4))],
        functions=[function],
        domains=["local"],
        opset=sets,
    )


@pytest.mark.parametrize(
    ("version", "nodes"),
    [
        (18, [node("Relu", "a", "m"), node("Softmax", "m", "b")]),
        (13, [node("Softmax", "a", "m", axis=1), node("Exp", "m", "b")]),
        (21, [node("Relu", "a", "m"), node("Transpose", "m", "b", perm=[0, 1, 2])]),
        (11, [node("Softmax", "a", "b")]),  # set 11 flattens from axis 1 on
    ],
)
def test_a_function_of_another_operator_set_is_expanded(
    version: int, nodes: list[onnx.NodeProto]
) -> None:
    proto = of_set(version, *nodes)
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    alone = model(nodes, {"a": (2, 3, 4)}, [info("b", (2, 3, 4))], opset=version)
    alone.ir_version = proto.ir_version = 10
    (expected,) = open_session(alone).run(None, {"a": x})
    flat = onnx.ModelProto()
    flat.CopyFrom(proto)
    inline_functions(flat, "m")
    (found,) = open_session(flat).run(None, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert not imported(proto).fallbacks
    assert imported(proto).values["y"].shape == (2, 3, 4)


def test_what_changed_between_operator_sets_and_cannot_be_converted_is_refused() -> None:
    message = refused(of_set(24, node("Swish", "a", "b"), sets=20))
    assert "'Outer' is of operator set 24, the model of 20; Swish changed" in message


def test_operator_sets_that_only_a_function_names_become_the_models() -> None:
    function = helper.make_function(
        "local",
        "Outer",
        ["a"],
        ["b"],
        [node("QuickGelu", "a", "b", domain="com.microsoft")],
        [helper.make_opsetid("com.microsoft", 1)],
    )
    proto = calling(function)
    del proto.opset_import[1]
    graph = imported(proto)
    assert [o.kind for o in graph.operators] == ["QuickGelu"]
    assert not graph.fallbacks


def test_a_constant_of_a_function_is_stored_once() -> None:
    stored = const("v", np.arange(12.0).reshape(3, 4), "float32")
    product = local("P", node("Constant", "", "w", value=stored), node("MatMul", "a w", "b"))
    product.opset_import.add(domain="", version=20)
    proto = model(
        [
            node("P", "x", "p", domain="local"),
            node("P", "z", "q", domain="local"),
            node("Add", "p q", "y"),
        ],
        {"x": (2, 3), "z": (2, 3)},
        "y",
        functions=[product],
        domains=["local"],
    )
    graph = imported(proto)
    assert sum(v.size_bytes for v in graph.values.values() if v.kind == "weight") == 48


def test_a_constant_that_depends_on_the_call_is_each_calls_own() -> None:
    constant = helper.make_node("Constant", [], ["k"])
    reference = onnx.AttributeProto(name="value_floats", type=onnx.AttributeProto.FLOATS)
    reference.ref_attr_name = "numbers"
    constant.attribute.append(reference)
    function = helper.make_function(
        "local",
        "Outer",
        ["a"],
        ["b"],
        [constant, node("Add", "a k", "b")],
        [helper.make_opsetid("", 20)],
        attributes=["numbers"],
    )
    proto = model(
        [
            node("Outer", "x", "p", domain="local", numbers=[1.0, 2.0]),
            node("Outer", "p", "y", domain="local", numbers=[3.0, 4.0]),
        ],
        {"x": (2, 2)},
        "y",
        functions=[function],
        domains=["local"],
    )
    graph = imported(proto)
    assert sum(v.size_bytes for v in graph.values.values() if v.kind == "weight") == 16
    inline_functions(proto, "m")
    (found,) = ReferenceEvaluator(proto).run(None, {"x": np.zeros((2, 2), np.float32)})
    assert found.tolist() == [[4.0, 6.0]] * 2


def test_defaults_of_attributes_hold_where_the_call_has_none() -> None:
    softmax = node("Softmax", "a", "b")
    softmax.attribute.append(onnx.AttributeProto(name="axis", type=onnx.AttributeProto.INT))
    softmax.attribute[0].ref_attr_name = "along"
    function = local("Outer", softmax)
    function.attribute_proto.append(helper.make_attribute("along", 0))
    proto = calling(function)
    inline_functions(proto, "m")
    assert proto.graph.node[0].attribute[0].i == 0
    assert proto.graph.node[0].attribute[0].name == "axis"


def test_an_operand_may_be_a_result_and_absent_ones_stay_absent() -> None:
    function = helper.make_function(
        "local",
        "Outer",
        ["a", "low", "high"],
        ["b", "same"],
        [node("Clip", "a low high", "b"), node("Identity", "a", "same")],
        [helper.make_opsetid("", 20)],
    )
    through = helper.make_function(
        "local", "Through", ["a"], ["a"], [], [helper.make_opsetid("", 20)]
    )
    proto = model(
        [
            node("Outer", "x _ top", "y _", domain="local"),
            node("Through", "y", "z", domain="local"),
        ],
        {"x": (2, 3)},
        "z",
        [const("top", 6.0, "float32")],
        functions=[function, through],
        domains=["local"],
    )
    inline_functions(proto, "m")
    assert [list(n.input) for n in proto.graph.node if n.op_type == "Clip"] == [["x", "", "top"]]
    x = np.full((2, 3), 9.0, np.float32)
    assert (ReferenceEvaluator(proto).run(None, {"x": x})[0] == 6.0).all()


def test_names_of_two_calls_never_meet() -> None:
    """Bodies use the same names, in subgraphs too, and names of the model look like a call's."""
    branch = subgraph([node("Neg", "m", "r")], (), [info("r", (2, 3))])
    other = subgraph([node("Exp", "m", "r")], (), [info("r", (2, 3))])
    function = local(
        "Outer",
        node("ReduceMax", "a", "s", keepdims=0),
        node("Cast", "s", "c", to=onnx.TensorProto.BOOL),
        node("Relu", "a", "m"),
        node("If", "c", "b", then_branch=branch, else_branch=other),
    )
    proto = model(
        [
            node("Exp", "x", "Outer#1/m"),
            node("Outer", "x", "h", domain="local"),
            node("Outer", "h", "t", domain="local"),
            node("Add", "t Outer#1/m", "y"),
        ],
        {"x": (2, 3)},
        "y",
        functions=[function],
        domains=["local"],
    )
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
    (expected,) = ReferenceEvaluator(proto).run(None, {"x": x})
    assert imported(proto).values["y"].shape == (2, 3)
    inline_functions(proto, "m")
    np.testing.assert_array_equal(ReferenceEvaluator(proto).run(None, {"x": x})[0], expected)


def test_a_call_inside_a_branch_is_expanded_there() -> None:
    branch = subgraph([node("Outer", "x", "r", domain="local")], (), [info("r", (2, 3))])
    proto = model(
        [node("If", "c", "y", then_branch=branch, else_branch=branch)],
        [info("c", (), "bool"), info("x", (2, 3))],
        "y",
        functions=[local("Outer", node("MatMul", "a w", "b"))],
        domains=["local"],
    )
    assert "reads" in refused(proto)  # a function sees nothing of the model around it
    proto.functions[0].node[0].CopyFrom(node("Relu", "a", "b"))
    assert imported(proto).values["y"].shape == (2, 3)


def test_too_many_operands_are_refused() -> None:
    proto = calling(local("Outer", node("Relu", "a", "b")))
    proto.graph.node[0].input.append("x")
    assert "passes 2 tensors to the local function 'Outer' and takes 1; it has 1 and 1" in refused(
        proto
    )


def test_a_loaded_model_is_left_as_it_was() -> None:
    proto = calling(local("Outer", node("Relu", "a", "b")))
    before = proto.SerializeToString()
    imported(proto)
    assert proto.SerializeToString() == before
