"""Granting the LP's wishes: slices that stay in the fastest tier, while they fit."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.ir.problem import Problem
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.two_tier.slicing import Wish, slice_of
from ullage.solvers.state.build_plan import Stay
from ullage.solvers.state.busy_time import spread
from ullage.solvers.state.greedy_moves import try_run
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import Atom

REPAIR_WINDOW_STEPS = 64
SPILL_STEPS = 64  # how long a slice may linger to be spilled


class SlicedOccupancy(Occupancy):
    """Occupancy of slices that can still be cut, counted in whole pages where there are any.

    Attributes:
        page_bytes: of a page, 0 where there are none.
        slices: the atoms, cut further while stays are granted.
        carried: slices with stays that continue in the next inference; they are left as they are.
    """

    def __init__(
        self,
        problem: Problem,
        atoms: Sequence[Atom],
        page_bytes: int,
    ) -> None:
        self.page_bytes = page_bytes
        self.slices = list(atoms)
        self.carried: set[int] = set()
        super().__init__(problem, self.slices)
        if page_bytes:  # pages have one size and place for all steps: so has the workspace above
            workspace = np.array([step.workspace_bytes for step in problem.steps], dtype=np.int64)
            self.load_bytes += workspace.max(initial=0) - workspace

    def split(self, index: int, excess_bytes: int) -> int | None:
        """Cut at least `excess_bytes` off the end of a slice without stays.

        Returns:
            The new slice, None when nothing would be left (or the memory has no pages).
        """
        atom = self.slices[index]
        if not self.page_bytes:
            return None
        cut = (atom.end_byte - excess_bytes) // self.page_bytes * self.page_bytes
        if cut <= atom.start_byte:
            return None
        self.slices[index] = slice_of(atom, atom.start_byte, cut)
        self.slices.append(slice_of(atom, cut, atom.end_byte))
        self.stays.append({})
        return len(self.slices) - 1

    def drop(self, index: int, first: int) -> None:
        """Take a stay back: its operators go to the home tier.

        Raises:
            LookupError: they cannot, and nothing that is carried over could make room instead.
        """
        if not self.slices[index].must_be_fastest or index in self.carried:
            for begin in list(self.stays[index]) if index in self.carried else [first]:
                if begin in self.stays[index]:
                    self.remove(index, begin)
            self.carried.discard(index)
        elif self.carried:
            self.drop(min(self.carried), 0)
        else:
            raise LookupError(index)

    def propose(
        self, index: int, first: int, last: int, *, window: int = 64, hide_spill: bool = True
    ) -> Stay | None:
        """As for any atom, but stays that continue in the next inference are not touched."""
        if index in self.carried:
            return None
        return super().propose(index, first, last, window=window, hide_spill=hide_spill)

    def aligned_bytes(self, atom: Atom) -> int:
        """Bytes of the pages that an atom touches; pages begin at multiples inside the buffer."""
        if not self.page_bytes:
            return super().aligned_bytes(atom)
        first, last = atom.start_byte // self.page_bytes, -(-atom.end_byte // self.page_bytes)
        return (last - first) * self.page_bytes


def grant(occupancy: SlicedOccupancy, wishes: Sequence[Wish]) -> int:
    """Add the wished stays that fit, most valuable slices first; returns how many were refused.

    A slice that sticks out is cut, so that the part that fits is granted.
    """
    by_slice: dict[int, list[Wish]] = {}
    for wish in wishes:
        by_slice.setdefault(wish.slice, []).append(wish)
    refused = 0
    order = sorted(by_slice, key=lambda n: (-_worth(occupancy, by_slice[n]), n))
    for number in order:
        mine = by_slice[number]
        if occupancy.atoms[number].must_be_fastest:
            for wish in mine:
                for event in range(wish.first + 1, wish.last + 1):
                    try_run(occupancy, number, event - 1, event, REPAIR_WINDOW_STEPS)
            continue
        excess = max(
            _excess(occupancy, number, span) for w in mine for span in _spans(occupancy, w)
        )
        rest = occupancy.split(number, excess) if excess > 0 else None
        refused += _grant_all(occupancy, mine)
        if rest is not None:
            refused += _grant_all(occupancy, [replace(w, slice=rest) for w in mine])
    return refused


def _grant_all(occupancy: SlicedOccupancy, wishes: Sequence[Wish]) -> int:
    """The stays of one slice; those that are carried over come together or not at all."""
    number = wishes[0].slice
    linked = [w for w in wishes if w.is_carried or w.is_left]
    refused = 0
    if linked and not _grant_linked(occupancy, linked):
        refused += len(linked)
    else:
        occupancy.carried.update({number} if linked else ())
    return refused + sum(not _grant_one(occupancy, w) for w in wishes if w not in linked)


def _grant_linked(occupancy: SlicedOccupancy, wishes: Sequence[Wish]) -> bool:
    number = wishes[0].slice
    atom = occupancy.atoms[number]
    spans = [span for wish in wishes for span in _spans(occupancy, wish)]
    if any(_excess(occupancy, number, span) > 0 for span in spans):
        return False
    for wish in wishes:
        begin, end = _spans(occupancy, wish)[0]
        fill = ((wish.fill, atom.size_bytes),) if wish.fill >= 0 else ()
        stay = Stay(number, begin, begin + 1 if fill else begin, end, fill)
        occupancy.add(number, wish.first, wish.last, stay)
        if wish.tail >= 0:  # a stay without events, for the next inference
            after, moves = len(atom.events), ((wish.tail, atom.size_bytes),)
            tail = Stay(number, wish.tail, wish.tail + 1, occupancy.steps, moves)
            occupancy.add(number, after, after - 1, tail)
    return True


def _worth(occupancy: Occupancy, wishes: Sequence[Wish]) -> float:
    """Slow bytes that wished stays save, per byte and step that they take."""
    saved = taken = 0.0
    atom = occupancy.atoms[wishes[0].slice]
    for wish in wishes:
        events = atom.events[wish.first : wish.last + 1]
        saved += sum(e.read_bytes + e.written_bytes for e in events)
        saved -= atom.size_bytes if max(wish.fill, wish.tail) >= 0 else 0
        taken += atom.size_bytes * sum(end - begin for begin, end in _spans(occupancy, wish))
    return saved / taken


def _spans(occupancy: Occupancy, wish: Wish) -> list[tuple[int, int]]:
    """Steps [begin, end) during which a wish takes space, that of its events first."""
    events = occupancy.atoms[wish.slice].events
    begin = events[wish.first].step
    if wish.is_carried:
        begin = 0
    elif wish.fill >= 0:
        begin = wish.fill
    end = occupancy.steps if wish.is_left else events[wish.last].step + 1
    return [(begin, end), *([(wish.tail, occupancy.steps)] if wish.tail >= 0 else [])]


def _excess(occupancy: Occupancy, index: int, span: tuple[int, int]) -> int:
    """Bytes by which a slice exceeds the memory during some steps; negative when it fits."""
    load = int(occupancy.load_bytes[slice(*span)].max())
    capacity = occupancy.target.fastest.capacity_bytes
    return load + occupancy.aligned_bytes(occupancy.atoms[index]) - capacity


def _grant_one(occupancy: Occupancy, wish: Wish) -> bool:
    atom = occupancy.atoms[wish.slice]
    start, end = _spans(occupancy, wish)[0]
    fill = ((wish.fill, atom.size_bytes),) if wish.fill >= 0 else ()
    if fill and wish.fill < occupancy.free_from(wish.slice, wish.first):
        return False
    if _excess(occupancy, wish.slice, (start, end)) > 0:
        return False
    stay = Stay(wish.slice, start, start + 1 if fill else start, end, fill)
    if occupancy.needs_spill(wish.slice, wish.first, wish.last):
        spilled = _spilled_as_wished(occupancy, wish, stay) or _spilled(occupancy, wish, stay)
        if spilled is None:
            return False
        stay = spilled
    occupancy.add(wish.slice, wish.first, wish.last, stay)
    return True


def _spilled_as_wished(occupancy: Occupancy, wish: Wish, stay: Stay) -> Stay | None:
    """The stay with the LP's own spill, lingering until it is done; None where that is illegal."""
    atom = occupancy.atoms[wish.slice]
    if wish.spill < _spill_from(atom, wish, stay) or wish.spill >= _spill_limit(occupancy, wish):
        return None
    end = max(stay.end, wish.spill + 1)
    if not occupancy.fits(occupancy.aligned_bytes(atom), stay.end, end):
        return None
    return replace(stay, end=end, spill=((wish.spill, atom.size_bytes),))


def _spill_from(atom: Atom, wish: Wish, stay: Stay) -> int:
    """First step in which a spill may move: after the last write, when the slice is ready."""
    writes = [e.step for e in atom.events[wish.first : wish.last + 1] if e.writes]
    return max([*writes, stay.ready - 1]) + 1


def _spill_limit(occupancy: Occupancy, wish: Wish) -> int:
    """First step that is too late for a spill: the next use."""
    atom = occupancy.atoms[wish.slice]
    followed = wish.last + 1 < len(atom.events)
    return atom.events[wish.last + 1].step if followed else occupancy.steps


def _spilled(occupancy: Occupancy, wish: Wish, stay: Stay) -> Stay | None:
    """The stay with a spill in idle steps after its last write, lingering where it must."""
    atom = occupancy.atoms[wish.slice]
    fastest = occupancy.target.fastest.name
    if occupancy.target.link(fastest, atom.home) is None:
        return None
    after, limit = _spill_from(atom, wish, stay), _spill_limit(occupancy, wish)
    reach = stay.end
    size = occupancy.aligned_bytes(atom)
    while (
        reach < limit and reach < stay.end + SPILL_STEPS and occupancy.fits(size, reach, reach + 1)
    ):
        reach += 1
    if after >= reach:
        return None
    room = occupancy.timeline.room_bytes(fastest, atom.home, after, reach)
    spill = spread(atom.size_bytes, room, after, late=False)
    return replace(stay, end=max(stay.end, spill[-1][0] + 1), spill=spill)


def retime(occupancy: SlicedOccupancy, budget: Budget) -> None:
    """Spread fills and spills, byte by byte, over idle steps nearby where that is faster.

    Slices move in one step each, so a step that has room for half of one is passed over until here.
    """
    for index, runs in enumerate(occupancy.stays):
        if index in occupancy.carried or occupancy.atoms[index].must_be_fastest:
            continue
        for first, (last, stay) in sorted(runs.items()):
            if not (stay.fill or stay.spill):
                continue
            if budget.remaining_s() <= 0:
                return  # what is decided is legal as it stands
            before = occupancy.mark()
            occupancy.remove(index, first)
            other = occupancy.propose(index, first, last, window=REPAIR_WINDOW_STEPS)
            size = occupancy.aligned_bytes(occupancy.atoms[index])
            if other is not None and occupancy.fits(size, other.start, other.end):
                occupancy.add(index, first, last, other)
                if occupancy.improved_since(before):
                    continue
                occupancy.remove(index, first)
            occupancy.add(index, first, last, stay)
