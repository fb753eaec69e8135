"""Runs of pages against a twin that knows every page by itself."""

from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ullage.solvers.paths.page_map import PageMap, picked


class EveryPage:
    """The state of each page in two lists."""

    def __init__(self, count: int, never: int) -> None:
        self.free_from = [0] * count
        self.until = [never] * count

    def open(self, limit: int, start: int, end: int) -> list[int]:
        """Pages below a limit that are free during [start, end)."""
        return [
            page
            for page in range(limit)
            if self.free_from[page] <= start and self.until[page] >= end
        ]

    def picked(self, pages: list[int], count: int, *, downwards: bool) -> list[int]:
        """Those reserved soonest; where that is equal, the tightest run that is long enough."""
        soonest = [self.until[page] for page in pages]
        if len(set(soonest)) > 1:
            by_time = sorted(pages, key=lambda p: (self.until[p], -p if downwards else p))
            return sorted(by_time[:count])
        runs: list[list[int]] = []
        for page in pages:
            if runs and runs[-1][-1] == page - 1:
                runs[-1].append(page)
            else:
                runs.append([page])
        enough = [run for run in runs if len(run) >= count]
        best = min(enough, key=len) if enough else pages
        return best[-count:] if downwards else best[:count]


def pages_of(ranges: np.ndarray) -> list[int]:
    return [page for first, stop in ranges.tolist() for page in range(first, stop)]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_runs_are_what_every_page_says(seed: int) -> None:
    rng = Random(seed)
    count, last = rng.randint(1, 40), rng.randint(2, 12)
    runs, twin = PageMap(count, last + 1), EveryPage(count, last + 1)
    held: list[tuple[list[int], np.ndarray, int]] = []  # reserved: pages, ranges, step
    for start in sorted(rng.randrange(last) for _ in range(rng.randint(1, 40))):
        end, limit = rng.randint(start + 1, last), rng.randint(1, count)
        open_runs = runs.open(limit, start, end)
        pages = twin.open(limit, start, end)
        assert pages_of(open_runs[:, :2]) == pages
        assert [u for a, z, u in open_runs.tolist() for _ in range(a, z)] == [
            twin.until[page] for page in pages
        ]
        if not pages:
            continue
        wanted, downwards = rng.randint(1, len(pages)), rng.random() < 0.5
        ranges = picked(open_runs, wanted, downwards=downwards)
        chosen = twin.picked(pages, wanted, downwards=downwards)
        assert pages_of(ranges) == chosen
        assert (ranges[1:, 0] > ranges[:-1, 1]).all()  # ascending, none that touch
        if rng.random() < 0.3 and end < last:
            until = rng.randint(end, last)
            runs.reserve(ranges, until)
            held.append((chosen, ranges, until))
            for page in chosen:
                twin.until[page] = until
        elif held and rng.random() < 0.3:
            given_back, where, _ = held.pop()
            runs.reserve(where, runs.never)
            for page in given_back:
                twin.until[page] = last + 1
        runs.take(ranges, start, end)
        for page in chosen:
            twin.free_from[page] = end


def test_a_map_stays_as_small_as_what_is_alive() -> None:
    runs = PageMap(1 << 17, 1001)
    for step in range(1000):
        ranges = picked(runs.open(1 << 17, step, step + 1), 3 + step % 5, downwards=False)
        runs.take(ranges, step, step + 1)
    assert len(runs.first) <= 2
