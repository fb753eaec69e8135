"""Addresses for slices: equal pages, where the left-edge rule loses nothing to fragmentation.

Memory is cut into pages of one size, and a slice may take any pages, side by side or not. Slices
are taken in the order in which they begin (their left edges), each gets free pages, and there are
always enough if the live bytes fit:

    page
    2        [===== B =====]
    1   [=== A ===] [=========== D]
    0   [====== C ======] [== E ==]
       +----------------------------- steps

Never more than three slices are alive at once, and three pages suffice.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

# Number of pages that a memory is cut into, about.
PAGES = 1 << 17


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Bytes that need pages during steps [start, end).

    Attributes:
        start: first step.
        end: one past the last step.
        size_bytes: a multiple of the page.
        before: in steady state, the rectangle at the beginning of the inference that must have the
            same pages as this one at its end; -1 for none.
    """

    start: int
    end: int
    size_bytes: int
    before: int = -1


def page_runs(
    rectangles: Sequence[Rectangle], page_bytes: int, capacity_bytes: int
) -> tuple[list[list[tuple[int, int]] | None], list[int]]:
    """Give rectangles pages by the left-edge rule.

    Intervals of an interval graph, sorted by start, each given any free colour, use as many colours
    as are alive at once, no more (Hashimoto and Stevens, 1971). So nothing is lost to
    fragmentation. The tightest run of free pages is taken; only where none is long enough the
    rectangle is divided. Rectangles that continue in the next inference make arcs of intervals:
    their pages are chosen first, and the others may use them in between if they end in time; there
    the rule is not optimal any more, so it is tried from the other end of time as well.

    Returns:
        For each rectangle its runs of pages (offset, bytes) in byte order; None where no pages are
        left (in steady state only). And for each the bytes for which none are left.
    """
    runs, missing = _left_edge(rectangles, page_bytes, capacity_bytes)
    if any(missing):
        mirrored = _left_edge(_mirrored(rectangles), page_bytes, capacity_bytes)
        if sum(mirrored[1]) < sum(missing):
            return mirrored
    return runs, missing


def _mirrored(rectangles: Sequence[Rectangle]) -> list[Rectangle]:
    """The same with time running backwards: what ends the inference begins it."""
    last = max(r.end for r in rectangles)
    after = {r.before: i for i, r in enumerate(rectangles) if r.before >= 0}
    return [
        Rectangle(last - r.end, last - r.start, r.size_bytes, after.get(i, -1))
        for i, r in enumerate(rectangles)
    ]


def _left_edge(
    rectangles: Sequence[Rectangle], page_bytes: int, capacity_bytes: int
) -> tuple[list[list[tuple[int, int]] | None], list[int]]:
    """`page_runs` in one direction of time."""
    pool = _Pool(capacity_bytes // page_bytes, max((r.end for r in rectangles), default=0))
    taken: list[list[tuple[int, int, int]] | None] = [None] * len(rectangles)
    missing = [0] * len(rectangles)
    busy: list[tuple[int, int]] = []
    deadline: dict[int, int] = {}  # loop-carried rectangle -> step that needs its pages again
    order = sorted(
        range(len(rectangles)), key=lambda i: (rectangles[i].start, rectangles[i].end, i)
    )
    tails = [i for i in order if rectangles[i].before >= 0]
    for i in tails:
        deadline[rectangles[i].before] = rectangles[i].start
    for i in [*sorted(deadline), *(i for i in order if i not in deadline)]:
        rectangle = rectangles[i]
        if rectangle.before >= 0:
            continue  # has the pages of the one before
        while busy and busy[0][0] <= rectangle.start:
            _, ended = heappop(busy)
            until = deadline.get(ended)
            runs = taken[ended] or []
            pool.give(runs if until is None else [(first, n, until) for first, n, _ in runs])
        count = -(-rectangle.size_bytes // page_bytes)
        taken[i] = pool.take(count, rectangle.end)
        if taken[i] is not None:
            heappush(busy, (rectangle.end, i))
        else:
            missing[i] = (count - pool.usable(rectangle.end)) * page_bytes
    for i in tails:
        taken[i] = taken[rectangles[i].before]
    runs_of = [None if runs is None else _joined(runs, page_bytes) for runs in taken]
    return runs_of, missing


def _joined(runs: Sequence[tuple[int, int, int]], page_bytes: int) -> list[tuple[int, int]]:
    """Runs of pages as (offset, bytes), neighbours joined."""
    joined: list[tuple[int, int]] = []
    for first, count, _ in runs:
        if joined and sum(joined[-1]) == first:
            joined[-1] = (joined[-1][0], joined[-1][1] + count)
        else:
            joined.append((first, count))
    return [(first * page_bytes, count * page_bytes) for first, count in joined]


class FreePages:
    """Free runs of pages (first, pages), ascending, with used pages between them."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []

    @property
    def count(self) -> int:
        """Number of free pages."""
        return sum(n for _, n in self.runs)

    def give(self, first: int, count: int) -> None:
        """Free the pages first .. first + count - 1."""
        at = bisect_left(self.runs, (first, 0))
        if at < len(self.runs) and self.runs[at][0] == first + count:
            count += self.runs.pop(at)[1]
        if at and sum(self.runs[at - 1]) == first:
            first, more = self.runs.pop(at - 1)
            count, at = count + more, at - 1
        self.runs.insert(at, (first, count))

    def take(self, count: int) -> list[tuple[int, int]]:
        """Take `count` pages, as few runs as possible; there must be so many."""
        enough = [(n, first, at) for at, (first, n) in enumerate(self.runs) if n >= count]
        if enough:
            n, first, at = min(enough)
            self.runs[at : at + 1] = [(first + count, n - count)] if n > count else []
            return [(first, count)]
        taken: list[tuple[int, int]] = []
        while count:
            first, n = self.runs[0]
            part = min(n, count)
            taken.append((first, part))
            self.runs[:1] = [(first + part, n - part)] if n > part else []
            count -= part
        return taken


class _Pool:
    """Free pages by the step at which they are needed again.

    Attributes:
        last: the step that stands for pages that are not needed again.
        free: step at which they are needed again -> free pages.
        total: pages of the memory.
        top: number of pages that were ever used; all above are free.
    """

    def __init__(self, total: int, last: int) -> None:
        self.last = last
        self.free: dict[int, FreePages] = {last: FreePages()}
        self.total = total
        self.top = 0

    def give(self, runs: Sequence[tuple[int, int, int]]) -> None:
        """Free runs of pages (first, pages, step at which they are needed again)."""
        for first, count, until in runs:
            self.free.setdefault(until, FreePages()).give(first, count)

    def usable(self, end: int) -> int:
        """Number of pages that are free until step `end`."""
        freed = sum(pages.count for until, pages in self.free.items() if until >= end)
        return freed + self.total - self.top

    def take(self, count: int, end: int) -> list[tuple[int, int, int]] | None:
        """`count` pages until step `end`, those that are needed soonest after it first."""
        if self.usable(end) < count:
            return None
        usable = sorted(until for until in self.free if until >= end)
        taken: list[tuple[int, int, int]] = []
        for until in usable:
            part = min(count, self.free[until].count)
            taken += [(first, n, until) for first, n in self.free[until].take(part)] if part else []
            count -= part
        if count:
            taken.append((self.top, count, self.last))
            self.top += count
        return taken


def page_size(
    capacity_bytes: int,
    quantum_bytes: int,
    alignment_bytes: int,
    data_bytes: int,
    pages: int = PAGES,
) -> int:
    """Bytes of a page, a multiple of both units: a small share of the memory that may be used.

    Args:
        capacity_bytes: of the memory.
        quantum_bytes: of a slice.
        alignment_bytes: of an address.
        data_bytes: all that may ever be there: a larger memory has no larger pages.
        pages: number of pages that the memory is cut into, about.
    """
    unit = int(np.lcm(quantum_bytes, alignment_bytes))
    return unit * max(1, min(capacity_bytes, data_bytes) // pages // unit)
