"""From fractions to slices: cut the LP's profiles into byte ranges with stays of their own.

Resident bytes of an atom are always a prefix of it: what is kept is a prefix of what was there,
what arrives continues it. So the levels that the profile takes cut the atom into slices, and each
slice is there or not at every step, and arrives in one step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ullage.solvers.atoms import Atom
from ullage.solvers.fluid_program import FluidProgram, Gap, Version
from ullage.solvers.lp import Floats, Solution

WHOLE_FROM = 0.5  # fractions from here on count as all of a tensor that is not cut
MOST_CUTS = 64  # levels of an atom are rounded to its size over this, or the target's granularity


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
    versions: dict[int, dict[int, Version]] = {}
    for version in fluid.versions:
        versions.setdefault(version.atom, {})[version.event] = version
    slices: list[Atom] = []
    wishes: list[Wish] = []
    for index, atom in enumerate(atoms):
        if not len(fluid.resident[index]):
            slices.append(atom)
            continue
        _cut_atom(
            atom,
            solution.values[fluid.resident[index]],
            gaps.get(index, {}),
            versions.get(index, {}),
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
    versions: dict[int, Version],
    values: Floats,
    grain_bytes: int,
    slices: list[Atom],
    wishes: list[Wish],
) -> None:
    low, high, size = atom.start_byte, atom.end_byte, atom.size_bytes
    grain = grain_bytes * max(1, round(size / MOST_CUTS / grain_bytes)) if grain_bytes else 0

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
        for offset, y in enumerate(values[gap.profile]):
            reached = position(float(y))
            if reached > level:
                level = reached
                profile.setdefault(event, []).append((gap.window + offset, reached))
        if atom.events[event].reads:
            here[event] = min(here[event], level)
    spilled: dict[int, list[tuple[int, int]]] = {}  # event -> (step, all above it is home)
    for event, version in versions.items():
        level = here[event]
        for offset, z in enumerate(values[version.spill]):
            reached = position(float(fractions[event] - z))
            if reached < level:
                level = reached
                spilled.setdefault(event, []).append((version.spill_first + offset, reached))
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
            writes = [e for e in range(wish.first, wish.last + 1) if e in versions]
            falls = spilled.get(writes[-1], ()) if writes else ()
            spill = next((step for step, level in falls if level <= begin), -1)
            wishes[at] = replace(wish, spill=spill)


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


def page_offsets(
    starts: Sequence[int], ends: Sequence[int], sizes: Sequence[int], page_bytes: int
) -> list[list[int]]:
    """Pages for rectangles cut into equal pages, by the left-edge rule.

    Intervals of an interval graph, sorted by start, each given the lowest free colour, use as many
    colours as are alive at once, no more (Hashimoto and Stevens, 1971). So nothing is lost to
    fragmentation.

    Returns:
        For each rectangle the offsets of its pages in byte order.
    """
    import heapq

    order = sorted(range(len(starts)), key=lambda i: (starts[i], ends[i], i))
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    top = 0
    found: list[list[int]] = [[] for _ in starts]
    for i in order:
        while busy and busy[0][0] <= starts[i]:
            heapq.heappush(free, heapq.heappop(busy)[1])
        for _ in range(-(-sizes[i] // page_bytes)):
            if free:
                page = heapq.heappop(free)
            else:
                page, top = top, top + 1
            found[i].append(page * page_bytes)
            heapq.heappush(busy, (ends[i], page))
    return found


def page_size(capacity_bytes: int, quantum_bytes: int, alignment_bytes: int) -> int:
    """Bytes of a page: a small share of the memory, a multiple of both units."""
    unit = int(np.lcm(quantum_bytes, alignment_bytes))
    return unit * max(1, capacity_bytes // PAGES // unit)


PAGES = 16384
