"""The engine's tables of a problem: filled from a state of residencies, and read back.

The solvers that decide about residencies in compiled code (the game and the annealer) begin with
`tables_of` and end with `read_residency`; `solvers/engine/tables.py` names the rows.
"""

from typing import NamedTuple

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.ir.problem import Problem
from ullage.solvers.engine.tables import (
    ACCESS_FAST_S,
    ACCESS_HOME_S,
    ACCESS_LAST_WRITE,
    ACCESS_LINEAR,
    ACCESS_RANK,
    ACCESS_READS,
    ACCESS_SEGMENT,
    ACCESS_SLOT,
    ACCESS_STEP,
    ACCESS_WANTED,
    ACCESS_WRITES,
    ACCESSES,
    ADDRESSES,
    BYTE_PRICE,
    CAPACITY,
    COUNTS,
    EXPOSED,
    FILL,
    FLOAT_ROWS,
    IN_ORDER,
    INT_ROWS,
    LISTED,
    LIVE,
    MAX_MOVES,
    REACH,
    RESOURCE,
    RESOURCES,
    SEGMENT_ALIGNED,
    SEGMENT_BYTES,
    SEGMENT_FAST_RATE,
    SEGMENT_FIRST,
    SEGMENT_GIVEN,
    SEGMENT_HOME,
    SEGMENT_HOME_RATE,
    SEGMENT_LAST,
    SEGMENT_LASTING,
    SEGMENT_LINEAR,
    SEGMENT_LINK,
    SEGMENT_LINK_RATE,
    SEGMENT_MUST,
    SEGMENT_OUTPUT,
    SEGMENT_SETUP_S,
    SIZES,
    SLOT_ALIGNED,
    SLOT_BYTES,
    SLOT_END,
    SLOT_LAST,
    SLOT_MOVES,
    SLOT_OFFSET,
    SLOT_PLACE,
    SLOT_READY,
    SLOT_SEGMENT,
    SLOT_START,
    SLOTS,
    SPILL,
    STATE_ROWS,
    STEP_COMPUTE_S,
    STEP_LOAD,
    STEP_WORKSPACE,
    STEPS,
    TIERS,
    UNIT,
    WEIGHTS,
    WINDOW,
    Tables,
)
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.residency_state import ResidencyState

# Steps around an access within which its segment is filled and spilled, where nobody says else.
WINDOW_STEPS = 64
# Weight of the seconds of a slow byte beside the latency, objective latency: of equally fast
# decisions the one with less slow traffic is better.
TIE_BREAK = 1e-6


class Needs(NamedTuple):
    """The room that a solver needs in the tables beside the engine's.

    Attributes:
        slots: slots behind those of accesses and residents.
        state_rows: rows of `Tables.state` behind those of the engine.
        second_rows: rows of `Tables.seconds` behind those of the engine.
        width: least number of columns of all arrays but `moves`.
        window: see `WINDOW`.
        joules: the linear cost is energy where that is the objective; else it is slow traffic.
    """

    slots: int = 0
    state_rows: int = 0
    second_rows: int = 0
    width: int = 0
    window: int = WINDOW_STEPS
    joules: bool = False


def movable(state: ResidencyState) -> list[int]:
    """Segments that can be decided about, by their index."""
    fastest = state.target.fastest.name
    return [
        index
        for index, segment in enumerate(state.segments)
        if segment.size_bytes and segment.accesses and segment.home != fastest
        if index not in state.untouched
    ]


def residents(state: ResidencyState) -> list[int]:
    """Segments that live in the fastest tier and take space there."""
    fastest = state.target.fastest.name
    return [
        index
        for index, segment in enumerate(state.segments)
        if segment.home == fastest and state.residencies[index]
    ]


def tables_of(state: ResidencyState, needs: Needs) -> Tables:
    """Tables in which residents have space and address, and all other segments are at home.

    The rows of `seconds` are zero: a solver charges what it begins with.

    Args:
        state: the problem, and residents with addresses.
        needs: room for the solver.
    """
    segments = movable(state)
    fixed = residents(state)
    links = len(state.target.links)
    tiers = len(state.target.tiers)
    exposed = state.busy_time.exposed
    resources = tiers + links + bool(exposed)
    accesses = sum(len(state.segments[index].accesses) for index in segments)
    slots = accesses + len(fixed) + needs.slots
    width = max(slots, state.steps, len(segments), needs.width, 16)
    t = Tables(
        ints=np.zeros((INT_ROWS, width), dtype=np.int64),
        floats=np.zeros((FLOAT_ROWS, width)),
        state=np.zeros((STATE_ROWS + needs.state_rows, width), dtype=np.int64),
        seconds=np.zeros((RESOURCE + resources + needs.second_rows, width)),
        moves=np.zeros((2 * width, 2 * MAX_MOVES), dtype=np.int64),
    )
    fastest = state.target.fastest
    t.ints[SIZES, STEPS], t.ints[SIZES, ACCESSES] = state.steps, accesses
    t.ints[SIZES, SLOTS], t.ints[SIZES, TIERS] = slots, tiers
    t.ints[SIZES, RESOURCES] = resources
    t.ints[SIZES, UNIT] = RESOURCE + tiers + links if exposed else -1
    t.floats[WEIGHTS, EXPOSED] = exposed
    t.ints[SIZES, CAPACITY] = t.ints[SIZES, ADDRESSES] = fastest.capacity_bytes
    workspace = [step.workspace_bytes for step in state.problem.steps]
    t.ints[STEP_WORKSPACE, : state.steps] = workspace
    t.floats[STEP_COMPUTE_S, : state.steps] = state.busy_time.compute_s
    t.ints[SIZES, WINDOW], t.ints[SIZES, REACH] = needs.window, state.steps
    t.floats[WEIGHTS, :2] = _weights(state)
    t.floats[WEIGHTS, BYTE_PRICE] = state.byte_price
    cost = linear_costs(state, joules=needs.joules)
    _fill_segments(t, state, segments)
    _fill_accesses(t, state, segments, cost)
    _fill_transfers(t, state, cost, joules=needs.joules)
    order = np.argsort(t.ints[ACCESS_STEP, :accesses], kind="stable")
    t.ints[IN_ORDER, :accesses] = order
    t.ints[ACCESS_RANK, order] = np.arange(accesses)
    t.state[STEP_LOAD, : state.steps] = workspace
    t.state[ACCESS_SLOT] = t.state[SLOT_LAST] = t.state[SLOT_PLACE] = t.state[SLOT_OFFSET] = -1
    for slot, index in enumerate(fixed, accesses):
        segment, residency = state.segments[index], state.residencies[index][0][1]
        aligned = state.aligned_bytes(segment)
        t.ints[SLOT_SEGMENT, slot] = -1
        t.ints[SLOT_BYTES, slot], t.ints[SLOT_ALIGNED, slot] = segment.size_bytes, aligned
        write_residency(t, slot, residency)
        t.state[STEP_LOAD, residency.start : residency.end] += aligned
    return t


def _fill_segments(t: Tables, state: ResidencyState, segments: list[int]) -> None:
    """Rows of the segments of these indices, and who owns which access."""
    target, listed = state.target, [state.segments[index] for index in segments]
    counts = np.array([len(segment.accesses) for segment in listed], dtype=np.int64)
    span = slice(0, len(listed))
    t.ints[SEGMENT_LAST, span] = counts.cumsum() - 1
    t.ints[SEGMENT_FIRST, span] = t.ints[SEGMENT_LAST, span] + 1 - counts
    t.ints[SEGMENT_BYTES, span] = [segment.size_bytes for segment in listed]
    t.ints[SEGMENT_ALIGNED, span] = [state.aligned_bytes(segment) for segment in listed]
    homes = t.ints[SEGMENT_HOME, span]
    homes[:] = [target.tier_index[segment.home] for segment in listed]
    t.ints[SEGMENT_GIVEN, span] = [segment.is_given for segment in listed]
    t.ints[SEGMENT_OUTPUT, span] = [segment.is_output for segment in listed]
    t.ints[SEGMENT_MUST, span] = [segment.must_be_fastest for segment in listed]
    steady = state.problem.steady_state
    t.ints[SEGMENT_LASTING, span] = [steady and segment.is_constant for segment in listed]
    accesses = slice(0, int(counts.sum()))
    owners = np.repeat(np.arange(len(listed)), counts)
    t.ints[ACCESS_SEGMENT, accesses] = t.ints[SLOT_SEGMENT, accesses] = owners
    t.ints[SLOT_BYTES, accesses] = t.ints[SEGMENT_BYTES, owners]
    t.ints[SLOT_ALIGNED, accesses] = t.ints[SEGMENT_ALIGNED, owners]


def _fill_transfers(t: Tables, state: ResidencyState, cost: Floats, *, joules: bool) -> None:
    """Rows of segments about their transfers, by home tier; all other rows are filled.

    Args:
        t: the tables.
        state: the problem.
        cost: from `linear_costs`.
        joules: the same as there.
    """
    target, fast = state.target, state.target.fastest
    homes = t.ints[SEGMENT_HOME, : len(movable(state))]
    for number, home in enumerate(target.tiers):
        own = np.flatnonzero(homes == number)
        for way, source, destination in ((FILL, home, fast), (SPILL, fast, home)):
            link = target.link(source.name, destination.name)
            t.ints[SEGMENT_LINK + way, own] = -1
            if link is None:
                continue
            rates = (source.read_bytes_per_s, destination.write_bytes_per_s)
            home_rate, fast_rate = rates if way == FILL else rates[::-1]
            row = RESOURCE + len(target.tiers) + target.links.index(link)
            t.ints[SEGMENT_LINK + way, own] = row
            t.floats[SEGMENT_HOME_RATE + way, own] = home_rate
            t.floats[SEGMENT_FAST_RATE + way, own] = fast_rate
            t.floats[SEGMENT_LINK_RATE + way, own] = link.bandwidth_bytes_per_s
            t.floats[SEGMENT_SETUP_S + way, own] = link.setup_s
            there, here = cost[number], cost[0]
            per_byte = there[0] + here[1] if way == FILL else here[0] + there[1]
            per_byte += link.energy_j_per_byte if joules and counts_joules(state.problem) else 0.0
            t.floats[SEGMENT_LINEAR + way, own] = t.ints[SEGMENT_BYTES, own] * per_byte


def _fill_accesses(t: Tables, state: ResidencyState, segments: list[int], cost: Floats) -> None:
    """Rows of the accesses of the segments of these indices, whose own rows are filled."""
    listed = [access for index in segments for access in state.segments[index].accesses]
    if not listed:
        return
    span = slice(0, len(listed))
    t.ints[ACCESS_STEP, span] = [access.step for access in listed]
    t.ints[ACCESS_READS, span] = [access.reads for access in listed]
    t.ints[ACCESS_WRITES, span] = [access.writes for access in listed]
    lasts = t.ints[SEGMENT_LAST, : len(segments)]
    wanted = t.ints[ACCESS_WANTED, span]
    wanted[:-1] = t.ints[ACCESS_READS, 1 : len(listed)]
    wanted[lasts] = t.ints[SEGMENT_OUTPUT, : len(segments)]
    owners, writes = t.ints[ACCESS_SEGMENT, span], t.ints[ACCESS_WRITES, span]
    last_write = np.maximum.accumulate(np.where(writes == 1, np.arange(len(listed)), -1))
    first = t.ints[SEGMENT_FIRST, owners]
    t.ints[ACCESS_LAST_WRITE, span] = np.where(last_write >= first, last_write, -1)
    sizes = np.array([(access.read_bytes, access.written_bytes) for access in listed])
    tiers = state.target.tiers
    rates = np.array([(tier.read_bytes_per_s, tier.write_bytes_per_s or np.inf) for tier in tiers])
    homes = t.ints[SEGMENT_HOME, owners]
    t.floats[ACCESS_HOME_S, span] = (sizes / rates[homes]).sum(axis=1)
    t.floats[ACCESS_FAST_S, span] = (sizes / rates[0]).sum(axis=1)
    t.floats[ACCESS_LINEAR, span] = (sizes * (cost[0] - cost[homes])).sum(axis=1)


def linear_costs(state: ResidencyState, *, joules: bool) -> Floats:
    """(M, 2) linear cost of a byte read and of a byte written in each tier.

    Joules where energy counts and `joules` asks for them; else 1 outside the fastest tier, 0 in it.
    """
    if joules and counts_joules(state.problem):
        rows = [(t.read_energy_j_per_byte, t.write_energy_j_per_byte) for t in state.target.tiers]
    else:
        rows = [(0.0, 0.0), *((1.0, 1.0) for _ in state.target.tiers[1:])]
    return np.array(rows, dtype=np.float64)


def counts_joules(problem: Problem) -> bool:
    """Whether the linear cost is in joules: energy is the objective, or blended with latency."""
    second = None if problem.blend is None else problem.blend.objective
    return "energy" in {problem.objective, second if problem.objective == "latency" else None}


def _weights(state: ResidencyState) -> tuple[float, float]:
    """Of seconds and of the linear cost in the objective."""
    if state.objective != "latency":
        return 0.0, 1.0
    blend = state.problem.blend
    if blend is not None:
        return 1.0, blend.weight
    return 1.0, TIE_BREAK / min(t.read_bytes_per_s for t in state.target.tiers)


def write_residency(t: Tables, slot: int, residency: SegmentResidency) -> None:
    """Write a residency into a slot, and put the slot on the list."""
    write_slot(t, slot, residency)
    live = int(t.state[COUNTS, LIVE])
    t.state[LISTED, live], t.state[SLOT_PLACE, slot] = slot, live
    t.state[COUNTS, LIVE] += 1


def write_slot(t: Tables, slot: int, residency: SegmentResidency) -> None:
    """Write a residency into a slot."""
    t.state[SLOT_START, slot], t.state[SLOT_READY, slot] = residency.start, residency.ready
    t.state[SLOT_END, slot], t.state[SLOT_OFFSET, slot] = residency.end, residency.offset
    for way, moves in ((FILL, residency.fill), (SPILL, residency.spill)):
        kept = shortened(moves)
        t.state[SLOT_MOVES + way, slot] = len(kept)
        for k, (step, size) in enumerate(kept):
            t.moves[2 * slot + way, k] = step
            t.moves[2 * slot + way, MAX_MOVES + k] = size


def shortened(moves: Moves) -> Moves:
    """At most MAX_MOVES moves: one takes the bytes of those in the middle."""
    if len(moves) <= MAX_MOVES:
        return moves
    half = MAX_MOVES // 2
    step, size = moves[half - 1]
    size += sum(more for _, more in moves[half:-half])
    return (*moves[: half - 1], (step, size), *moves[-half:])


def read_residency(t: Tables, slot: int, index: int) -> SegmentResidency:
    """The residency in a slot.

    Args:
        t: the tables.
        slot: where it is.
        index: of its segment in the problem.
    """

    def transfer(way: int) -> Moves:
        count, moves = int(t.state[SLOT_MOVES + way, slot]), t.moves[2 * slot + way]
        sizes = moves[MAX_MOVES : MAX_MOVES + count]
        return tuple(zip(moves[:count].tolist(), sizes.tolist(), strict=True))

    return SegmentResidency(
        segment=index,
        start=int(t.state[SLOT_START, slot]),
        ready=int(t.state[SLOT_READY, slot]),
        end=int(t.state[SLOT_END, slot]),
        fill=transfer(FILL),
        spill=transfer(SPILL),
        offset=int(t.state[SLOT_OFFSET, slot]),
    )
