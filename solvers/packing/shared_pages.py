"""Addresses for slices in pages that small pieces share.

A slice takes whole pages, and with what is left at its ends, less than a page, it would take
another whole page for itself. Where a network's rows are short, or its tensors many and small,
that is a quarter of the memory. Here such ends share pages:

    page
    2   [======= A, rows 0-7 =======]
    1   [A, row 8][C][==== B, row 4 ====]      each as long as it is there
    0         [====== B, rows 0-3 ======]
       +--------------------------------- steps

Ends are taken in the order in which they begin, and each goes into a page that others are in, the
one that need not be there longer for it, else by the fewest steps; a new page where none has room.
A shared page is then a rectangle like all others: pages have no fragmentation (see `pages`), and
what is lost is what shared pages leave empty.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.solvers.packing.pages import Rectangle, page_runs
from ullage.solvers.packing.rows import Run, Strip


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes [low, high) of a strip, at some bytes inside the pages of a rectangle."""

    low: int
    high: int
    rectangle: int
    offset: int


@dataclass(frozen=True)
class SharedPages:
    """Strips in rectangles of whole pages.

    Attributes:
        rectangles: what needs pages, and when.
        pieces: of each strip, in the order of their bytes.
        page_bytes: size of a page.
    """

    rectangles: tuple[Rectangle, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    page_bytes: int

    def load_bytes(self, steps: int) -> Ints:
        """(steps,) bytes of the pages that are taken at each step."""
        change = np.zeros(steps + 1, dtype=np.int64)
        for rectangle in self.rectangles:
            change[rectangle.start] += rectangle.size_bytes
            change[rectangle.end] -= rectangle.size_bytes
        return np.cumsum(change)[:steps]

    def runs(self, capacity_bytes: int) -> list[list[Run]] | None:
        """Addresses of all strips; None where there are too few pages (see `page_runs`)."""
        placed, _ = page_runs(self.rectangles, self.page_bytes, capacity_bytes)
        addresses = [None if runs is None else _addresses(runs, self.page_bytes) for runs in placed]
        found: list[list[Run]] = []
        for pieces in self.pieces:
            found.append([])
            for piece in pieces:
                pages = addresses[piece.rectangle]
                if pages is None:
                    return None
                found[-1] += _runs_of(piece, pages, self.page_bytes)
        return found


def share_pages(strips: Sequence[Strip], page_bytes: int, alignment_bytes: int) -> SharedPages:
    """Divide strips into whole pages and ends that share some.

    Strips may be cut at all multiples of a page inside the tensor. Those that continue in the next
    inference share no page.

    Args:
        strips: what needs addresses; `cut_bytes` is not read.
        page_bytes: size of a page, a multiple of the alignment.
        alignment_bytes: addresses are multiples of it.
    """
    rectangles: list[Rectangle] = []
    pieces: list[list[Piece]] = [[] for _ in strips]
    carried = {strip.before for strip in strips if strip.before >= 0}
    whole: dict[int, int] = {}  # strip that is carried over -> its rectangle
    ends: list[tuple[int, int, int, int, int]] = []
    for i, strip in enumerate(strips):
        if strip.before >= 0 or i in carried:
            continue
        for low, high in _between_pages(strip.start_byte, strip.end_byte, page_bytes):
            size = -(-(high - low) // alignment_bytes) * alignment_bytes
            if size < page_bytes:
                ends.append((strip.start, strip.end, i, low, high))
            else:
                pieces[i].append(Piece(low, high, len(rectangles), 0))
                pages = -(-size // page_bytes) * page_bytes
                rectangles.append(Rectangle(strip.start, strip.end, pages))
    for i in sorted(carried):
        whole[i] = len(rectangles)
        rectangles.append(_whole(strips[i], page_bytes))
    for i, strip in enumerate(strips):
        if strip.before >= 0:
            pieces[i] = [Piece(strip.start_byte, strip.end_byte, len(rectangles), 0)]
            rectangles.append(_whole(strip, page_bytes, whole[strip.before]))
        elif i in carried:
            pieces[i] = [Piece(strip.start_byte, strip.end_byte, whole[i], 0)]
    shelves = _Shelves(page_bytes // alignment_bytes)
    for start, end, i, low, high in sorted(ends):
        shelf, slot = shelves.put(start, end, -(-(high - low) // alignment_bytes))
        pieces[i].append(Piece(low, high, len(rectangles) + shelf, slot * alignment_bytes))
    rectangles += [Rectangle(one.start, one.end, page_bytes) for one in shelves.all]
    ordered = tuple(tuple(sorted(own, key=lambda piece: piece.low)) for own in pieces)
    return SharedPages(tuple(rectangles), ordered, page_bytes)


def _between_pages(low: int, high: int, page_bytes: int) -> list[tuple[int, int]]:
    """Bytes [low, high) cut where whole pages of the tensor begin and end."""
    first, last = -(-low // page_bytes) * page_bytes, high // page_bytes * page_bytes
    if first > last:
        return [(low, high)]
    cuts = [low, first, last, high]
    return [(a, b) for a, b in itertools.pairwise(cuts) if a < b]


def _whole(strip: Strip, page_bytes: int, before: int = -1) -> Rectangle:
    """The rectangle of a strip in pages of its own."""
    pages = -(-strip.end_byte // page_bytes) - strip.start_byte // page_bytes
    return Rectangle(strip.start, strip.end, pages * page_bytes, before)


def _addresses(runs: Sequence[tuple[int, int]], page_bytes: int) -> list[int]:
    """The address of each page of some runs."""
    return [at for first, size in runs for at in range(first, first + size, page_bytes)]


def _runs_of(piece: Piece, pages: Sequence[int], page_bytes: int) -> list[Run]:
    """The runs of a piece in the pages of its rectangle, cut where pages of the tensor begin.

    Pages side by side make one run.
    """
    runs: list[Run] = []
    low, number = piece.low, 0
    while low < piece.high:
        address = pages[number] + piece.offset
        high = min(piece.high, (low // page_bytes + 1) * page_bytes)
        if runs and runs[-1][2] + low - runs[-1][0] == address:
            runs[-1] = (runs[-1][0], high, runs[-1][2])
        else:
            runs.append((low, high, address))
        low, number = high, number + 1
    return runs


@dataclass
class _Shelf:
    """A page that ends share.

    Attributes:
        start: first step.
        end: one past the last step.
        free: bit i is set where unit i of space is free.
        taken: (one past the last step, bits) of what is there.
    """

    start: int
    end: int
    free: int
    taken: list[tuple[int, int]] = field(default_factory=list)


class _Shelves:
    """Shared pages; ends must come in the order in which they begin."""

    def __init__(self, units: int) -> None:
        self.units = units
        self.all: list[_Shelf] = []
        self.open: list[int] = []

    def put(self, start: int, end: int, units: int) -> tuple[int, int]:
        """Find a page with so many units of space for steps [start, end); its number, and where."""
        self.open = [number for number in self.open if self.all[number].end > start]
        best: tuple[int, int, int, int] | None = None
        for number in self.open:
            shelf = self.all[number]
            if any(until <= start for until, _ in shelf.taken):
                for until, bits in shelf.taken:
                    shelf.free |= bits if until <= start else 0
                shelf.taken = [one for one in shelf.taken if one[0] > start]
            slot = _lowest_run(shelf.free, units)
            if slot >= 0:
                longer = max(0, end - shelf.end)
                found = (longer, shelf.free.bit_count(), number, slot)
                best = min(best, found) if best else found
        if best is None:
            self.all.append(_Shelf(start, end, (1 << self.units) - 1))
            self.open.append(len(self.all) - 1)
            best = (0, 0, len(self.all) - 1, 0)
        _, _, number, slot = best
        shelf, bits = self.all[number], ((1 << units) - 1) << slot
        shelf.free &= ~bits
        shelf.taken.append((end, bits))
        shelf.end = max(shelf.end, end)
        return number, slot


def _lowest_run(free: int, units: int) -> int:
    """Where the first `units` free units side by side begin; -1 for nowhere."""
    for _ in range(units - 1):
        free &= free >> 1
    return (free & -free).bit_length() - 1
