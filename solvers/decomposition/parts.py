"""Parts of a problem: a stretch of steps as a problem of its own, within a plan for the whole.

What the plan keeps across either end of the stretch is left as it is (*pinned*):

    step             first                    last
    stretch            |========================|
    pinned      |==========|              |==========|
    free                  |=====|  |====|

A pinned residency takes its space, and what its operands and moves take of the ports of the slow
tier is modelled as a use of a buffer too large to keep. Everything else is at home at both ends, so
it is an input of the stretch where it was written before, an output where it is read later. The
first and last step of the stretch become DMA-only: what runs there is pinned, too. So any plan of
the part fits into the plan of the whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.compiler.ir.graph import BufferKind
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import DMA_STEP, Buffer, Program, Step, Use
from ullage.compiler.ir.target import Target
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.segments import Segment, bandwidth_shares

# Divisor of a part's steps: a cut may lie that fraction of a part from where parts were equal.
SEARCH_SHARE = 3


@dataclass(frozen=True)
class Part:
    """A stretch of steps [first, last) as a problem.

    Attributes:
        problem: the stretch as a problem of whole tensors; its step 0 is step `first` of the whole.
        first: first step, in the whole problem.
        last: one past the last step, in the whole problem.
        segments: the segments of the whole that it decides about; buffer i of the part is
            segments[i].
        pinned: residencies that it does not touch.
    """

    problem: Problem
    first: int
    last: int
    segments: tuple[int, ...]
    pinned: tuple[SegmentResidency, ...]

    def residencies_of_part(
        self, residencies: Sequence[SegmentResidency]
    ) -> list[SegmentResidency]:
        """The residencies of the whole that the part decides about, in the part's numbering."""
        number = {index: i for i, index in enumerate(self.segments)}
        return [
            _shifted(replace(residency, segment=number[residency.segment]), -self.first)
            for residency in residencies
            if residency.segment in number and self.first <= residency.start < self.last
        ]

    def residencies_of_whole(
        self, residencies: Sequence[SegmentResidency]
    ) -> list[SegmentResidency]:
        """Residencies of the whole problem: the pinned ones, and those of the part's plan."""
        moved = [
            replace(
                _shifted(residency, self.first), segment=self.segments[residency.segment], offset=-1
            )
            for residency in residencies
            if residency.segment < len(self.segments)
        ]
        return [*(replace(residency, offset=-1) for residency in self.pinned), *moved]


def _shifted(residency: SegmentResidency, steps: int) -> SegmentResidency:
    """The residency moved by a number of steps."""
    return replace(
        residency,
        start=residency.start + steps,
        ready=residency.ready + steps,
        end=residency.end + steps,
        fill=tuple((t + steps, size) for t, size in residency.fill),
        spill=tuple((t + steps, size) for t, size in residency.spill),
    )


def crossing_bytes(problem: Problem, segments: Sequence[Segment]) -> Ints:
    """(T,) bytes, weights left out, that are alive both before and behind each step."""
    change = np.zeros(len(problem.steps) + 1, dtype=np.int64)
    for segment in segments:
        if segment.is_constant or not segment.accesses:
            continue
        begin = 0 if segment.is_given else segment.accesses[0].step + 1
        end = len(problem.steps) - 1 if segment.is_output else segment.accesses[-1].step
        if begin < end:
            change[begin] += segment.size_bytes
            change[end] -= segment.size_bytes
    crossing: Ints = np.cumsum(change)[:-1]
    return crossing


def narrow_cuts(
    problem: Problem, segments: Sequence[Segment], part_operators: int, *, at_dma: bool
) -> list[int]:
    """Steps to cut at, both ends included: about equal parts, cut where the least crosses.

    Args:
        problem: the problem.
        segments: the segments of the problem.
        part_operators: operators of a part, about.
        at_dma: cut at DMA-only steps alone.
    """
    steps = len(problem.steps)
    parts = max(1, round(problem.program.operators / part_operators))
    crossing = crossing_bytes(problem, segments)
    reach = max(1, steps // parts // SEARCH_SHARE)
    cuts = [0]
    for number in range(1, parts):
        middle = number * steps // parts
        near = range(max(cuts[-1] + 3, middle - reach), min(steps - 3, middle + reach + 1))
        allowed = [t for t in near if not at_dma or problem.steps[t].kind == DMA_STEP]
        if allowed:
            cuts.append(min(allowed, key=lambda t: (int(crossing[t]), abs(t - middle))))
    return [*cuts, steps]


def part_of(
    problem: Problem,
    segments: Sequence[Segment],
    residencies: Sequence[SegmentResidency],
    span: tuple[int, int],
) -> Part:
    """The part of a plan between two steps.

    Args:
        problem: the whole; its target has two tiers.
        segments: the segments of the whole.
        residencies: the plan.
        span: first step, and one past the last.
    """
    target = problem.target
    first, last = span
    by_segment: dict[int, list[SegmentResidency]] = {}
    for residency in residencies:
        by_segment.setdefault(residency.segment, []).append(residency)
    free = [
        index
        for index, segment in enumerate(segments)
        if segment.home != target.fastest.name
        and _is_free(segment, by_segment.get(index, ()), first, last)
    ]
    free_segments = set(free)
    pinned = [
        s for s in residencies if s.segment not in free_segments or not first <= s.start < last
    ]
    room_bytes = target.fastest.capacity_bytes
    load = _load(target, segments, pinned, len(problem.steps))
    reads, writes = _slow_bytes(problem, segments, pinned, free_segments)
    shares = bandwidth_shares(problem)  # by which the part divides bytes again
    extra = len(free)  # two more buffers: what pinned segments read and write in the slow tier
    uses: list[list[Use]] = [[] for _ in range(last - first)]
    for number, index in enumerate(free):
        for access in segments[index].accesses:
            if first < access.step < last - 1:
                share = float(shares[access.step])
                uses[access.step - first] += _uses(number, segments[index], access.step, share)
    for t in range(first, last):
        for write, moved in ((False, reads[t]), (True, writes[t])):
            taken = min(room_bytes + 1, round(float(moved * shares[t])))
            if taken:
                pinned_buffer = extra + int(write)
                use = Use(pinned_buffer, 0, room_bytes + 1, write, taken, f"pinned{int(write)}")
                uses[t - first].append(use)
    steps = [
        _step(problem.steps[t], tuple(uses[t - first]), int(load[t]), t in (first, last - 1))
        for t in range(first, last)
    ]
    buffers = [_buffer(segments[index], index, first, last) for index in free]
    kinds: tuple[BufferKind, ...] = ("weight", "activation")
    buffers += [Buffer(f"pinned{i}", room_bytes + 1, kind) for i, kind in enumerate(kinds)]
    program = Program(problem.name, problem.program.order, tuple(steps), tuple(buffers))
    once = replace(target.compute, rereads=None)  # accesses have it, as far as a range is long
    part = Problem(program, replace(target, split_operands=False, compute=once), problem.objective)
    return Part(part, first, last, tuple(free), tuple(pinned))


def _is_free(
    segment: Segment, residencies: Sequence[SegmentResidency], first: int, last: int
) -> bool:
    """Whether a part may decide about a segment: no residency and no use touches its ends."""
    inside = [e.step for e in segment.accesses if first <= e.step < last]
    if not segment.size_bytes or not inside or {first, last - 1} & set(inside):
        return False
    for residency in residencies:
        outside = residency.end <= first or residency.start >= last
        loop_carried = residency.start == residency.ready == 0
        if not outside and (loop_carried or residency.start < first or residency.end > last):
            return False
    return True


def _load(
    target: Target, segments: Sequence[Segment], residencies: Sequence[SegmentResidency], steps: int
) -> Ints:
    """(T,) bytes of residencies in the fastest tier."""
    load = np.zeros(steps, dtype=np.int64)
    unit = target.fastest.alignment_bytes
    for residency in residencies:
        load[residency.start : residency.end] += (
            -(-segments[residency.segment].size_bytes // unit) * unit
        )
    return load


def _slow_bytes(
    problem: Problem,
    segments: Sequence[Segment],
    pinned: Sequence[SegmentResidency],
    free: set[int],
) -> tuple[list[float], list[float]]:
    """Bytes that pinned segments read and write in the slow tier at each step."""
    target = problem.target
    reads, writes = [0.0] * len(problem.steps), [0.0] * len(problem.steps)
    by_segment: dict[int, list[SegmentResidency]] = {}
    for residency in pinned:
        by_segment.setdefault(residency.segment, []).append(residency)
        for step, size in residency.fill:
            reads[step] += size
        for step, size in residency.spill:
            writes[step] += size
    for index, segment in enumerate(segments):
        if index in free or segment.home == target.fastest.name:
            continue
        for access in segment.accesses:
            if not any(s.ready <= access.step < s.end for s in by_segment.get(index, ())):
                reads[access.step] += access.read_bytes
                writes[access.step] += access.written_bytes
    return reads, writes


def _uses(number: int, segment: Segment, step: int, share: float) -> list[Use]:
    """A segment's uses in one step, whose bytes were divided by a share of the bandwidths."""
    access = next(access for access in segment.accesses if access.step == step)
    uses: list[Use] = []
    for does, write, moved in (
        (access.reads, False, access.read_bytes),
        (access.writes, True, access.written_bytes),
    ):
        if does:
            bytes_moved = min(segment.size_bytes, round(moved * share))
            uses.append(Use(number, 0, segment.size_bytes, write, bytes_moved, f"segment{number}"))
    return uses


def _step(step: Step, uses: tuple[Use, ...], load: int, is_end: bool) -> Step:
    """A step of a part; at its ends only the pinned uses are left of it."""
    used = step.workspace_bytes + load
    if is_end:
        return Step(step.name, DMA_STEP, workspace_bytes=used)
    return replace(step, uses=uses, workspace_bytes=used)


def _buffer(segment: Segment, index: int, first: int, last: int) -> Buffer:
    """A segment as a buffer of a part."""
    inside = [access for access in segment.accesses if first <= access.step < last]
    later = [access for access in segment.accesses if access.step >= last]
    written = any(access.writes for access in inside)
    wanted = later[0].reads if later else segment.is_output
    kind: BufferKind = "weight"
    if not segment.is_constant:
        kind = "input" if inside[0].reads else "activation"
    keeps = written and wanted
    outputs = ((0, segment.size_bytes),) if keeps else ()
    if keeps and kind == "activation":
        kind = "output"
    return Buffer(f"segment{index}", segment.size_bytes, kind, (), outputs, segment.size_bytes)
