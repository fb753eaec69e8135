"""The best granularity of a subgraph, by closed forms over classes of tiles that cost the same.

Tiles are visited in a snake, along rows or along columns, so that consecutive ones share a strip.
An order that jumps loads more; whichever of both strips is cheaper to load anew decides between
the two snakes. Fewer tiles compute and load less, so that for each width and depth of a step only
heights near the largest that fits are tried; those that look best by a lower bound of their cost
come first, and the others end as soon as their bound is no better than what is found.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.contest.instance import Instance
from ullage.solvers.contest.subgraphs import Form, Loads, Shape

# Sides and depths are cut into equal parts. Numbers of parts that are tried one by one, and the
# ratio of those beyond.
FINE_PARTS, RATIO = 8, 1.2
# Most steps of a subgraph: larger ones are never near the best, and slow to check. Where every
# granularity has more, up to MOST_STEPS, the most that the rules visit.
MAX_STEPS, MOST_STEPS = 1_000_000, 4_000_000


# Granularities whose costs are computed first; of the others those whose bound is below the best.
FIRST = 16

_Side = NDArray[np.float64]
_Sides = tuple[_Side, _Side, _Side]


class Tiling(NamedTuple):
    """A granularity and what it costs.

    Attributes:
        cost: time of the subgraph.
        width: of a tile.
        height: of a tile.
        step: depth of a step.
        by_columns: the snake runs along columns.
    """

    cost: float
    width: int
    height: int
    step: int
    by_columns: bool


def best_tiling(instance: Instance, shape: Shape) -> Tiling | None:
    """The cheapest granularity of a subgraph that was found; None where none fits.

    Args:
        instance: the instance.
        shape: of the subgraph.
    """
    found: Tiling | None = None
    for form, is_cut in ((shape.whole, False), (shape.cut, True)):
        if form is not None:
            found = _best_of_form(instance, shape, form, found, is_cut=is_cut)
    return found


@lru_cache(maxsize=4096)
def _parts(side: int, most: int) -> tuple[int, ...]:
    """Sizes of parts into which a side is cut evenly, none above `most`, descending."""
    fewest = -(-side // most)
    found, count = [], float(fewest)
    while count <= side:
        found.append(-(-side // int(count)))
        count = count + 1 if len(found) < FINE_PARTS else max(count + 1, count * RATIO)
    if found[-1] != 1:
        found.append(1)
    return tuple(dict.fromkeys(found))


def _best_of_form(
    instance: Instance, shape: Shape, form: Form, found: Tiling | None, *, is_cut: bool
) -> Tiling | None:
    sides = _candidates(instance, shape, form, is_cut=is_cut)
    if sides is None:
        return found
    bounds = _lower_bounds(shape, form.loads, sides, instance.bandwidth, is_cut=is_cut)
    order = np.argsort(bounds, kind="stable")
    for begin, end in ((0, FIRST), (FIRST, len(order))):
        chosen = order[begin:end]
        if found is not None:
            chosen = chosen[bounds[chosen] < found.cost]
        if not len(chosen):
            break
        width, height, step = (side[chosen] for side in sides)
        for by_columns in (False, True):
            costs = snake_costs(
                shape,
                form.loads,
                (width, height, step),
                instance.bandwidth,
                is_cut=is_cut,
                by_columns=by_columns,
            )
            best = int(np.argmin(costs))
            if found is None or costs[best] < found.cost:
                found = Tiling(
                    float(costs[best]),
                    int(width[best]),
                    int(height[best]),
                    int(step[best]),
                    by_columns,
                )
    return found


def _candidates(instance: Instance, shape: Shape, form: Form, *, is_cut: bool) -> _Sides | None:
    """Widths, heights and steps that fit: of each width the largest heights, and vice versa."""
    held = form.held
    least = (max(form.least_width, form.width), form.least_height)
    most = (
        form.width or min(instance.native_width, max(shape.width, least[0])),
        min(instance.native_height, max(shape.height, least[1])),
    )
    if least[0] > min(most[0], instance.native_width) or least[1] > most[1]:
        return None
    steps = _parts(shape.depth, shape.depth - 1) if is_cut else (form.width or max(shape.depth, 1),)
    step = np.array(steps, dtype=np.float64)
    cut = step if is_cut else 0 * step
    fixed = held.fixed + held.step_fixed * cut
    per_row = held.rows + held.step_rows * cut
    per_column = held.columns + held.step_columns * cut
    room = instance.capacity - fixed
    found = []
    sides = (shape.width, shape.height)
    per_side = (per_column, per_row)
    for axis in (0, 1):
        # elements are tile*a*b + per[a]*a + per[b]*b, and `a` is given
        given = np.array(_parts_within(sides[axis], least[axis], most[axis]), dtype=np.float64)
        given = given[:, np.newaxis]
        rest = room - per_side[axis] * given
        largest = np.floor(rest / np.maximum(held.tile * given + per_side[1 - axis], 1))
        largest = np.minimum(largest, most[1 - axis])
        given, depth, largest = (part.ravel() for part in np.broadcast_arrays(given, step, largest))
        fits = largest >= least[1 - axis]
        given, depth, largest = given[fits], depth[fits], largest[fits]
        other = sides[1 - axis]
        parts = np.ceil(other / largest)
        for free in (np.ceil(other / parts), np.ceil(other / (parts + 1)), largest):
            allowed = free >= least[1 - axis]
            pair = (given[allowed], free[allowed])
            found.append((*(pair if axis == 0 else pair[::-1]), depth[allowed]))
    width, height, depth = (np.concatenate(part) for part in zip(*found, strict=True))
    tiles = np.ceil(shape.width / width) * np.ceil(shape.height / height)
    count = tiles * (np.ceil(shape.depth / depth) if is_cut else 1)
    keep = count <= (MAX_STEPS if (count <= MAX_STEPS).any() else MOST_STEPS)
    return (width[keep], height[keep], depth[keep]) if keep.any() else None


def _parts_within(side: int, least: int, most: int) -> tuple[int, ...]:
    """Sizes of even parts of a side that lie in a range; its ends, where there is none."""
    found = tuple(part for part in _parts(side, most) if part >= least)
    return found or tuple({least, most})


def _lower_bounds(
    shape: Shape, loads: Loads, sides: _Sides, bandwidth: float, *, is_cut: bool
) -> NDArray[np.float64]:
    """Less than what either snake costs: all computing, or all transfers."""
    width, height, step = sides
    across, down = np.ceil(shape.width / width), np.ceil(shape.height / height)
    row_sums, column_sums = shape.height * across, shape.width * down
    moved = loads.rows * row_sums + loads.columns * column_sums
    moved += (loads.tile + shape.stored) * float(shape.height * shape.width)
    moved += loads.fixed * across * down + loads.once
    if is_cut:
        rest = shape.depth - step
        moved += across * down * (step * loads.first_step_fixed + rest * loads.step_fixed)
        moved += row_sums * (step * loads.first_step_rows + rest * loads.step_rows)
        moved += column_sums * (step * loads.first_step_columns + rest * loads.step_columns)
    by_rows = loads.new_row * shape.height + loads.new_column * np.maximum(
        column_sums - (down - 1) * width, float(shape.width)
    )
    by_columns = loads.new_column * shape.width + loads.new_row * np.maximum(
        row_sums - (across - 1) * height, float(shape.height)
    )
    moved += np.minimum(by_rows, by_columns)
    found: NDArray[np.float64] = np.maximum(
        across * down * (shape.pointwise + shape.matmul), moved / bandwidth
    )
    return found * (1 - 1e-12)


def snake_costs(
    shape: Shape, loads: Loads, sides: _Sides, bandwidth: float, *, is_cut: bool, by_columns: bool
) -> NDArray[np.float64]:
    """Times of a subgraph whose tiles are visited in a snake, for each granularity.

    Args:
        shape: of the subgraph.
        loads: of its form.
        sides: widths and heights of tiles, depths of steps.
        bandwidth: elements per unit of time.
        is_cut: the form has several steps per tile; else one.
        by_columns: along columns; else along rows.
    """
    w, h, k = sides
    tile = _cut_tile if is_cut else _whole_tile

    def cost(length: _Side, breadth: _Side, turns: bool, moves: bool, first: bool) -> _Side:
        """Times of tiles: along the snake's lines, across them; which strips are new."""
        if by_columns:
            rows, columns, new_row, new_column = length, breadth, moves, turns
        else:
            rows, columns, new_row, new_column = breadth, length, turns, moves
        moved = loads.tile * rows * columns + loads.rows * rows + loads.columns * columns
        if new_row:
            moved = moved + loads.new_row * rows
        if new_column:
            moved = moved + loads.new_column * columns
        if first:
            moved = moved + loads.once
        return tile(shape, loads, (columns, rows, k), moved, bandwidth)

    if by_columns:
        return _along((shape.height, h), (shape.width, w), cost)
    return _along((shape.width, w), (shape.height, h), cost)


def _whole_tile(shape: Shape, loads: Loads, sides: _Sides, moved: _Side, bandwidth: float) -> _Side:
    """Times of tiles with one step, of which some loads are known."""
    w, h, _ = sides
    moved = moved + loads.fixed + shape.stored * h * w
    found: _Side = np.maximum(shape.pointwise + shape.matmul, moved / bandwidth)
    return found


def _cut_tile(shape: Shape, loads: Loads, sides: _Sides, moved: _Side, bandwidth: float) -> _Side:
    """Times of tiles with several steps, of which some loads of the first are known."""
    w, h, k = sides
    steps = np.ceil(shape.depth / k)
    last = shape.depth - (steps - 1) * k
    per_depth = shape.matmul / shape.depth
    first_rate = loads.first_step_fixed + loads.first_step_rows * h + loads.first_step_columns * w
    rate = loads.step_fixed + loads.step_rows * h + loads.step_columns * w
    first = np.maximum(shape.pointwise + per_depth * k, (moved + k * first_rate) / bandwidth)
    between = k * np.maximum(per_depth, rate / bandwidth)
    end = np.maximum(per_depth * last, (last * rate + shape.stored * h * w) / bandwidth)
    found: _Side = first + (steps - 2) * between + end
    return found


def _along(line: tuple[int, _Side], lines: tuple[int, _Side], cost: Callable[..., _Side]) -> _Side:
    """Sums over a snake, which goes along every second line backwards.

    Tiles of nine kinds are counted: in the last line or another, the last of a line or another,
    the first of a line or another, and the very first.

    Args:
        line: the length of a line, and of its tiles.
        lines: the breadth of all lines, and of one.
        cost: times of tiles: (length, breadth, the line is new, the place in it is new, first).
    """
    length, a = line
    breadth, b = lines
    per_line, count = np.ceil(length / a), np.ceil(breadth / b)
    a_last, b_last = length - (per_line - 1) * a, breadth - (count - 1) * b
    a_first = np.where(per_line > 1, a, a_last)
    has_more, has_lines = per_line > 1, count > 1
    inner = np.maximum(per_line - 2, 0)
    between = np.maximum(count - 2, 0)
    backward, forward = np.ceil(between / 2), np.floor(between / 2)
    last_is_backward = count % 2 == 0
    last_is_forward = ~last_is_backward
    forward_lines = forward + has_lines  # the first line, too
    found: _Side = (
        cost(a_first, np.where(has_lines, b, b_last), True, True, True)
        + (forward_lines * inner + backward * (per_line - 1)) * cost(a, b, False, True, False)
        + forward_lines * has_more * cost(a_last, b, False, True, False)
        + (last_is_forward * inner + last_is_backward * (per_line - 1))
        * cost(a, b_last, False, True, False)
        + last_is_forward * has_more * cost(a_last, b_last, False, True, False)
        + forward * cost(a_first, b, True, False, False)
        + backward * cost(a_last, b, True, False, False)
        + last_is_forward * has_lines * cost(a_first, b_last, True, False, False)
        + last_is_backward * cost(a_last, b_last, True, False, False)
    )
    return found


def snake(across: int, down: int, *, by_columns: bool) -> tuple[int, ...]:
    """Numbers of tiles, row by row, in the order of a snake.

    Args:
        across: tiles in a row.
        down: tiles in a column.
        by_columns: along columns; else along rows.
    """
    found: list[int] = []
    if by_columns:
        for column in range(across):
            tiles = range(column, across * down, across)
            found += reversed(tiles) if column % 2 else tiles
    else:
        for row in range(down):
            tiles = range(row * across, (row + 1) * across)
            found += reversed(tiles) if row % 2 else tiles
    return tuple(found)
