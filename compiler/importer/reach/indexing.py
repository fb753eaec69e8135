"""Reach of operators that take elements by their indices, and of those that put some there."""

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.importer.reach.movement import index_map
from ullage.compiler.importer.reach.site import (
    MOST_ROWS,
    Maps,
    Reads,
    Site,
    identity,
    labelled,
    table_map,
)
from ullage.compiler.ir.reach import AxisMap, Reach


def slice_(site: Site) -> Reach | None:
    """Slice: along some axes every step-th element from a start; axes with unknown starts whole."""
    shape, out = site.shape(0), site.result
    if shape is None or out is None or len(shape) != len(out):
        return None
    rank = len(shape)
    starts = site.integers(1, "starts")
    axes = site.integers(3, "axes") if site.has(3) or "axes" in site.attributes else None
    if axes is None and site.has(3):
        return None
    if axes is None:
        axes = list(range(len(starts) if starts is not None else rank))
    steps = site.integers(4) if site.has(4) else [1] * len(axes)
    maps: list[AxisMap | None] = list(identity(rank))
    whole: set[int] = set()
    for place, axis in enumerate(a % max(1, rank) for a in axes):
        if starts is None or steps is None:
            maps[axis] = None
            whole.add(axis)
            continue
        size, start, step = shape[axis], starts[place], steps[place]
        start = max(0, start + size if start < 0 else start)
        start = min(start, size if step > 0 else size - 1)
        if step > 0:
            maps[axis] = AxisMap(axis, multiplier=step, first=start, last=start)
        else:
            maps[axis] = _backwards(axis, out[axis], start, step)
    inputs = (*site.read(0, maps), *site.rest_whole(1))
    return Reach(labelled(rank, "elements", whole), inputs)


def _backwards(axis: int, length: int, start: int, step: int) -> AxisMap | None:
    return table_map(axis, length, lambda i: (start + i * step, start + i * step + 1))


def pad(site: Site) -> Reach | None:
    """Pad: constant, edge, reflect and wrap; negative pads cut off, before anything is repeated."""
    shape, out = site.shape(0), site.result
    name = "paddings" if "paddings" in site.attributes else "pads"
    pads = site.integers(1, name)
    if shape is None or out is None or pads is None or len(shape) != len(out):
        return None
    rank = len(shape)
    axes = list(range(rank))
    if site.has(3):
        given = site.integers(3)
        if given is None:
            return None
        axes = [axis % rank for axis in given]
    if len(pads) != 2 * len(axes):
        return None
    maps: list[AxisMap | None] = list(identity(rank))
    for place, axis in enumerate(axes):
        maps[axis] = _padded(
            axis, shape[axis], pads[place], pads[place + len(axes)], site.text("mode", "constant")
        )
    inputs = (*site.read(0, maps), *site.rest_whole(1))
    return Reach(labelled(rank, "elements"), inputs)


def _padded(axis: int, size: int, before: int, behind: int, mode: str) -> AxisMap | None:
    """Map of a padded axis; what is constant needs nothing, what is repeated its original."""
    kept = np.arange(max(0, -before), size - max(0, -behind))
    if mode == "constant" and kept.size:
        return AxisMap(axis, first=-before, last=-before)
    if size + before + behind > MOST_ROWS:
        return None
    width = (max(0, before), max(0, behind))
    if mode == "reflect" and kept.size:
        return index_map(axis, np.pad(kept, width, mode="reflect").tolist())
    if mode == "wrap" and kept.size:
        return index_map(axis, np.pad(kept, width, mode="wrap").tolist())
    if mode == "edge" and kept.size:
        return index_map(axis, np.pad(kept, width, mode="edge").tolist())
    return index_map(axis, [-1] * (size + before + behind))


def crop_or_pad(site: Site) -> Reach | None:
    """CenterCropPad: the middle of what is longer, zeros around what is shorter."""
    shape, out = site.shape(0), site.result
    if shape is None or out is None or len(shape) != len(out):
        return None
    maps = []
    for axis, (size, length) in enumerate(zip(shape, out, strict=True)):
        offset = (size - length) // 2 if size >= length else -((length - size) // 2)
        maps.append(AxisMap(axis, first=offset, last=offset))
    return Reach(labelled(len(out), "elements"), (*site.read(0, maps), *site.rest_whole(1)))


def gather(site: Site) -> Reach | None:
    """Gather: rows of an axis by their indices; of indices that depend on data any row may come."""
    shape, places, out = site.shape(0), site.shape(1), site.result
    if not shape or places is None or out is None:
        return None
    rank, axis = len(shape), site.number("axis") % len(shape)
    added = len(places) - 1  # axes of the result more than of the data
    if len(out) != rank + added:
        return None
    maps: list[AxisMap | None] = [
        AxisMap(a if a < axis else a + added) if a != axis else None for a in range(rank)
    ]
    known = site.arrays.get(site.inputs[1])
    if known is not None:
        maps[axis] = _known_rows(np.asarray(known, np.int64) % max(1, shape[axis]), axis, len(out))
    where = tuple(AxisMap(axis + i) for i in range(len(places)))
    inputs: Reads = (*site.read(0, maps), *site.read(1, where))
    return Reach(labelled(len(out), "elements"), inputs)


def _known_rows(indices: NDArray[np.int64], axis: int, rank: int) -> AxisMap | None:
    """Map to rows that are known: by the first axis of the indices that is longer than 1."""
    if not indices.size:
        return None
    long = [i for i, length in enumerate(indices.shape) if length > 1]
    if not long:  # one row for all; it hangs on any axis of the result
        row = int(indices.reshape(-1)[0])
        place = axis if indices.ndim else min(axis, rank - 1)
        return AxisMap(place, multiplier=0, first=row, last=row) if rank else None
    by_row = np.moveaxis(indices, long[0], 0).reshape(indices.shape[long[0]], -1)
    if by_row.shape[1] == 1:
        return index_map(axis + long[0], [int(i) for i in by_row[:, 0]])
    return AxisMap(axis + long[0], table=tuple((int(r.min()), int(r.max()) + 1) for r in by_row))


def gather_elements(site: Site) -> Reach | None:
    """GatherElements: along one axis any element, along the others the one at its place."""
    shape, out = site.shape(0), site.result
    if not shape or out is None or len(shape) != len(out):
        return None
    axis = site.number("axis") % len(shape)
    maps = [None if a == axis else AxisMap(a) for a in range(len(shape))]
    inputs = (*site.read(0, maps), *site.read(1, identity(len(out))))
    return Reach(labelled(len(out), "elements"), inputs)


def gather_nd(site: Site) -> Reach | None:
    """GatherND: blocks of the data by tuples of indices, behind batches of both."""
    shape, places, out = site.shape(0), site.shape(1), site.result
    if not shape or not places or out is None:
        return None
    batches, depth = site.number("batch_dims"), places[-1]
    first = batches + depth  # data axes from here on come whole
    if len(out) != len(places) - 1 + len(shape) - first:
        return None
    maps: list[AxisMap | None] = [AxisMap(a) for a in range(batches)]
    maps += [None] * depth
    maps += [AxisMap(len(places) - 1 + i) for i in range(len(shape) - first)]
    where = (*(AxisMap(a) for a in range(len(places) - 1)), None)
    inputs = (*site.read(0, maps), *site.read(1, where))
    return Reach(labelled(len(out), "elements"), inputs)


def scatter_elements(site: Site) -> Reach | None:
    """ScatterElements: along one axis anything may change, along the others at its place."""
    shape, out = site.shape(0), site.result
    if not shape or shape != out:
        return None
    axis = site.number("axis") % len(shape)
    maps: Maps = identity(len(shape), [a for a in range(len(shape)) if a != axis])
    inputs = tuple(r for position in range(3) for r in site.read(position, maps))
    return Reach(labelled(len(shape), "elements", (axis,)), inputs)


def scatter_nd(site: Site) -> Reach | None:
    """ScatterND: blocks of the data are replaced; axes inside of the blocks are apart."""
    shape, places, updates = site.shape(0), site.shape(1), site.shape(2)
    if not shape or not places or updates is None or site.result != shape:
        return None
    rank, depth, lead = len(shape), places[-1], len(places) - 1
    if len(updates) != lead + rank - depth:
        return None
    inner = range(depth, rank)
    values = (*[None] * lead, *(AxisMap(axis) for axis in inner))
    inputs = (*site.read(0, identity(rank, inner)), *site.whole(1), *site.read(2, values))
    return Reach(labelled(rank, "elements", range(depth)), inputs)


def one_hot(site: Site) -> Reach | None:
    """OneHot: each index becomes a new axis."""
    places, out = site.shape(0), site.result
    if places is None or out is None or len(out) != len(places) + 1:
        return None
    axis = site.number("axis", -1) % len(out)
    maps = [AxisMap(a if a < axis else a + 1) for a in range(len(places))]
    return Reach(labelled(len(out), "elements"), (*site.read(0, maps), *site.rest_whole(1)))


def reverse_sequence(site: Site) -> Reach | None:
    """ReverseSequence: the time axis is whole, each row of a batch has its own length."""
    out = site.result
    if out is None or len(out) < 2 or site.shape(0) != out:
        return None
    batch, time = site.number("batch_axis", 1), site.number("time_axis")
    maps = identity(len(out), [a for a in range(len(out)) if a != time])
    inputs = (*site.read(0, maps), *site.parameter(1, batch, out[batch]))
    return Reach(labelled(len(out), "elements", (time,)), inputs)


def grid_sample(site: Site) -> Reach | None:
    """GridSample: [N, C, *S] at the places [N, *P, k] gives [N, C, *P]."""
    shape, grid, out = site.shape(0), site.shape(1), site.result
    if shape is None or grid is None or out is None or len(out) != len(grid):
        return None
    sides = len(out) - 2
    maps: Maps = (AxisMap(0), AxisMap(1), *[None] * (len(shape) - 2))
    where: Maps = (AxisMap(0), *(AxisMap(2 + side) for side in range(sides)), None)
    inputs = (*site.read(0, maps), *site.read(1, where))
    return Reach(labelled(len(out), "elements"), inputs)
