"""Addresses for slices that may be cut between rows: holes of any size, whole rows in each.

Where memory has no pages, and a slice may be cut at certain bytes only (rows of a tensor), slices
are taken one by one, those first that begin first (or are there in the fullest step, or are the
largest, where that leaves less over); then the order is changed little by little, and what leaves
less over stays (`row_search`). Each goes into the tightest hole that is free while it is
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
from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.common.kernel_cache import is_compiled
from ullage.solvers.budget import Budget
from ullage.solvers.engine.jit import interpreted
from ullage.solvers.packing.row_search import (
    BEST,
    IDLE,
    LACKING,
    TRIES,
    try_orders,
)

# How many orders are tried where not all strips found room, for each strip and at most, and how
# many pairs of strips are compared in all of that, at most: some seconds.
TRIES_OF_STRIP, MAX_TRIES = 100, 10_000
MAX_PAIRS = 4_000_000_000
# Pairs that plain Python compares in the time that it takes to load what is compiled.
PLAIN_PAIRS = 300_000
# Share of the tries that go to each of the first orders before the best is gone on with, ...
FIRST_SHARE = 0.15
# ... and of all where there is an order to begin with, in which most strips found room before.
AGAIN_SHARE = 0.2
# Share of the most tries, in a row without a gain, after which a search ends.
IDLE_SHARE = 0.2
# Pairs of strips that are compared between two looks at the clock, by what is compiled, and else.
SLICE_PAIRS, PLAIN_SLICE_PAIRS = 20_000_000, 200_000
# Share of the time left that a search takes.
SEARCH_SHARE = 0.4
# Seconds that must be left for the search to be compiled where it is not, three times what that
# takes; else plain Python tries a share of the orders.
COMPILE_S = 6.0
PLAIN_SHARE = 0.01
# Runs for which the tables of a search have room, for each strip: few are cut at all.
RUNS_OF_STRIP = 16


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
        comes_first: whether it is taken before others, but for those of all steps and loops.
    """

    start: int
    end: int
    start_byte: int
    end_byte: int
    cut_bytes: int
    before: int = -1
    comes_first: bool = False


# Bytes side by side: (first byte, one past the last, address).
Run = tuple[int, int, int]


class RowRuns(NamedTuple):
    """Where strips lie.

    Attributes:
        runs: of each strip, in byte order; none where it found no room.
        missing: bytes of each strip for which there was no room.
        order: in which the strips were taken, those left out that have the addresses of others.
    """

    runs: list[list[Run]]
    missing: list[int]
    order: list[int]


def row_runs(
    strips: Sequence[Strip],
    alignment_bytes: int,
    capacity_bytes: int,
    budget: Budget | None = None,
    similar: Sequence[int] = (),
) -> RowRuns:
    """Give strips addresses; see the module's description.

    Args:
        strips: what needs addresses.
        alignment_bytes: addresses are multiples of it.
        capacity_bytes: of the memory.
        budget: no order is tried after its deadline but the first ones; None: no limit.
        similar: strips in an order that was good for most of them; others follow.
    """
    known = set(similar)
    orders = [[*similar, *(i for i in range(len(strips)) if i not in known)]] if similar else []
    orders += [_by_start(strips), _by_crowd(strips, alignment_bytes), _by_size(strips)]
    found = [
        _placed(strips, _in_turn(strips, order), alignment_bytes, capacity_bytes)
        for order in orders
    ]
    best = min(found, key=lambda each: sum(each.missing))
    if any(best.missing) and not (budget is not None and budget.is_over()):
        first = found[:1] if similar else sorted(found, key=lambda each: sum(each.missing))
        order = _searched(strips, first, alignment_bytes, capacity_bytes, budget or Budget())
        other = _placed(strips, order, alignment_bytes, capacity_bytes)
        if similar or sum(other.missing) < sum(best.missing):
            best = other
    return best


def _searched(
    strips: Sequence[Strip],
    found: Sequence[RowRuns],
    alignment_bytes: int,
    capacity_bytes: int,
    budget: Budget,
) -> list[int]:
    """The best order near those of some placements; always the same where there is no limit."""
    pairs = len(strips) ** 2
    most = min(MAX_TRIES, TRIES_OF_STRIP * len(strips))
    tries = min(most, MAX_PAIRS // pairs)
    kernel, at_once = try_orders, SLICE_PAIRS // pairs + 1
    is_short = tries * pairs <= PLAIN_PAIRS
    if is_short or not (is_compiled(try_orders) or budget.has_time_to_compile(COMPILE_S)):
        kernel, at_once = interpreted(try_orders), PLAIN_SLICE_PAIRS // pairs + 1
        tries = tries if is_short else int(tries * PLAIN_SHARE)
    budget = budget.share(SEARCH_SHARE)
    room = RUNS_OF_STRIP * len(strips)
    taken, holes = np.zeros((4, room), np.int64), np.zeros((2, room + 1), np.int64)
    table = _table(strips)

    def search(order: Sequence[int], missing: Sequence[int], tries: int) -> tuple[list[int], Ints]:
        """The best order from one on, and what lacks room in it."""
        orders, lacking = np.array([order, order]), np.array([missing, missing])
        state = np.array(
            [len(strips) + sum(missing), sum(missing), 0, 0, alignment_bytes, capacity_bytes]
        )
        while state[LACKING] and state[TRIES] < tries and state[IDLE] < IDLE_SHARE * most:
            part = min(at_once, tries - int(state[TRIES]))
            kernel(table, orders, lacking, taken, holes, state, part)
            if budget.is_over():
                break
        return orders[BEST].tolist(), lacking[BEST]

    if len(found) == 1:
        return search(found[0].order, found[0].missing, int(tries * AGAIN_SHARE))[0]
    first = int(tries * FIRST_SHARE)
    reached = [search(each.order, each.missing, first) for each in found]
    order, missing = min(reached, key=lambda each: each[1].sum())
    return search(order, missing.tolist(), tries - first * len(found))[0]


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


def _table(strips: Sequence[Strip]) -> Ints:
    """(7, N) the strips for a search."""
    fields = [(s.start, s.end, s.start_byte, s.end_byte, s.cut_bytes) for s in strips]
    return np.array([*zip(*fields, strict=True), _twins(strips), _turns(strips)], dtype=np.int64)


def _twins(strips: Sequence[Strip]) -> list[int]:
    """For each strip the one at the end of the inference that has the same addresses, or -1."""
    twins = [-1] * len(strips)
    for i, strip in enumerate(strips):
        if strip.before >= 0:
            twins[strip.before] = i
    return twins


def _turns(strips: Sequence[Strip]) -> list[int]:
    """What is there at all steps comes first (0), then what comes back at the end (1)."""
    steps = max((strip.end for strip in strips), default=0)
    return [
        0 if strip.end - strip.start == steps else 1 if twin >= 0 else 3 - strip.comes_first
        for strip, twin in zip(strips, _twins(strips), strict=True)
    ]


def _in_turn(strips: Sequence[Strip], order: Sequence[int]) -> list[int]:
    """An order, but by turns, and without the strips that have the addresses of others."""
    turns = _turns(strips)
    return sorted((i for i in order if strips[i].before < 0), key=lambda i: turns[i])


def _placed(
    strips: Sequence[Strip], order: Sequence[int], alignment_bytes: int, capacity_bytes: int
) -> RowRuns:
    """`row_runs` in one order, in which strips that have the addresses of others are left out."""
    taken = _Taken(len(strips))
    runs: list[list[Run]] = [[] for _ in strips]
    missing = [0] * len(strips)
    twins = _twins(strips)
    for i in order:
        strip, twin = strips[i], twins[i]
        spans = [(strip.start, strip.end)]
        if twin >= 0:
            spans.append((strips[twin].start, strips[twin].end))
        runs[i], missing[i] = _in_holes(strip, taken.holes(spans, capacity_bytes), alignment_bytes)
        if missing[i]:
            runs[i] = []
        for low, high, address in runs[i]:
            size = -(-(high - low) // alignment_bytes) * alignment_bytes
            for span in spans:
                taken.add(address, address + size, *span)
        if twin >= 0:
            runs[twin], missing[twin] = runs[i], missing[i]
    return RowRuns(runs, missing, list(order))


def _in_holes(
    strip: Strip, holes: list[tuple[int, int]], alignment_bytes: int
) -> tuple[list[Run], int]:
    """A strip's runs in some holes (address, one past the last); and the bytes without room."""
    runs: list[Run] = []
    low = strip.start_byte
    while low < strip.end_byte:
        left = strip.end_byte - low  # a hole ends at another's address, or where the memory does
        enough = [(high - at, at, high) for at, high in holes if high - at >= left]
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
