"""Which pages of a tier are free until when: runs of pages that share one state.

A tier has some hundred thousand pages, of which neighbours nearly always have the same story. So
the map holds runs of them, and whatever is asked costs in proportion to the runs, not the pages:

    page     0       40      64                  200     256
    run      |   A   |   B   |         C         |   D   |
    free     from 3  from 9  from 0              from 7      (9: taken until step 9)
    until    T + 1   T + 1   5                   T + 1       (5: reserved from step 5 on)

Pages are handed out in the order of the steps in which they are taken.
"""

import numpy as np

from ullage.compiler.common.arrays import Ints


class PageMap:
    """The pages 0 .. count - 1 of a tier, in ascending runs.

    Attributes:
        count: number of pages.
        first: (runs,) first page of each run.
        free_from: (runs,) step from which on its pages are free.
        until: (runs,) step from which on they are reserved.
        never: the step that stands for pages that are not reserved.
    """

    def __init__(self, count: int, never: int) -> None:
        self.count, self.never = count, never
        self.first = np.zeros(1, dtype=np.int64)
        self.free_from = np.zeros(1, dtype=np.int64)
        self.until = np.full(1, never, dtype=np.int64)

    def open(self, limit: int, start: int, end: int) -> Ints:
        """(k, 3) ascending runs of the pages below `limit` that are free during [start, end).

        A row is (first page, one past the last, step from which on they are reserved).
        """
        runs = int(np.searchsorted(self.first, limit))
        first = self.first[:runs]
        stop = np.minimum(np.append(self.first[1:], self.count)[:runs], limit)
        free = (self.free_from[:runs] <= start) & (self.until[:runs] >= end)
        return np.stack([first[free], stop[free], self.until[:runs][free]], axis=1)

    def take(self, ranges: Ints, start: int, end: int) -> None:
        """Take pages during [start, end); no later call begins before `start`.

        Args:
            ranges: (k, 2) first page and one past the last, ascending.
            start: first step.
            end: one past the last step.
        """
        inside = self._split(ranges)
        self.free_from[inside] = end
        self.free_from[self.free_from <= start] = 0  # free is free, whatever came before
        differs = np.diff(self.free_from).astype(bool) | np.diff(self.until).astype(bool)
        kept = np.append(True, differs)
        self.first, self.free_from = self.first[kept], self.free_from[kept]
        self.until = self.until[kept]

    def reserve(self, ranges: Ints, until: int) -> None:
        """Reserve pages from a step on; `never` lets them go again."""
        inside = self._split(ranges)
        self.until[inside] = until

    def _split(self, ranges: Ints) -> Ints:
        """Cut runs at the ends of the ranges; returns the runs inside these."""
        cuts = ranges.reshape(-1)
        first = np.union1d(self.first, cuts[cuts < self.count])
        source = np.searchsorted(self.first, first, side="right") - 1
        self.first = first
        self.free_from, self.until = self.free_from[source], self.until[source]
        at = np.searchsorted(ranges[:, 0], first, side="right") - 1
        return np.flatnonzero((at >= 0) & (first < ranges[at, 1]))


def picked(open_runs: Ints, count: int, *, downwards: bool) -> Ints:
    """(k, 2) `count` of the open pages: those reserved soonest, else neighbours if there are.

    Args:
        open_runs: (r, 3) as of `PageMap.open`, of at least so many pages.
        count: number of pages, at least 1.
        downwards: prefer pages high up to low ones.
    """
    first, until = open_runs[:, 0], open_runs[:, 2]
    if until.min() < until.max():
        order = np.lexsort((-first if downwards else first, until))
        return joined_runs(_some(open_runs[order, :2], count, downwards=downwards))
    joined = joined_runs(open_runs[:, :2])
    lengths = joined[:, 1] - joined[:, 0]
    enough = np.flatnonzero(lengths >= count)
    if len(enough):
        low, high = joined[enough[np.argmin(lengths[enough])]].tolist()
        return np.array([[high - count, high] if downwards else [low, low + count]])
    return joined_runs(_some(joined[::-1] if downwards else joined, count, downwards=downwards))


def _some(runs: Ints, count: int, *, downwards: bool) -> Ints:
    """The first `count` pages of runs in their order; the last run gives a part of its pages."""
    taken = np.cumsum(runs[:, 1] - runs[:, 0])
    last = int(np.searchsorted(taken, count))
    some = runs[: last + 1].copy()
    over = int(taken[last]) - count
    if downwards:
        some[last, 0] += over
    else:
        some[last, 1] -= over
    return some


def joined_runs(runs: Ints) -> Ints:
    """Runs (k, 2) in ascending order, those that touch joined."""
    ascending = runs[np.argsort(runs[:, 0])]
    begins = np.append(True, ascending[1:, 0] != ascending[:-1, 1])
    ends = np.append(begins[1:], True)
    return np.stack([ascending[begins, 0], ascending[ends, 1]], axis=1)
