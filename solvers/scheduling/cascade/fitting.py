"""Cuts of single operators that fit into the fastest memory, where operators reach nothing else.

An operator whose operands do not fit together is cut along one axis or in a grid along several,
one loop inside the other:

    for rows in stripes:              inputs that depend on rows alone stay for the inner loop,
        for channels in blocks:       weights (which depend on channels alone) are read again for
            one part                  each stripe, as far as they find no room beside a part

Of each kind of grid the coarsest cuts that fit are candidates, and a few finer ones: smaller parts
leave room in which the operands of the next part arrive.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import permutations
from math import prod

from ullage.compiler.common.dtypes import FLOATS, bits_of, resized, storage_bytes
from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import format_size, told_apart
from ullage.compiler.ir.graph import Graph, Operator, Value
from ullage.compiler.ir.reach import REDUCTION, AxisMap, Interval
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.parts import ACCUMULATOR_BYTES
from ullage.solvers.state.infeasibility import SMALLER

# Numbers of parts of an outer loop that are looked at.
OUTER_PARTS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# Parts of the innermost loop, in multiples of the least that fit.
FINER = (1.0, 1.4, 2.0)
# Axes that are looked at, the longest first.
AXES = 3
# What a part costs, as a share of the time of its operator: of two grids that are nearly as good,
# the one of fewer parts is planned sooner, and cuts the operators around it into fewer cells.
PART_SHARE = 1e-3
# Grids of an operator that are kept, the cheapest first.
KEPT_GRIDS = 6

# (axis, number of parts) of each loop, the outermost first.
Loops = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class GridEstimate:
    """A grid of an operator's parts, estimated.

    Attributes:
        loops: its loops.
        part_bytes: operands of a part, accumulators and workspace included.
        again_bytes: bytes that are read once more or oftener, beside each once.
        late_bytes: bytes that find no room before the part runs that reads them, all parts
            together: nothing hides their arrival.
    """

    loops: Loops
    part_bytes: int
    again_bytes: float
    late_bytes: float

    @property
    def parts(self) -> int:
        """Number of parts."""
        return prod(count for _, count in self.loops)


def grids_that_fit(
    graph: Graph,
    operator: Operator,
    target: Target,
    capacity_bytes: int,
    compute_s: float,
    outermost: int | None = None,
) -> tuple[GridEstimate, ...]:
    """The grids of an operator that fit, the cheapest first; none where it cannot be cut so.

    Args:
        graph: the graph.
        operator: the operator.
        target: the chip; only operands that must be in its fastest memory count.
        capacity_bytes: what parts may need of that memory.
        compute_s: compute time of the whole operator.
        outermost: the axis of the outermost loop; None: any.
    """
    seconds_per_byte = 1 / target.tiers[1].read_bytes_per_s
    footprint = _footprint(graph, operator, target)
    return _grids(footprint, capacity_bytes, seconds_per_byte, compute_s, outermost)


def least_bytes(graph: Graph, operator: Operator, target: Target) -> int:
    """Bytes that the smallest part of an operator needs at once, all cuts that it lets taken."""
    footprint = _footprint(graph, operator, target)
    ranges = {axis: _middle(length, length) for axis, length in footprint.lengths}
    with_sums = footprint.part_bytes(ranges)
    ranges.pop(REDUCTION, None)
    return min(with_sums, footprint.part_bytes(ranges))


def least_grid_bytes(
    graph: Graph, operator: Operator, target: Target, outermost: int | None = None
) -> int:
    """Bytes of the smallest part of all grids that are looked at, or of the whole without any.

    It may be more than `least_bytes`: grids have few loops, and outer ones few parts.

    Args:
        graph: the graph.
        operator: the operator.
        target: the chip.
        outermost: the axis of the outermost loop; None: any.
    """
    footprint = _footprint(graph, operator, target)
    lengths = footprint.looked_at()
    least = footprint.part_bytes({})
    for depth in (1, 2, 3):
        for order in _orders(lengths, depth):
            if outermost in (None, order[0]):
                for outer in _outer_loops(order[:-1], lengths):
                    loops = (*outer, (order[-1], lengths[order[-1]]))
                    least = min(least, footprint.part_bytes(footprint.ranges(loops)))
    return least


def most_demanding(graph: Graph, operators: Iterable[Operator], target: Target) -> Operator:
    """The operator of which the smallest part needs the most: with room for it, all have room."""
    return max(operators, key=lambda operator: least_grid_bytes(graph, operator, target))


def too_large(
    graph: Graph, operator: Operator, target: Target, found_bytes: int | None = None
) -> InfeasibleError:
    """The error for an operator of which no part fits.

    Args:
        graph: the graph.
        operator: the operator.
        target: the chip.
        found_bytes: what the smallest part needs that the search lowered, where its smallest part
            by itself would fit: parts read more where operands are made along other axes. None: no
            grid fits by itself.
    """
    needed, available = least_bytes(graph, operator, target), target.fastest.capacity_bytes
    if operator.reach is None:
        what = "no rule cuts it, and whole it needs"
    elif needed > available:
        what = "its smallest part (one row with its halo) needs"
    elif found_bytes is None:
        needed = least_grid_bytes(graph, operator, target)
        what = (
            "its smallest part would fit, but of the cuts that are looked at (loops along its "
            "longest axes) the smallest part needs"
        )
    else:
        needed = found_bytes
        what = (
            "its smallest part would fit, but its operands are made along other axes, so that the "
            "smallest part that was found needs"
        )
    takes, there, excess = told_apart(needed, available, needed - available)
    remedies = {
        f"--fast-memory {needed}": "give it more",
        **_smaller(graph, operator, target, needed),
    }
    advice = ", or ".join(f"{what} ({option})" for option, what in remedies.items())
    return InfeasibleError(
        f"{operator.kind} {operator.name!r} cannot run on {target.name}: {what} {takes} of "
        f"{target.fastest.name}, available {there}, excess {excess}. To do: {advice}",
        {
            "tier": target.fastest.name,
            "needed_bytes": needed,
            "available_bytes": available,
            "excess_bytes": needed - available,
            "operator": operator.name,
            "remedies": list(remedies),
        },
    )


def _smaller(graph: Graph, operator: Operator, target: Target, needed: int) -> dict[str, str]:
    """The remedy of 8-bit data, what it is for by its option; empty where none are floats.

    Args:
        graph: the graph.
        operator: the operator of which no part fits.
        target: the chip.
        needed: bytes that its smallest part needs now.
    """
    names = {*operator.inputs, *operator.outputs}
    floats = {name: graph.values[name] for name in names if graph.values[name].dtype in FLOATS}
    if not floats:
        return {}
    small = {
        name: replace(
            value,
            dtype=resized(value.dtype, "int8"),
            size_bytes=storage_bytes("int8", prod(value.stored_shape)),
        )
        for name, value in floats.items()
    }
    bits = max(bits_of(value.dtype) for value in floats.values())
    smaller = replace(graph, values={**graph.values, **small})
    least = max(least_bytes(smaller, operator, target), -(-needed * 8 // bits))
    if least <= target.fastest.capacity_bytes:
        return {SMALLER: "plan smaller data"}
    return {SMALLER: f"plan smaller data, which alone still takes about {format_size(least)}"}


@dataclass(frozen=True)
class _Operand:
    """An input as one of its reaches sees it.

    Attributes:
        shape: its shape.
        stored: the shape that it is stored with, padding included.
        size_bytes: bytes of the whole.
        axes: for each axis what a part needs of it; None: all.
        at_end: only the part that ends a reduction reads it.
    """

    shape: tuple[int, ...]
    stored: tuple[int, ...]
    size_bytes: int
    axes: tuple[AxisMap | None, ...]
    at_end: bool

    def bytes_of(self, ranges: Mapping[int, Interval], *, is_end: bool) -> int:
        """Bytes that a part reads."""
        if self.at_end and not is_end:
            return 0
        elements = 1
        for axis_map, size, stored in zip(self.axes, self.shape, self.stored, strict=True):
            cut = None if axis_map is None else ranges.get(axis_map.axis)
            if axis_map is None or cut is None:
                elements *= stored
            else:
                low, high = axis_map.interval(*cut, size)
                elements *= high - low + stored - size  # one of the parts has what pads it
        whole = max(1, prod(self.stored))
        return min(self.size_bytes, -(-self.size_bytes * elements // whole))

    def depends_on(self, axis: int) -> bool:
        """Whether another range of an output axis needs another range of the operand."""
        return any(m is not None and m.axis == axis for m in self.axes)


@dataclass(frozen=True)
class _Footprint:
    """What decides the bytes of an operator's parts; alike for all operators of one form.

    Attributes:
        lengths: (axis, length) of all axes along which it can be cut.
        reduction: length of the reduction; 0 where it cannot be cut.
        operands: its inputs.
        results: (shape, shape that is stored, bytes) of its outputs.
        workspace_bytes: of every part.
    """

    lengths: tuple[tuple[int, int], ...]
    reduction: int
    operands: tuple[_Operand, ...]
    results: tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...]
    workspace_bytes: int

    def part_bytes(self, ranges: Mapping[int, Interval]) -> int:
        """Bytes of the operands of a part, accumulators and workspace included."""
        total = self.workspace_bytes
        is_end = REDUCTION not in ranges or ranges[REDUCTION][1] == self.reduction
        total += sum(o.bytes_of(ranges, is_end=is_end) for o in self.operands)
        for shape, stored, size_bytes in self.results:
            share, held = 1.0, 1.0  # of the elements, and of the bytes
            for axis, size in enumerate(shape):
                if axis in ranges:
                    length = ranges[axis][1] - ranges[axis][0]
                    share *= length / max(1, size)
                    held *= (length + stored[axis] - size) / max(1, stored[axis])
            total += round(size_bytes * held)
            if REDUCTION in ranges:
                total += round(prod(shape) * share) * ACCUMULATOR_BYTES
        return total

    def ranges(self, loops: Loops) -> dict[int, Interval]:
        """The ranges of a part in the middle of a grid."""
        lengths = dict(self.lengths)
        return {axis: _middle(lengths[axis], count) for axis, count in loops}

    def looked_at(self) -> dict[int, int]:
        """Length of the longest axes, and of the reduction."""
        lengths = dict(self.lengths)
        axes = [axis for axis in lengths if axis != REDUCTION]
        longest = sorted(axes, key=lambda axis: -lengths[axis])[:AXES]
        kept = [*longest, REDUCTION] if REDUCTION in lengths else longest
        return {axis: lengths[axis] for axis in kept}

    def estimate(self, loops: Loops, capacity_bytes: int) -> GridEstimate:
        """What a part of a grid needs, and what is read again."""
        ranges = self.ranges(loops)
        needed = self.part_bytes(ranges)
        room = max(0.0, float(capacity_bytes - needed))
        again = fresh = 0.0
        for operand in self.operands:
            size = operand.bytes_of(ranges, is_end=True)
            times = 1  # ranges of the operand that are read one after the other
            rounds = 1  # how often all of them are
            for axis, count in reversed(loops):
                if operand.depends_on(axis):
                    times *= count
                elif times > 1:  # a loop around one that runs through the operand
                    rounds *= count
            everything = float(size * times)
            more = max(0.0, everything - room) * (rounds - 1)
            fresh += everything + more
            again += more + max(0.0, everything - operand.size_bytes)  # halos are read again
        parts = prod(count for _, count in loops)
        late = max(0.0, fresh / parts - room) * parts
        return GridEstimate(loops, needed, again, late)


def _footprint(graph: Graph, operator: Operator, target: Target) -> _Footprint:
    values = graph.values
    held = {
        n
        for n in operator.inputs
        if target.must_be_fastest(values[n].kind, look_up=n in operator.looked_up)
    }
    shape = values[operator.outputs[0]].shape
    results = tuple(
        (values[n].shape, values[n].stored_shape, values[n].size_bytes) for n in operator.outputs
    )
    reach = operator.reach
    if reach is None:
        operands = tuple(
            _operand(values[n], (None,) * len(values[n].shape), at_end=False)
            for n in operator.inputs
            if n in held
        )
        return _Footprint((), 0, operands, results, operator.workspace_bytes)
    lengths = [(a, size) for a, size in enumerate(shape) if size > 1 and reach.axes[a] != "none"]
    if reach.reduction > 1:
        lengths.append((REDUCTION, reach.reduction))
    operands = tuple(
        _operand(values[r.name], r.axes, at_end=r.at_end)
        for r in dict.fromkeys(reach.inputs)
        if r.name in held
    )
    return _Footprint(tuple(lengths), reach.reduction, operands, results, operator.workspace_bytes)


def _operand(value: Value, axes: tuple[AxisMap | None, ...], *, at_end: bool) -> _Operand:
    return _Operand(value.shape, value.stored_shape, value.size_bytes, axes, at_end)


@lru_cache(maxsize=4096)
def _grids(
    footprint: _Footprint,
    capacity_bytes: int,
    seconds_per_byte: float,
    compute_s: float,
    outermost: int | None,
) -> tuple[GridEstimate, ...]:
    lengths = footprint.looked_at()
    found: dict[Loops, GridEstimate] = {}
    for depth in (1, 2, 3):
        for order in _orders(lengths, depth):
            if outermost not in (None, order[0]):
                continue
            for outer in _outer_loops(order[:-1], lengths):
                last = order[-1]
                least = _least_parts(footprint, outer, last, lengths[last], capacity_bytes)
                for times in FINER if least is not None else ():
                    count = min(lengths[last], round((least or 1) * times))
                    loops = (*outer, (last, count)) if count > 1 else outer
                    if loops and loops not in found:
                        estimate = footprint.estimate(loops, capacity_bytes)
                        if estimate.part_bytes <= capacity_bytes:
                            found[loops] = estimate
                if least == 1:
                    break  # more parts of the outer loops are not needed
        if any(not (g.again_bytes or g.late_bytes) for g in found.values()):
            break  # nothing is lost: no deeper nest is better
    operands_bytes = sum(o.size_bytes for o in footprint.operands)
    operands_bytes += sum(size_bytes for _, _, size_bytes in footprint.results)

    def seconds(grid: GridEstimate) -> float:
        hidden_bytes = operands_bytes + grid.again_bytes - grid.late_bytes
        own_s = max(compute_s, hidden_bytes * seconds_per_byte)
        return (own_s + grid.late_bytes * seconds_per_byte) * (1 + PART_SHARE * grid.parts)

    return tuple(sorted(found.values(), key=lambda g: (seconds(g), g.parts))[:KEPT_GRIDS])


def _orders(lengths: Mapping[int, int], depth: int) -> Iterator[tuple[int, ...]]:
    """Nestings of so many loops; a reduction runs inside the others."""
    for order in permutations(lengths, depth):
        if REDUCTION not in order[:-1] and (depth < 3 or order[-1] == REDUCTION):
            yield order


def _outer_loops(axes: Sequence[int], lengths: Mapping[int, int]) -> Iterator[Loops]:
    """Loops around the innermost one."""
    if not axes:
        yield ()
        return
    for count in OUTER_PARTS:
        if count <= lengths[axes[0]]:
            for rest in _outer_loops(axes[1:], lengths):
                yield ((axes[0], count), *rest)


def _middle(length: int, count: int) -> Interval:
    """A part in the middle of an axis, as long as the longest."""
    rows = -(-length // count)
    start = min(length - rows, (length - rows) // 2)
    return start, start + rows


def _least_parts(
    footprint: _Footprint, outer: Loops, axis: int, length: int, capacity_bytes: int
) -> int | None:
    """The least number of parts of the innermost loop with which a part fits; None: with none."""
    ranges = footprint.ranges(outer)

    def fits(count: int) -> bool:
        cut = ranges if count == 1 else {**ranges, axis: _middle(length, count)}
        return footprint.part_bytes(cut) <= capacity_bytes

    if not fits(length):
        return None
    low, high = 0, length  # fits(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
