"""Cuts that a target allows."""

from dataclasses import replace

import pytest

from tests.support.tiled_models import residual_network
from ullage.compiler.common.errors import UsageError
from ullage.compiler.importer.build import import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Schedule, part_of
from ullage.compiler.ir.target import TILE_AXES, TileAxis
from ullage.compiler.lowering.tiling.allowed import check_tiles, with_allowed_cuts
from ullage.hwmodels.catalog.registry import load_target


@pytest.fixture(scope="module")
def graph() -> Graph:
    return import_model(residual_network(size=16))


def cutting(graph: Graph, axis: int) -> Schedule:
    """The schedule that cuts the first operator in two along an axis."""
    reach = graph.operators[0].reach
    assert reach is not None
    shape = graph.values[graph.operators[0].outputs[0]].shape
    size = reach.reduction if axis == REDUCTION else shape[axis]
    halves = [part_of(0, {axis: span}) for span in ((0, size // 2), (size // 2, size))]
    return Schedule("halves", (*halves, *(part_of(i, {}) for i in range(1, len(graph.operators)))))


@pytest.mark.parametrize(("axis", "cut"), [(1, "channels"), (2, "rows"), (REDUCTION, "reduction")])
def test_a_cut_that_the_target_does_not_allow_is_refused(
    graph: Graph, axis: int, cut: TileAxis
) -> None:
    target = load_target("edge-npu")
    schedule = cutting(graph, axis)
    check_tiles(schedule, graph, target)
    check_tiles(schedule, graph, replace(target, tile_axes=(cut,)))
    others = tuple(a for a in TILE_AXES if a != cut)
    with pytest.raises(UsageError, match=f"part 0 of the schedule cuts the {cut} of"):
        check_tiles(schedule, graph, replace(target, tile_axes=others))
    whole = Schedule.whole(range(len(graph.operators)))
    check_tiles(whole, graph, load_target("cosma"))
    with pytest.raises(UsageError, match="run whole on cosma"):
        check_tiles(schedule, graph, load_target("cosma"))


def test_a_graph_is_left_with_the_allowed_cuts(graph: Graph) -> None:
    target = load_target("edge-npu")
    assert with_allowed_cuts(graph, target) is graph
    left = with_allowed_cuts(graph, replace(target, tile_axes=("rows",)))
    before, behind = graph.operators[0].reach, left.operators[0].reach
    assert before is not None
    assert behind is not None
    assert before.axes[1:3] == ("n", "m")
    assert behind.axes[1:3] == ("none", "m")
    assert before.reduction > 0 == behind.reduction
