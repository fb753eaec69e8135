"""From fractions to slices: cut the LP's profiles into byte ranges with stays of their own.

Resident bytes of an atom are always a prefix of it: what is kept is a prefix of what was there,
what arrives continues it. So the levels that the profile takes cut the atom into slices, and each
slice is there or not at every step, and arrives in one step.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ullage.solvers.atoms import Atom
from ullage.solvers.fluid_program import FluidProgram, Gap, Spill
from ullage.solvers.lp import Floats, Solution

WHOLE_FROM = 0.5  # fractions from here on count as all of a tensor that is not cut


@dataclass(frozen=True, slots=True)
class Wish:
    """A slice should stay from event `first` to `last`.

    Attributes:
        slice: index of the slice.
        first: first event of the stay.
        last: its last event.
        fill: step in which it is fetched, -1 when it is born here.
        spill: step in which it is stored home, -1 when the LP does not say.
    """

    slice: int
    first: int
    last: int
    fill: int
    spill: int = -1


def cut_slices(
    fluid: FluidProgram, solution: Solution, atoms: Sequence[Atom], grains_bytes: Sequence[int]
) -> tuple[tuple[Atom, ...], list[Wish]]:
    """Slices (atoms themselves) and their wished stays.

    Args:
        fluid: the program.
        solution: its optimum.
        atoms: the atoms it was built from.
        grains_bytes: for each atom, cuts lie at multiples of it inside the buffer; 0: no cuts.
    """
    gaps: dict[int, dict[int, Gap]] = {}
    for gap in fluid.gaps:
        gaps.setdefault(gap.atom, {})[gap.event] = gap
    spills: dict[int, dict[int, list[Spill]]] = {}
    for spill in fluid.spills:
        spills.setdefault(spill.atom, {}).setdefault(spill.write, []).append(spill)
    slices: list[Atom] = []
    wishes: list[Wish] = []
    for index, atom in enumerate(atoms):
        if not len(fluid.resident[index]):
            slices.append(atom)
            continue
        _cut_atom(
            atom,
            np.where(fluid.resident[index] >= 0, solution.values[fluid.resident[index]], 0.0),
            gaps.get(index, {}),
            spills.get(index, {}),
            solution.values,
            grains_bytes[index],
            slices,
            wishes,
        )
    return tuple(slices), wishes


def _cut_atom(
    atom: Atom,
    fractions: Floats,
    gaps: dict[int, Gap],
    spills: dict[int, list[Spill]],
    values: Floats,
    grain_bytes: int,
    slices: list[Atom],
    wishes: list[Wish],
) -> None:
    low, high, size = atom.start_byte, atom.end_byte, atom.size_bytes
    grain = grain_bytes

    def position(fraction: float) -> int:
        if not grain:
            return high if fraction >= WHOLE_FROM else low
        at = low + fraction * size
        if at >= high - 0.5:
            return high
        return min(max(round(at / grain) * grain, low), high)

    here = [position(f) for f in fractions]
    kept: dict[int, int] = {}
    profile: dict[int, list[tuple[int, int]]] = {}  # event -> (step, position), ascending
    for event, gap in gaps.items():
        kept[event] = position(values[gap.kept]) if gap.kept >= 0 else low
        if event:
            kept[event] = min(kept[event], here[event - 1])
        level = kept[event]
        start = values[gap.kept] if gap.kept >= 0 else 0.0
        arrived = (np.cumsum(values[gap.moved]) + start).tolist()
        for step, fraction in zip(gap.steps.tolist(), arrived, strict=True):
            reached = position(fraction)
            if reached > level:
                level = reached
                profile.setdefault(event, []).append((step, reached))
        if atom.events[event].reads:
            here[event] = min(here[event], level)
    spilled = {
        write: _spill_levels(here[write], fractions[write], gaps_of_write, values, position)
        for write, gaps_of_write in spills.items()
    }
    cuts = {low, high, *here, *kept.values()}
    cuts.update(at for rises in profile.values() for _, at in rises)
    cuts.update(at for falls in spilled.values() for _, at in falls)
    for begin, end in pairwise(sorted(cuts)):
        number = len(slices)
        slices.append(slice_of(atom, begin, end))
        run: list[int] | None = None
        for event in range(len(atom.events)):
            if here[event] < end:
                run = None
                continue
            if run is not None and kept.get(event, low) >= end:
                run[1] = event
                wishes[-1] = replace(wishes[-1], last=event)
                continue
            fill = -1
            if atom.events[event].reads:
                fill = next((step for step, at in profile.get(event, ()) if at >= end), -1)
                if fill < 0:
                    run = None
                    continue
            run = [event, event]
            wishes.append(Wish(number, event, event, fill))
        for at in range(len(wishes) - 1, -1, -1):
            wish = wishes[at]
            if wish.slice != number:
                break
            writes = [e for e in range(wish.first, wish.last + 1) if e in spills]
            falls = spilled.get(writes[-1], ()) if writes else ()
            spill = next((step for step, level in falls if level <= begin), -1)
            wishes[at] = replace(wish, spill=spill)


def _spill_levels(
    top: int,
    fraction: float,
    spills: Sequence[Spill],
    values: Floats,
    position: Callable[[float], int],
) -> list[tuple[int, int]]:
    """(step, lowest byte that is spilled in it), from the top of what was written downwards.

    What leaves first is above what leaves later: first what lingers in the first gap, then what is
    copied there, and so on.
    """
    found: list[tuple[int, int]] = []
    level, left = top, float(fraction)
    for spill in spills:
        for variables in (spill.lingering, spill.copied):
            moved = values[variables].tolist()
            for step, part in zip(spill.steps.tolist(), moved, strict=False):
                left -= part
                reached = position(max(left, 0.0)) if part > 0.0 else level
                if reached < level:
                    level = reached
                    found.append((step, level))
    return found


def slice_of(atom: Atom, begin: int, end: int) -> Atom:
    """The bytes [begin, end) of an atom as an atom."""
    share = (end - begin) / atom.size_bytes
    return replace(
        atom,
        start_byte=begin,
        end_byte=end,
        events=tuple(
            replace(e, read_bytes=e.read_bytes * share, written_bytes=e.written_bytes * share)
            for e in atom.events
        ),
    )


def page_runs(
    starts: Sequence[int], ends: Sequence[int], sizes: Sequence[int], page_bytes: int
) -> list[list[tuple[int, int]]]:
    """Pages for rectangles cut into equal pages, by the left-edge rule.

    Intervals of an interval graph, sorted by start, each given any free colour, use as many colours
    as are alive at once, no more (Hashimoto and Stevens, 1971). So nothing is lost to
    fragmentation. The tightest run of free pages is taken; only where none is long enough the
    rectangle is divided.

    Returns:
        For each rectangle its runs of pages (offset, bytes) in byte order.
    """
    import heapq

    order = sorted(range(len(starts)), key=lambda i: (starts[i], ends[i], i))
    free = FreePages()
    busy: list[tuple[int, int]] = []
    found: list[list[tuple[int, int]]] = [[] for _ in starts]
    for i in order:
        while busy and busy[0][0] <= starts[i]:
            for run in found[heapq.heappop(busy)[1]]:
                free.give(run[0] // page_bytes, run[1] // page_bytes)
        count = -(-sizes[i] // page_bytes)
        found[i] = [(at * page_bytes, n * page_bytes) for at, n in free.take(count)]
        heapq.heappush(busy, (ends[i], i))
    return found


class FreePages:
    """Free runs of pages (first, pages), ascending, with used pages between them.

    Attributes:
        runs: the free runs below `top`.
        top: pages that were ever used; all above are free.
    """

    def __init__(self) -> None:
        self.runs: list[tuple[int, int]] = []
        self.top = 0

    def give(self, first: int, count: int) -> None:
        """Free the pages first .. first + count - 1."""
        at = bisect_left(self.runs, (first, 0))
        if at < len(self.runs) and self.runs[at][0] == first + count:
            count += self.runs.pop(at)[1]
        if at and sum(self.runs[at - 1]) == first:
            first, more = self.runs.pop(at - 1)
            count, at = count + more, at - 1
        self.runs.insert(at, (first, count))

    def take(self, count: int) -> list[tuple[int, int]]:
        """Runs of `count` pages together, in ascending order."""
        enough = [(n, first, at) for at, (first, n) in enumerate(self.runs) if n >= count]
        if enough:
            n, first, at = min(enough)
            self.runs[at : at + 1] = [(first + count, n - count)] if n > count else []
            return [(first, count)]
        taken: list[tuple[int, int]] = []
        while count and self.runs:
            first, n = self.runs[0]
            part = min(n, count)
            taken.append((first, part))
            self.runs[:1] = [(first + part, n - part)] if n > part else []
            count -= part
        if count:
            if taken and sum(taken[-1]) == self.top:
                taken[-1] = (taken[-1][0], taken[-1][1] + count)
            else:
                taken.append((self.top, count))
            self.top += count
        return taken


def page_size(capacity_bytes: int, quantum_bytes: int, alignment_bytes: int) -> int:
    """Bytes of a page: a small share of the memory, a multiple of both units."""
    unit = int(np.lcm(quantum_bytes, alignment_bytes))
    return unit * max(1, capacity_bytes // PAGES // unit)


PAGES = 16384
