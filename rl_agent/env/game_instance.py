"""The static arrays of a game: all about a problem and its target that no move changes.

A game decides, access by access, whether a segment is in the fastest tier. Segments whose home is
that tier (residents) are in no decision; all others are numbered here, and so are their accesses:

    segments of the problem   0   1   2   3   4        home of 1: the fastest tier
    in the arrays             0   -   1   2   3        `playable` = [0, 2, 3, 4]
    their accesses            0 1     2   3 4 5  6 7   `segment_first` = [0, 2, 3, 6, 8]
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.solvers import reductions
from ullage.solvers.state.build_plan import assemble
from ullage.solvers.state.engine_tables import movable
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Segment, segments_of

# Addresses of a game by live bytes, in capacities of the fastest tier: more than it ever needs.
SPACIOUS = 16


class GameArrays(NamedTuple):
    """What never changes in a game: T steps, A segments, E accesses, R residents, M tiers, L links.

    Accesses are those of segments that can be decided about, numbered segment by segment, in step
    order. The access number is also the number of the slot of a residency that begins with it.
    Residents are segments whose home is the fastest tier; their addresses never change, and they
    have the slots behind those of accesses.

    Attributes:
        access_segment: (E,) segment of each access.
        access_step: (E,) step.
        access_reads: (E,) 1 where the operator reads the segment.
        access_writes: (E,) 1 where it writes it.
        access_read_bytes: (E,) bytes read, which may be fewer than the segment has.
        access_written_bytes: (E,) bytes written.
        segment_first: (A + 1,) first access of each segment; the last entry is E.
        size_bytes: (A,) size of each segment.
        aligned_bytes: (A,) what it takes in the fastest tier.
        home: (A,) tier where it starts or may be written to.
        is_given: (A,) 1 where the home tier holds it from the beginning.
        output: (A,) 1 where it must be at home in the end.
        must: (A,) 1 where operators reach it in the fastest tier only.
        link_up: (A,) link from home to the fastest tier, -1 for none.
        read_rate: (M,) bytes/s.
        write_rate: (M,) bytes/s; 0 where read-only.
        link_rate: (L,) bytes/s.
        compute_s: (T,) seconds of the compute unit.
        workspace_bytes: (T,) scratch memory of the step's operator in the fastest tier.
        program_order: (E,) accesses by step, those of one step by segment.
        capacity_bytes: capacity of the fastest tier.
        address_bytes: addresses that the game gives; more than the capacity where it goes by live
            bytes and a packer finds the addresses afterwards (see `by_live_bytes`).
    """

    access_segment: Ints
    access_step: Ints
    access_reads: Ints
    access_writes: Ints
    access_read_bytes: Floats
    access_written_bytes: Floats
    segment_first: Ints
    size_bytes: Ints
    aligned_bytes: Ints
    home: Ints
    is_given: Ints
    output: Ints
    must: Ints
    link_up: Ints
    read_rate: Floats
    write_rate: Floats
    link_rate: Floats
    compute_s: Floats
    workspace_bytes: Ints
    program_order: Ints
    capacity_bytes: int
    address_bytes: int


class GameInstance(NamedTuple):
    """A problem as a game: its arrays, and the state before the first move, the plan of `all-slow`.

    Attributes:
        arrays: what no move changes.
        segments: all segments of the problem; `playable` says which are in the arrays.
        playable: (A,) index into `segments` of each segment of the arrays.
        residency_state: the start: what operators cannot do without, with addresses.
        overhead_s: fixed seconds of all operators; busy seconds and these are the latency.
        all_slow_s: seconds; latency of the start.
    """

    arrays: GameArrays
    segments: tuple[Segment, ...]
    playable: Ints
    residency_state: ResidencyState
    overhead_s: float
    all_slow_s: float


def by_live_bytes(instance: GameInstance) -> GameInstance:
    """The same game, with space limited by live bytes instead of by free addresses.

    A packer finds the addresses afterwards, and may find none for some residencies.
    """
    arrays = instance.arrays
    return instance._replace(arrays=arrays._replace(address_bytes=SPACIOUS * arrays.capacity_bytes))


def game_instance_of(problem: Problem) -> GameInstance:
    """The game of a problem on its target; several links between two tiers count as one.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or a home tier is too small.
        UsageError: a mandatory operand has no link to travel on.
    """
    problem = reductions.reduce(problem)
    segments = segments_of(problem)
    start = ResidencyState(problem, segments)
    place_residencies(start)
    residencies = [residency for _, _, residency in start.all_residencies()]
    assemble(problem, segments, residencies)
    playable = movable(start)
    arrays = _arrays(problem, [segments[i] for i in playable])
    overhead_s = float(overhead_seconds(problem).sum())
    return GameInstance(
        arrays=arrays,
        segments=tuple(segments),
        playable=_ints(playable),
        residency_state=start,
        overhead_s=overhead_s,
        all_slow_s=start.busy_time.total_s + overhead_s,
    )


def _arrays(problem: Problem, segments: Sequence[Segment]) -> GameArrays:
    target = problem.target
    accesses = [(i, access) for i, segment in enumerate(segments) for access in segment.accesses]
    steps = _ints([access.step for _, access in accesses])
    owners = _ints([i for i, _ in accesses])
    order = np.lexsort((owners, steps)).astype(np.int64)
    sizes = _ints([a.size_bytes for a in segments])
    unit = target.fastest.alignment_bytes
    fastest = target.fastest.name
    links = {(link.source, link.destination): i for i, link in enumerate(target.links)}
    tier = target.tier_index
    counts = _ints([len(a.accesses) for a in segments])
    return GameArrays(
        access_segment=owners,
        access_step=steps,
        access_reads=_ints([e.reads for _, e in accesses]),
        access_writes=_ints([e.writes for _, e in accesses]),
        access_read_bytes=np.array([e.read_bytes for _, e in accesses], dtype=np.float64),
        access_written_bytes=np.array([e.written_bytes for _, e in accesses], dtype=np.float64),
        segment_first=np.concatenate([np.zeros(1, np.int64), counts.cumsum()]).astype(np.int64),
        size_bytes=sizes,
        aligned_bytes=-(-sizes // unit) * unit,
        home=_ints([tier[a.home] for a in segments]),
        is_given=_ints([a.is_given for a in segments]),
        output=_ints([a.is_output for a in segments]),
        must=_ints([a.must_be_fastest for a in segments]),
        link_up=_ints([links.get((a.home, fastest), -1) for a in segments]),
        read_rate=np.array([t.read_bytes_per_s for t in target.tiers], dtype=np.float64),
        write_rate=np.array([t.write_bytes_per_s for t in target.tiers], dtype=np.float64),
        link_rate=np.array([k.bandwidth_bytes_per_s for k in target.links], dtype=np.float64),
        compute_s=compute_seconds(problem)[0],
        workspace_bytes=_ints([s.workspace_bytes for s in problem.steps]),
        program_order=order,
        capacity_bytes=target.fastest.capacity_bytes,
        address_bytes=target.fastest.capacity_bytes,
    )


def _ints(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)
