"""Quick, deterministic packing of up to some thousand buffers: greedy orders, bounded search.

Placement itself is omnimalloc's C++ core; nothing here depends on the clock.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.solvers.packing.instance import Instance
from ullage.solvers.packing.omnimalloc_core import core

if TYPE_CHECKING:
    from omnimalloc import Allocation

# Orders in which the search branches, in omnimalloc's letters (A area, C sections, L start,
# O conflicts, T total load of the sections, U end, W duration, Z size). Many short searches in
# unlike orders beat one long one. Picked by trying orders of three letters on MiniMalloc's public
# instances: on other kinds of instances another choice may do better.
SEARCH_ORDERS = (
    *("TWC", "UTW", "TCW", "CTW", "UZL", "TAW", "TWA", "UCA", "TUZ", "WTA"),
    *("TCA", "OTA", "ULT", "COA", "TOW", "UWA", "OCA", "CWO", "ATW", "LTW"),
)
# Nodes of the first search tree, to which one for each buffer is added.
FIRST_NODES = 300
# The work of a quick packing is counted, so that it does not depend on the clock. Pairs of buffers
# that greedy placement visits at most, some 40 ns each.
_GREEDY_PAIRS = 16_000_000
# Nodes times the buffers alive together at each, that search visits at most, some 400 ns each ...
_SEARCH_WORK = 200_000
# ... and as many more for each buffer.
_SEARCH_WORK_PER_BUFFER = 400
# Size times duration above which times are replaced by their ranks, to stay inside 64 bits.
_MAX_AREA = 2**62


@dataclass(frozen=True)
class Layout:
    """Offsets in units, shape (N,), their peak, and the name of the method that found them."""

    offsets: Ints
    peak: int
    method: str


def quick_layout(instance: Instance, seed: int) -> Layout:
    """First-fit and best-fit in several orders, then bounded search, until good enough."""
    best: Layout | None = None
    for layout in _greedy_layouts(instance):
        if best is None or layout.peak < best.peak:
            best = layout
        if best.peak <= instance.target_peak:
            return best
    assert best is not None  # noqa: S101 - the greedy orders are never empty
    limit = FIRST_NODES + len(instance.sizes)
    alive = 10 + instance.pairs // len(instance.sizes)
    work = _SEARCH_WORK + _SEARCH_WORK_PER_BUFFER * len(instance.sizes)
    attempts = min(work // (limit * alive), 2 * len(SEARCH_ORDERS))
    if attempts == 0:
        return best
    plan = search_plan(seed, both_directions(instance))
    for attempt, (order, direction) in enumerate(islice(plan, attempts)):
        goal = instance.target_peak
        # Some searches aim between the best and the goal; fewer where only the goal itself counts.
        step = (
            0
            if attempt % 4 < (3 if instance.capacity_stated else 2)
            else ((best.peak - goal - 1) * 3 // 4)
        )
        best = direction.search(order, goal + 1 + step, limit) or best
        if best.peak <= goal:
            break
    return best


def search_plan(
    seed: int, directions: tuple["Direction", "Direction"]
) -> Iterator[tuple[str, "Direction"]]:
    """Every search order in both directions of time; the seed turns the list."""
    turn = seed % len(SEARCH_ORDERS)
    for order in (*SEARCH_ORDERS[turn:], *SEARCH_ORDERS[:turn]):
        for direction in directions:
            yield order, direction


class Direction:
    """The instance as omnimalloc's partition, with time running forwards or backwards.

    Searching backwards in time meets the buffers in another order; an instance that is hard in
    one direction is often easy in the other.
    """

    def __init__(self, allocations: list["Allocation"]) -> None:
        self._partition = core().Partition.from_allocations(allocations)
        self._reordered: dict[str, Any] = {}

    def reordered(self, order: str, bound: int) -> Any:  # noqa: ANN401 - omnimalloc's Partition
        """The partition that branches in an order and looks for peaks below a bound."""
        if order not in self._reordered:
            self._reordered[order] = self._partition.reorder(order)
        return self._reordered[order].with_bound(bound)

    def search(
        self, order: str, bound: int, max_nodes: int, deadline: float | None = None
    ) -> Layout | None:
        """Branch and bound for a peak below `bound`; None when `max_nodes` did not suffice.

        Args:
            order: three of omnimalloc's sort letters.
            bound: exclusive, in units.
            max_nodes: nodes of the search tree to visit.
            deadline: `time.monotonic()` at which to stop; None leaves the nodes alone to decide.
        """
        return solve([self.reordered(order, bound)], bound, max_nodes, deadline, 1)


def solve(
    members: list[Any], bound: int, max_nodes: int | None, deadline: float | None, threads: int
) -> Layout | None:
    """One portfolio round of omnimalloc's solver; None when nothing below `bound` was found."""
    timeout = None
    if deadline is not None:
        timeout = deadline - time.monotonic()
        if timeout <= 0:
            return None
    answers = core().try_solve_many(
        members,
        bound,
        max_nodes,
        canonical=True,
        dominance=True,
        floor_inference=True,
        monotonic_floor=True,
        decompose=True,
        timeout=timeout,
        num_threads=threads,
    )
    return None if answers is None else _layout(answers.allocations, "branch-and-bound")


def both_directions(instance: Instance) -> tuple[Direction, Direction]:
    """The instance with time running forwards and backwards."""
    starts, ends = _bounded_times(instance)
    latest = int(ends.max())
    return (
        Direction(_allocations(starts, ends, instance.sizes)),
        Direction(_allocations(latest - ends, latest - starts, instance.sizes)),
    )


def greedy_orders(instance: Instance) -> Iterator[tuple[str, Ints]]:
    """Orders of placement: by size, area, duration (largest first), start (earliest first)."""
    starts, ends = _bounded_times(instance)
    sizes, durations = instance.sizes, ends - starts
    yield "size", np.lexsort((starts, -durations, -sizes))
    yield "area", np.lexsort((starts, -sizes, -(sizes * durations)))
    yield "duration", np.lexsort((starts, -sizes, -durations))
    yield "start", np.lexsort((-durations, -sizes, starts))


def _greedy_layouts(instance: Instance) -> Iterator[Layout]:
    """Layouts by first-fit, omnimalloc's portfolio and best-fit, as far as the work allows."""
    starts, ends = _bounded_times(instance)
    allocations = _allocations(starts, ends, instance.sizes)
    placer = core().FirstFitPlacer(allocations)
    orders = list(greedy_orders(instance))
    for name, order in orders:
        yield _layout(placer.place(order.tolist()), f"first-fit by {name}")
    if 8 * instance.pairs > _GREEDY_PAIRS:
        return
    yield _layout(core().omni_place(allocations, None), "greedy portfolio")
    if 15 * instance.pairs > _GREEDY_PAIRS:
        return
    for name, order in orders:
        yield _layout(core().best_fit_place([allocations[i] for i in order]), f"best-fit by {name}")


def _layout(placed: Iterable["Allocation"], method: str) -> Layout:
    """Omnimalloc's placed allocations as a layout."""
    layout = list(placed)
    offsets = np.zeros(len(layout), dtype=np.int64)
    peak = 0
    for allocation in layout:
        offset = allocation.offset
        if offset is None:
            raise RuntimeError(f"omnimalloc left buffer {allocation.id} without an offset")
        offsets[int(allocation.id)] = offset
        peak = max(peak, offset + allocation.size)
    return Layout(offsets, peak, method)


def _allocations(starts: Ints, ends: Ints, sizes: Ints) -> list["Allocation"]:
    allocation = core().Allocation
    rows = zip(sizes.tolist(), starts.tolist(), ends.tolist(), strict=True)
    return [allocation(i, size, start, end) for i, (size, start, end) in enumerate(rows)]


def _bounded_times(instance: Instance) -> tuple[Ints, Ints]:
    """(starts, ends) from zero on; their ranks where size x duration would not fit 64 bits."""
    starts, ends = instance.starts, instance.ends
    span = int(ends.max()) - int(starts.min())
    if span * int(instance.sizes.max()) < _MAX_AREA:
        return starts - starts.min(), ends - starts.min()
    _, ranks = np.unique(np.concatenate([starts, ends]), return_inverse=True)
    return ranks[: len(starts)].astype(np.int64), ranks[len(starts) :].astype(np.int64)
