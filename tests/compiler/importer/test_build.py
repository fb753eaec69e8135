"""The graph as a whole: kinds, order, data type policy, notes; and that it compiles."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest

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
from ullage.compiler.common.errors import ModelError, UsageError
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.importer.build import (
    ImportOptions,
    import_detailed,
    import_model,
    scratch_name,
)
from ullage.compiler.importer.model_zoo import named_models
from ullage.compiler.ir.graph import Graph


def well_formed(graph: Graph) -> None:
    """What every later stage takes for granted."""
    made = {n for o in graph.operators for n in o.outputs}
    known = set(graph.inputs) | {n for n, v in graph.values.items() if v.kind == "weight"}
    assert len({o.name for o in graph.operators}) == len(graph.operators)
    for operator in graph.operators:
        assert len(set(operator.inputs)) == len(operator.inputs)
        assert set(operator.inputs) <= known
        assert not known & set(operator.outputs)
        known |= set(operator.outputs)
        assert {n for n, _ in operator.accessed_bytes} <= set(operator.inputs)
        for sharing in operator.sharings:
            assert sharing.output in operator.outputs
            assert sharing.input in operator.inputs
    assert set(graph.outputs) <= made | set(graph.inputs)
    assert set(graph.values) == known
    for name, value in graph.values.items():
        assert value.name == name
        assert (value.kind == "output") == (name in graph.outputs and name in made)


CHAIN = [
    node("MatMul", "x w", "h", name="first"),
    node("Transpose", "h", "t", perm=[1, 0]),
    node("Add", "t b", "y"),
]
STORED = [weight("w", (3, 5)), weight("b", (5, 2), "float32")]


def test_kinds_and_order() -> None:
    graph = imported(model(CHAIN, {"x": (2, 3)}, "y", STORED))
    well_formed(graph)
    assert {n: v.kind for n, v in graph.values.items()} == {
        "x": "input",
        "h": "activation",
        "t": "activation",
        "y": "output",
        "w": "weight",
        "b": "weight",
    }
    assert [o.name for o in graph.operators] == ["first", "Transpose:t", "Add:y"]
    assert (graph.inputs, graph.outputs) == (("x",), ("y",))


def test_a_name_that_several_nodes_bear_is_made_unique() -> None:
    proto = model(
        [node("Relu", "x", "a", name="n"), node("Neg", "a", "y", name="n")], {"x": (2,)}, "y"
    )
    assert [o.name for o in imported(proto).operators] == ["n", "n#2"]


def test_the_name_of_the_model() -> None:
    proto = model(CHAIN, {"x": (2, 3)}, "y", STORED)
    assert import_model(proto).name == "g"
    assert import_model(proto, name="mine").name == "mine"
    proto.graph.name = ""
    assert import_model(proto).name == "model"


def test_node_numbers_refer_to_the_prepared_model() -> None:
    proto = model(list(reversed(CHAIN)), {"x": (2, 3)}, "y", STORED)
    found = import_detailed(proto, ImportOptions(fuse=False))
    for operator in found.graph.operators:
        (index,) = operator.nodes
        assert found.proto.graph.node[index].op_type == operator.kind


@pytest.mark.parametrize(
    ("policy", "x", "ids"), [(None, 24, 48), ("int8", 6, 48), ("float16", 12, 48), ("int4", 3, 48)]
)
def test_the_data_type_policy_touches_floats_only(policy: str | None, x: int, ids: int) -> None:
    proto = model(
        [node("GatherElements", "x ids", "y")],
        [info("x", (2, 3)), info("ids", (2, 3), "int64")],
        "y",
    )
    graph = imported(proto, dtype=policy)
    assert graph.values["x"].size_bytes == graph.values["y"].size_bytes == x
    assert graph.values["ids"].size_bytes == ids
    assert graph.values["ids"].dtype == "int64"
    assert graph.values["x"].dtype == (policy or "float32")


def test_an_input_that_nobody_reads_is_still_an_input() -> None:
    proto = model([node("Relu", "x", "y")], {"x": (2,), "idle": (7,)}, "y")
    graph = imported(proto)
    assert graph.inputs == ("x", "idle")
    assert graph.values["idle"].kind == "input"
    well_formed(graph)


def test_an_input_may_be_an_output() -> None:
    graph = imported(model([node("Relu", "x", "y")], {"x": (2,)}, "y x"))
    assert graph.outputs == ("y", "x")
    assert graph.values["x"].kind == "input"


def test_a_constant_output_is_noted_and_not_planned() -> None:
    proto = model(
        [node("Identity", "k", "fixed"), node("Relu", "x", "y")],
        {"x": (2,)},
        "y fixed",
        [const("k", [1, 2])],
    )
    graph = imported(proto)
    assert graph.outputs == ("y",)
    assert [(f.operator, f.kind) for f in graph.fallbacks] == [("fixed", "output")]


def test_a_model_of_constants_has_nothing_to_plan_and_says_so() -> None:
    graph = imported(model([node("Shape", "x", "y")], {"x": (2,)}, "y"))
    assert graph.operators == ()
    assert graph.outputs == ()
    assert [(f.operator, f.kind) for f in graph.fallbacks] == [("y", "output"), ("m", "model")]
    assert "nothing to plan" in graph.fallbacks[1].reason


def test_key_value_caches_are_inputs_and_outputs() -> None:
    """A decode step: past and present both have to live."""
    proto = model(
        [node("Concat", "past new", "present", axis=2), node("MatMul", "q present", "y")],
        {"past": (1, 2, 9, 4), "new": (1, 2, 1, 4), "q": (1, 2, 1, 10)},
        "y present",
    )
    graph = imported(proto)
    assert graph.values["past"].kind == "input"
    assert graph.values["present"].kind == "output"
    assert graph.values["present"].size_bytes == 1 * 2 * 10 * 4 * 4


def test_a_value_stands_for_the_inside_of_a_subgraph() -> None:
    body = subgraph([node("Exp", "x", "e"), node("Neg", "e", "r")], (), [info("r", (2, 4))])
    proto = model(
        [node("If", "c", "y", then_branch=body, else_branch=body, name="choice")],
        [info("c", (), "bool"), info("x", (2, 4))],
        "y",
    )
    graph = imported(proto)
    name = scratch_name("choice")
    assert only(graph).outputs == ("y", name)
    assert graph.values[name].size_bytes == 64  # e and r together
    assert graph.values[name].kind == "activation"
    well_formed(graph)


def test_a_gather_that_is_fused_keeps_its_partial_read() -> None:
    proto = model(
        [node("Gather", "table ids", "h"), node("Relu", "h", "y")],
        [info("ids", (1, 4), "int64")],
        "y",
        [weight("table", (100, 8))],
    )
    graph = imported(proto, fuse=True)
    assert dict(graph.operators[0].accessed_bytes) == {"table": 128}


@pytest.mark.parametrize(
    ("nodes", "shape", "looked_up"),
    [
        (["Gather table ids y"], (100, 8), ("table",)),
        # Only one row is outermost: the longer axis behind it is looked up.
        (["Gather table ids y axis=1"], (1, 100, 8), ("table",)),
        # Parts of rows are no look-up, nor are data of inference, nor single elements.
        (["Gather table ids y axis=1"], (8, 100), ()),
        (["Gather x ids y"], (100, 8), ()),
        (["Relu x r", "GatherElements table places y"], (100, 8), ()),
    ],
)
def test_rows_that_inference_names_are_looked_up(
    nodes: list[str], shape: tuple[int, ...], looked_up: tuple[str, ...]
) -> None:
    made = []
    for text in nodes:
        op, *names = text.split()
        axis = [int(word[5:]) for word in names if word.startswith("axis=")]
        *reads, result = [word for word in names if "=" not in word]
        made.append(node(op, " ".join(reads), result, **({"axis": axis[0]} if axis else {})))
    inputs = [info("ids", (1, 4), "int64"), info("x", shape), info("places", (2, 8), "int64")]
    proto = model(made, inputs, "y", [weight("table", shape)])
    operator = next(o for o in imported(proto).operators if o.kind.startswith("Gather"))
    assert operator.looked_up == looked_up
    assert operator.accessed_bytes


def quantised() -> onnx.ModelProto:
    stored = [
        const("s", 0.5, "float32"),
        const("z", 0, "uint8"),
        weight("w", (4, 4, 1, 1), "uint8"),
    ]
    return model(
        [
            node("QuantizeLinear", "x s z", "a"),
            node("QLinearConv", "a s z w s z s z", "b"),
            node("QLinearAdd", "b s z a s z s z", "c", domain=MICROSOFT),
            node("QLinearGlobalAveragePool", "c s z s z", "d", domain=MICROSOFT),
            node("DequantizeLinear", "d s z", "y"),
        ],
        {"x": (1, 4, 6, 6)},
        "y",
        stored,
    )


def test_quantised_operators_carry_bytes() -> None:
    graph = imported(quantised())
    assert {graph.values[n].dtype for n in "abcd"} == {"uint8"}
    assert graph.values["c"].size_bytes == 144
    assert graph.operators[1].inputs == ("a", "w")  # scales and zero points are parameters
    well_formed(graph)


@pytest.mark.parametrize("fuse", [True, False])
def test_small_models_compile_and_verify(*, fuse: bool) -> None:
    for proto in (quantised(), model(CHAIN, {"x": (2, 3)}, "y", STORED)):
        compiled = compile_model(proto, CompileOptions(solver="greedy", fuse=fuse))
        assert compiled.score.latency_s > 0


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("name", sorted(named_models()))
def test_models_of_the_onnx_package_are_well_formed(name: str, *, fuse: bool) -> None:
    graph = import_model(Path(named_models()[name]), ImportOptions(fuse=fuse))
    well_formed(graph)
    assert not graph.fallbacks
    assert sum(o.macs for o in graph.operators) > 100_000_000


@pytest.mark.parametrize("fuse", [False, True])
def test_a_tensor_may_have_the_name_that_scratch_space_would_get(*, fuse: bool) -> None:
    body = subgraph([node("Exp", "x", "e"), node("Neg", "e", "r")], (), [info("r", (2, 4))])
    branching = node("If", "c", "y", then_branch=body, else_branch=body, name="choice")
    for other in ("choice#body", "choice#body#"):
        proto = model(
            [branching, node("Relu", "y", "choice#body"), node("Neg", "choice#body", other + "?")],
            [info("c", (), "bool"), info("x", (2, 4))],
            f"choice#body {other}?",
        )
        graph = imported(proto, fuse=fuse)
        made = only(graph, "If").outputs[1]
        assert made not in ("choice#body", "y")
        assert graph.values[made].size_bytes == 64
        assert graph.values["choice#body"].shape == (2, 4)
        well_formed(graph)


@pytest.mark.parametrize("fuse", [False, True])
def test_results_that_nobody_reads_live_for_one_step(*, fuse: bool) -> None:
    """The second result of the TopK, the sequence of the LSTM, the indices behind a fused Relu."""
    proto = model(
        [
            node("TopK", "x k", "v i"),
            node("LSTM", "s w r", "seq last", hidden_size=4),
            node("MaxPool", "z", "m places", kernel_shape=[2, 2], strides=[2, 2]),
            node("Relu", "m", "p"),
        ],
        {"x": (1, 6), "s": (10, 1, 3), "z": (1, 1, 4, 4)},
        "v last p",
        [const("k", [2]), weight("w", (1, 16, 3)), weight("r", (1, 16, 4))],
    )
    graph = imported(proto, fuse=fuse)
    assert only(graph, "TopK").outputs == ("v", "i")
    assert only(graph, "LSTM").outputs == ("seq", "last")
    assert graph.values["seq"].size_bytes == 10 * 4 * 4
    assert graph.values["seq"].kind == "activation"
    assert graph.values["places"].size_bytes == 2 * 2 * 8
    assert only(graph, "MaxPool").outputs == (("p", "places") if fuse else ("m", "places"))
    well_formed(graph)


def stored_bytes(proto: onnx.ModelProto, *, fuse: bool) -> int:
    graph = imported(proto, fuse=fuse)
    return sum(v.size_bytes for v in graph.values.values() if v.kind == "weight")


@pytest.mark.parametrize("fuse", [False, True])
def test_scales_and_zero_points_take_bytes_once(*, fuse: bool) -> None:
    """Per axis and per block; a single number is part of the instruction."""
    per_axis = model(
        [
            node("DequantizeLinear", "w s z", "d", axis=0),
            node("Gather", "d ids", "h"),
            node("Transpose", "d", "t"),
            node("MatMul", "h t", "y"),
        ],
        [info("ids", (1, 4), "int64")],
        "y",
        [weight("w", (1000, 64), "int8"), weight("s", (1000,)), weight("z", (1000,), "int8")],
        opset=21,
    )
    assert stored_bytes(per_axis, fuse=fuse) == 64_000 + 4_000 + 1_000
    blocked = model(
        [node("DequantizeLinear", "w s", "d", axis=0, block_size=32), node("MatMul", "x d", "y")],
        {"x": (1, 256)},
        "y",
        [weight("w", (256, 256), "int4"), weight("s", (8, 256))],
        opset=21,
    )
    assert stored_bytes(blocked, fuse=fuse) == 32_768 + 8_192
    one = model(
        [node("DequantizeLinear", "w s z", "d"), node("MatMul", "x d", "y")],
        {"x": (1, 256)},
        "y",
        [weight("w", (256, 256), "int8"), weight("s", ()), weight("z", (), "int8")],
        opset=21,
    )
    assert stored_bytes(one, fuse=fuse) == 65_536


@pytest.mark.parametrize("fuse", [False, True])
def test_scales_of_activations_and_of_quantised_operators_take_bytes(*, fuse: bool) -> None:
    scale, zero = const("s", np.ones(8), "float32"), const("z", np.zeros(8), "int8")
    through = model(
        [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "y")],
        {"x": (4, 8)},
        "y",
        [scale, zero],
        opset=21,
    )
    assert stored_bytes(through, fuse=fuse) == 32 + 8
    convolution = model(
        [node("QLinearConv", "x a b w s z a b", "y")],
        [info("x", (1, 3, 8, 8), "uint8")],
        "y",
        [
            const("a", 0.1, "float32"),
            const("b", 0, "uint8"),
            weight("w", (8, 3, 3, 3), "int8"),
            scale,
            zero,
        ],
    )
    assert stored_bytes(convolution, fuse=fuse) == 8 * 27 + 32 + 8


def test_a_dimension_may_be_empty_a_batch_not() -> None:
    sized = model([node("Relu", "x", "y")], {"x": ("n", 3)}, "y")
    assert import_model(sized, ImportOptions(dims={"n": 0})).values["y"].size_bytes == 0
    with pytest.raises(UsageError, match="the batch is a whole number from 1"):
        import_model(sized, ImportOptions(batch=0))


@pytest.mark.parametrize("size", [-1, True, 1.5, "2", None, 2**62 + 1, 2**63, 10**4000])
def test_sizes_that_are_none_are_refused(size: object) -> None:
    fixed = model([node("Relu", "x", "y")], {"x": (2, 3)}, "y")
    for options in (ImportOptions(dims={"n": size}), ImportOptions(batch=size)):  # type: ignore[dict-item,arg-type]
        if options == ImportOptions():  # None: no batch is given
            continue
        with pytest.raises(UsageError, match=r"is a whole number from [01] to"):
            import_model(fixed, options)


def test_a_file_whose_name_no_plan_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.onnx")
    onnx.save(model([node("Relu", "x", "y")], {"x": (2, 3)}, "y"), path)
    with pytest.raises(ModelError, match="no Unicode text; rename the file"):
        import_model(path)
