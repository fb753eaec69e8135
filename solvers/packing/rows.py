"""Addresses for slices that may be cut between rows: holes of any size, whole rows in each.

Where memory has no pages, and a slice may be cut at certain bytes only (rows of a tensor), slices
are taken one by one, those first that begin first (or are there in the fullest step, or are the
largest, where that leaves less over); then the order is changed little by little, and what leaves
less over stays. Each goes into the tightest hole that is free while it is
there; where none is large enough, as many of its rows as fit go into the largest, the rest into
others:

    address
      |  [== A, rows 3-4 ==]
      |  [======== B ==========]          when A begins, B and C leave two holes
      |  [== A, rows 0-2 ==]
      |  [==== C ====]
      +----------------------------- steps

What is left over of a hole is less than a row, so little is lost where rows are small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.budget import Budget

# How often the order is changed a little where not all found room, and how many pairs of strips are
# compared in all of that: thousands of strips get fewer tries.
TRIES = 100
MAX_PAIRS = 100_000_000
# Places in the order by which a strip moves then, about, and how often one beside it moves too.
REACH = 20.0
MOVE_BESIDE = 0.5


@dataclass(frozen=True, slots=True)
class Strip:
    """Bytes [start_byte, end_byte) of a tensor that need addresses during steps [start, end).

    Attributes:
        start: first step.
        end: one past the last step.
        start_byte: first byte.
        end_byte: one past the last byte.
        cut_bytes: it may be cut at multiples of it inside the tensor; 0: not at all.
        before: in steady state, the strip at the beginning of the inference that must have the same
            addresses as this one at its end; -1 for none.
    """

    start: int
    end: int
    start_byte: int
    end_byte: int
    cut_bytes: int
    before: int = -1


# Bytes side by side: (first byte, one past the last, address).
Run = tuple[int, int, int]


def row_runs(
    strips: Sequence[Strip], alignment_bytes: int, capacity_bytes: int, budget: Budget | None = None
) -> tuple[list[list[Run]], list[int]]:
    """Give strips addresses; see the module's description.

    Args:
        strips: what needs addresses.
        alignment_bytes: addresses are multiples of it.
        capacity_bytes: of the memory.
        budget: no order is tried after its deadline but the first three; None: no limit.

    Returns:
        For each strip its runs in byte order, none where it found no room; and the bytes for which
        there was none.
    """
    orders = (_by_start(strips), _by_crowd(strips, alignment_bytes), _by_size(strips))
    found = [_placed(strips, order, alignment_bytes, capacity_bytes) for order in orders]
    chosen = min(range(len(orders)), key=lambda i: sum(found[i][1]))
    rank = np.empty(len(strips))
    rank[orders[chosen]] = np.arange(len(strips))
    best, chance = found[chosen], np.random.default_rng(len(strips))
    for _ in range(min(TRIES, MAX_PAIRS // (len(strips) ** 2 or 1))):
        failed = [i for i, size in enumerate(best[1]) if size]
        if not failed or (budget is not None and budget.is_over()):
            break
        other = _shuffled(strips, rank, failed[chance.integers(len(failed))], chance)
        order = np.argsort(other, kind="stable").tolist()
        tried = _placed(strips, order, alignment_bytes, capacity_bytes)
        if sum(tried[1]) <= sum(best[1]):
            best, rank = tried, other
    return best


def _shuffled(
    strips: Sequence[Strip], rank: Floats, failed: int, chance: np.random.Generator
) -> Floats:
    """Another order: a strip that found no room earlier, and one beside it elsewhere."""
    other = rank.copy()
    other[failed] -= chance.exponential(REACH)
    begin, end = strips[failed].start, strips[failed].end
    beside = [i for i, strip in enumerate(strips) if strip.start < end and begin < strip.end]
    if chance.random() < MOVE_BESIDE:
        other[beside[chance.integers(len(beside))]] += chance.normal(scale=REACH)
    return other


def _by_crowd(strips: Sequence[Strip], alignment_bytes: int) -> list[int]:
    """Strips by the fullest step in which they are there, the fullest first, large ones first."""
    load = np.zeros(max((strip.end for strip in strips), default=0) + 1, dtype=np.int64)
    for strip in strips:
        load[strip.start : strip.end] += _space(strip, alignment_bytes)
    fullest = [-int(load[strip.start : strip.end].max(initial=0)) for strip in strips]
    return sorted(range(len(strips)), key=lambda i: (fullest[i], -_space(strips[i], 1), i))


def _by_start(strips: Sequence[Strip]) -> list[int]:
    """Strips by their first steps; of those that begin together the coarsest rows first."""
    rows = [strip.cut_bytes or 1 << 62 for strip in strips]
    return sorted(range(len(strips)), key=lambda i: (strips[i].start, -rows[i], i))


def _by_size(strips: Sequence[Strip]) -> list[int]:
    """Strips by bytes times steps, the largest first."""
    area = [_space(strip, 1) * (strip.end - strip.start) for strip in strips]
    return sorted(range(len(strips)), key=lambda i: (-area[i], i))


def _space(strip: Strip, alignment_bytes: int) -> int:
    """Bytes of a strip in one piece, in whole units of space."""
    return -(-(strip.end_byte - strip.start_byte) // alignment_bytes) * alignment_bytes


def _placed(
    strips: Sequence[Strip], order: Sequence[int], alignment_bytes: int, capacity_bytes: int
) -> tuple[list[list[Run]], list[int]]:
    """`row_runs` in one order, but what is there at all steps, and what comes back, is first."""
    taken = _Taken(len(strips))
    runs: list[list[Run]] = [[] for _ in strips]
    missing = [0] * len(strips)
    twin = {strip.before: i for i, strip in enumerate(strips) if strip.before >= 0}
    steps = max((strip.end for strip in strips), default=0)

    def turn(i: int) -> int:
        """What is there at all steps comes first, then what comes back at the end."""
        if strips[i].end - strips[i].start == steps:
            return 0
        return 1 if i in twin else 2

    for i in sorted((i for i in order if strips[i].before < 0), key=turn):
        strip = strips[i]
        spans = [(strip.start, strip.end)]
        if i in twin:
            spans.append((strips[twin[i]].start, strips[twin[i]].end))
        runs[i], missing[i] = _in_holes(strip, taken.holes(spans, capacity_bytes), alignment_bytes)
        if missing[i]:
            runs[i] = []
            continue
        for low, high, address in runs[i]:
            size = -(-(high - low) // alignment_bytes) * alignment_bytes
            for span in spans:
                taken.add(address, address + size, *span)
        if i in twin:
            runs[twin[i]] = runs[i]
    for i, later in twin.items():
        missing[later] = missing[i]
    return runs, missing


def _in_holes(
    strip: Strip, holes: list[tuple[int, int]], alignment_bytes: int
) -> tuple[list[Run], int]:
    """A strip's runs in some holes (address, one past the last); and the bytes without room."""
    runs: list[Run] = []
    low = strip.start_byte
    while low < strip.end_byte:
        size = -(-(strip.end_byte - low) // alignment_bytes) * alignment_bytes
        enough = [(high - at, at, high) for at, high in holes if high - at >= size]
        if enough:
            runs.append((low, strip.end_byte, min(enough)[1]))
            return runs, 0
        at, until = max(holes, key=lambda hole: hole[1] - hole[0], default=(0, 0))
        grain = strip.cut_bytes
        cut = (low + until - at) // grain * grain if grain else low
        if cut <= low:
            return runs, strip.end_byte - low
        runs.append((low, cut, at))
        used = -(-(cut - low) // alignment_bytes) * alignment_bytes
        holes = [(a + used if a == at else a, b) for a, b in holes]
        low = cut
    return runs, 0


class _Taken:
    """Addresses that are taken, and when, in ascending order."""

    def __init__(self, expected: int) -> None:
        self.rows: Ints = np.zeros((max(16, expected), 4), dtype=np.int64)
        self.count = 0

    def add(self, low: int, high: int, start: int, end: int) -> None:
        """Take the addresses [low, high) during steps [start, end)."""
        if self.count == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        at = int(np.searchsorted(self.rows[: self.count, 0], low))
        self.rows[at + 1 : self.count + 1] = self.rows[at : self.count]
        self.rows[at] = low, high, start, end
        self.count += 1

    def holes(self, spans: list[tuple[int, int]], capacity_bytes: int) -> list[tuple[int, int]]:
        """Ranges of addresses that are free during all of some spans of steps."""
        rows = self.rows[: self.count]
        here = np.zeros(self.count, dtype=bool)
        for start, end in spans:
            here |= (rows[:, 2] < end) & (rows[:, 3] > start)
        busy = rows[here, :2]
        tops = np.maximum.accumulate(np.concatenate([[0], busy[:, 1]]))
        begins = np.concatenate([busy[:, 0], [capacity_bytes]])
        free = begins > tops
        return list(zip(tops[free].tolist(), begins[free].tolist(), strict=True))
