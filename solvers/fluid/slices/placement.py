"""Addresses for slices: in equal pages, or between rows where memory has no pages."""

from collections.abc import Collection, Sequence
from itertools import count

import numpy as np

from ullage.compiler.ir.plan import Residency
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.slices.rounding import REPAIR_WINDOW_STEPS
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.packing.pages import Rectangle, page_runs
from ullage.solvers.packing.rows import Run, Strip, row_runs
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.greedy_moves import retime
from ullage.solvers.state.place import Item, drop, may_drop, worth_of

# How often slices are placed in pages before those that lack pages give up twice as many bytes.
TRIES_BEFORE_MORE = 8
# How often slices are placed between rows, each time with others shortened.
MAX_TRIES = 12
# Share of the time left for all of that: thousands of slices would take all of it.
ROWS_SHARE = 0.6


def place_in_pages(state: SlicedResidencyState, budget: Budget) -> list[Residency]:
    """Residencies of the fastest tier in runs of adjacent pages.

    Slices that find no pages (in steady state, where the rule is not optimal) lose their
    residencies, or others keep fewer bytes from one inference to the next: what is lacking, and
    more where it lacks again and again, since each time all are placed anew.

    Raises:
        LookupError: what operators cannot do without finds no pages.
    """
    page, target = state.page_bytes, state.target
    cut_off: set[int] = set()  # slices whose moves were searched for again
    for attempt in count():
        entries = state.all_residencies()
        befores = _befores(state, [residency for _, _, residency in entries])
        rectangles = [
            Rectangle(r.start, r.end, state.aligned_bytes(state.slices[r.segment]), before)
            for (_, _, r), before in zip(entries, befores, strict=True)
        ]
        runs, missing = page_runs(rectangles, page, room_of(state))
        lost = [
            (*entry, size)
            for entry, size, pages in zip(entries, missing, runs, strict=True)
            if pages is None
        ]
        if not lost:
            break
        for first, last, residency, lacking in lost:
            size = lacking << attempt // TRIES_BEFORE_MORE
            cut = state.cut_loop_carried(size, residency.start, residency.end)
            if cut is None and not may_drop(state, first, last, residency):
                state.drop(residency.segment, first)
                continue
            if cut is None and residency.segment in cut_off:  # it came back, and finds none again
                drop(state, residency.segment, first)
                continue
            if cut is None:
                cut = shorten(state, residency.segment, first, size)
            cut_off.add(cut)
            retime(state, REPAIR_WINDOW_STEPS, budget, {cut})
    placed: list[Residency] = []
    for (_, _, residency), pages in zip(entries, runs, strict=True):
        segment = state.slices[residency.segment]
        base = segment.start_byte // page * page
        for offset, size in pages or ():
            low, high = max(segment.start_byte, base), min(base + size, segment.end_byte)
            # A run that begins inside the slice's first page keeps the page's own address.
            span = (segment.buffer, low, high, target.fastest.name, offset)
            placed.append(Residency(*span, residency.start, residency.ready, residency.end))
            base += size
    return placed


def place_in_rows(state: SlicedResidencyState, budget: Budget) -> list[Residency]:
    """Residencies of the fastest tier in holes of any size, cut between rows.

    Where one finds no room, those that are worth least beside it are shortened, twice as many bytes
    each time, and what it lacks stays free.

    Raises:
        LookupError: what operators cannot do without finds no room.
    """
    alignment = state.target.fastest.alignment_bytes
    part = budget.share(ROWS_SHARE)
    # Slices and first accesses: as they found most room before; those that found none; and those
    # that found none again, which come first then: others, which may wait, find none instead.
    order: list[tuple[int, int]] = []
    failed: set[tuple[int, int]] = set()
    stuck: set[tuple[int, int]] = set()
    for attempt in range(MAX_TRIES):
        entries = state.all_residencies()
        strips = strips_of(state, entries, stuck)
        names = {(r.segment, first): i for i, (first, _, r) in enumerate(entries)}
        runs, missing, found = row_runs(
            strips,
            alignment,
            room_of(state),
            part,
            [names[name] for name in order if name in names],
        )
        order = [(entries[i][2].segment, entries[i][0]) for i in found]
        if not any(missing):
            return placed_in(state, entries, runs)
        shortened: set[int] = set()
        lacking = [(entry, size) for entry, size in zip(entries, missing, strict=True) if size]
        for (_, _, residency), size in lacking:
            shortened |= _make_room(state, residency, size << attempt // 2, entries)
        for (_, _, residency), size in lacking:  # what was left over in pieces stays free
            state.load_bytes[residency.start : residency.end] += size
        if part.is_over():
            break
        names_lacking = {(residency.segment, first) for (first, _, residency), _ in lacking}
        stuck |= names_lacking & failed
        failed = names_lacking
        if shortened:
            retime(state, REPAIR_WINDOW_STEPS, budget, shortened)
    raise LookupError("rows")


def strips_of(
    state: SlicedResidencyState, entries: Sequence[Item], stuck: Collection[tuple[int, int]] = ()
) -> list[Strip]:
    """What residencies need addresses for.

    Args:
        state: the decisions.
        entries: the residencies.
        stuck: slices and first accesses of those that come first.
    """
    befores = _befores(state, [residency for _, _, residency in entries])
    return [
        Strip(
            r.start,
            r.end,
            state.slices[r.segment].start_byte,
            state.slices[r.segment].end_byte,
            state.grains_bytes[r.segment],
            before,
            (r.segment, first) in stuck,
        )
        for (first, _, r), before in zip(entries, befores, strict=True)
    ]


def placed_in(
    state: SlicedResidencyState, entries: Sequence[Item], runs: Sequence[Sequence[Run]]
) -> list[Residency]:
    """Residencies at the addresses of their runs."""
    fastest = state.target.fastest.name
    return [
        Residency(state.slices[r.segment].buffer, low, high, fastest, address, *steps)
        for (_, _, r), placed in zip(entries, runs, strict=True)
        for steps in [(r.start, r.ready, r.end)]
        for low, high, address in placed
    ]


def _make_room(
    state: SlicedResidencyState, wanted: SegmentResidency, size: int, entries: Sequence[Item]
) -> set[int]:
    """Shorten residencies beside one that found no room for some bytes; the slices they are of.

    Those first that are there in the fullest step for later, that lose least beyond what is lacking
    (coarse rows do), and are worth least. Where there would be room for the bytes, but not side by
    side, it is the residency itself, if it waits: that others leave need not help it.
    """
    span = slice(wanted.start, wanted.end)
    fullest = wanted.start + int(state.load_bytes[span].argmax())
    in_pieces = state.fits(size, wanted.start, wanted.end)
    beside = [
        (
            not (in_pieces and item[2] is wanted),
            not waits(state, item, fullest, fullest + 1),
            max(0, _cut_bytes(state, item[2].segment, size) - size),
            worth_of(state, *item),
            item,
        )
        for item in entries
        if item[2].start < wanted.end
        and wanted.start < item[2].end
        and state.residencies[item[2].segment].get(item[0]) == item[1:]
        and (item[2].segment in state.untouched or may_drop(state, *item))
        and waits(state, item, wanted.start, wanted.end)
    ]
    beside.sort(key=lambda entry: (*entry[:4], entry[4][2].segment, entry[4][0]))
    shortened: set[int] = set()
    freed = 0
    for *_, (first, _, residency) in beside:
        if freed >= size:
            break
        if residency.segment in shortened:
            continue
        index = shorten(state, residency.segment, first, size - freed)
        shortened.add(index)
        freed += state.aligned_bytes(state.slices[index])
    return shortened


def shorten(state: SlicedResidencyState, index: int, first: int, size: int) -> int:
    """Cut at least so many bytes off a slice, or take a residency back where it is too short.

    Args:
        state: the decisions; is changed.
        index: the slice.
        first: first access of the residency.
        size: in bytes.

    Returns:
        The slice that was cut off, or the whole one.
    """
    if index in state.untouched:
        return state.keep_less(index, size)
    rest = state.cut_off(index, size)
    if rest is None:
        drop(state, index, first)
        return index
    return rest


def _cut_bytes(state: SlicedResidencyState, index: int, size: int) -> int:
    """Bytes that a slice loses where at least `size` bytes are cut off its end."""
    segment, grain = state.slices[index], state.grains_bytes[index]
    at = (segment.end_byte - size) // grain * grain if grain else segment.start_byte
    return segment.end_byte - max(at, segment.start_byte)


def waits(state: SlicedResidencyState, item: Item, begin: int, end: int) -> bool:
    """Whether a residency is there during some of the steps [begin, end) without being used."""
    first, last, residency = item
    uses = [e.step for e in state.slices[residency.segment].accesses[first : last + 1]]
    steps = np.arange(max(begin, residency.start), min(end, residency.end))
    return bool((np.abs(steps[:, None] - np.array(uses)[None]) > 1).all(axis=1).any())


def room_of(state: SlicedResidencyState) -> int:
    """Bytes below the largest workspace."""
    workspace = max((step.workspace_bytes for step in state.problem.steps), default=0)
    return state.target.fastest.capacity_bytes - workspace


def _befores(state: SlicedResidencyState, residencies: Sequence[SegmentResidency]) -> list[int]:
    """For each residency at the end of an inference the one at its beginning, -1 for none."""
    begins = {
        s.segment: i
        for i, s in enumerate(residencies)
        if not s.start and s.segment in state.untouched
    }
    return [
        begins.get(residency.segment, -1)
        if residency.start and residency.end == state.steps
        else -1
        for residency in residencies
    ]
