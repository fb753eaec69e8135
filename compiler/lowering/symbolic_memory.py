"""Which data lies in which bytes: the memory of proofs by symbolic and by real execution.

Each byte of a memory holds a byte of some computed value, or nothing. Equal neighbours are kept as
one run (begin, end, origin, at): the bytes [begin, end) are those of value `origin` from byte `at`.

    address      0         64        96        160
                 |--- x ---|--- z ---| nothing |--- x ...
    runs         (0, 64, "x", 0), (64, 96, "z", 0), (160, ..., "x", 64)
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

# (begin, end, origin, at): bytes [begin, end) are those of value `origin` from its byte `at` on.
DataRange = tuple[int, int, str, int]


class ByteRuns:
    """A memory: sorted, disjoint runs; bytes in no run hold nothing."""

    def __init__(self) -> None:
        self.runs: list[DataRange] = []

    def read(self, begin: int, end: int) -> list[DataRange]:
        """The runs inside [begin, end), relative to `begin`, adjacent ones joined."""
        runs: list[DataRange] = []
        if begin >= end:
            return runs
        first = bisect_right(self.runs, begin, key=lambda r: r[1])
        for index in range(first, len(self.runs)):  # a slice would copy all that follows
            low, high, origin, at = self.runs[index]
            if low >= end:
                break
            cut = max(low, begin)
            _append(runs, (cut - begin, min(high, end) - begin, origin, at + cut - low))
        return runs

    def write(self, begin: int, content: Sequence[DataRange]) -> None:
        """Put `content` at `begin`."""
        if content:
            self.replace(begin, begin + content[-1][1], content)

    def erase(self, begin: int, end: int) -> None:
        """Make [begin, end) hold nothing."""
        if begin < end:
            self.replace(begin, end, ())

    def replace(self, begin: int, end: int, content: Sequence[DataRange]) -> None:
        """Make [begin, end) hold `content`, and nothing where that has gaps.

        The runs of `content` are relative to `begin`.
        """
        first = bisect_right(self.runs, begin, key=lambda r: r[1])
        last = bisect_left(self.runs, end, key=lambda r: r[0])
        runs: list[DataRange] = []
        for low, _, origin, at in self.runs[first:last]:
            if low < begin:
                runs.append((low, begin, origin, at))
        runs.extend((begin + low, begin + high, origin, at) for low, high, origin, at in content)
        for low, high, origin, at in self.runs[first:last]:
            if high > end:
                runs.append((end, high, origin, at + end - low))
        self.runs[first:last] = runs


def _append(runs: list[DataRange], run: DataRange) -> None:
    """Append a run, joined to the last one where it continues it."""
    if runs:
        low, high, origin, at = runs[-1]
        if high == run[0] and origin == run[2] and at + high - low == run[3]:
            runs[-1] = (low, run[1], origin, at)
            return
    runs.append(run)


def cut(runs: Sequence[DataRange], begin: int, end: int) -> list[DataRange]:
    """The runs inside [begin, end), relative to `begin`."""
    memory = ByteRuns()
    memory.runs = list(runs)
    return memory.read(begin, end)
