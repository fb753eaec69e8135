"""Loop-carried tensors that change their shape, in Loop and Scan, alone and one in the other."""

from typing import Any

import onnx
import pytest

from tests.support.onnx_models import const, imported, info, model, node, only, subgraph
from ullage.compiler.common.errors import ModelError, TimeLimitError
from ullage.compiler.importer.bodies import loops
from ullage.compiler.ir.graph import Graph, Value

CONDITION = node("Identity", "going", "going_on")


def body(
    nodes: list[onnx.NodeProto],
    *,
    level: int = 0,
    rows: str = "",
    condition: onnx.NodeProto = CONDITION,
) -> onnx.GraphProto:
    """A Loop's body in which s0 becomes n0 (s1 becomes n1 at level 1); no shape is declared."""
    returned = [onnx.ValueInfoProto(name=name) for name in rows.split()]
    going_on = f"going_on{level or ''}"
    condition = node(condition.op_type, " ".join(condition.input), going_on)
    return subgraph(
        [condition, *nodes],
        [
            info("i", (), "int64"),
            info("going", (), "bool"),
            onnx.ValueInfoProto(name=f"s{level}"),
        ],
        [info(going_on, (), "bool"), onnx.ValueInfoProto(name=f"n{level}"), *returned],
    )


def looped(
    nodes: list[onnx.NodeProto],
    trips: int | None,
    *,
    rows: str = "",
    after: list[onnx.NodeProto] | None = None,
    **options: Any,
) -> Graph:
    """A Loop that starts from x [8, 64]."""
    known = [] if trips is None else [const("trips", trips)]
    stacked = f" {rows}_all" if rows else ""
    proto = model(
        [
            node("Loop", "trips start x", f"y{stacked}", body=body(nodes, rows=rows, **options)),
            *(after or []),
        ],
        [info("x", (8, 64)), *([] if known else [info("trips", (), "int64")])],
        f"y{stacked}",
        [*known, const("start", True, "bool")],
    )
    return imported(proto)


APPEND = [node("Concat", "s0 x", "n0", axis=0)]
DOUBLE = [node("Concat", "s0 s0", "n0", axis=0)]
STOPS = node("Less", "i i", "going_on")


def shape_of(graph: Graph, name: str = "y") -> tuple[tuple[int, ...], bool]:
    value: Value = graph.values[name]
    return value.shape, value.is_upper_bound


@pytest.mark.parametrize(
    ("nodes", "trips", "shape"),
    [
        (APPEND, 16, (136, 64)),
        (APPEND, 1, (16, 64)),
        (APPEND, 0, (8, 64)),
        (DOUBLE, 5, (256, 64)),
        ([node("Constant", "", "pads", value_ints=[1, 0, 1, 0]), node("Pad", "s0 pads", "n0")],
         3, (14, 64)),
        ([node("Transpose", "s0", "n0")], 3, (64, 8)),
        ([node("Transpose", "s0", "n0")], 4, (8, 64)),
        ([node("ReduceMax", "s0", "n0")], 4, (1, 1)),
        ([node("Constant", "", "a", value_ints=[0]), node("Unsqueeze", "s0 a", "n0")],
         2, (1, 1, 8, 64)),
        ([node("Relu", "s0", "n0")], 2**40, (8, 64)),
    ],
)  # fmt: skip
def test_the_last_iteration_decides_where_their_number_is_known(
    nodes: list[onnx.NodeProto], trips: int, shape: tuple[int, ...]
) -> None:
    assert shape_of(looped(nodes, trips)) == (shape, False)


@pytest.mark.parametrize(
    ("nodes", "trips", "shape"),
    [
        (APPEND, 16, (136, 64)),
        (DOUBLE, 3, (64, 64)),
        ([node("Transpose", "s0", "n0")], 7, (64, 64)),
        ([node("ReduceMax", "s0", "n0")], 9, (8, 64)),
    ],
)
def test_a_loop_that_may_stop_earlier_has_room_for_every_iteration(
    nodes: list[onnx.NodeProto], trips: int, shape: tuple[int, ...]
) -> None:
    assert shape_of(looped(nodes, trips, condition=STOPS)) == (shape, True)


def test_a_loop_of_unknown_length_has_a_bound_where_shapes_come_to_rest() -> None:
    """The first iteration changes the shape, the others do not."""
    assert shape_of(looped([node("ReduceMax", "s0", "n0")], None)) == ((8, 64), True)
    assert shape_of(looped([node("Relu", "s0", "n0")], None)) == ((8, 64), False)


def test_a_tensor_that_grows_without_bound_is_refused_by_name() -> None:
    with pytest.raises(ModelError) as caught:
        looped(APPEND, None)
    assert "the loop-carried tensor 's0' of Loop" in caught.value.message
    assert "nothing bounds the number of iterations" in caught.value.message


def test_too_many_iterations_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "MOST_REPEATED_NODES", 100)
    with pytest.raises(ModelError, match="1000 iterations of a body of 2 nodes are too many"):
        looped(APPEND, 1000)


def test_loops_inside_loops_share_one_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each level visits the one inside more than once: without a budget, for ever."""
    monkeypatch.setattr(loops, "MOST_REPEATED_NODES", 1000)
    inside = body(APPEND)
    for level in range(1, 20):
        inner = node("Loop", f"trips start s{level}", f"n{level}", body=inside)
        inside = body([inner], level=level)
    proto = model(
        [node("Loop", "trips start x", "y", body=inside)],
        {"x": (8, 64)},
        "y",
        [const("trips", 2), const("start", True, "bool")],
    )
    with pytest.raises(ModelError, match="too many to follow"):
        imported(proto)


def test_nested_loops_multiply() -> None:
    inside = [node("Loop", "trips start s1", "n1", body=body(APPEND))]
    assert shape_of(looped(inside, 3, level=1)) == ((8 + 9 * 8, 64), False)


def test_rows_that_differ_and_their_stack_are_bounds() -> None:
    """Each iteration hands out what it has; the body's peak is that of the last."""
    graph = looped([*APPEND, node("ReduceSum", "n0", "row", keepdims=0)], 4, rows="row")
    assert shape_of(graph, "row_all") == ((4,), False)
    assert graph.values[f"{only(graph).name}#body"].size_bytes >= 40 * 64 * 4


def test_what_changes_from_iteration_to_iteration_is_no_constant() -> None:
    """The shape of the state is a constant in each iteration, but another one."""
    graph = looped(
        [
            node("Shape", "s0", "shape"),
            node("ConstantOfShape", "shape", "zeros"),
            node("Concat", "s0 zeros", "n0", axis=0),
        ],
        3,
    )
    assert shape_of(graph) == ((64, 64), False)
    # state 32 rows, zeros 32, result 64: none of them is a weight
    assert graph.values[f"{only(graph).name}#body"].size_bytes >= 128 * 64 * 4
    assert not [v for v in graph.values.values() if v.kind == "weight"]


def test_a_loop_that_never_runs_returns_what_it_was_given() -> None:
    proto = model(
        [node("Loop", "trips never x", "y", body=body(APPEND))],
        [info("x", (8, 64)), info("trips", (), "int64")],
        "y",
        [const("never", False, "bool")],
    )
    assert shape_of(imported(proto)) == ((8, 64), False)


def test_a_bounded_number_of_iterations_bounds_the_rows() -> None:
    proto = model(
        [
            node("NonZero", "x", "nz"),
            node("Shape", "nz", "s", start=1),
            node("Squeeze", "s", "n"),
            node("Loop", "n _ x", "y row_all", body=body([node("Relu", "s0", "n0"), node(
                "ReduceSum", "n0", "row", keepdims=0)], rows="row")),
        ],
        {"x": (10,)},
        "row_all",
    )  # fmt: skip
    graph = imported(proto)
    assert shape_of(graph, "row_all") == ((10,), True)


def scan(nodes: list[onnx.NodeProto], inputs: str, **attributes: Any) -> onnx.NodeProto:
    inner = subgraph(
        nodes,
        [onnx.ValueInfoProto(name="s"), onnx.ValueInfoProto(name="part")],
        [onnx.ValueInfoProto(name="next"), onnx.ValueInfoProto(name="each")],
    )
    return node("Scan", inputs, "y all", body=inner, num_scan_inputs=1, **attributes)


SUM = [node("Add", "s part", "next"), node("Identity", "next", "each")]


def test_scan_of_operator_set_8_has_a_batch_axis() -> None:
    proto = model([scan(SUM, "_ start x")], {"start": (3, 2), "x": (3, 5, 2)}, "y all", opset=8)
    graph = imported(proto)
    assert shape_of(graph) == ((3, 2), False)
    assert shape_of(graph, "all") == ((3, 5, 2), False)
    assert only(graph).vector_elements == 3 * 5 * 2


def test_scan_over_a_bounded_axis_has_bounded_rows() -> None:
    proto = model(
        [
            node("NonZero", "x", "nz"),
            node("Transpose", "nz", "t"),
            node("Cast", "t", "f", to=1),
            scan(SUM, "start f"),
        ],
        {"start": (2,), "x": (4, 8)},
        "y all",
    )
    graph = imported(proto)
    assert shape_of(graph) == ((2,), False)
    assert shape_of(graph, "all") == ((32, 2), True)


def test_states_of_a_scan_may_grow() -> None:
    grow = [node("Concat", "s part", "next", axis=0), node("Identity", "part", "each")]
    graph = imported(model([scan(grow, "start x")], {"start": (2,), "x": (5, 3)}, "y all"))
    assert shape_of(graph) == ((17,), False)
    assert shape_of(graph, "all") == ((5, 3), False)


def test_the_time_limit_holds_while_iterations_are_followed() -> None:
    proto = model(
        [node("Loop", "trips start x", "y", body=body(APPEND))],
        {"x": (8, 64)},
        "y",
        [const("trips", 20_000), const("start", True, "bool")],
    )
    with pytest.raises(TimeLimitError, match="before the model was read"):
        imported(proto, deadline=0.0)
