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
    CAPACITY,
    CHEAPEST,
    COUNTS,
    FILL,
    FLOAT_ROWS,
    IN_ORDER,
    INT_ROWS,
    LISTED,
    LIVE,
    MAX_MOVES,
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
    WEIGHTS,
    Tables,
)
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves, port_seconds
from ullage.solvers.state.residency_state import ResidencyState

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
        cheapest: see `CHEAPEST`.
    """

    slots: int = 0
    state_rows: int = 0
    second_rows: int = 0
    width: int = 0
    cheapest: bool = False


def movable(state: ResidencyState) -> list[int]:
    """Segments that can be decided about, by their index."""
    fastest = state.target.fastest.name
    return [
        index
        for index, segment in enumerate(state.segments)
        if segment.size_bytes and segment.accesses and segment.home != fastest
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
    accesses = sum(len(state.segments[index].accesses) for index in segments)
    slots = accesses + len(fixed) + needs.slots
    width = max(slots, state.steps, len(segments), needs.width, 16)
    t = Tables(
        ints=np.zeros((INT_ROWS, width), dtype=np.int64),
        floats=np.zeros((FLOAT_ROWS, width)),
        state=np.zeros((STATE_ROWS + needs.state_rows, width), dtype=np.int64),
        seconds=np.zeros((RESOURCE + tiers + links + needs.second_rows, width)),
        moves=np.zeros((2 * width, 2 * MAX_MOVES), dtype=np.int64),
    )
    fastest = state.target.fastest
    t.ints[SIZES, STEPS], t.ints[SIZES, ACCESSES] = state.steps, accesses
    t.ints[SIZES, SLOTS], t.ints[SIZES, TIERS] = slots, tiers
    t.ints[SIZES, RESOURCES] = tiers + links
    t.ints[SIZES, CHEAPEST] = needs.cheapest
    t.ints[SIZES, CAPACITY] = t.ints[SIZES, ADDRESSES] = fastest.capacity_bytes
    workspace = [step.workspace_bytes for step in state.problem.steps]
    t.ints[STEP_WORKSPACE, : state.steps] = workspace
    t.floats[STEP_COMPUTE_S, : state.steps] = state.busy_time.compute_s
    t.floats[WEIGHTS, :2] = _weights(state)
    cost = linear_costs(state)
    for number, index in enumerate(segments):
        _fill_segment(t, state, number, index, cost)
    _fill_order(t, accesses)
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


def _fill_segment(t: Tables, state: ResidencyState, number: int, index: int, cost: Floats) -> None:
    """Rows of a segment and of its accesses.

    Args:
        t: filled; segments before it are filled already.
        state: the problem.
        number: of the segment in the tables.
        index: of the segment in the problem.
        cost: from `linear_costs`.
    """
    segment, target = state.segments[index], state.target
    home, fast = target.tier(segment.home), target.fastest
    first = 0 if number == 0 else int(t.ints[SEGMENT_LAST, number - 1]) + 1
    last = first + len(segment.accesses) - 1
    home_cost = cost[target.tier_index[segment.home]]
    size = segment.size_bytes
    t.ints[SEGMENT_FIRST, number], t.ints[SEGMENT_LAST, number] = first, last
    t.ints[SEGMENT_BYTES, number] = size
    t.ints[SEGMENT_ALIGNED, number] = state.aligned_bytes(segment)
    t.ints[SEGMENT_HOME, number] = target.tier_index[segment.home]
    t.ints[SEGMENT_GIVEN, number] = segment.is_given
    t.ints[SEGMENT_OUTPUT, number] = segment.is_output
    t.ints[SEGMENT_MUST, number] = segment.must_be_fastest
    lasting = state.problem.steady_state and segment.kind == "weight"
    t.ints[SEGMENT_LASTING, number] = lasting
    for way, source, destination in ((FILL, home, fast), (SPILL, fast, home)):
        t.ints[SEGMENT_LINK + way, number] = -1
        link = target.link(source.name, destination.name)
        if link is None:
            continue
        rates = {source.name: source.read_bytes_per_s}
        rates[destination.name] = destination.write_bytes_per_s
        t.ints[SEGMENT_LINK + way, number] = RESOURCE + len(target.tiers) + target.links.index(link)
        t.floats[SEGMENT_HOME_RATE + way, number] = rates[home.name]
        t.floats[SEGMENT_FAST_RATE + way, number] = rates[fast.name]
        t.floats[SEGMENT_LINK_RATE + way, number] = link.bandwidth_bytes_per_s
        t.floats[SEGMENT_SETUP_S + way, number] = link.setup_s
        costs = (home_cost[0], cost[0][1]) if way == FILL else (cost[0][0], home_cost[1])
        per_byte = float(sum(costs))
        if counts_joules(state.problem):
            per_byte += link.energy_j_per_byte
        t.floats[SEGMENT_LINEAR + way, number] = size * per_byte
    span = slice(first, last + 1)
    t.ints[ACCESS_SEGMENT, span] = t.ints[SLOT_SEGMENT, span] = number
    t.ints[SLOT_BYTES, span] = size
    t.ints[SLOT_ALIGNED, span] = t.ints[SEGMENT_ALIGNED, number]
    t.ints[ACCESS_STEP, span] = [access.step for access in segment.accesses]
    t.ints[ACCESS_READS, span] = [access.reads for access in segment.accesses]
    t.ints[ACCESS_WRITES, span] = [access.writes for access in segment.accesses]
    is_read_later = [*(access.reads for access in segment.accesses[1:]), segment.is_output]
    t.ints[ACCESS_WANTED, span] = is_read_later
    last_write = -1
    for number_of_access, access in enumerate(segment.accesses, first):
        last_write = number_of_access if access.writes else last_write
        sizes_of_access = access.read_bytes, access.written_bytes
        t.ints[ACCESS_LAST_WRITE, number_of_access] = last_write
        t.floats[ACCESS_HOME_S, number_of_access] = port_seconds(home, *sizes_of_access)
        t.floats[ACCESS_FAST_S, number_of_access] = port_seconds(fast, *sizes_of_access)
    sizes = [(access.read_bytes, access.written_bytes) for access in segment.accesses]
    t.floats[ACCESS_LINEAR, span] = np.array(sizes, dtype=np.float64) @ (cost[0] - home_cost)


def _fill_order(t: Tables, accesses: int) -> None:
    """Accesses by step, those of one step by segment."""
    order = np.argsort(t.ints[ACCESS_STEP, :accesses], kind="stable")
    t.ints[IN_ORDER, :accesses] = order
    t.ints[ACCESS_RANK, order] = np.arange(accesses)


def linear_costs(state: ResidencyState) -> Floats:
    """(M, 2) linear cost of a byte read and of a byte written in each tier.

    Joules where energy counts; else 1 outside the fastest tier, 0 in it.
    """
    if counts_joules(state.problem):
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
    t.state[SLOT_START, slot], t.state[SLOT_READY, slot] = residency.start, residency.ready
    t.state[SLOT_END, slot], t.state[SLOT_OFFSET, slot] = residency.end, residency.offset
    for way, moves in ((FILL, residency.fill), (SPILL, residency.spill)):
        shortened = _shortened(moves)
        t.state[SLOT_MOVES + way, slot] = len(shortened)
        for k, (step, size) in enumerate(shortened):
            t.moves[2 * slot + way, k] = step
            t.moves[2 * slot + way, MAX_MOVES + k] = size
    live = int(t.state[COUNTS, LIVE])
    t.state[LISTED, live], t.state[SLOT_PLACE, slot] = slot, live
    t.state[COUNTS, LIVE] += 1


def _shortened(moves: Moves) -> Moves:
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
