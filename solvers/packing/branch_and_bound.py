"""Packing under a time limit: restarts of a bounded search, alternating with a complete one."""

import time
from collections.abc import Iterable

from ullage.solvers.packing.heuristics import (
    FIRST_NODES,
    Direction,
    Layout,
    both_directions,
    search_plan,
    solve,
)
from ullage.solvers.packing.instance import Instance

# Threads of a complete search: one for each rung of the ladder of bounds and each order, whatever
# the number of cores.
_THREADS = 12
# Orders of complete search, the defaults of omnimalloc's supermalloc.
_COMPLETE_ORDERS = ("WAT", "TAW", "TWA")
# Factor by which each round has more nodes than the one before.
_NODES_GROWTH = 3
# Shares of the gap above the goal that searches aim at when the goal itself is too far.
_SHARES = (0.5, 0.9)
# Seconds of the first complete search, at least.
_FIRST_SLICE_S = 0.5
# Share of the time limit left once a stated capacity is met: from there on only a proof is missing.
_SHARE_ONCE_FITTING = 0.25


def exact_layout(
    instance: Instance, incumbent: Layout, time_limit_s: float, seed: int
) -> tuple[Layout, bool]:
    """Improve a layout until it is proven optimal or the time is over.

    Rounds of many short searches, in unlike orders and in both directions of time, find good
    layouts; the complete search of MiniMalloc's kind between them proves that none is better.
    Each round gets more nodes, each complete search as much time as was spent before.

    Args:
        instance: the buffers to pack.
        incumbent: a layout to start from.
        time_limit_s: wall-clock. Where `instance.target_peak` is above the lower bound (a
            capacity was stated), a quarter of it is spent from the moment that the peak fits.
        seed: turns the list of search orders.

    Returns:
        The best layout, and whether no smaller peak is possible.
    """
    begin = time.monotonic()
    search = _PackingSearch(
        instance, incumbent, begin + time_limit_s, _SHARE_ONCE_FITTING * time_limit_s
    )
    if search.done or search.expired:
        return search.best, search.done
    directions = both_directions(instance)
    nodes = first_nodes = FIRST_NODES + len(instance.sizes)
    proven = False
    while not proven and not search.expired:
        search.restarts(search_plan(seed, directions), nodes, 0.0)
        for share in _SHARES if nodes > first_nodes else ():
            search.restarts(search_plan(seed, directions), nodes // _NODES_GROWTH, share)
        nodes *= _NODES_GROWTH
        slice_s = max(_FIRST_SLICE_S, time.monotonic() - begin)
        proven = search.done or _complete_slice(search, directions[0], slice_s)
    return search.best, proven or search.done


class _PackingSearch:
    """The best layout so far and the time that is left."""

    def __init__(
        self, instance: Instance, best: Layout, deadline: float, seconds_once_fitting: float
    ) -> None:
        self.instance = instance
        self.deadline = deadline
        self._seconds_once_fitting = seconds_once_fitting
        self._has_capacity = instance.target_peak > instance.lower_bound
        self._fitted = False
        self.best = best
        self.accept(best)

    def accept(self, layout: Layout | None) -> bool:
        """Keep a layout if it is the best so far; whether there was one."""
        if layout is None:
            return False
        if layout.peak < self.best.peak:
            self.best = layout
        if self._has_capacity and not self._fitted and self.fits:
            self._fitted = True
            self.deadline = min(self.deadline, time.monotonic() + self._seconds_once_fitting)
        return True

    def restarts(self, plan: Iterable[tuple[str, Direction]], nodes: int, share: float) -> None:
        """One short search per order and direction, below the goal plus a share of the gap."""
        for order, direction in plan:
            if self.done or self.expired:
                return
            goal = self.instance.lower_bound if self.fits else self.instance.target_peak
            bound = goal + 1 + int((self.best.peak - goal - 1) * share)
            self.accept(direction.search(order, bound, nodes, self.deadline))

    @property
    def fits(self) -> bool:
        """Whether the best layout is good enough (fits a stated capacity)."""
        return self.best.peak <= self.instance.target_peak

    @property
    def done(self) -> bool:
        """Whether the best layout meets the lower bound."""
        return self.best.peak <= self.instance.lower_bound

    @property
    def expired(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.deadline


def _complete_slice(search: _PackingSearch, direction: Direction, slice_s: float) -> bool:
    """Complete search below the incumbent for some seconds; True when it proved there is none."""
    deadline = min(search.deadline, time.monotonic() + slice_s)
    low = search.instance.lower_bound
    while not search.done and time.monotonic() < deadline:
        peak = search.best.peak
        gap = peak - low
        rungs = {peak, low + 1, low + gap // 4, low + gap // 8} - {low}
        if not search.fits:
            rungs.add(search.instance.target_peak + 1)
        ladder = sorted(rungs, reverse=True)
        members = [
            direction.reordered(order, bound) for bound in ladder for order in _COMPLETE_ORDERS
        ]
        if not search.accept(solve(members, peak, None, deadline, _THREADS)):
            # The solver says "none" for an exhausted tree and for an exhausted budget alike.
            return time.monotonic() < deadline
    return search.done
