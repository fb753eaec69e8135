"""Which indices of the values before it a part depends on."""

import pytest

from tests.support.onnx_models import const, imported, model, node, weight
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.lowering.demand import demand
from ullage.compiler.lowering.dependence import dependence


def test_strides_leave_rows_out() -> None:
    nodes = [node("Conv", "x w", "y", strides=[2, 3])]
    graph = imported(model(nodes, {"x": (1, 2, 9, 9)}, "y", [weight("w", (3, 2, 1, 1))]))
    found = dependence(graph, "y", ((0, 1), (1, 2), (1, 4), (0, 2)))
    assert found["x"] == (((0, 1),), ((0, 2),), ((2, 3), (4, 5), (6, 7)), ((0, 1), (3, 4)))
    assert found["w"][0] == ((1, 2),)


def split() -> Graph:
    nodes = [node("Relu", "x", "t"), node("Split", "t n", "a b", axis=0), node("Neg", "b", "y")]
    return imported(model(nodes, {"x": (7, 4)}, "y a", [const("n", [3, 4])]))


def test_a_part_of_a_split_depends_on_its_own_rows() -> None:
    assert dependence(split(), "y", ((1, 3), (0, 4)))["x"] == (((4, 6),), ((0, 4),))
    assert demand(split(), "y", ((1, 3), (0, 4)))["x"] == ((0, 7), (0, 4))  # it runs whole


def test_a_running_sum_depends_on_what_is_before_it() -> None:
    for exclusive, reverse, rows, all_rows in (
        (0, 0, (0, 4), (0, 6)),
        (1, 0, (0, 3), (0, 5)),
        (0, 1, (2, 6), (0, 6)),
        (1, 1, (3, 6), (1, 6)),
    ):
        nodes = [node("CumSum", "x a", "y", exclusive=exclusive, reverse=reverse)]
        graph = imported(model(nodes, {"x": (6,)}, "y", [const("a", 0)]))
        assert dependence(graph, "y", ((2, 4),))["x"] == ((rows,),)
        assert demand(graph, "y", ((2, 4),))["x"] == (all_rows,)  # the sum runs whole


@pytest.mark.parametrize(
    ("direction", "steps"), [("forward", (0, 4)), ("reverse", (2, 6)), ("bidirectional", (0, 6))]
)
def test_a_recurrent_layer_depends_on_the_steps_it_has_seen(
    direction: str, steps: tuple[int, int]
) -> None:
    both = 2 if direction == "bidirectional" else 1
    nodes = [node("GRU", "x w r", "y", hidden_size=5, direction=direction)]
    constants = [weight("w", (both, 15, 3)), weight("r", (both, 15, 5))]
    graph = imported(model(nodes, {"x": (6, 2, 3)}, "y", constants))
    found = dependence(graph, "y", ((2, 4), (0, 1), (1, 2), (0, 1)))
    assert found["x"] == ((steps,), ((1, 2),), ((0, 3),))
    assert found["w"][0] == ((0, 1),)


def test_without_a_reach_everything_matters() -> None:
    graph = imported(model([node("Det", "x", "y")], {"x": (4, 3, 3)}, "y"))
    assert dependence(graph, "y", ((1, 2),))["x"] == (((0, 4),), ((0, 3),), ((0, 3),))


def test_an_empty_box_depends_on_nothing() -> None:
    assert dependence(split(), "y", ((2, 2), (0, 4))) == {}


def test_a_box_outside_of_a_value_is_refused() -> None:
    with pytest.raises(UsageError, match="is no box of 'y'"):
        dependence(split(), "y", ((0, 5), (0, 4)))
