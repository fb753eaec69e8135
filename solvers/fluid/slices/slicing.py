"""From fractions to slices: cut the LP's profiles into byte ranges with residencies of their own.

Resident bytes of a segment are always a prefix of it: what is kept is a prefix of what was there,
and what arrives continues it. So the levels that the profile takes cut the segment into slices,
each of which is there or not at every step, and arrives in one step:

    byte
    96 |                                                never fetched: slice 3
    80 |- - - - - - - - - - - - - -+========+===
       |                           |                    arrives in step 9: slice 2
    64 |- - - - - - - - - +========+ - - - - - -
       |                  |                             arrives in step 6: slice 1
    40 |- - +=====+=======+ - - - - - - - - - -
       |    |                                           kept since p0: slice 0
     0 +----p0----+-------6--------9--------p1-- steps

The requests for these residencies may not all fit: `rounding` accepts those that do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.solvers.fluid.two_tier.program import (
    FluidProgram,
    Gap,
    SliceRequest,
    SpillVariables,
)
from ullage.solvers.lp.program import LpSolution
from ullage.solvers.state.segments import Segment

# Fraction from which on a tensor that must not be cut counts as wholly resident; below, as absent.
WHOLE_FROM = 0.5


def cut_slices(
    fluid: FluidProgram,
    solution: LpSolution,
    segments: Sequence[Segment],
    grains_bytes: Sequence[int],
    moved: Floats | None = None,
) -> tuple[tuple[Segment, ...], list[SliceRequest]]:
    """Cut segments into slices (segments themselves) and say which residencies the LP asks for.

    Args:
        fluid: the program.
        solution: its optimum.
        segments: the segments it was built from.
        grains_bytes: for each segment, cuts lie at multiples of it inside the buffer; 0: no cuts.
        moved: (n,) values with what moves in each step, where those of the solution say what
            transfers begin with; None where all moves in the step in which its transfer begins.
    """
    gaps: dict[int, dict[int, Gap]] = {}
    for gap in fluid.gaps:
        gaps.setdefault(gap.segment, {})[gap.access] = gap
    spills: dict[int, dict[int, list[SpillVariables]]] = {}
    for spill in fluid.spills:
        spills.setdefault(spill.segment, {}).setdefault(spill.write, []).append(spill)
    slices: list[Segment] = []
    requests: list[SliceRequest] = []
    for index, segment in enumerate(segments):
        if not len(fluid.resident[index]):
            slices.append(segment)
            continue
        levels = _levels_of(
            segment,
            np.where(fluid.resident[index] >= 0, solution.values[fluid.resident[index]], 0.0),
            gaps.get(index, {}),
            spills.get(index, {}),
            solution.values,
            grains_bytes[index],
            fluid.builder.steps,
            moved,
        )
        for begin, end in pairwise(levels.cuts(segment)):
            slices.append(slice_of(segment, begin, end))
            requests += _requests_of(len(slices) - 1, segment, levels, begin, end)
    return tuple(slices), requests


def _levels_of(
    segment: Segment,
    fractions: Floats,
    gaps: dict[int, Gap],
    spills: dict[int, list[SpillVariables]],
    values: Floats,
    grain_bytes: int,
    steps: int,
    moved: Floats | None,
) -> "_Levels":
    """Turn the LP's fractions into byte positions inside the buffer, at legal cuts."""
    low, high, size = segment.start_byte, segment.end_byte, segment.size_bytes

    def position(fraction: float) -> int:
        if not grain_bytes:
            return high if fraction >= WHOLE_FROM else low
        at = low + fraction * size
        if at >= high - 0.5:
            return high
        return min(max(round(at / grain_bytes) * grain_bytes, low), high)

    here = [position(f) for f in fractions]
    kept: dict[int, int] = {}
    profile: dict[int, list[tuple[int, int]]] = {}  # access -> (step, position), ascending
    moves: dict[int, list[tuple[int, float]]] = {}
    for access, gap in gaps.items():
        kept[access] = position(values[gap.kept]) if gap.kept >= 0 else low
        if access or gap.wraps:
            kept[access] = min(kept[access], here[access - 1])
        level = kept[access]
        start = values[gap.kept] if gap.kept >= 0 else 0.0
        arrived = (np.cumsum(values[gap.moved]) + start).tolist()
        if moved is not None:
            until = low + size * (np.cumsum(moved[gap.moved]) + start)
            moves[access] = list(zip(gap.steps.tolist(), until.tolist(), strict=True))
        for step, fraction in zip(gap.steps.tolist(), arrived, strict=True):
            reached = position(fraction)
            if reached > level:
                level = reached
                profile.setdefault(access, []).append((step, reached))
        if segment.accesses[access].reads:
            here[access] = min(here[access], level)
    spilled = {
        write: _spill_levels(here[write], fractions[write], gaps_of_write, values, position)
        for write, gaps_of_write in spills.items()
    }
    wraps = 0 in gaps and gaps[0].wraps
    return _Levels(here, kept, profile, spilled, moves, wraps=wraps, steps=steps)


@dataclass(frozen=True)
class _Levels:
    """Byte positions inside a segment: what is below them is in fast memory.

    Attributes:
        here: position at each access.
        kept: access -> position through the gap before it.
        profile: access -> (step, position from then on) in the gap before it, ascending.
        spilled: writing access -> (step, position above which all is at home after it).
        moves: access -> (step, position up to which all has moved by its end) in the gap before it,
            ascending; none where all moves when its transfer begins.
        wraps: whether the gap before the first access begins in the inference before.
        steps: T.
    """

    here: list[int]
    kept: dict[int, int]
    profile: dict[int, list[tuple[int, int]]]
    spilled: dict[int, list[tuple[int, int]]]
    moves: dict[int, list[tuple[int, float]]]
    wraps: bool
    steps: int

    def cuts(self, segment: Segment) -> list[int]:
        """Byte positions at which the segment is cut, ascending, its ends included."""
        positions = {segment.start_byte, segment.end_byte, *self.here, *self.kept.values()}
        for moves in (*self.profile.values(), *self.spilled.values()):
            positions.update(at for _, at in moves)
        return sorted(positions)

    def moves_of(
        self, access: int, fill: int, begin: int, end: int
    ) -> tuple[tuple[int, float], ...]:
        """(step modulo T, bytes) of the slice [begin, end), whose transfer begins in step `fill`.

        No transfer goes on from one inference into the next.
        """
        weights: dict[int, float] = {}
        before = -np.inf
        listed = self.moves.get(access, ())
        for number, (step, until) in enumerate(listed):
            up_to = np.inf if number + 1 == len(listed) else until
            part = min(end, up_to) - max(begin, before)
            before = max(before, up_to)
            if part > 0 and (step < 0) == (fill < 0):
                at = max(step, fill) % self.steps
                weights[at] = weights.get(at, 0.0) + part
        return tuple(sorted(weights.items()))


def _requests_of(
    number: int, segment: Segment, levels: _Levels, begin: int, end: int
) -> list[SliceRequest]:
    """The requested residencies of the slice [begin, end), in order of accesses."""
    requests: list[SliceRequest] = []
    running = False
    for access, use in enumerate(segment.accesses):
        if levels.here[access] < end:
            running = False
            continue
        is_kept = use.reads and levels.kept.get(access, 0) >= end
        if running and is_kept:
            requests[-1] = replace(requests[-1], last=access)
            continue
        running = True
        if access == 0 and levels.wraps and is_kept:
            requests.append(SliceRequest(number, 0, 0, -1, is_loop_carried=True))
        elif use.reads:
            fills = [step for step, at in levels.profile.get(access, ()) if at >= end]
            running = bool(fills)
            if fills:
                early = fills[0] < 0
                tail = levels.steps + fills[0] if early else -1
                fill = -1 if early else fills[0]
                moves = levels.moves_of(access, fills[0], begin, end)
                request = SliceRequest(number, access, access, fill, tail=tail, moves=moves)
                requests.append(replace(request, is_loop_carried=early))
        else:
            requests.append(SliceRequest(number, access, access, -1))
    if (
        requests and requests[0].is_loop_carried and requests[0].tail < 0
    ):  # the last residency is left to it
        if requests[-1].last == len(segment.accesses) - 1:
            requests[-1] = replace(requests[-1], is_left=True)
        else:
            del requests[0]
    for at, request in enumerate(requests):
        writes = [e for e in range(request.first, request.last + 1) if e in levels.spilled]
        falls = levels.spilled[writes[-1]] if writes else ()
        requests[at] = replace(request, spill=next((s for s, level in falls if level <= begin), -1))
    return requests


def _spill_levels(
    top: int,
    fraction: float,
    spills: Sequence[SpillVariables],
    values: Floats,
    position: Callable[[float], int],
) -> list[tuple[int, int]]:
    """(step, lowest byte stored home by its end), from the top of what was written downwards.

    What leaves first is above what leaves later: first what lingers in the first gap, then what is
    copied there, and so on.
    """
    levels: list[tuple[int, int]] = []
    level, left = top, float(fraction)
    for spill in spills:
        for variables in (spill.lingering, spill.copied):
            moved = values[variables].tolist()
            for step, part in zip(spill.steps.tolist(), moved, strict=False):
                left -= part
                reached = position(max(left, 0.0)) if part > 0.0 else level
                if reached < level:
                    level = reached
                    levels.append((step, level))
    return levels


def slice_of(segment: Segment, begin: int, end: int) -> Segment:
    """The bytes [begin, end) of a segment as a segment."""
    share = (end - begin) / segment.size_bytes
    return replace(
        segment,
        start_byte=begin,
        end_byte=end,
        accesses=tuple(
            replace(e, read_bytes=e.read_bytes * share, written_bytes=e.written_bytes * share)
            for e in segment.accesses
        ),
    )
