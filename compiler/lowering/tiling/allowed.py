"""Which cuts of operators a target allows (`Target.tile_axes`)."""

from collections.abc import Mapping
from dataclasses import replace

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Graph, Operator
from ullage.compiler.ir.reach import REDUCTION, Reach, WorkDimension
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import TILE_AXES, Target, TileAxis

# How an operator is cut, by the dimension of its work that becomes shorter.
CUT_OF: Mapping[WorkDimension, TileAxis] = {
    "m": "rows",
    "n": "channels",
    "count": "products",
    "elements": "elements",
}


def check_tiles(schedule: Schedule, graph: Graph, target: Target) -> None:
    """Check that a target allows the cuts of a schedule of a graph.

    Raises:
        UsageError: it does not; names the part, the cut, and a remedy.
    """
    if schedule.is_whole or target.tile_axes == TILE_AXES:
        return
    if not target.tile_axes:
        raise UsageError(
            f"operators run whole on {target.name}, and the schedule {schedule.name!r} cuts some: "
            "use --schedule whole, another target, or --set tiles.allowed=true"
        )
    for at, part in enumerate(schedule.parts):
        operator = graph.operators[part.operator]
        for r in part.ranges:
            cut = _cut(operator, r.axis)
            if cut is not None and cut not in target.tile_axes:
                raise UsageError(
                    f"part {at} of the schedule cuts the {cut} of {operator.name!r}; on "
                    f"{target.name} operators are cut by {', '.join(target.tile_axes)} only: "
                    "change the part, or the target's field tiles.axes",
                    {"part": at, "operator": operator.name, "axis": r.axis, "cut": cut},
                )


def with_allowed_cuts(graph: Graph, target: Target) -> Graph:
    """The graph, with operators that can be cut in no other way than the target allows."""
    if target.tile_axes == TILE_AXES:
        return graph
    operators = tuple(
        o if o.reach is None else replace(o, reach=_allowed(o.reach, target))
        for o in graph.operators
    )
    return replace(graph, operators=operators)


def _cut(operator: Operator, axis: int) -> TileAxis | None:
    """How a range of an axis cuts an operator; None where it cannot be cut so at all."""
    if axis == REDUCTION:
        return "reduction"
    if operator.reach is None or axis >= len(operator.reach.axes):
        return None
    return CUT_OF.get(operator.reach.axes[axis])


def _allowed(reach: Reach, target: Target) -> Reach:
    axes: tuple[WorkDimension, ...] = tuple(
        label if CUT_OF.get(label) in target.tile_axes else "none" for label in reach.axes
    )
    reduction = reach.reduction if "reduction" in target.tile_axes else 0
    return replace(reach, axes=axes, reduction=reduction)
