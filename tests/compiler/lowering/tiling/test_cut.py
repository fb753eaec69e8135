"""Schedules derived from tiles of an output."""

from itertools import pairwise
from random import Random

import pytest

from tests.support.onnx_models import const, imported, model, node, weight
from tests.support.tiled import TiledGraph, check_execution, random_tiled_graph
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.reach import REDUCTION, Interval
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.aliases import AliasOptions
from ullage.compiler.lowering.parts import lower_schedule
from ullage.compiler.lowering.tiling.cut import cut_output, tile_ends


def chain(rows: int = 8) -> Graph:
    graph = TiledGraph(Random(0))
    graph.value("x", (1, 2, rows, 4), "input")
    graph.conv(graph.conv("x", 2), 2)
    return graph.finish()


def along(schedule: Schedule, axis: int) -> list[tuple[int, Interval, int]]:
    """(operator, range of an axis, copy) of all parts."""
    return [(p.operator, p.intervals.get(axis, (0, 0)), p.copy) for p in schedule.parts]


def test_a_halo_that_is_kept_is_made_once() -> None:
    assert along(cut_output(chain(), "v1", {2: 3}), 2) == [
        (0, (0, 4), 0),
        (1, (0, 3), 0),
        (0, (4, 7), 0),
        (1, (3, 6), 0),
        (0, (7, 8), 0),
        (1, (6, 8), 0),
    ]


def test_a_halo_that_is_recomputed_is_made_by_every_tile() -> None:
    assert along(cut_output(chain(), "v1", {2: [3, 8]}, halo="recomputed"), 2) == [
        (0, (0, 4), 0),
        (1, (0, 3), 0),
        (0, (2, 8), 1),
        (1, (3, 8), 0),
    ]


def test_the_first_axis_is_the_outermost_loop() -> None:
    tiles = [part.intervals for part in cut_output(chain(), "v0", {3: 2, 2: [1, 8]}).parts[:-1]]
    assert tiles == [
        {3: (0, 2), 2: (0, 1)},
        {3: (0, 2), 2: (1, 8)},
        {3: (2, 4), 2: (0, 1)},
        {3: (2, 4), 2: (1, 8)},
    ]


def test_tiles_of_two_axes_keep_what_is_made() -> None:
    schedule = cut_output(chain(), "v1", {2: 4, 3: 2})
    made = [part.intervals for part in schedule.parts if part.operator == 0]
    assert made == [
        {2: (0, 5), 3: (0, 3)},
        {2: (0, 5), 3: (3, 4)},
        {2: (5, 8), 3: (0, 3)},
        {2: (5, 8), 3: (3, 4)},
    ]
    check_execution(chain(), lower_schedule(chain(), schedule))


def test_a_range_of_a_reduction_needs_its_channels() -> None:
    schedule = cut_output(chain(), "v1", {REDUCTION: 1})
    assert [(p.operator, p.intervals) for p in schedule.parts] == [
        (0, {1: (0, 1)}),
        (1, {REDUCTION: (0, 1)}),
        (0, {1: (1, 2)}),
        (1, {REDUCTION: (1, 2)}),
    ]


def test_what_no_tile_needs_is_made_with_the_last_one() -> None:
    nodes = [node("Relu", "x", "t"), node("Slice", "t a b c", "y")]
    constants = [const("a", [2]), const("b", [6]), const("c", [0])]
    graph = imported(model(nodes, {"x": (9, 3)}, "y", constants))
    schedule = cut_output(graph, "y", {0: 2})
    assert along(schedule, 0) == [
        (0, (2, 4), 0),
        (1, (0, 2), 0),
        (0, (0, 2), 0),
        (0, (4, 9), 0),
        (1, (2, 4), 0),
    ]


def test_rows_between_are_made_on_the_way() -> None:
    nodes = [node("Relu", "x", "t"), node("Conv", "t w", "y", strides=[3, 1])]
    graph = imported(model(nodes, {"x": (1, 2, 9, 4)}, "y", [weight("w", (2, 2, 1, 1))]))
    made = [span for operator, span, _ in along(cut_output(graph, "y", {2: 1}), 2) if not operator]
    assert made == [(0, 1), (1, 4), (4, 9)]


def test_what_cannot_be_cut_is_made_whole_and_once() -> None:
    nodes = [node("Relu", "x", "a"), node("Softmax", "a", "b", axis=0), node("Neg", "b", "y")]
    graph = imported(model(nodes, {"x": (6, 4)}, "y"))
    for halo in ("kept", "recomputed"):
        schedule = cut_output(graph, "y", {0: 3}, halo=halo)
        assert along(schedule, 0) == [
            (0, (0, 0), 0),
            (1, (0, 0), 0),
            (2, (0, 3), 0),
            (2, (3, 6), 0),
        ]


def test_operators_outside_of_the_group_run_whole() -> None:
    nodes = [node("Relu", "x", "a"), node("Neg", "a", "b"), node("Abs", "b", "y"),
             node("Exp", "a", "z"), node("Sin", "y", "u")]  # fmt: skip
    graph = imported(model(nodes, {"x": (6, 4)}, "z u"))
    schedule = cut_output(graph, "y", {0: 3}, operators=[1])
    parts = [(p.operator, p.intervals.get(0)) for p in schedule.parts]
    assert parts == [
        (0, None), (3, None), (1, (0, 3)), (2, (0, 3)), (1, (3, 6)), (2, (3, 6)), (4, None),
    ]  # fmt: skip
    with pytest.raises(UsageError, match="'Neg:b' stands between operators that are cut"):
        cut_output(graph, "y", {0: 3}, operators=[0])


@pytest.mark.parametrize(
    ("output", "tiles", "message"),
    [
        ("x", {2: 3}, "no operator makes 'x'"),
        ("v1", {0: 1}, "'v1' cannot be cut along axis 0: Conv 'conv1' does not let"),
        ("v1", {4: 1}, "along axis 4"),
        ("v1", {2: 0}, "a length of at least 1, not 0"),
        ("v1", {2: [3, 7]}, "the last at 8; not at"),
        ("v1", {2: [3, 3, 8]}, "ascending indices"),
    ],
)
def test_wrong_tiles_are_refused(
    output: str, tiles: dict[int, int | list[int]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        cut_output(chain(), output, tiles)


def test_another_halo_or_order_is_refused() -> None:
    with pytest.raises(UsageError, match="kept or recomputed, not 'none'"):
        cut_output(chain(), "v1", {2: 3}, halo="none")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="the order is none of the 2 operators"):
        cut_output(chain(), "v1", {2: 3}, order=[1, 0])


def test_the_last_tile_may_be_shorter() -> None:
    assert tile_ends(7, 3) == [3, 6, 7]
    assert tile_ends(6, 3) == [3, 6]
    assert tile_ends(2, 3) == [2]


@pytest.mark.parametrize("seed", range(60))
def test_random_tiles_compute_the_graph(seed: int) -> None:
    rng = Random(seed)
    graph = random_tiled_graph(rng)
    operator = graph.operators[-1]
    assert operator.reach is not None
    shape = graph.values[operator.outputs[0]].shape
    axes = [a for a, label in enumerate(operator.reach.axes) if label != "none" and shape[a] > 1]
    sizes = {axis: shape[axis] for axis in rng.sample(axes, min(len(axes), rng.choice((1, 1, 2))))}
    if operator.reach.reduction > 1 and rng.random() < 0.4:
        sizes[REDUCTION] = operator.reach.reduction
    tiles = {axis: rng.randint(1, size) for axis, size in sizes.items()}
    halo = rng.choice(("kept", "recomputed"))
    schedule = cut_output(graph, operator.outputs[0], tiles, halo=halo)
    if not schedule.is_whole:
        anywhere = AliasOptions(alignment_bytes=1)
        check_execution(graph, lower_schedule(graph, schedule, aliases=anywhere))
    if halo == "kept":
        assert all(part.copy == 0 for part in schedule.parts)
    for axis, tile in tiles.items():
        ends = [0, *tile_ends(sizes[axis], tile)]
        last = [p for p in schedule.parts if p.operator == len(graph.operators) - 1]
        whole = (0, sizes[axis])
        assert {p.intervals.get(axis, whole) for p in last} == set(pairwise(ends))
