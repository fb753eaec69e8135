"""Addresses for the residencies of a heuristic.

A residency state counts live bytes only; fragmentation may leave no contiguous hole although the
sum fits. What cannot be placed is dropped, the least valuable first.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import format_size
from ullage.solvers.packing.pack import pack
from ullage.solvers.state.address_map import AddressMap
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.residency_state import ResidencyState

# How often all residencies are packed together, each time without some that stuck out, before they
# are placed one by one.
MAX_REPACKS = 12
# Number of residencies above which each crowded stretch of time drops its own least valuable ones,
# so that the work is near-linear in their number.
MAX_TOGETHER = 5_000
# The same as MAX_REPACKS above that number.
MAX_REPACKS_OF_MANY = 4


# (first access, last access, residency): a use span with its residency.
Item = tuple[int, int, SegmentResidency]


def place_residencies(state: ResidencyState, is_over: Callable[[], bool] = lambda: False) -> int:
    """Give every residency an address in the fastest tier.

    Residencies are packed together; while they do not fit, the least valuable ones beside those
    that stick out are dropped (twice as many each time), and in the end placed one by one.
    Mandatory residencies are shortened to their single accesses when they do not fit as they are.

    Args:
        state: the decisions; its residencies get addresses.
        is_over: tells whether the time is over; what is left is then placed one by one at once.

    Returns:
        Number of residencies dropped or shortened for lack of a hole.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """
    target = state.target
    capacity = target.fastest.capacity_bytes
    workspace = max((s.workspace_bytes for s in state.problem.steps), default=0)
    dropped = 0
    is_large = len(state.all_residencies()) > MAX_TOGETHER
    for attempt in range(MAX_REPACKS_OF_MANY if is_large else MAX_REPACKS):
        if is_over():
            break
        listed = state.all_residencies()
        offsets, fits = _pack(state, [residency for _, _, residency in listed], workspace)
        if fits:
            for (first, _, residency), offset in zip(listed, offsets, strict=True):
                state.place(residency.segment, first, int(offset))
            return dropped
        sticking = [
            residency
            for (_, _, residency), offset in zip(listed, offsets, strict=True)
            if int(offset) + state.aligned_bytes(state.segments[residency.segment]) > capacity
        ]
        crowds = _crowds(listed, sticking, apart=is_large) or [listed]
        taken = 0
        for crowd in crowds:
            candidates = [item for item in crowd if may_drop(state, *item)]
            candidates.sort(key=lambda item: (worth_of(state, *item), item[2].segment, item[0]))
            for first, _, residency in candidates[: 2**attempt]:
                if first in state.residencies[residency.segment]:  # it may be in two crowds
                    drop(state, residency.segment, first)
                    taken += 1
        if not taken:
            break
        dropped += taken
    return dropped + _place_one_by_one(state, workspace)


def pack_once(state: ResidencyState) -> list[Item]:
    """Give all residencies addresses by packing them once.

    Returns:
        Those that stick out of the memory; where there are any, nothing has changed.
    """
    workspace = max((s.workspace_bytes for s in state.problem.steps), default=0)
    room = state.target.fastest.capacity_bytes - workspace
    listed = state.all_residencies()
    offsets, fits = _pack(state, [residency for _, _, residency in listed], workspace)
    if not fits:
        ends = [
            int(offset) + state.segments[item[2].segment].size_bytes
            for item, offset in zip(listed, offsets, strict=True)
        ]
        return [item for item, end in zip(listed, ends, strict=True) if end > room]
    for (first, _, residency), offset in zip(listed, offsets, strict=True):
        state.place(residency.segment, first, int(offset))
    return []


def place_what_pays(state: ResidencyState, is_over: Callable[[], bool] = lambda: False) -> None:
    """Give residencies addresses; then drop those that no longer pay without the ones dropped.

    Args:
        state: the decisions.
        is_over: as for `place_residencies`.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """
    place_residencies(state, is_over)
    while drop_what_no_longer_pays(state):
        pass


def place_spans(
    state: ResidencyState, spans: Iterable[Item], is_over: Callable[[], bool] = lambda: False
) -> None:
    """Replace all residencies of a state by given ones, and give them addresses as far as they fit.

    Args:
        state: the decisions.
        spans: the residencies.
        is_over: as for `place_residencies`.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """
    state.replace_all(spans)
    place_what_pays(state, is_over)


def _crowds(
    listed: list[Item], sticking: list[SegmentResidency], *, apart: bool
) -> list[list[Item]]:
    """Residencies that are there at the same time as any that stick out; none where none does.

    Args:
        listed: all residencies.
        sticking: those whose addresses end above the memory.
        apart: make a list for each uninterrupted stretch of steps in which some stick out, else
            one list of all.
    """
    spans: list[list[int]] = []
    for residency in sorted(sticking, key=lambda s: s.start):
        if spans and residency.start < spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], residency.end)
        else:
            spans.append([residency.start, residency.end])
    starts, ends = [low for low, _ in spans], [high for _, high in spans]
    crowds: dict[int, list[Item]] = {}
    for item in listed:
        low, high = bisect_right(ends, item[2].start), bisect_left(starts, item[2].end)
        if low < high:
            for span in range(low, high) if apart else (0,):
                crowds.setdefault(span, []).append(item)
    return [crowds[span] for span in sorted(crowds)]


def notes_on_size(state: ResidencyState, solver: str) -> tuple[str, ...]:
    """Notes on what `place_residencies` does less thoroughly where residencies are very many."""
    count = len(state.all_residencies())
    if count <= MAX_TOGETHER:
        return ()
    note = (
        f"{solver}: {count} residencies (more than {MAX_TOGETHER}) are packed by near-linear "
        f"first-fit, {MAX_REPACKS_OF_MANY} times instead of {MAX_REPACKS} while they do not fit"
    )
    return (note,)


def drop_what_no_longer_pays(state: ResidencyState) -> int:
    """Take back residencies that cost more than they save, now that others were dropped.

    Returns:
        Number of residencies taken back.
    """
    taken = 0
    for first, last, residency in state.all_residencies():
        segment = state.segments[residency.segment]
        if segment.must_be_fastest or segment.home == state.target.fastest.name:
            continue
        before = state.mark()
        state.remove(residency.segment, first)
        if state.improved_since(before):
            taken += 1
        else:
            state.add(residency.segment, first, last, residency)
    return taken


def _pack(
    state: ResidencyState, residencies: list[SegmentResidency], workspace: int
) -> tuple[NDArray[np.int64], bool]:
    """Offsets, and whether everything (workspace above it) fits."""
    fastest = state.target.fastest
    packing = pack(
        np.array([s.start for s in residencies], dtype=np.int64),
        np.array([s.end for s in residencies], dtype=np.int64),
        np.array([state.segments[s.segment].size_bytes for s in residencies], dtype=np.int64),
        alignment_bytes=fastest.alignment_bytes,
        capacity_bytes=fastest.capacity_bytes - workspace,
    )
    if packing.peak_bytes <= fastest.capacity_bytes - workspace:
        return packing.offsets, True
    if workspace and packing.peak_bytes <= fastest.capacity_bytes:
        tops = np.zeros(state.steps, dtype=np.int64)
        for residency, offset in zip(residencies, packing.offsets, strict=True):
            top = int(offset) + state.segments[residency.segment].size_bytes
            tops[residency.start : residency.end] = np.maximum(
                tops[residency.start : residency.end], top
            )
        scratch = np.array([s.workspace_bytes for s in state.problem.steps])
        if bool((tops + scratch <= fastest.capacity_bytes).all()):
            return packing.offsets, True
    return packing.offsets, False


def may_drop(state: ResidencyState, first: int, last: int, residency: SegmentResidency) -> bool:
    """Whether operators can do without a residency, or with shorter ones in its place."""
    segment = state.segments[residency.segment]
    if segment.home == state.target.fastest.name:
        return False
    if not segment.must_be_fastest or last > first:
        return True
    use = segment.accesses[first].step
    return residency.start < use - 1 or residency.end > use + 2


def worth_of(state: ResidencyState, first: int, last: int, residency: SegmentResidency) -> float:
    """Slow-tier bytes that a residency saves, per byte and step that it takes."""
    size = state.segments[residency.segment].size_bytes
    return saved_bytes(state, first, last, residency) / (size * (residency.end - residency.start))


def saved_bytes(state: ResidencyState, first: int, last: int, residency: SegmentResidency) -> float:
    """Slow-tier bytes that a residency saves."""
    accesses = state.segments[residency.segment].accesses[first : last + 1]
    saved = sum(e.read_bytes + e.written_bytes for e in accesses)
    return saved - sum(size for _, size in (*residency.fill, *residency.spill))


def drop(state: ResidencyState, index: int, first: int) -> None:
    """Take a residency back; mandatory segments keep single residencies around each access."""
    segment = state.segments[index]
    last, _ = state.remove(index, first)
    if segment.must_be_fastest:
        for position in range(first, last + 1):
            state.add_single(index, position)


def _place_one_by_one(state: ResidencyState, workspace: int) -> int:
    """Best fit in order of worth; what finds no hole is dropped."""
    target = state.target
    addresses = AddressMap(
        target.fastest.capacity_bytes - workspace, target.fastest.alignment_bytes
    )
    listed = state.all_residencies()
    tops = state.unpadded_tops()
    needed = [item for item in listed if not may_drop(state, *item)]
    needed.sort(key=lambda item: (item[2].segment, item[0]) in tops)  # what lies on top is last
    wanted = [item for item in listed if may_drop(state, *item)]
    wanted.sort(key=lambda item: (-worth_of(state, *item), item[2].segment, item[0]))
    dropped = 0
    for first, _, residency in (*needed, *wanted):
        size = state.segments[residency.segment].size_bytes
        offset = addresses.place(residency.start, residency.end, size)
        if offset is not None:
            state.place(residency.segment, first, offset)
            continue
        if not may_drop(state, first, state.residencies[residency.segment][first][0], residency):
            _refuse(state, residency)
        drop(state, residency.segment, first)
        dropped += 1
        if not state.segments[residency.segment].must_be_fastest:
            continue  # its other residencies wait for their own turn
        for begin, (_, other) in list(state.residencies[residency.segment].items()):
            if other.offset < 0 and begin >= first:
                spot = addresses.place(other.start, other.end, size)
                if spot is None:
                    _refuse(state, other)
                else:
                    state.place(residency.segment, begin, spot)
    return dropped


def _refuse(state: ResidencyState, residency: SegmentResidency) -> None:
    segment = state.segments[residency.segment]
    capacity = state.target.fastest.capacity_bytes
    load = int(state.load_bytes[residency.start : residency.end].max())
    name = state.problem.buffers[segment.buffer].name
    needed = capacity + state.aligned_bytes(segment)  # room above all others is enough
    raise InfeasibleError(
        f"{name!r} ({format_size(segment.size_bytes)}) finds no contiguous hole in "
        f"{state.target.fastest.name} during steps [{residency.start}, {residency.end}): live "
        f"bytes {format_size(load)} of {format_size(capacity)} are scattered. Give it more "
        f"(--fast-memory {needed})",
        {
            "tier": state.target.fastest.name,
            "needed_bytes": needed,
            "available_bytes": capacity,
            "excess_bytes": needed - capacity,
            "step": residency.start,
            "largest_tensors": [{"tensor": name, "bytes": segment.size_bytes}],
            "remedies": [f"--fast-memory {needed}"],
            "proven": False,
        },
    )
