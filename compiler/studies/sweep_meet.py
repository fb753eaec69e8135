"""The smallest fast memory that meets a latency: bisection between the points of a sweep.

size       1 MiB ... 2 MiB ..... 3 MiB ..... 4 MiB
latency    too slow  too slow  | meets       meets     smallest_bytes: 3 MiB
bound      excluded  | open                            insufficient_bytes: 1 MiB
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ullage.compiler.common.units import format_size, format_time
from ullage.compiler.studies.sweep_points import (
    Point,
    max_address,
    monotone,
    needed_bytes,
    required_bytes,
    take_over,
)

# Relative distance of two sizes at which bisection ends; the alignment, where that is coarser.
RESOLUTION = 0.01


@dataclass(frozen=True)
class Meeting:
    """The answer to `--meet-latency`.

    Attributes:
        latency_s: the latency to meet, in seconds.
        smallest_bytes: smallest size for which a plan meets it, None when there is none.
        insufficient_bytes: largest size for which it is proven that no plan does, None when the
            bounds exclude no size of the range.
        best_latency_s: lowest latency of any size, None without any plan.
        best_bound_s: lower bound of the latency at the largest size.
        excluded: the bound proves that no size of the range meets the latency.
        every_order: the proof is known to hold in every order of the operators, not in that of the
            plans alone.
        at_range_start: the smallest size of the range meets it; a smaller one may, too.
    """

    latency_s: float
    smallest_bytes: int | None
    insufficient_bytes: int | None
    best_latency_s: float | None
    best_bound_s: float | None
    excluded: bool
    at_range_start: bool
    every_order: bool = False

    @property
    def message(self) -> str:
        """The answer for people."""
        wanted = format_time(self.latency_s)
        orders = f"for {'every' if self.every_order else 'this'} order"
        if self.smallest_bytes is None:
            if self.best_latency_s is None or self.best_bound_s is None:
                return f"no size of the range has a plan, so none is known to meet {wanted}"
            best, bound = format_time(self.best_latency_s), format_time(self.best_bound_s)
            proof = (
                f"the lower bound {bound} {orders} proves that none can"
                if self.excluded
                else (f"the lower bound {bound} {orders} leaves open whether one can")
            )
            return f"no size of the range meets {wanted}: the best plan takes {best}, and {proof}"
        text = f"{wanted} is met with {_exact(self.smallest_bytes)} of fast memory"
        if self.at_range_start:
            text += ", the smallest size of the range"
        if self.insufficient_bytes is not None:
            return (
                f"{text}; proven {orders} not to be met with {_exact(self.insufficient_bytes)} "
                "or less"
            )
        return f"{text}; no size of the range is proven to be too small {orders}"


def _exact(size_bytes: int) -> str:
    return f"{format_size(size_bytes)} ({size_bytes} bytes)"


def judge(points: Sequence[Point], latency_s: float) -> Meeting:
    """The answer about a latency that follows from the points of a monotone curve."""
    meeting = [point.size_bytes for point in points if meets(point, latency_s)]
    solved = [point.compiled for point in points if point.compiled is not None]
    smallest = min(meeting, default=None)
    insufficient = insufficient_bytes(points, latency_s)
    return Meeting(
        latency_s=latency_s,
        smallest_bytes=smallest,
        insufficient_bytes=insufficient,
        best_latency_s=min((c.score.latency_s for c in solved), default=None),
        best_bound_s=solved[-1].bound.value if solved else None,
        excluded=insufficient is not None and insufficient >= points[-1].size_bytes,
        at_range_start=smallest is not None and smallest == points[0].size_bytes,
        every_order=_proof_of_every_order(points, latency_s, smallest, insufficient),
    )


def _proof_of_every_order(
    points: Sequence[Point], latency_s: float, smallest: int | None, insufficient: int | None
) -> bool:
    """Whether the bound that the answer names is known to hold in every order.

    That operands of a step do not fit may have to do with which values share bytes in this order.
    """
    bounds = {p.size_bytes: p.compiled.bound for p in points if p.compiled is not None}
    if not bounds:
        return False
    if smallest is None or insufficient is None:
        return bounds[max(bounds)].every_order
    told = bounds.get(insufficient)
    return told is not None and told.value > latency_s and told.every_order


def meets(point: Point, latency_s: float) -> bool:
    """Whether the point has a plan that is fast enough."""
    return point.compiled is not None and point.compiled.score.latency_s <= latency_s


def insufficient_bytes(points: Sequence[Point], latency_s: float) -> int | None:
    """Largest size of the range that is proven not to meet a latency.

    There are two proofs: the lower bound exceeds the latency, or the operands of a step do not fit.
    """
    excluded = [
        point.size_bytes
        for point in points
        if point.compiled is not None and point.compiled.bound.value > latency_s
    ]
    plan = next((point.compiled.plan for point in points if point.compiled is not None), None)
    if plan is not None:
        excluded.append(min(required_bytes(plan) - 1, points[-1].size_bytes))
    largest = max(excluded, default=0)
    return largest if largest >= points[0].size_bytes else None


def refine(
    points: list[Point],
    latency_s: float,
    alignment_bytes: int,
    solve_at: Callable[[int], Point],
) -> None:
    """Add points until the smallest size that meets a latency is known to 1 % or the alignment.

    Then the same for the largest size that a bound excludes, where the solver proves bounds.

    Args:
        points: a monotone curve of at least one point; replaced by a longer one in place.
        latency_s: the latency to meet.
        alignment_bytes: sizes tried are multiples of it.
        solve_at: solves for one size; whatever it raises ends the search, points so far are kept.
    """
    while (size := _next_for_plans(points, latency_s, alignment_bytes)) is not None:
        points[:] = monotone([*points, solve_at(size)])
    if any(p.compiled is not None and p.compiled.plan.lower_bound is not None for p in points):
        while (size := _next_for_bounds(points, latency_s, alignment_bytes)) is not None:
            added = solve_at(size)
            points[:] = monotone([*points, added])
            if added.compiled is None:  # no bound, so the next size would be the same
                break


def _next_for_plans(points: list[Point], latency_s: float, alignment_bytes: int) -> int | None:
    """The size to try next between the largest that fails and the smallest that meets."""
    while True:
        index = next((k for k, point in enumerate(points) if meets(point, latency_s)), None)
        if index is None or index == 0:
            return None
        if not _shrink(points, index, alignment_bytes):
            break
    low = max(points[index - 1].size_bytes, insufficient_bytes(points, latency_s) or 0)
    return _between(low, points[index].size_bytes, alignment_bytes)


def _shrink(points: list[Point], index: int, alignment_bytes: int) -> bool:
    """Add a point with just the memory that a plan uses, where that is less than it had."""
    source, low = points[index], points[index - 1].size_bytes
    if source.compiled is None or max_address(source.compiled) >= source.size_bytes:
        return False
    size = _multiple(needed_bytes(source.compiled.plan), alignment_bytes)
    if not low < size <= source.size_bytes * (1 - RESOLUTION):
        return False
    added = take_over(Point(size, refined=True), source, "it needs no more than this size")
    points[:] = monotone([*points, added])
    return True


def _next_for_bounds(points: list[Point], latency_s: float, alignment_bytes: int) -> int | None:
    """The size to try next between the largest that is excluded and the smallest that is not."""
    low = insufficient_bytes(points, latency_s)
    if low is None:
        return None
    above = [p.size_bytes for p in points if p.size_bytes > low and p.compiled is not None]
    return _between(low, min(above), alignment_bytes) if above else None


def _between(low: int, high: int, alignment_bytes: int) -> int | None:
    """The geometric mean as a multiple of the alignment, None when the ends are close enough."""
    if high - low <= max(alignment_bytes, RESOLUTION * high):
        return None
    middle = round(math.sqrt(low * high) / alignment_bytes) * alignment_bytes
    return middle if low < middle < high else None


def _multiple(size_bytes: int, alignment_bytes: int) -> int:
    return -(-size_bytes // alignment_bytes) * alignment_bytes
