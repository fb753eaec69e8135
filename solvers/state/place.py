"""Addresses for the stays of a heuristic.

What cannot be placed is dropped, the least valuable first.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import format_size
from ullage.solvers.packing.pack import pack
from ullage.solvers.state.address_map import AddressMap
from ullage.solvers.state.build_plan import Stay
from ullage.solvers.state.residency_state import Occupancy

MAX_REPACKS = 12
# Above this many stays each crowded stretch of time drops its own least valuable ones, and fewer
# times, before all are placed one by one: near-linear in all.
MAX_TOGETHER = 5_000
MAX_REPACKS_OF_MANY = 4


Item = tuple[int, int, Stay]  # first event, last event, stay


def place_stays(occupancy: Occupancy, is_over: Callable[[], bool] = lambda: False) -> int:
    """Give every stay an address in the fastest tier.

    Stays are packed together; while they do not fit, the least valuable ones beside those that
    stick out are dropped (twice as many each time), and in the end placed one by one. Mandatory
    stays are shortened to their single events when they do not fit as they are.

    Args:
        occupancy: what stays; its stays get addresses.
        is_over: whether the time is over: they are then placed one by one at once.

    Returns:
        Number of stays dropped or shortened for lack of a hole.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """
    target = occupancy.target
    capacity = target.fastest.capacity_bytes
    workspace = max((s.workspace_bytes for s in occupancy.problem.steps), default=0)
    dropped = 0
    is_large = len(occupancy.all_stays()) > MAX_TOGETHER
    for attempt in range(MAX_REPACKS_OF_MANY if is_large else MAX_REPACKS):
        if is_over():
            break
        listed = occupancy.all_stays()
        offsets, fits = _pack(occupancy, [stay for _, _, stay in listed], workspace)
        if fits:
            for (first, _, stay), offset in zip(listed, offsets, strict=True):
                occupancy.place(stay.atom, first, int(offset))
            return dropped
        sticking = [
            stay
            for (_, _, stay), offset in zip(listed, offsets, strict=True)
            if int(offset) + occupancy.aligned_bytes(occupancy.atoms[stay.atom]) > capacity
        ]
        crowds = _crowds(listed, sticking, apart=is_large) or [listed]
        taken = 0
        for crowd in crowds:
            candidates = [item for item in crowd if _may_drop(occupancy, *item)]
            candidates.sort(key=lambda item: (_worth(occupancy, *item), item[2].atom, item[0]))
            for first, _, stay in candidates[: 2**attempt]:
                if first in occupancy.stays[stay.atom]:  # it may be in two crowds
                    _drop(occupancy, stay.atom, first)
                    taken += 1
        if not taken:
            break
        dropped += taken
    return dropped + _place_one_by_one(occupancy, workspace)


def place_what_pays(occupancy: Occupancy) -> None:
    """Give stays addresses, and drop what, without those that found no hole, no longer pays.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """
    place_stays(occupancy)
    while drop_what_no_longer_pays(occupancy):
        pass


def place_runs(occupancy: Occupancy, runs: Iterable[Item]) -> None:
    """Put stays that were found elsewhere in the place of an occupancy's own, as far as they fit.

    Raises:
        InfeasibleError: what operators cannot do without has no place.
    """
    for index, stays in enumerate(occupancy.stays):
        for first in list(stays):
            occupancy.remove(index, first)
    for first, last, stay in runs:
        occupancy.add(stay.atom, first, last, stay)
    place_what_pays(occupancy)


def _crowds(listed: list[Item], sticking: list[Stay], *, apart: bool) -> list[list[Item]]:
    """Stays that are there at the same time as any that stick out; none where none does.

    Args:
        listed: all stays.
        sticking: those above the memory.
        apart: a list for each stretch of time without a break in which some stick out.
    """
    spans: list[list[int]] = []
    for stay in sorted(sticking, key=lambda s: s.start):
        if spans and stay.start < spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], stay.end)
        else:
            spans.append([stay.start, stay.end])
    starts, ends = [low for low, _ in spans], [high for _, high in spans]
    crowds: dict[int, list[Item]] = {}
    for item in listed:
        low, high = bisect_right(ends, item[2].start), bisect_left(starts, item[2].end)
        if low < high:
            for span in range(low, high) if apart else (0,):
                crowds.setdefault(span, []).append(item)
    return [crowds[span] for span in sorted(crowds)]


def notes_on_size(occupancy: Occupancy, solver: str) -> tuple[str, ...]:
    """What `place_stays` will do less thoroughly because there are so many stays."""
    count = len(occupancy.all_stays())
    if count <= MAX_TOGETHER:
        return ()
    note = (
        f"{solver}: {count} stays (more than {MAX_TOGETHER}) are packed by near-linear first-fit, "
        f"{MAX_REPACKS_OF_MANY} times instead of {MAX_REPACKS} while they do not fit"
    )
    return (note,)


def drop_what_no_longer_pays(occupancy: Occupancy) -> int:
    """Take back stays that cost more than they save, now that others were dropped.

    Returns:
        Number of stays taken back.
    """
    taken = 0
    for first, last, stay in occupancy.all_stays():
        atom = occupancy.atoms[stay.atom]
        if atom.must_be_fastest or atom.home == occupancy.target.fastest.name:
            continue
        before = occupancy.mark()
        occupancy.remove(stay.atom, first)
        if occupancy.improved_since(before):
            taken += 1
        else:
            occupancy.add(stay.atom, first, last, stay)
    return taken


def _pack(
    occupancy: Occupancy, stays: list[Stay], workspace: int
) -> tuple[NDArray[np.int64], bool]:
    """Offsets, and whether everything (workspace above it) fits."""
    fastest = occupancy.target.fastest
    packing = pack(
        np.array([s.start for s in stays], dtype=np.int64),
        np.array([s.end for s in stays], dtype=np.int64),
        np.array([occupancy.atoms[s.atom].size_bytes for s in stays], dtype=np.int64),
        alignment_bytes=fastest.alignment_bytes,
        capacity_bytes=fastest.capacity_bytes - workspace,
    )
    if packing.peak_bytes <= fastest.capacity_bytes - workspace:
        return packing.offsets, True
    if workspace and packing.peak_bytes <= fastest.capacity_bytes:
        tops = np.zeros(occupancy.steps, dtype=np.int64)
        for stay, offset in zip(stays, packing.offsets, strict=True):
            top = int(offset) + occupancy.atoms[stay.atom].size_bytes
            tops[stay.start : stay.end] = np.maximum(tops[stay.start : stay.end], top)
        scratch = np.array([s.workspace_bytes for s in occupancy.problem.steps])
        if bool((tops + scratch <= fastest.capacity_bytes).all()):
            return packing.offsets, True
    return packing.offsets, False


def _may_drop(occupancy: Occupancy, first: int, last: int, stay: Stay) -> bool:
    atom = occupancy.atoms[stay.atom]
    if atom.home == occupancy.target.fastest.name:
        return False
    return not atom.must_be_fastest or last > first


def _worth(occupancy: Occupancy, first: int, last: int, stay: Stay) -> float:
    """Slow-tier bytes that a stay saves, per byte and step that it takes."""
    atom = occupancy.atoms[stay.atom]
    saved = sum(e.read_bytes + e.written_bytes for e in atom.events[first : last + 1])
    saved -= sum(size for _, size in (*stay.fill, *stay.spill))
    return saved / (atom.size_bytes * (stay.end - stay.start))


def _drop(occupancy: Occupancy, index: int, first: int) -> None:
    """Take a stay back; mandatory atoms keep single stays around each event."""
    atom = occupancy.atoms[index]
    last, _ = occupancy.remove(index, first)
    if atom.must_be_fastest:
        for position in range(first, last + 1):
            occupancy.add_single(index, position)


def _place_one_by_one(occupancy: Occupancy, workspace: int) -> int:
    """Best fit in order of worth; what finds no hole is dropped."""
    target = occupancy.target
    addresses = AddressMap(
        target.fastest.capacity_bytes - workspace, target.fastest.alignment_bytes
    )
    listed = occupancy.all_stays()
    needed = [item for item in listed if not _may_drop(occupancy, *item)]
    wanted = [item for item in listed if _may_drop(occupancy, *item)]
    wanted.sort(key=lambda item: (-_worth(occupancy, *item), item[2].atom, item[0]))
    dropped = 0
    for first, _, stay in (*needed, *wanted):
        size = occupancy.atoms[stay.atom].size_bytes
        offset = addresses.place(stay.start, stay.end, size)
        if offset is not None:
            occupancy.place(stay.atom, first, offset)
            continue
        if not _may_drop(occupancy, first, occupancy.stays[stay.atom][first][0], stay):
            _refuse(occupancy, stay)
        _drop(occupancy, stay.atom, first)
        dropped += 1
        for begin, (_, other) in list(occupancy.stays[stay.atom].items()):
            if other.offset < 0 and begin >= first:
                spot = addresses.place(other.start, other.end, size)
                if spot is None:
                    _refuse(occupancy, other)
                else:
                    occupancy.place(stay.atom, begin, spot)
    return dropped


def _refuse(occupancy: Occupancy, stay: Stay) -> None:
    atom = occupancy.atoms[stay.atom]
    capacity = occupancy.target.fastest.capacity_bytes
    load = int(occupancy.load_bytes[stay.start : stay.end].max())
    name = occupancy.problem.buffers[atom.buffer].name
    needed = capacity + occupancy.aligned_bytes(atom)  # room above all others is enough
    raise InfeasibleError(
        f"{name!r} ({format_size(atom.size_bytes)}) finds no contiguous hole in "
        f"{occupancy.target.fastest.name} during steps [{stay.start}, {stay.end}): live bytes "
        f"{format_size(load)} of {format_size(capacity)} are scattered. Give it more "
        f"(--fast-memory {needed})",
        {
            "tier": occupancy.target.fastest.name,
            "needed_bytes": needed,
            "available_bytes": capacity,
            "excess_bytes": needed - capacity,
            "step": stay.start,
            "largest_tensors": [{"tensor": name, "bytes": atom.size_bytes}],
            "remedies": [f"--fast-memory {needed}"],
        },
    )
