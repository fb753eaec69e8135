"""Runs of numbers against arrays, after every assignment."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ullage.compiler.verify.versions import Runs, first_difference

SIZE = 6
RANGES = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).filter(lambda r: r[0] < r[1])
ASSIGNMENTS = st.lists(st.tuples(RANGES, st.integers(-2, 2)), max_size=16)


def assigned(assignments: list[tuple[tuple[int, int], int]]) -> tuple[Runs, list[int]]:
    """Runs and an array after assignments; they are equal after each of them."""
    runs, array = Runs(SIZE, 0), [0] * SIZE
    for (start, end), number in assignments:
        runs.assign(start, end, number)
        array[start:end] = [number] * (end - start)
        assert (runs.cuts[0], runs.cuts[-1]) == (0, SIZE)
        assert all(a < b for a, b in pairwise(runs.cuts))
        assert all(a != b for a, b in pairwise(runs.numbers))
        spread = [
            number
            for (a, b), number in zip(pairwise(runs.cuts), runs.numbers, strict=True)
            for _ in range(a, b)
        ]
        assert spread == array
    return runs, array


@settings(max_examples=400, deadline=None)
@given(ASSIGNMENTS)
def test_runs_are_an_array_in_every_range(
    assignments: list[tuple[tuple[int, int], int]],
) -> None:
    runs, array = assigned(assignments)
    for low in range(SIZE):
        for high in range(low + 1, SIZE + 1):
            found = runs.over(low, high)
            assert [n for a, b, n in found for _ in range(a, b)] == array[low:high]
            assert (found[0][0], found[-1][1]) == (low, high)


@settings(max_examples=200, deadline=None)
@given(ASSIGNMENTS, ASSIGNMENTS, RANGES)
def test_the_first_difference_is_a_run_in_both(
    one: list[tuple[tuple[int, int], int]],
    two: list[tuple[tuple[int, int], int]],
    asked: tuple[int, int],
) -> None:
    (left, a), (right, b) = assigned(one), assigned(two)
    low, high = asked
    found = first_difference(left, right, low, high)
    differing = [byte for byte in range(low, high) if a[byte] != b[byte]]
    if not differing:
        assert found is None
        return
    assert found is not None
    start, end, of_left, of_right = found
    pairs = {(a[byte], b[byte]) for byte in range(start, end)}
    assert (start, pairs) == (differing[0], {(of_left, of_right)})
    # It goes on to the end of a run of either.
    assert end == high or (a[end], b[end]) != (of_left, of_right)
