"""Slices in pages that small ones share: what does not fit beside what pages leave empty is cut."""

from collections.abc import Sequence

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.ir.plan import Residency
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.slices.placement import placed_in, room_of, shorten, strips_of, waits
from ullage.solvers.fluid.slices.rounding import REPAIR_WINDOW_STEPS
from ullage.solvers.fluid.slices.sliced_state import SlicedResidencyState
from ullage.solvers.packing.shared_pages import share_pages
from ullage.solvers.state.greedy_moves import keep_what_pays, retime
from ullage.solvers.state.place import Item, may_drop, saved_bytes

# How often pages are shared out, each time with some slices cut.
MAX_TRIES = 12


def place_in_shared_pages(
    state: SlicedResidencyState, page_bytes: int, budget: Budget
) -> tuple[list[Residency], Ints]:
    """Residencies of the fastest tier, and (T,) the bytes that pages take beyond them at first.

    At steps in which pages take more than there is, slices that wait there, and save least for it,
    are cut, and the transfers of what is left of them are timed anew.

    Args:
        state: the decisions, without pages of its own; is changed.
        page_bytes: size of a page, a multiple of all bytes between cuts.
        budget: the time.

    Raises:
        LookupError: too little could be cut.
    """
    fastest, steps = state.target.fastest, state.steps
    room = room_of(state)
    first_lost: Ints | None = None
    lost = np.zeros(steps, dtype=np.int64)
    for attempt in range(MAX_TRIES):
        entries = state.all_residencies()
        sharing = share_pages(strips_of(state, entries), page_bytes, fastest.alignment_bytes)
        load = sharing.load_bytes(steps) + fastest.capacity_bytes - room
        beyond = load - (state.load_bytes - lost)
        state.load_bytes += beyond - lost  # so that retiming finds no room where pages have none
        lost = beyond
        first_lost = lost if first_lost is None else first_lost
        excess = load - fastest.capacity_bytes
        if (excess <= 0).all():
            runs = sharing.runs(room)
            if runs is None:
                break
            return placed_in(state, entries, runs), first_lost
        shortened = _relieve(state, entries, excess)
        if not shortened or budget.is_over():
            break
        if attempt < MAX_TRIES // 2:
            keep_what_pays(state, REPAIR_WINDOW_STEPS, budget)
            retime(state, REPAIR_WINDOW_STEPS, budget, shortened)
    raise LookupError("shared pages")


def _relieve(state: SlicedResidencyState, entries: Sequence[Item], excess: Ints) -> set[int]:
    """Cut slices until no step has too much; those that save least for what they free go first.

    Args:
        state: the decisions; is changed.
        entries: its residencies.
        excess: (T,) bytes beyond the capacity at each step; negative where there is room.

    Returns:
        The slices that were cut, or have lost residencies.
    """
    left = excess.copy()
    crowded = np.concatenate([[0], np.cumsum(excess > 0)])
    ranked: list[tuple[float, int, int, Item]] = []
    for item in entries:
        first, _, residency = item
        count = int(crowded[residency.end] - crowded[residency.start])
        if count and (residency.segment in state.untouched or may_drop(state, *item)):
            size = state.slices[residency.segment].size_bytes
            worth = saved_bytes(state, *item) / (size * count)
            ranked.append((worth, residency.segment, first, item))
    ranked.sort(key=lambda entry: entry[:3])
    cut: set[int] = set()
    for _, index, first, item in ranked:
        _, last, residency = item
        span = slice(residency.start, residency.end)
        if index in cut or state.residencies[index].get(first) != (last, residency):
            continue
        step = residency.start + int(left[span].argmax())
        wanted = int(left[step])
        if wanted <= 0 or not _may_leave(state, item, step):
            continue
        spans = [(r.start, r.end) for _, r in state.residencies[index].values()]
        before = state.aligned_bytes(state.slices[index])
        is_carried = index in state.untouched
        rest = shorten(state, index, first, wanted)
        if rest == index and not is_carried:  # this residency alone is gone
            spans = [(residency.start, residency.end)]
        freed = before if rest == index else state.aligned_bytes(state.slices[rest])
        for begin, end in spans:
            left[begin:end] -= freed
        cut.add(index)
        cut.add(rest)
    return cut


def _may_leave(state: SlicedResidencyState, item: Item, step: int) -> bool:
    """Whether a slice need not be there at a step: it waits, or its operators can use home."""
    return not state.slices[item[2].segment].must_be_fastest or waits(state, item, step, step + 1)
