"""Reach of normalisations and reductions: the axes that they sum over are needed whole."""

from collections.abc import Iterable, Sequence

from ullage.compiler.importer.reach.site import (
    Maps,
    Reads,
    Site,
    broadcast,
    identity,
    labelled,
    table_map,
)
from ullage.compiler.ir.reach import REDUCTION, AxisMap, Interval, Reach

# Reductions that add up elements: one over a range is a partial result.
SUMS = frozenset({"ReduceMean", "ReduceSum"})


def softmax(site: Site) -> Reach | None:
    """Softmax, LogSoftmax, Hardmax: an axis; before operator set 13 all axes from it on."""
    shape = site.shape(0)
    if not shape:
        return None
    flattened = site.version < 13 or (site.op == "QLinearSoftmax" and site.number("opset") < 13)
    axis = site.number("axis", 1 if flattened else -1) % len(shape)
    return _normalized(site, range(axis, len(shape)) if flattened else (axis,))


def last_axis(site: Site) -> Reach | None:
    """Normalisations of com.microsoft over the last axis."""
    shape = site.shape(0)
    return _normalized(site, (len(shape) - 1,)) if shape else None


def from_axis(site: Site) -> Reach | None:
    """LayerNormalization and RMSNormalization: all axes from `axis` on."""
    shape = site.shape(0)
    if not shape:
        return None
    return _normalized(site, range(site.number("axis", -1) % len(shape), len(shape)))


def over_axis(site: Site) -> Reach | None:
    """LpNormalization: one axis."""
    shape = site.shape(0)
    return _normalized(site, (site.number("axis", -1) % len(shape),)) if shape else None


def mean_variance(site: Site) -> Reach | None:
    """MeanVarianceNormalization: some axes."""
    shape = site.shape(0)
    if not shape:
        return None
    axes = site.attributes.get("axes", (0, 2, 3))
    return _normalized(site, [int(axis) % len(shape) for axis in axes])


def _normalized(site: Site, axes: Iterable[int]) -> Reach | None:
    """The result is as the first operand; the others are broadcast to it, or read whole."""
    out, whole = site.result, set(axes)
    if out is None:
        return None
    inputs: Reads = ()
    for position in range(len(site.inputs)):
        shape = site.shape(position)
        if shape is None:
            continue
        pairs = list(zip(reversed(shape), reversed(out), strict=False))
        if len(shape) > len(out) or any(mine not in (1, length) for mine, length in pairs):
            inputs += site.whole(position)
            continue
        maps = broadcast(shape, out)
        inputs += site.read(position, [m if m and m.axis not in whole else None for m in maps])
    return Reach(labelled(len(out), "elements", whole), inputs)


def instance(site: Site) -> Reach | None:
    """InstanceNormalization [N, C, *S]: statistics of each image and channel."""
    out = site.result
    if out is None or len(out) < 2:
        return None
    rank = len(out)
    maps: Maps = (AxisMap(0), AxisMap(1), *[None] * (rank - 2))
    inputs = site.read(0, maps)
    for position in range(1, len(site.inputs)):
        inputs += site.parameter(position, 1, out[1])
    return Reach(labelled(rank, "elements", range(2, rank)), inputs)


def grouped(site: Site) -> Reach | None:
    """GroupNormalization [N, C, *S]: statistics of groups of channels.

    A part needs the whole groups that its channels lie in.
    """
    out, groups = site.result, site.number("num_groups")
    if out is None or len(out) < 2 or groups < 1 or out[1] % groups:
        return None
    rank, size = len(out), out[1] // groups
    maps: Maps = (AxisMap(0), AxisMap(1, divisor=size, unit=size), *[None] * (rank - 2))
    inputs = site.read(0, maps)
    for position in range(1, len(site.inputs)):
        inputs += site.parameter(position, 1, out[1])
    return Reach(labelled(rank, "elements", range(2, rank)), inputs)


def local_response(site: Site) -> Reach | None:
    """LRN: the sum of squares over a window of channels, one more behind where its size is even.

    Channels before the window are read too: onnxruntime's kernel keeps a running sum from the first
    channel on, whose rounding depends on all of them.
    """
    out, size = site.result, site.number("size")
    if out is None or len(out) < 2 or size < 1:
        return None
    rank = len(out)
    maps: list[AxisMap | None] = list(identity(rank))
    maps[1] = table_map(1, out[1], lambda channel: (0, min(channel + size // 2 + 1, out[1])))
    return Reach(labelled(rank, "elements"), site.read(0, maps))


def reduction(site: Site) -> Reach | None:
    """Reductions over some axes, given as an attribute or a constant operand; over all without."""
    shape = site.shape(0)
    if shape is None:
        return None
    axes = site.integers(1, "axes") if site.has(1) or "axes" in site.attributes else []
    if axes is None:
        return None
    if not axes and site.number("noop_with_empty_axes"):
        return _normalized(site, ())
    return _reduced(site, {axis % max(1, len(shape)) for axis in axes or range(len(shape))})


def extreme_index(site: Site) -> Reach | None:
    """ArgMax and ArgMin: over one axis."""
    shape = site.shape(0)
    return _reduced(site, {site.number("axis") % len(shape)}) if shape else None


def _reduced(site: Site, axes: set[int]) -> Reach | None:
    shape, out = site.shape(0), site.result
    if shape is None or out is None:
        return None
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    if site.number("keepdims", 1):
        places = {axis: axis for axis in kept}
    else:
        places = {axis: place for place, axis in enumerate(kept)}
    maps = [AxisMap(places[axis]) if axis in places else None for axis in range(len(shape))]
    whole = set(range(len(out))) - set(places.values())
    summed = summed_axis(shape, axes) if site.op in SUMS else None
    if summed is not None:
        maps[summed] = AxisMap(REDUCTION)
    inputs = (*site.read(0, maps), *site.rest_whole(1))
    length = 0 if summed is None else shape[summed]
    return Reach(labelled(len(out), "elements", whole), inputs, length)


def summed_axis(shape: Sequence[int], axes: Iterable[int]) -> int | None:
    """The axis whose ranges are partial sums: the outermost of those that are summed over."""
    return next((axis for axis in sorted(axes) if shape[axis] > 1), None)


def running(site: Site) -> Reach | None:
    """CumSum and CumProd: all before an element belongs to it, and is read again by its part."""
    shape, given = site.shape(0), site.integers(1)
    if not shape or given is None or len(given) != 1 or site.result != shape:
        return None
    axis = given[0] % len(shape)
    length = shape[axis]
    own = 0 if site.number("exclusive") else 1

    def rows(index: int) -> Interval:
        return (index + 1 - own, length) if site.number("reverse") else (0, index + own)

    maps: list[AxisMap | None] = list(identity(len(shape)))
    maps[axis] = table_map(axis, length, rows)
    inputs = (*site.read(0, maps), *site.whole(1))
    return Reach(labelled(len(shape), "elements"), inputs)


def largest(site: Site) -> Reach | None:
    """TopK: one axis is needed whole."""
    shape, out = site.shape(0), site.result
    if not shape or out is None or len(out) != len(shape):
        return None
    axis = site.number("axis", -1) % len(shape)
    maps = identity(len(shape), [a for a in range(len(shape)) if a != axis])
    inputs = (*site.read(0, maps), *site.rest_whole(1))
    return Reach(labelled(len(out), "elements", (axis,)), inputs)
