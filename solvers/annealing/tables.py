"""Whole tensors as flat tables: what the compiled search of `whole_anneal` works on.

A segment's accesses are numbered in a row over all segments. A run (an uninterrupted stay, with its
moves) is kept in the slot that has the number of its first access; segments whose home is the
fastest tier have slots behind those, for the address alone. The decisions are those of `state`.

Everything is in four arrays: numba compiles every array that a function is given many times over,
and fifty of them took a minute where four take seconds.
"""

from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Segment

MAX_MOVES = 64  # steps of one fill or spill
MAX_LOG = 512  # changes of one move of the search
FILL, SPILL = 0, 1  # ways: from home, to home

# Rows of `Tables.i`. By step: capacity without workspace, live bytes.
ROOM, LOAD = 0, 1
# By access: its step, whether it reads, whether a run that ends with it must leave current data at
# home, the last access up to it that writes the segment (-1: none), its segment, its position among
# those with a choice by step, the slot of the run that covers it (-1: the operator goes home).
STEP, READS, WANTED, LAST_WRITE, SEGMENT, RANK, RUN_OF = 2, 3, 4, 5, 6, 7, 8
BY_STEP = 9  # accesses with a choice, by step
# By segment: first and last access (last < first: no choice), bytes that a transfer moves, bytes
# that it takes, home tier, whether operators reach it in the fastest tier only.
FIRST, LAST, SIZE, TAKEN, HOME, MUST = 10, 11, 12, 13, 14, 15
LINKED = 16  # by home tier, a row for each way: whether there is a link
OWNER, ALIVE, PLACE = (
    18,
    19,
    20,
)  # by slot: its segment; slots in use; where a slot stands there (-1)
BEST_ALIVE = 21  # slots of the best decisions
LOG_WHAT, LOG_SLOT = 22, 23  # what was done to which slot since the log was cleared
SCRATCH = 24  # four rows for lists
COUNTS = 28  # of everything below
LIVE, LOGGED, WORK, RANDOM, MOVES_TRIED, MOVES_TAKEN, CHOICES, STEPS, BEST_LIVE, TIERS = range(10)
LASTING = 29  # by segment: a weight in steady state, which may stay from one inference to the next
INT_ROWS = 30

# Rows of `Tables.f`, in seconds. By step: roofline of the compute unit, of everything.
COMPUTE, BUSY = 0, 1
HOME_S, FAST_S, GAIN = (
    2,
    3,
    4,
)  # by access: port at home, in fast memory; linear cost of going there
MOVE_COST = 5  # by segment, a row for each way: linear cost
WAY = 7  # by home tier, 3 rows for each way: seconds per byte of home port, fast port and link
SETUP = 13  # by home tier, a row for each way
TOTALS, WEIGHTS = 15, 16
SECONDS, LINEAR, BEST = 0, 1, 2  # of TOTALS; the first two of WEIGHTS, too
RESOURCE = 17  # by step: ports of all tiers, links from all homes, links to all homes

NOW, STASH, BESTS = 0, 1, 2  # banks of runs: the decisions, those of the log, the best
RUN_LAST, START, END, OFFSET, COUNT, RUN_FIELDS = 0, 1, 2, 3, 4, 6


class Tables(NamedTuple):
    """The problem, the decisions and what they cost.

    Attributes:
        i: (INT_ROWS, W) whole numbers; rows are named above.
        f: (RESOURCE + 3 tiers, W) seconds and costs.
        runs: (3, RUN_FIELDS, W) by bank and slot: last access, first step, end, address (-1: none),
            number of moves of the fill and of the spill.
        moves: (3, W, 2, MAX_MOVES, 2) by bank, slot and way: steps and bytes.
    """

    i: Ints
    f: Floats
    runs: Ints
    moves: Ints


def tables_of(state: ResidencyState, seed: int) -> Tables:
    """The tables of a problem and its decisions so far; `whole_anneal.begin` counts their cost."""
    segments, target = state.segments, state.target
    homes = np.array([target.tier_index[segment.home] for segment in segments], dtype=np.int64)
    accesses = sum(len(segment.accesses) for segment in segments)
    fixed = [n for n in range(len(segments)) if state.residencies[n] and homes[n] == 0]
    width = max(state.steps, accesses + len(fixed) + 1, len(segments), MAX_LOG, TIERS + 1)
    t = Tables(
        np.zeros((INT_ROWS, width), dtype=np.int64),
        np.zeros((RESOURCE + 3 * len(target.tiers), width)),
        np.zeros((3, RUN_FIELDS, width), dtype=np.int64),
        np.zeros((3, width, 2, MAX_MOVES, 2), dtype=np.int64),
    )
    t.i[RUN_OF], t.i[PLACE] = -1, -1
    t.i[COUNTS, RANDOM] = 1 + seed % 2147483646
    t.i[COUNTS, STEPS], t.i[COUNTS, TIERS] = state.steps, len(target.tiers)
    workspace = [step.workspace_bytes for step in state.problem.steps]
    t.i[ROOM, : state.steps] = target.fastest.capacity_bytes - np.array(workspace)
    t.f[COMPUTE, : state.steps] = state.busy_time.compute_s
    t.f[BUSY, : state.steps] = state.busy_time.compute_s
    t.f[TOTALS, BEST] = np.inf
    t.f[WEIGHTS, :2] = _weights(state)
    _fill_ways(t, state)
    _fill_segments(t, state, homes)
    chosen = [e for a in range(len(segments)) for e in range(t.i[FIRST, a], t.i[LAST, a] + 1)]
    by_step = np.array(chosen, dtype=np.int64)
    by_step = by_step[np.argsort(t.i[STEP, by_step], kind="stable")]
    t.i[COUNTS, CHOICES] = len(by_step)
    t.i[BY_STEP, : len(by_step)] = by_step
    t.i[RANK, by_step] = np.arange(len(by_step))
    _fill_runs(t, state, homes, accesses, fixed)
    return t


def _fill_segments(t: Tables, state: ResidencyState, homes: Ints) -> None:
    """Rows of segments and accesses."""
    cost = _linear_costs(state)
    seconds = state.busy_time.operand_seconds
    fastest = state.target.fastest.name
    access = 0
    for index, segment in enumerate(state.segments):
        home = int(homes[index])
        free = bool(segment.size_bytes) and home > 0
        t.i[FIRST, index] = access
        t.i[LAST, index] = access + len(segment.accesses) - 1 if free else access - 1
        t.i[SIZE, index], t.i[TAKEN, index] = segment.size_bytes, state.aligned_bytes(segment)
        t.i[HOME, index], t.i[MUST, index] = home, segment.must_be_fastest
        t.f[MOVE_COST : MOVE_COST + 2, index] = _move_costs(state, segment, cost[0], cost[home])
        t.i[LASTING, index] = state.problem.steady_state and segment.kind == "weight"
        last_write = -1
        for use, wanted in zip(segment.accesses, _wanted(segment), strict=True):
            last_write = access if use.writes else last_write
            moved = (use.read_bytes, use.written_bytes)
            t.i[STEP, access], t.i[READS, access], t.i[WANTED, access] = use.step, use.reads, wanted
            t.i[LAST_WRITE, access], t.i[SEGMENT, access] = last_write, index
            t.i[OWNER, access] = index
            t.f[HOME_S, access] = seconds(segment.home, *moved)
            t.f[FAST_S, access] = seconds(fastest, *moved)
            t.f[GAIN, access] = (cost[0] - cost[home]) @ moved
            t.f[RESOURCE + home, use.step] += t.f[HOME_S, access]
            t.f[TOTALS, LINEAR] += cost[home] @ moved
            access += 1


def _fill_runs(
    t: Tables, state: ResidencyState, homes: Ints, accesses: int, fixed: list[int]
) -> None:
    """Slots of the residencies so far; their cost is not counted yet."""
    for slot, index in enumerate(fixed, accesses):
        t.i[OWNER, slot] = index
        _write(t, slot, -1, state.residencies[index][0][1])
    for index, residencies in enumerate(state.residencies):
        base = int(t.i[FIRST, index])
        for first, (last, residency) in residencies.items():
            if homes[index] > 0:
                _write(t, base + first, base + last, residency)


def _wanted(segment: Segment) -> list[bool]:
    """Whether the home tier needs the data when a run ends at each access."""
    return [*(e.reads for e in segment.accesses[1:]), segment.is_output][: len(segment.accesses)]


def _linear_costs(state: ResidencyState) -> Floats:
    """(M, 2) linear cost of a byte read and of a byte written in each tier."""
    if state.objective == "energy":
        rows = [(t.read_energy_j_per_byte, t.write_energy_j_per_byte) for t in state.target.tiers]
    else:
        rows = [(0.0, 0.0), *((1.0, 1.0) for _ in state.target.tiers[1:])]
    return np.array(rows, dtype=np.float64)


def _move_costs(
    state: ResidencyState, segment: Segment, fast: Floats, home: Floats
) -> tuple[float, float]:
    """Linear cost of filling and of spilling a segment."""
    link_up = link_down = 0.0
    if state.objective == "energy":
        fastest = state.target.fastest.name
        up = state.target.link(segment.home, fastest)
        down = state.target.link(fastest, segment.home)
        link_up = up.energy_j_per_byte if up is not None else 0.0
        link_down = down.energy_j_per_byte if down is not None else 0.0
    size = segment.size_bytes
    return (
        size * (float(home[0] + fast[1]) + link_up),
        size * (float(fast[0] + home[1]) + link_down),
    )


def _fill_ways(t: Tables, state: ResidencyState) -> None:
    """Rows of the links between each home and the fastest tier."""
    target = state.target
    fast = target.fastest
    for number, tier in enumerate(target.tiers[1:], 1):
        for way, source, destination in ((FILL, tier, fast), (SPILL, fast, tier)):
            link = target.link(source.name, destination.name)
            if link is None or destination.read_only:
                continue
            ports = {source.name: 1 / source.read_bytes_per_s}
            ports[destination.name] = 1 / destination.write_bytes_per_s
            row = WAY + 3 * way
            t.f[row, number], t.f[row + 1, number] = ports[tier.name], ports[fast.name]
            t.f[row + 2, number] = 1 / link.bandwidth_bytes_per_s
            t.f[SETUP + way, number] = link.setup_s
            t.i[LINKED + way, number] = 1


TIE_BREAK = 1e-6  # what a slow byte counts beside its time, objective latency


def _weights(state: ResidencyState) -> Floats:
    if state.objective != "latency":
        return np.array([0.0, 1.0])
    slowest = min(t.read_bytes_per_s for t in state.target.tiers)
    return np.array([1.0, TIE_BREAK / slowest])


def _write(t: Tables, slot: int, last: int, residency: SegmentResidency) -> None:
    """Put a residency into a slot."""
    t.runs[NOW, :COUNT, slot] = last, residency.start, residency.end, residency.offset
    for way, moves in ((FILL, residency.fill), (SPILL, residency.spill)):
        shortened = _shortened(moves)
        t.runs[NOW, COUNT + way, slot] = len(shortened)
        if shortened:
            t.moves[NOW, slot, way, : len(shortened)] = shortened
    live = int(t.i[COUNTS, LIVE])
    t.i[ALIVE, live], t.i[PLACE, slot] = slot, live
    t.i[COUNTS, LIVE] += 1


def _shortened(moves: Moves) -> Moves:
    """At most MAX_MOVES of them: one takes the bytes of those in the middle."""
    if len(moves) <= MAX_MOVES:
        return moves
    half = MAX_MOVES // 2
    step, size = moves[half - 1]
    size += sum(more for _, more in moves[half:-half])
    return (*moves[: half - 1], (step, size), *moves[-half:])


def best_residencies(t: Tables, state: ResidencyState) -> list[tuple[int, int, SegmentResidency]]:
    """The best runs found: first access and last access in their segment, and the residency."""
    found: list[tuple[int, int, SegmentResidency]] = []
    for slot in sorted(t.i[BEST_ALIVE, : t.i[COUNTS, BEST_LIVE]].tolist()):
        index = int(t.i[OWNER, slot])
        last, start, end, offset = (int(x) for x in t.runs[BESTS, :COUNT, slot])
        fill, spill = (
            tuple((int(step), int(size)) for step, size in t.moves[BESTS, slot, way, :count])
            for way, count in enumerate(t.runs[BESTS, COUNT:, slot])
        )
        ready = fill[-1][0] + 1 if fill else start
        residency = SegmentResidency(index, start, ready, end, fill, spill, offset)
        base = int(t.i[FIRST, index])
        if last < 0:  # its home is the fastest tier
            found.append((0, len(state.segments[index].accesses) - 1, residency))
        else:
            found.append((slot - base, last - base, residency))
    return found
