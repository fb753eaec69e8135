"""Byte ranges of boxes, against the order of elements laid out by numpy."""

from itertools import pairwise, product
from math import prod
from random import Random

import numpy as np
import pytest

from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.graph import Value
from ullage.compiler.ir.program import AxisCuts, Layout
from ullage.compiler.lowering.layouts import LaidOut, reached_box


def elements_in_order(shape: tuple[int, ...], layout: Layout) -> list[int]:
    """Row-major indices of a value's elements in the order of their bytes."""
    indices = np.arange(prod(shape)).reshape(shape)
    order: list[int] = []
    for spans in product(*(pairwise(c.ends) for c in layout.cuts)):
        cell = indices
        for cuts, (low, high) in zip(layout.cuts, spans, strict=True):
            cell = cell.take(range(low, high), axis=cuts.axis)
        order += np.moveaxis(cell, layout.axis, 0).ravel().tolist()
    return order


def random_layout(rng: Random, shape: tuple[int, ...]) -> Layout:
    axes = list(range(len(shape)))
    outermost = rng.choice(axes)
    cuts = []
    for axis in axes:
        if axis != outermost and shape[axis] > 1 and rng.random() < 0.5:
            inner = rng.sample(range(1, shape[axis]), rng.randint(1, shape[axis] - 1))
            cuts.append(AxisCuts(axis, (0, *sorted(inner), shape[axis])))
    return Layout(outermost, tuple(cuts))


@pytest.mark.parametrize("seed", range(60))
def test_ranges_hold_the_elements_of_a_box(seed: int) -> None:
    rng = Random(seed)
    shape = tuple(rng.randint(1, 5) for _ in range(rng.randint(1, 4)))
    width = rng.choice((1, 2, 4))
    value = Value("x", "activation", "int8", shape, width * prod(shape))
    laid_out = LaidOut(value, random_layout(rng, shape))
    order = elements_in_order(shape, laid_out.layout)
    assert sorted(order) == list(range(prod(shape)))
    box = []
    for size in shape:
        low = rng.randrange(size)
        box.append((low, rng.randint(low + 1, size)))
    indices = np.arange(prod(shape)).reshape(shape)
    wanted = set(indices[tuple(slice(low, high) for low, high in box)].ravel().tolist())
    ranges = laid_out.ranges(tuple(box))
    held = {order[b // width] for r in ranges for b in range(r.start, r.end)}
    assert wanted <= held
    assert all(a.end < b.start for a, b in pairwise(ranges))
    assert sum(r.accessed_bytes for r in ranges) >= width * len(wanted)
    reached = reached_box(laid_out.layout, shape, tuple(box))
    inside = indices[tuple(slice(low, high) for low, high in reached)]
    assert held == set(inside.ravel().tolist())
    cut_axes = {c.axis for c in laid_out.layout.cuts}
    fits = all(
        span == (0, size)
        or axis == laid_out.layout.axis
        or (axis in cut_axes and set(span) <= set(_ends(laid_out.layout, axis)))
        for axis, (span, size) in enumerate(zip(box, shape, strict=True))
    )
    if fits:  # a box of whole rows of cells is held exactly
        assert held == wanted
        assert sum(r.accessed_bytes for r in ranges) == width * len(wanted)


def _ends(layout: Layout, axis: int) -> tuple[int, ...]:
    return next(c.ends for c in layout.cuts if c.axis == axis)


def test_rows_of_half_bytes_are_refused() -> None:
    value = Value("x", "activation", "int4", (4, 3), 6)
    with pytest.raises(UsageError, match="no whole number"):
        LaidOut(value, Layout(0)).check()
    LaidOut(Value("x", "activation", "int4", (4, 4), 8), Layout(0)).check()
