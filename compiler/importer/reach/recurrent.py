"""Reach of LSTM, GRU and RNN: sequences of a batch and directions are apart, steps are not."""

from collections.abc import Sequence

from ullage.compiler.importer.reach.site import Reads, Site, table_map
from ullage.compiler.ir.reach import AxisMap, Reach, WorkDimension


def recurrent(site: Site) -> Reach | None:
    """X [steps, batch, input] gives Y [steps, directions, batch, hidden] and last states.

    The states are [directions, batch, hidden]; with `layout` the batch comes first everywhere. All
    results must have batch and directions at the same places: either Y alone, or states alone.
    """
    out = site.result
    present = [bool(name) for name in site.outputs]
    if out is None or (present[0] and sum(present) > 1):
        return None
    first = bool(site.number("layout"))
    if present[0]:
        batch, direction = (0, 2) if first else (2, 1)
    else:
        batch, direction = (0, 1) if first else (1, 0)
    if len(out) != (4 if present[0] else 3):
        return None
    steps = _steps(site, out) if present[0] else None
    data = (AxisMap(batch), steps, None) if first else (steps, AxisMap(batch), None)
    state = (AxisMap(batch), AxisMap(direction)) if first else (AxisMap(direction), AxisMap(batch))
    inputs: Reads = site.read(0, data)
    for position in range(1, len(site.inputs)):
        shape = site.shape(position)
        if shape is None:
            continue
        if position in (5, 6):
            inputs += site.read(position, (*state, None))
        elif position == 4:  # lengths of the sequences
            inputs += site.parameter(position, batch, out[batch])
        else:
            inputs += site.read(position, _by_direction(shape, direction))
    axes: list[WorkDimension] = ["none"] * len(out)
    axes[batch], axes[direction] = "m", "count"
    return Reach(tuple(axes), inputs)


def _steps(site: Site, out: Sequence[int]) -> AxisMap | None:
    """Map to the steps that a step of Y depends on: those before it, or behind it in reverse."""
    axis = 1 if site.number("layout") else 0
    length, direction = out[axis], site.text("direction", "forward")
    if direction == "bidirectional" or site.has(4):  # in reverse a length says where it begins
        return None
    if direction == "reverse":
        return table_map(axis, length, lambda step: (step, length))
    return table_map(axis, length, lambda step: (0, step + 1))


def _by_direction(shape: Sequence[int], direction: int) -> tuple[AxisMap | None, ...]:
    """Weights of each direction."""
    return (AxisMap(direction), *[None] * (len(shape) - 1))
