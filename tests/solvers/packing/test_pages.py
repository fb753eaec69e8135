"""Pages: no more than what is alive, the same on both sides of a loop."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ullage.solvers.packing.pages import Rectangle, page_runs

seeds = st.integers(0, 10**6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=seeds)
def test_pages_use_no_more_than_what_is_alive(seed: int) -> None:
    rng = Random(seed)
    page = rng.choice([16, 256])
    rectangles = []
    for _ in range(rng.randint(1, 20)):
        start = rng.randint(0, 20)
        rectangles.append((start, start + rng.randint(1, 9), rng.randint(1, 5 * page)))
    found, _ = page_runs([Rectangle(*one) for one in rectangles], page, 10**6 * page)
    taken: dict[tuple[int, int], int] = {}
    load = [0] * 40
    pages = [[o for at, n in runs or () for o in range(at, at + n, page)] for runs in found]
    for number, ((start, end, size), offsets) in enumerate(zip(rectangles, pages, strict=True)):
        assert len(offsets) == -(-size // page)
        for t in range(start, end):
            load[t] += len(offsets)
            for offset in offsets:
                assert offset % page == 0
                assert taken.setdefault((t, offset), number) == number
    assert max(max(o) for o in pages) // page + 1 == max(load)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(seed=seeds)
def test_pages_of_what_is_carried_over_are_the_same_on_both_sides(seed: int) -> None:
    rng = Random(seed)
    steps = 20
    rectangles: list[Rectangle] = []
    for _ in range(rng.randint(0, 5)):
        size, begin = 16 * rng.randint(1, 5), len(rectangles)
        rectangles.append(Rectangle(0, rng.randint(1, 8), size))
        rectangles.append(Rectangle(rng.randint(8, 19), steps, size, begin))
    for _ in range(rng.randint(1, 20)):
        start = rng.randint(0, steps - 1)
        rectangles.append(Rectangle(start, rng.randint(start + 1, steps), 16 * rng.randint(1, 5)))
    found, _ = page_runs(rectangles, 16, 16 * 60)
    taken: set[tuple[int, int]] = set()
    for one, runs in zip(rectangles, found, strict=True):
        if runs is None:
            continue
        assert sum(n for _, n in runs) == one.size_bytes
        assert one.before < 0 or runs == found[one.before]
        pages = {o for at, n in runs for o in range(at, at + n, 16)}
        assert max(pages) < 16 * 60
        cells = {(t, page) for t in range(one.start, one.end) for page in pages}
        assert not cells & taken
        taken |= cells
