"""Segments: the ranges of buffers that solvers decide about one by one.

On a target that splits operands, a segment is a range of a buffer between neighbouring ends of uses
(parts of a Concat, outputs), so that every use covers it entirely or not at all:

    bytes      0 ......... 40 ........ 64 ........ 96
    step 1     |== write ==|
    step 2                 |== write ==|
    step 3                             |== write ==|
    step 4     |============== read ===============|
    step 6                 |== read ===|
    segments   |     0     |     1     |     2     |

Elsewhere a segment is the whole buffer, and a use may cover a part of it.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.graph import BufferKind
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.compiler.ir.program import Use
from ullage.hwmodels.cost import bandwidth_reached
from ullage.hwmodels.rereads import Times, operand_reads, times_accessed


@dataclass(frozen=True, slots=True)
class Access:
    """What a step does to a segment: read it, write it, or read then write it (in place).

    Attributes:
        step: index of the step.
        reads: the operator reads the segment, or writes a part of it and needs the rest kept.
        writes: the operator writes it.
        read_bytes: bytes that the operator really reads, as often as it reads them
            (`Compute.rereads`); where latency alone counts, more of them as its kind reaches less
            of the bandwidth (`Compute.bandwidth_efficiency`).
        written_bytes: bytes that it really writes, likewise.
    """

    step: int
    reads: bool
    writes: bool
    read_bytes: float
    written_bytes: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A range of a buffer and its accesses in step order.

    Attributes:
        buffer: index into `Problem.buffers`.
        start_byte: first byte.
        end_byte: one past the last byte.
        kind: kind of the buffer, `weight`, `input`, `activation`, `output` or `state`.
        home: name of the tier in which operators find it where no residency says otherwise: its
            buffer's home; the fastest where the problem lets it leave only for good.
        origin: name of its buffer's home, where an input comes from and an output goes to.
        accesses: uses of the range in step order, one per step.
        is_output: its data must be at home after the last step.
        must_be_fastest: operators reach it in the fastest tier only, or nowhere else without a
            detour through a third tier.
        is_looked_up: of a weight out of operators' reach at home, only rows are read that an
            operand names: DMA brings them from any tier with a link to the fastest.
    """

    buffer: int
    start_byte: int
    end_byte: int
    kind: BufferKind
    home: str
    origin: str
    accesses: tuple[Access, ...]
    is_output: bool
    must_be_fastest: bool
    is_looked_up: bool = False

    @property
    def size_bytes(self) -> int:
        """Bytes of the segment."""
        return self.end_byte - self.start_byte

    @property
    def is_given(self) -> bool:
        """Whether its data is at home before the first step."""
        return self.kind in ("input", "weight", "state")

    @property
    def is_constant(self) -> bool:
        """Whether it is a weight: never written, and in steady state it may stay in any tier."""
        return self.kind == "weight"

    @property
    def stays_at_home(self) -> bool:
        """Whether its data must be at home after the last step."""
        return self.is_output or self.is_constant or self.is_state

    @property
    def is_state(self) -> bool:
        """Whether it is at home, at one address, before and after every inference."""
        return self.kind == "state"


def segments_of(problem: Problem) -> tuple[Segment, ...]:
    """All segments, sorted by buffer and byte; empty ranges and unused buffers included."""
    return _segments_in_time(problem) if _is_time(problem) else _segments_in_bytes(problem)


def bandwidth_shares(problem: Problem) -> Floats:
    """(T,) share of the bandwidths by which the bytes of each step's accesses are divided."""
    return bandwidth_reached(problem) if _is_time(problem) else np.ones(len(problem.steps))


def _is_time(problem: Problem) -> bool:
    """Whether bytes count by the time that they take."""
    return problem.objective == "latency" and problem.blend is None


@computed_once
def _segments_in_time(problem: Problem) -> tuple[Segment, ...]:
    """Segments whose bytes count by the time that they take."""
    return _segments(problem, bandwidth_reached(problem))


@computed_once
def _segments_in_bytes(problem: Problem) -> tuple[Segment, ...]:
    """Segments whose bytes count as they are."""
    return _segments(problem, np.ones(len(problem.steps)))


def _segments(problem: Problem, reached: Floats) -> tuple[Segment, ...]:
    """The segments, their bytes in a step divided by the (T,) share of the bandwidths there."""
    target = problem.target
    fastest = target.fastest.name
    reads = operand_reads(problem)
    segments: list[Segment] = []
    for index, buffer in enumerate(problem.buffers):
        uses = problem.uses_of[index]
        cuts = {0, buffer.size_bytes}
        if target.split_operands:
            for _, use in uses:
                cuts.update((use.start_byte, use.end_byte))
            for low, high in buffer.outputs:
                cuts.update((low, high))
        edges = sorted(cuts)
        by_range = _uses_by_range(uses, edges)
        origin = target.home(buffer.kind).name
        confined = target.must_be_fastest(buffer.kind) or not target.home(buffer.kind).addressable
        for (low, high), every_use in zip(pairwise(edges), by_range, strict=True):
            uses_in_range = _decided(problem, every_use) if confined else every_use
            is_looked_up = confined and _is_looked_up(problem, uses_in_range)
            segments.append(
                Segment(
                    buffer=index,
                    start_byte=low,
                    end_byte=high,
                    kind=buffer.kind,
                    home=fastest if problem.no_spill and not buffer.constant else origin,
                    origin=origin,
                    accesses=_accesses(
                        uses_in_range, low, high, reached, reads, given=buffer.initial
                    ),
                    is_output=any(a < high and low < b for a, b in buffer.final)
                    and not (buffer.persistent and not any(u.write for _, u in uses_in_range)),
                    must_be_fastest=confined
                    and not (is_looked_up and origin in target.look_up_links),
                    is_looked_up=is_looked_up,
                )
            )
    return tuple(segments)


def _is_looked_up(problem: Problem, uses: Sequence[tuple[int, Use]]) -> bool:
    """Whether a range out of reach is used by look-ups alone, and DMA can bring rows of it."""
    return bool(uses and problem.target.look_up_links) and all(use.look_up for _, use in uses)


def _decided(problem: Problem, uses: Sequence[tuple[int, Use]]) -> Sequence[tuple[int, Use]]:
    """The uses of a range out of operators' reach about which there is something to decide.

    Look-ups of what other operators read whole find it at home, where a weight always is: a plan
    that serves the others serves them. (The few rows are charged, but not planned with.)
    """
    target = problem.target
    if target.homes["weight"] not in target.look_up_links:
        return uses
    others = [(t, use) for t, use in uses if not use.look_up]
    return others or uses


def _uses_by_range(
    uses: Sequence[tuple[int, Use]], edges: Sequence[int]
) -> list[list[tuple[int, Use]]]:
    """The uses that touch each range between neighbouring edges, in their order."""
    by_range: list[list[tuple[int, Use]]] = [[] for _ in edges[1:]]
    for item in uses:
        first = max(bisect_right(edges, item[1].start_byte) - 1, 0)
        for i in range(first, bisect_left(edges, item[1].end_byte)):
            by_range[i].append(item)
    return by_range


def _accesses(
    uses: Sequence[tuple[int, Use]],
    low: int,
    high: int,
    reached: Floats,
    reads: Sequence[Times],
    *,
    given: bool,
) -> tuple[Access, ...]:
    """Accesses of the range [low, high), of the uses that touch it, one per step.

    `reached` is (T,) the share of the bandwidths by which bytes of a step count, `reads` is (T,)
    how often its operands are read, and `given` says whether its data is there before the first
    step.
    """
    accesses: dict[int, Access] = {}
    for step, use in uses:
        covered = min(high, use.end_byte) - max(low, use.start_byte)
        moved = use.accessed_bytes * covered / (use.end_byte - use.start_byte)
        moved /= float(reached[step])
        moved *= times_accessed(use, reads[step])
        # A part is written into the rest, which must be there; only the part is moved.
        into_rest = (
            use.write and covered < high - low and (given or any(t < step for t in accesses))
        )
        old = accesses.get(step, Access(step, False, False, 0.0, 0.0))
        accesses[step] = Access(
            step,
            old.reads or not use.write or into_rest,
            old.writes or use.write,
            old.read_bytes + (0.0 if use.write else moved),
            old.written_bytes + (moved if use.write else 0.0),
        )
    return tuple(accesses.values())


def uses_are_whole(problem: Problem) -> bool:
    """Whether every use covers the segments that it touches, so that their bytes are used alike.

    Where tensors stay whole and a use is of a part (of a tensor that is made in parts, say), a plan
    may keep the other bytes elsewhere. An optimum over whole segments is no bound there. Nor is it
    where some uses of a weight are look-ups, and DMA brings rows from another tier than its home:
    segments have one reach for all their accesses.
    """
    target = problem.target
    if target.look_up_links and target.homes["weight"] not in target.look_up_links:
        for segment in segments_of(problem):
            uses = problem.uses_of[segment.buffer] if segment.must_be_fastest else ()
            if not segment.is_looked_up and any(use.look_up for _, use in uses):
                return False
    return problem.target.split_operands or all(
        (use.start_byte, use.end_byte) == (0, problem.buffers[use.buffer].size_bytes)
        for step in problem.steps
        for use in step.uses
    )


def cuts_nothing(problem: Problem, segments: Sequence[Segment]) -> bool:
    """Whether every legal plan of this order keeps segments whole and moves them from and to home.

    A solver that only knows whole segments and one way home can then prove optimality. It is so
    where there are only two tiers, nothing has its home in the fastest, and no segment may be cut:
    cuts are legal at multiples of the granularity, and at the ends of uses and values.
    """
    target = problem.target
    if len(target.tiers) != 2:
        return False
    for segment in segments:
        if not segment.size_bytes:
            continue
        if segment.home == target.fastest.name:
            return False
        buffer = problem.buffers[segment.buffer]
        grain = target.slice_granularity_bytes or buffer.row_bytes
        first = (segment.start_byte // grain + 1) * grain
        ends = {
            edge
            for _, use in problem.uses_of[segment.buffer]
            for edge in (use.start_byte, use.end_byte)
        }
        ends |= {edge for value in buffer.values for edge in (value.start_byte, value.end_byte)}
        if first < segment.end_byte or any(segment.start_byte < e < segment.end_byte for e in ends):
            return False
    return True
