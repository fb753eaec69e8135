"""Sets of bytes as sorted ranges [start, end) that neither overlap nor touch."""

from collections.abc import Iterable, Sequence

# Ascending, none empty, a gap between any two.
ByteSet = list[tuple[int, int]]


def joined(ranges: Iterable[tuple[int, int]]) -> ByteSet:
    """The set of all bytes that are in any of some ranges."""
    result: ByteSet = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def common(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> ByteSet:
    """The bytes that are in both of two sets."""
    result: ByteSet = []
    i = j = 0
    while i < len(one) and j < len(other):
        start, end = max(one[i][0], other[j][0]), min(one[i][1], other[j][1])
        if start < end:
            result.append((start, end))
        if one[i][1] < other[j][1]:
            i += 1
        else:
            j += 1
    return result


def without(one: Sequence[tuple[int, int]], other: Sequence[tuple[int, int]]) -> ByteSet:
    """The bytes of a set that are not in another."""
    result: ByteSet = []
    j = 0
    for begin, end in one:
        start = begin
        while j < len(other) and other[j][1] <= start:
            j += 1
        k = j
        while k < len(other) and other[k][0] < end:
            if start < other[k][0]:
                result.append((start, other[k][0]))
            start = max(start, other[k][1])
            k += 1
        if start < end:
            result.append((start, end))
    return result


def size_of(ranges: Iterable[tuple[int, int]]) -> int:
    """How many bytes a set has."""
    return sum(end - start for start, end in ranges)
