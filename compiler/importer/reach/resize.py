"""Reach of Resize and Upsample: for each row of the result the rows that it is interpolated from.

Coordinates are computed three times: in single precision as onnxruntime does, in double precision,
and with the exact ratio of the lengths. Where they differ by a rounding, the hull is taken. Taps of
weight 0 are left out.
"""

import math
from collections.abc import Iterator

import numpy as np

from ullage.compiler.importer.reach.site import MOST_ROWS, Site, labelled
from ullage.compiler.ir.reach import AxisMap, Interval, Reach

# Rows by which a length may differ from the scaled one and the scale still be their exact ratio.
LENGTHS_AGREE = 1e-3


def resize(site: Site) -> Reach | None:
    """Resize of operator set 10 and later, and Upsample."""
    shape, out = site.shape(0), site.result
    if shape is None or out is None or len(shape) != len(out):
        return None
    scales = _scales(site, shape, out)
    mode, how = site.text("mode", "nearest"), _transformation(site)
    regions = _regions(site, len(shape))
    if scales is None or (how == "tf_crop_and_resize" and regions is None):
        return None
    maps: list[AxisMap | None] = []
    for axis, (size, length) in enumerate(zip(shape, out, strict=True)):
        if length > MOST_ROWS:
            maps.append(None)
            continue
        if size == length and scales[axis] == 1 and how != "tf_crop_and_resize":
            maps.append(AxisMap(axis))
            continue
        region = (0.0, 1.0) if regions is None else regions[axis]
        table = []
        for row in range(length):
            taps = [
                _taps(site, mode, how, at, size, float(scales[axis]))
                for at in _coordinates(how, row, size, length, scales[axis], region)
            ]
            low, high = min(t[0] for t in taps), max(t[1] for t in taps)
            table.append((low, high) if low < high else (0, 0))
        maps.append(_compact(axis, table))
    inputs = (*site.read(0, maps), *site.rest_whole(1))
    return Reach(labelled(len(out), "elements"), inputs)


def _compact(axis: int, table: list[Interval]) -> AxisMap:
    """A table, or a formula where every row repeats so many times."""
    times = sum(1 for rows in table if rows == table[0])
    if table == [(row // times, row // times + 1) for row in range(len(table))]:
        return AxisMap(axis, divisor=times)
    return AxisMap(axis, table=tuple(table))


def _transformation(site: Site) -> str:
    old = site.op == "Upsample" or site.version < 11
    return "asymmetric" if old else site.text("coordinate_transformation_mode", "half_pixel")


def _scales(site: Site, shape: tuple[int, ...], out: tuple[int, ...]) -> list[np.float32] | None:
    """The scale of each axis; those of axes of which nothing is said are 1."""
    given: list[float] | None = None
    position = 1 if site.op == "Upsample" or site.version < 11 else 2
    if "scales" in site.attributes:
        given = [float(v) for v in site.attributes["scales"]]
    elif site.has(position):
        array = site.arrays.get(site.inputs[position])
        if array is None:
            return None
        given = [float(v) for v in np.asarray(array).reshape(-1)]
    rank = len(shape)
    axes = [int(a) % rank for a in site.attributes.get("axes", range(rank))]
    scales = [np.float32(1)] * rank
    if given:
        if len(given) != len(axes):
            return None
        for axis, scale in zip(axes, given, strict=True):
            scales[axis] = np.float32(scale)
        return scales
    ratios = {a: np.float32(out[a]) / np.float32(max(1, shape[a])) for a in axes}
    policy = site.text("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch":
        sizes = site.integers(3)
        if sizes is None or len(sizes) != len(axes):
            return None
        asked = [np.float32(n) / np.float32(shape[a]) for a, n in zip(axes, sizes, strict=True)]
        one = min(asked) if policy == "not_larger" else max(asked)
        ratios = dict.fromkeys(axes, np.float32(one))
    for axis, ratio in ratios.items():
        scales[axis] = np.float32(ratio)
    return scales


def _regions(site: Site, rank: int) -> list[tuple[float, float]] | None:
    """Begin and end of the cropped region on each axis, as shares of its length."""
    array = site.arrays.get(site.inputs[1]) if site.version >= 11 and site.has(1) else None
    if array is None:
        return None
    values = [float(v) for v in np.asarray(array).reshape(-1)]
    axes = [int(a) % rank for a in site.attributes.get("axes", range(rank))]
    if len(values) != 2 * len(axes):
        return None
    regions = [(0.0, 1.0)] * rank
    for place, axis in enumerate(axes):
        regions[axis] = (values[place], values[place + len(axes)])
    return regions


def _coordinates(
    how: str, row: int, size: int, length: int, scale: np.float32, region: tuple[float, float]
) -> Iterator[float]:
    """Where a row of the result lies among the rows of the input."""
    exact = np.float64(length) / np.float64(max(1, size))
    kinds: list[tuple[type[np.floating], np.floating]] = [
        (np.float32, scale),
        (np.float64, np.float64(scale)),
    ]
    if abs(size * float(scale) - length) < LENGTHS_AGREE:
        kinds.append((np.float64, exact))
    for number, ratio in kinds:
        yield float(_coordinate(how, number(row), number, ratio, size, length, region))


def _coordinate(
    how: str,
    row: np.floating,
    number: type[np.floating],
    scale: np.floating,
    size: int,
    length: int,
    region: tuple[float, float],
) -> np.floating:
    half = number(0.5)
    if how == "align_corners":
        return row * number(size - 1) / number(length - 1) if length > 1 else number(0)
    if how == "asymmetric":
        return row / scale
    if how == "tf_half_pixel_for_nn":
        return (row + half) / scale
    if how == "tf_crop_and_resize":
        begin, end = number(region[0]), number(region[1])
        if length > 1:
            step = (end - begin) * number(size - 1) / number(length - 1)
            return begin * number(size - 1) + row * step
        return half * (begin + end) * number(size - 1)
    if how == "pytorch_half_pixel" and length <= 1:
        return number(0)
    centre = (row + half) / scale - half
    if how == "half_pixel_symmetric":
        adjusted = number(length) / (scale * number(size))
        return number(size) / number(2) * (number(1) - adjusted) + centre
    return centre


def _taps(site: Site, mode: str, how: str, at: float, size: int, scale: float) -> Interval:
    """The rows that a coordinate is interpolated from; none where it is extrapolated."""
    if how == "tf_crop_and_resize" and not 0 <= at <= size - 1:
        return (size, 0)
    if mode == "nearest":
        rows = _nearest(site, at, scale)
        low, high = min(rows), max(rows) + 1
    elif site.number("antialias") and scale < 1:
        support = (2.0 if mode == "cubic" else 1.0) / scale
        low, high = math.ceil(at - support - 1e-4), math.floor(at + support + 1e-4) + 1
    else:
        at = at if mode == "cubic" else min(max(at, 0.0), size - 1.0)
        low = math.floor(at)
        high = low + 1
        if at > low:
            low, high = (low - 1, high + 2) if mode == "cubic" else (low, high + 1)
    return (min(max(low, 0), size - 1), max(1, min(high, size)))


def _nearest(site: Site, at: float, scale: float) -> list[int]:
    """The rows that may be meant by the nearest one."""
    if site.op == "Upsample" or site.version < 11:
        return [math.floor(at)] if scale >= 1 else [math.floor(at), math.ceil(at)]
    how = site.text("nearest_mode", "round_prefer_floor")
    if how == "floor":
        return [math.floor(at)]
    if how == "ceil":
        return [math.ceil(at)]
    return [math.ceil(at - 0.5)] if how == "round_prefer_floor" else [math.floor(at + 0.5)]
