"""Pages that small pieces share: nothing overlaps, all bytes are placed, little is lost."""

import itertools
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ullage.solvers.packing.rows import Strip
from ullage.solvers.packing.shared_pages import share_pages

seeds = st.integers(0, 10**6)
PAGE, ALIGNMENT, STEPS = 256, 16, 20


def random_strips(rng: Random) -> list[Strip]:
    strips: list[Strip] = []
    for _ in range(rng.randint(0, 3)):  # kept for the next inference
        low, begin = rng.choice((0, PAGE, 40)), len(strips)
        high = low + rng.randint(1, 700)
        strips.append(Strip(0, rng.randint(1, 8), low, high, PAGE))
        strips.append(Strip(rng.randint(8, 19), STEPS, low, high, PAGE, begin))
    for _ in range(rng.randint(1, 20)):
        start = rng.randint(0, STEPS - 1)
        low = rng.choice((0, 0, PAGE, 40))
        high = low + rng.randint(1, 700)
        strips.append(Strip(start, rng.randint(start + 1, STEPS), low, high, PAGE))
    return strips


@settings(max_examples=100, deadline=None, derandomize=True)
@given(seed=seeds)
def test_runs_are_disjoint_and_complete(seed: int) -> None:
    strips = random_strips(Random(seed))
    sharing = share_pages(strips, PAGE, ALIGNMENT)
    load = sharing.load_bytes(STEPS)
    live = np.zeros(STEPS, dtype=np.int64)
    for strip in strips:
        live[strip.start : strip.end] += strip.end_byte - strip.start_byte
    assert (load >= live).all()
    found = sharing.runs(1 << 20)
    assert found is not None
    taken: set[tuple[int, int]] = set()
    for strip, runs in zip(strips, found, strict=True):
        assert strip.before < 0 or runs == found[strip.before]
        assert [runs[0][0], runs[-1][1]] == [strip.start_byte, strip.end_byte]
        for (_, high, _), (low, _, _) in itertools.pairwise(runs):
            assert high == low
            assert low % PAGE == 0
        for low, high, address in runs:
            assert address % ALIGNMENT == 0
            bytes_of = range(address, address + high - low)
            cells = {(t, byte) for t in range(strip.start, strip.end) for byte in bytes_of}
            assert not cells & taken
            taken |= cells


@settings(max_examples=50, deadline=None, derandomize=True)
@given(seed=seeds)
def test_one_inference_fits_in_the_fullest_step(seed: int) -> None:
    strips = [s for s in random_strips(Random(seed)) if s.before < 0 and s.start]
    sharing = share_pages(strips, PAGE, ALIGNMENT)
    most = int(sharing.load_bytes(STEPS).max(initial=0))
    assert sharing.runs(most) is not None
    assert not most or sharing.runs(most - PAGE) is None


def test_ends_that_are_there_together_share_a_page() -> None:
    strips = [Strip(t, t + 4, 0, PAGE + 50, PAGE) for t in range(3)]
    sharing = share_pages(strips, PAGE, ALIGNMENT)
    assert sharing.load_bytes(STEPS).max() == 4 * PAGE  # three of their own, and one for all ends
    assert len(sharing.rectangles) == 4


def test_an_end_takes_the_space_of_one_that_has_ended() -> None:
    size = PAGE - ALIGNMENT
    strips = [Strip(0, 2, 0, size, PAGE), Strip(2, 4, 0, size, PAGE), Strip(1, 3, 0, 16, PAGE)]
    sharing = share_pages(strips, PAGE, ALIGNMENT)
    assert len(sharing.rectangles) == 1
    assert sharing.runs(PAGE) == [[(0, size, 0)], [(0, size, 0)], [(0, 16, size)]]
