"""Decisions between a residency state and the engine's tables, with what they cost.

t = decisions_of(state, Needs(slots=1))     a search changes the tables
read_decisions(state, t)                    the state has the decisions of the tables
"""

from dataclasses import replace

from ullage.compiler.common.arrays import Floats
from ullage.solvers.engine.tables import (
    ACCESS_SLOT,
    ACCESSES,
    BUSY_S,
    LINEAR,
    MAX_MOVES,
    REACH,
    RESOURCE,
    SEGMENT_FIRST,
    SEGMENT_LAST,
    SIZES,
    SLOT_LAST,
    SLOT_OFFSET,
    STEP_BUSY,
    STEP_LOAD,
    TOTALS,
    Tables,
)
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.engine_tables import (
    Needs,
    movable,
    read_residency,
    residents,
    shortened,
    tables_of,
    write_slot,
)
from ullage.solvers.state.residency_state import ResidencyState


def copy_costs(t: Tables, state: ResidencyState) -> None:
    """Busy seconds, linear cost and live bytes of a state, instead of nothing."""
    busy_time, steps = state.busy_time, state.steps
    for row, seconds in enumerate(_seconds_of(state), RESOURCE):
        t.seconds[row, :steps] = seconds
    t.seconds[STEP_BUSY, :steps] = busy_time.busy_s
    t.seconds[TOTALS, [BUSY_S, LINEAR]] = busy_time.total_s, busy_time.slow_bytes
    t.state[STEP_LOAD, :steps] = state.load_bytes


def _seconds_of(state: ResidencyState) -> list[Floats]:
    """(T,) busy seconds of tiers, links and a unit with a row, in the order of the tables' rows."""
    busy_time, target = state.busy_time, state.target
    rows = [busy_time.tier_s[tier.name] for tier in target.tiers]
    rows += [busy_time.link_s[link.source, link.destination] for link in target.links]
    return [*rows, busy_time.unit_s] if busy_time.exposed else rows


def decisions_of(state: ResidencyState, needs: Needs) -> Tables:
    """Tables with the decisions of a state and their costs; addresses and lists are left out.

    Transfers of more than MAX_MOVES moves are shortened, in the state, too.
    """
    for index, spans in enumerate(state.residencies):
        for first, (last, residency) in list(spans.items()):
            if max(len(residency.fill), len(residency.spill)) > MAX_MOVES:
                state.remove(index, first)
                fill, spill = shortened(residency.fill), shortened(residency.spill)
                state.add(index, first, last, replace(residency, fill=fill, spill=spill))
    t = tables_of(state, needs)
    copy_costs(t, state)
    farthest = needs.window
    for number, index in enumerate(movable(state)):
        base = int(t.ints[SEGMENT_FIRST, number])
        accesses = state.segments[index].accesses
        for first, (last, residency) in state.residencies[index].items():
            write_slot(t, base + first, residency)
            t.state[SLOT_LAST, base + first] = base + last
            t.state[ACCESS_SLOT, base + first : base + last + 1] = base + first
            ahead = accesses[first].step - residency.start
            farthest = max(farthest, ahead, residency.end - accesses[last].step)
    t.ints[SIZES, REACH] = farthest
    return t


def read_decisions(state: ResidencyState, t: Tables) -> None:
    """The decisions in tables, and their costs, become those of the state; none has an address.

    Args:
        state: from which the tables were made by `decisions_of`; is changed.
        t: the tables.
    """
    steps = state.steps
    for row, seconds in enumerate(_seconds_of(state), RESOURCE):
        seconds[:] = t.seconds[row, :steps]
    busy_time = state.busy_time
    busy_time.busy_s[:] = t.seconds[STEP_BUSY, :steps]
    busy_time.total_s, busy_time.slow_bytes = t.seconds[TOTALS, [BUSY_S, LINEAR]].tolist()
    state.load_bytes[:] = t.state[STEP_LOAD, :steps]
    for number, index in enumerate(movable(state)):
        first, last = t.ints[[SEGMENT_FIRST, SEGMENT_LAST], number].tolist()
        spans: dict[int, tuple[int, SegmentResidency]] = {}
        for position, end in enumerate(t.state[SLOT_LAST, first : last + 1].tolist()):
            if end >= 0:
                spans[position] = (end - first, read_residency(t, first + position, index))
        state.residencies[index] = spans
    state.look_anew()


def read_resident_addresses(state: ResidencyState, t: Tables) -> None:
    """What lives in the fastest tier gets the addresses that a repacking gave it in the tables.

    Args:
        state: from which the tables were made by `decisions_of`; is changed.
        t: the tables.
    """
    accesses = int(t.ints[SIZES, ACCESSES])
    for slot, index in enumerate(residents(state), accesses):
        offset = int(t.state[SLOT_OFFSET, slot])
        state.residencies[index] = {
            first: (last, replace(residency, offset=offset))
            for first, (last, residency) in state.residencies[index].items()
        }
