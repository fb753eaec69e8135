"""Sets of bytes, against Python's sets of integers."""

from itertools import pairwise
from random import Random

from ullage.compiler.common.byte_sets import ByteSet, common, joined, size_of, without


def members(ranges: ByteSet) -> set[int]:
    return {byte for start, end in ranges for byte in range(start, end)}


def some_ranges(rng: Random) -> ByteSet:
    starts = [rng.randrange(30) for _ in range(rng.randrange(6))]
    return [(start, start + rng.randrange(8)) for start in starts]


def test_sets_of_ranges_are_sets_of_bytes() -> None:
    rng = Random(0)
    for _ in range(2000):
        parts, others = some_ranges(rng), some_ranges(rng)
        one, other = joined(parts), joined(others)
        assert members(one) == members(parts)
        assert size_of(one) == len(members(parts))
        assert all(a[1] < b[0] for a, b in pairwise(one))
        assert members(common(one, other)) == members(one) & members(other)
        assert members(without(one, other)) == members(one) - members(other)
        assert size_of(without(one, other)) == len(members(one) - members(other))
