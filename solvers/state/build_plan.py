"""From residencies in the fastest tier to a complete assignment: home copies, transfers, addresses.

A solver decides when which segment is in the fastest tier; everything else follows: which copies
the home tier must hold and when, at which addresses, and the list of transfers.

Home copies of an intermediate that is written in the fastest tier (w), stored home, read in the
fastest tier (r1), at home (r2), and fetched again for r3:

    step       w .......... r1 ....... r2 ......... r3 ...
    fastest    |===============|                |======|
    moves         spill                       fill
    home copy     |-----|======================|           - space is taken, = data is complete

A copy at home begins with the first move of the spill (or with the write, or with the program for
weights and inputs) and ends with the last access or fill that needs it; those of weights and
outputs last to the end. A later write in the fastest tier makes it stale: there it ends at once.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.errors import InfeasibleError
from ullage.compiler.common.units import format_size, told_apart
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.plan import Residency, Transfer
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Tier
from ullage.solvers.packing.pack import pack
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.infeasibility import capacity_option, smaller_data
from ullage.solvers.state.segments import Segment


@dataclass(frozen=True, slots=True)
class SegmentResidency:
    """A segment takes space in the fastest tier during steps [start, end), usable from `ready` on.

    Attributes:
        segment: index of the segment.
        start: first step at which space is taken.
        ready: first step at which operators use it.
        end: one past the last step.
        fill: moves that bring it from home, empty when an operator produces it here.
        spill: moves that bring it home.
        offset: address in bytes, -1 while it has none.
    """

    segment: int
    start: int
    ready: int
    end: int
    fill: Moves = ()
    spill: Moves = ()
    offset: int = -1


def with_accesses(
    segments: Sequence[Segment], residencies: Iterable[SegmentResidency]
) -> Iterator[tuple[int, int, SegmentResidency]]:
    """Each residency with the first and last access that it covers; (0, -1) where there is none."""
    for residency in residencies:
        accesses = segments[residency.segment].accesses
        inside = [j for j, e in enumerate(accesses) if residency.ready <= e.step < residency.end]
        yield (*((inside[0], inside[-1]) if inside else (0, -1)), residency)


def assemble(
    problem: Problem, segments: Sequence[Segment], residencies: Sequence[SegmentResidency]
) -> Assignment:
    """Add home copies, transfers and addresses in the home tiers to residencies.

    Args:
        problem: the problem.
        segments: all segments of the problem, or slices that cover them.
        residencies: disjoint in time for each segment, with addresses; a segment whose home is the
            fastest tier has one, for its whole live range.

    Raises:
        InfeasibleError: a home tier is too small for what must be there.
    """
    target = problem.target
    fastest = target.fastest.name
    copies: list[Residency] = []
    transfers: list[Transfer] = []
    by_segment: dict[int, list[SegmentResidency]] = {}
    for residency in sorted(residencies, key=lambda s: (s.segment, s.start)):
        by_segment.setdefault(residency.segment, []).append(residency)
        segment = segments[residency.segment]
        span = (segment.buffer, segment.start_byte, segment.end_byte)
        copies.append(
            Residency(
                *span, fastest, residency.offset, residency.start, residency.ready, residency.end
            )
        )
        if residency.fill:
            transfers.append(Transfer(*span, segment.origin, fastest, residency.fill))
        if residency.spill:
            transfers.append(Transfer(*span, fastest, segment.origin, residency.spill))
    homes: list[tuple[int, int, int, int]] = []  # (segment, start, ready, end)
    last_step = len(problem.steps)
    for index, segment in enumerate(segments):
        if segment.size_bytes and segment.origin != fastest:
            homes += [
                (index, *span)
                for span in _home_spans(segment, by_segment.get(index, ()), last_step)
            ]
    copies += _place_homes(problem, segments, homes)
    copies.sort(key=lambda r: (r.buffer, r.start_byte, r.start))
    transfers.sort(key=lambda t: (t.moves[0][0], t.moves[-1][0], t.buffer, t.start_byte))
    return Assignment(problem, tuple(copies), tuple(transfers))


def _home_spans(
    segment: Segment, residencies: Sequence[SegmentResidency], last_step: int
) -> list[tuple[int, int, int]]:
    """(start, ready, end) of the copies that a segment needs in its home tier, in time order.

    Walks over all that happens to the segment, moves before accesses in the same step; `current` is
    the copy that is there now.
    """
    happenings: list[tuple[int, int, str, Moves]] = []
    starts = [residency.start for residency in residencies]
    for access in segment.accesses:
        at = bisect_right(starts, access.step) - 1  # residencies are disjoint and ascend
        here = at >= 0 and residencies[at].ready <= access.step < residencies[at].end
        if access.reads and not here:
            happenings.append((access.step, 1, "read", ()))
        if access.writes:
            happenings.append((access.step, 2, "make stale" if here else "write", ()))
    for residency in residencies:
        if residency.fill:
            happenings.append((residency.fill[0][0], 0, "fill", residency.fill))
        if residency.spill:
            happenings.append((residency.spill[0][0], 0, "spill", residency.spill))
    spans: list[tuple[int, int, int]] = []
    current: list[int] | None = [0, 0, 1] if segment.is_given else None
    for step, _, what, moves in sorted(happenings):
        if what == "read" and current is not None:
            current[2] = max(current[2], step + 1)
        elif what == "fill" and current is not None:
            current[2] = max(current[2], moves[-1][0] + 1)
        elif what == "make stale":
            if current is not None:
                spans.append((current[0], current[1], current[2]))
            current = None
        elif what == "write":
            if current is not None and current[2] <= step:
                spans.append((current[0], current[1], current[2]))
                current = None
            if current is None:
                current = [step, step, step + 1]
        elif what == "spill":
            if current is not None:
                spans.append((current[0], current[1], current[2]))
            current = [step, moves[-1][0] + 1, moves[-1][0] + 2]
    if current is not None:
        end = last_step if segment.stays_at_home else min(current[2], last_step)
        spans.append((current[0], current[1], end))
    return spans


def _place_homes(
    problem: Problem,
    segments: Sequence[Segment],
    homes: Sequence[tuple[int, int, int, int]],
) -> list[Residency]:
    """Residencies with addresses in the home tiers: a block per buffer, its segments side by side.

    Args:
        problem: the problem.
        segments: all segments.
        homes: (segment, start, ready, end) of each copy at home.

    Raises:
        InfeasibleError: a home tier is too small.
    """
    target = problem.target
    copies: list[Residency] = []
    for tier in target.tiers[1:]:
        blocks: dict[int, list[int]] = {}
        for index, start, _, end in homes:
            segment = segments[index]
            if segment.origin == tier.name:
                block = blocks.setdefault(segment.buffer, [start, end])
                block[0], block[1] = min(block[0], start), max(block[1], end)
        if not blocks:
            continue
        inside, sizes = _rows(segments, {index for index, *_ in homes}, tier)
        buffers = list(blocks)
        packing = pack(
            np.array([blocks[b][0] for b in buffers], dtype=np.int64),
            np.array([blocks[b][1] for b in buffers], dtype=np.int64),
            np.array([sizes[b] for b in buffers], dtype=np.int64),
            alignment_bytes=tier.alignment_bytes,
            capacity_bytes=tier.capacity_bytes,
        )
        if packing.peak_bytes > tier.capacity_bytes:
            _refuse_home(problem, segments, tier.name, packing.peak_bytes, buffers)
        offsets = {b: int(o) for b, o in zip(buffers, packing.offsets, strict=True)}
        for index, start, ready, end in homes:
            segment = segments[index]
            if segment.origin == tier.name:
                copies.append(
                    Residency(
                        segment.buffer,
                        segment.start_byte,
                        segment.end_byte,
                        tier.name,
                        offsets[segment.buffer] + inside[index],
                        start,
                        ready,
                        end,
                    )
                )
    return copies


def _rows(
    segments: Sequence[Segment], stored: set[int], tier: Tier
) -> tuple[dict[int, int], dict[int, int]]:
    """Where each segment lies in its buffer's block, and the size of each buffer's block, in bytes.

    Segments with a copy at home follow one another, each at an aligned offset. Importers align the
    parts of a buffer, so where all have one this is mostly the offset inside the buffer itself.
    Those that never come home take no space: a use that must be in one place touches none of them.
    """
    inside: dict[int, int] = {}
    sizes: dict[int, int] = {}
    for index, segment in enumerate(segments):
        if segment.origin == tier.name and index in stored:
            taken = sizes.get(segment.buffer, 0)
            inside[index] = -(-taken // tier.alignment_bytes) * tier.alignment_bytes
            sizes[segment.buffer] = inside[index] + segment.size_bytes
    return inside, sizes


def _least_at_home(problem: Problem, segments: Sequence[Segment], tier: str) -> int:
    """Bytes that any plan has in a home tier: of what is there before the first or after the last.

    In steady state weights may be elsewhere before the first step.
    """
    given = outputs = 0
    for segment in segments:
        if segment.origin == tier and segment.accesses:
            stays = problem.steady_state and segment.is_constant
            given += segment.size_bytes if segment.is_given and not stays else 0
            outputs += segment.size_bytes if segment.is_output else 0
    return max(given, outputs)


def _refuse_home(
    problem: Problem, segments: Sequence[Segment], tier: str, needed: int, buffers: Sequence[int]
) -> None:
    """Raise the error for a home tier that is too small for what a plan has there.

    Another plan may have less there: proven is only what every plan has.
    """
    target = problem.target
    available = target.tier(tier).capacity_bytes
    largest = sorted(buffers, key=lambda b: -problem.buffers[b].size_bytes)[:5]
    names = [
        {"tensor": problem.buffers[b].name, "bytes": problem.buffers[b].size_bytes} for b in largest
    ]
    remedies = {capacity_option(target, tier, needed): "give it more"}
    remedies |= smaller_data(problem.steps, needed, available)
    advice = [f"{what} ({option})" for option, what in remedies.items()]
    takes, there, excess = told_apart(needed, available, needed - available)
    proven = _least_at_home(problem, segments, tier) > available
    verdict = "" if proven else f"found no plan for {target.name}: "
    raise InfeasibleError(
        f"{verdict}{tier} of {target.name} is too small for the tensors whose home it is: needed "
        f"{takes}, available {there}, excess {excess}; largest: "
        + ", ".join(f"{n['tensor']} ({format_size(int(str(n['bytes'])))})" for n in names)
        + ". To do: "
        + ", or ".join(["plan for another target", *advice]),
        {
            "tier": tier,
            "needed_bytes": needed,
            "available_bytes": available,
            "excess_bytes": needed - available,
            "step": 0,
            "largest_tensors": names,
            "remedies": list(remedies),
            "proven": proven,
        },
    )
