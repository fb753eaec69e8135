"""What a part of a value needs of all values before it."""

import numpy as np
import pytest

from tests.support.onnx_models import const, imported, model, node, parsed, weight
from tests.support.tile_cases import cases, tile_findings
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.lowering.demand import demand, dependence


def chain() -> Graph:
    nodes = [
        node("Conv", "x w", "t", pads=[1, 1, 1, 1]),
        node("Conv", "t v", "u", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("Relu", "u", "y"),
    ]
    constants = [weight("w", (4, 3, 3, 3)), weight("v", (6, 4, 3, 3))]
    return imported(model(nodes, {"x": (1, 3, 16, 16)}, "y", constants), fuse=True)


def test_halos_add_up_through_a_chain() -> None:
    found = demand(chain(), "y", ((0, 1), (0, 6), (2, 4), (0, 8)))
    assert found == {
        "y": ((0, 1), (0, 6), (2, 4), (0, 8)),
        "t": ((0, 1), (0, 4), (3, 8), (0, 16)),
        "v": ((0, 6), (0, 4), (0, 3), (0, 3)),
        "x": ((0, 1), (0, 3), (2, 9), (0, 16)),
        "w": ((0, 4), (0, 3), (0, 3), (0, 3)),
    }


def test_the_demand_ends_at_operators_that_are_left_out() -> None:
    found = demand(chain(), "y", ((0, 1), (1, 3), (0, 1), (0, 1)), operators=[1])
    assert found["t"] == ((0, 1), (0, 4), (0, 2), (0, 2))
    assert found["v"] == ((1, 3), (0, 4), (0, 3), (0, 3))
    assert "x" not in found


def test_where_two_read_a_value_the_hull_is_needed() -> None:
    graph = imported(
        parsed("g (float[8,3] x) => (float[8,3] y) { a = Relu(x) b = Transpose<perm=[1,0]>(a) "
               "c = Transpose<perm=[1,0]>(b) y = Concat<axis=0>(a, c) z = Neg(y) }")
    )  # fmt: skip
    found = demand(graph, "y", ((6, 10), (1, 2)))
    assert found["c"] == ((0, 2), (1, 2))
    assert found["b"] == ((1, 2), (0, 2))
    assert found["a"] == found["x"] == ((0, 8), (1, 2))
    assert "z" not in found


def test_an_operator_without_a_reach_needs_everything() -> None:
    graph = imported(
        model(
            [node("Relu", "x", "a"), node("Compress", "a k", "b", axis=0), node("Neg", "b", "y")],
            {"x": (5, 4)},
            "y",
            [const("k", [True, False, True, True, False], "bool")],
        )
    )
    found = demand(graph, "y", ((0, 1), (2, 3)))
    assert found["b"] == ((0, 5), (2, 3))  # nobody knows how many rows there are
    assert found["a"] == ((0, 5), (0, 4))


def test_axes_that_are_not_cut_are_needed_whole() -> None:
    graph = imported(parsed("g (float[5,4] x) => (float[5,4] y) { y = Softmax<axis=1>(x) }"))
    assert demand(graph, "y", ((1, 2), (0, 1)))["x"] == ((1, 2), (0, 4))


def test_a_part_of_padding_needs_nothing() -> None:
    pads = const("p", [3, 0])
    graph = imported(model([node("Pad", "x p", "y")], {"x": (4,)}, "y", [pads]))
    assert demand(graph, "y", ((0, 3),)) == {"y": ((0, 3),)}
    assert demand(graph, "y", ((2, 2),)) == {}
    assert demand(graph, "y", ((2, 5),)) == {"y": ((2, 5),), "x": ((0, 2),)}


@pytest.mark.parametrize("box", [((0, 1),), ((0, 1), (0, 6), (2, 4), (0, 9)), ((1, 0),) * 4])
def test_a_box_outside_of_a_value_is_refused(box: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(UsageError, match="is no box of 'y', whose shape is"):
        demand(chain(), "y", box)


def test_a_name_that_is_no_value_is_refused() -> None:
    with pytest.raises(UsageError, match="no value 'nobody' in the graph"):
        demand(chain(), "nobody", ())


@pytest.mark.skipif(not cases(), reason="the folder of cases beside the project is absent")
def test_demands_hold_what_experiments_show_to_be_needed() -> None:
    found = tile_findings(cases())
    assert not found.missing, "\n".join(found.missing)
    assert found.refused == []
    # Along the axis that is normalised, and recurrent layers along time.
    kinds = {text.split(": ")[1] for text in found.uncut}
    assert kinds == {"Softmax", "LayerNormalization", "GRU", "LSTM"}
    assert len(found.uncut) == 6
    assert found.rows == 319
    assert found.exact >= 0.93 * found.rows
    assert found.demanded >= 0.9 * found.rows
    assert found.within_hull >= 0.95 * found.rows


def test_a_weight_is_read_as_it_is_stored() -> None:
    nodes = [node("Transpose", "w", "t", perm=[1, 0]), node("MatMul", "x t", "y")]
    graph = imported(
        model(nodes, {"x": (3, 6)}, "y", [const("w", np.ones((5, 6)), "float32")]), fuse=True
    )
    assert demand(graph, "y", ((0, 3), (1, 4)))["w"] == ((1, 4), (0, 6))


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
    assert demand(split(), "y", ((1, 3), (0, 4)))["x"] == ((4, 6), (0, 4))


def test_a_running_sum_depends_on_what_is_before_it() -> None:
    for exclusive, reverse, rows in (
        (0, 0, (0, 4)),
        (1, 0, (0, 3)),
        (0, 1, (2, 6)),
        (1, 1, (3, 6)),
    ):
        nodes = [node("CumSum", "x a", "y", exclusive=exclusive, reverse=reverse)]
        graph = imported(model(nodes, {"x": (6,)}, "y", [const("a", 0)]))
        assert dependence(graph, "y", ((2, 4),))["x"] == ((rows,),)
        assert demand(graph, "y", ((2, 4),))["x"] == (rows,)


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


def test_dependence_refuses_a_box_outside_of_a_value() -> None:
    with pytest.raises(UsageError, match="is no box of 'y'"):
        dependence(split(), "y", ((0, 5), (0, 4)))
