"""The state of a game: residencies in the fastest tier, busy seconds, and the cursor.

tables of the engine                     behind them, the game's own
slots  0 .. E - 1 | residents, R     |   three trial slots
rows   of the engine                 |   decisions, forced drops, two lists, the memory map
"""

from dataclasses import dataclass

import numpy as np

from ullage.compiler.common.arrays import Floats, Ints
from ullage.rl_agent.env.game_instance import GameInstance
from ullage.solvers.engine.tables import (
    ACCESS_SLOT,
    ACCESSES,
    ADDRESSES,
    BUSY_S,
    COUNTS,
    CURSOR,
    DECISIONS,
    LINEAR,
    LIVE,
    MAX_MOVES,
    NOWHERE,
    RESOURCE,
    REWINDS,
    SIZES,
    SLOT_LAST,
    SLOTS,
    STATE_ROWS,
    STEP_BUSY,
    STEP_LOAD,
    STEPS,
    TIERS,
    TOTALS,
    UNIT,
    Tables,
)
from ullage.solvers.state.decisions import copy_costs
from ullage.solvers.state.engine_tables import Needs, tables_of, write_residency

__all__ = ["BUSY_S", "CURSOR", "DECISIONS", "NOWHERE", "RECTANGLES", "REWINDS", "SLOW_BYTES"]

# Most steps over which one transfer is spread.
MOVES = MAX_MOVES
# Rows of the memory map: shares of the fastest tier's addresses.
ADDRESS_CELLS = 16
# Slots for the residencies of actions that are tried.
TRIAL_SLOTS = 3

# Fields of `State.counts` and of `State.total`, with the game's names: slots with an address, and
# bytes read and written outside the fastest tier.
RECTANGLES = LIVE
SLOW_BYTES = LINEAR

# Rows behind those of the engine. Of `Tables.state`: the decision about each access in program
# order (-1: none yet), by access 1 where drop-backup has forced DROP, and two lists for trials.
DECISION, ACCESS_FORCED, REMOVED, REMOVED_LAST = range(STATE_ROWS, STATE_ROWS + 4)
GAME_ROWS = 4
# Of `Tables.seconds`, behind the resources: ADDRESS_CELLS rows of bytes taken by share of the
# addresses and step.


@dataclass(frozen=True, slots=True)
class State:
    """A game of E accesses, R residents, T steps, M tiers and L links.

    It has N = E + R + 3 slots, of which the last three are for trials.

    Attributes:
        tables: the engine's, which moves change. The properties are views of them.
    """

    tables: Tables

    def _by_slot(self, row: int) -> Ints:
        return self.tables.state[row, : self.tables.ints[SIZES, SLOTS]]

    def _seconds(self, low: int, high: int) -> Floats:
        return self.tables.seconds[low:high, : self.tables.ints[SIZES, STEPS]]

    @property
    def tier_s(self) -> Floats:
        """(M, T) busy seconds of each tier's port."""
        return self._seconds(RESOURCE, RESOURCE + int(self.tables.ints[SIZES, TIERS]))

    @property
    def link_s(self) -> Floats:
        """(L, T) busy seconds of each link."""
        low = RESOURCE + int(self.tables.ints[SIZES, TIERS])
        unit = int(self.tables.ints[SIZES, UNIT])
        return self._seconds(low, unit if unit >= 0 else len(self.tables.seconds) - ADDRESS_CELLS)

    @property
    def unit_s(self) -> Floats | None:
        """(T,) seconds of a compute unit that accesses operands itself; None: DMA feeds it."""
        unit = int(self.tables.ints[SIZES, UNIT])
        return None if unit < 0 else self._seconds(unit, unit + 1)[0]

    @property
    def map_bytes(self) -> Floats:
        """(ADDRESS_CELLS, T) bytes taken by share of the addresses and step."""
        rows = len(self.tables.seconds)
        return self._seconds(rows - ADDRESS_CELLS, rows)

    @property
    def busy_s(self) -> Floats:
        """(T,) roofline of tiers, links and compute."""
        return self.tables.seconds[STEP_BUSY, : self.tables.ints[SIZES, STEPS]]

    @property
    def load_bytes(self) -> Ints:
        """(T,) live bytes in the fastest tier, aligned, workspace included."""
        return self.tables.state[STEP_LOAD, : self.tables.ints[SIZES, STEPS]]

    @property
    def total(self) -> Floats:
        """(2,) sum of `busy_s`; bytes read and written outside the fastest tier."""
        return self.tables.seconds[TOTALS, :2]

    @property
    def counts(self) -> Ints:
        """(4,) slots with an address, cursor, rewinds, decisions so far."""
        return self.tables.state[COUNTS, :4]

    @property
    def residency_of(self) -> Ints:
        """(E,) slot of the residency that covers an access, -1 for none."""
        return self.tables.state[ACCESS_SLOT, : self.tables.ints[SIZES, ACCESSES]]

    @property
    def actions(self) -> Ints:
        """(E,) decision about each access, in program order, -1 for none."""
        return self.tables.state[DECISION, : self.tables.ints[SIZES, ACCESSES]]

    @property
    def last(self) -> Ints:
        """(N,) last access of the residency in a slot, -1 where there is none."""
        return self._by_slot(SLOT_LAST)


def start_of(instance: GameInstance) -> State:
    """The state before the first move: the plan of `all-slow`, residents with their addresses."""
    initial = instance.residency_state
    needs = Needs(slots=TRIAL_SLOTS, state_rows=GAME_ROWS, second_rows=ADDRESS_CELLS)
    t = tables_of(initial, needs)
    t.ints[SIZES, ADDRESSES] = instance.arrays.address_bytes
    t.state[DECISION] = -1
    copy_costs(t, initial)
    state = State(t)
    _put_residencies(instance, state)
    return state


def _put_residencies(instance: GameInstance, state: State) -> None:
    """Write the residencies before the first move into their slots, and fill the memory map."""
    arrays, t = instance.arrays, state.tables
    for number, index in enumerate(instance.playable):
        begin = int(arrays.segment_first[number])
        for first, (last, residency) in instance.residency_state.residencies[index].items():
            slot = begin + first
            write_residency(t, slot, residency)
            t.state[SLOT_LAST, slot] = begin + last
            t.state[ACCESS_SLOT, slot : begin + last + 1] = slot
    for residencies in instance.residency_state.residencies:
        for _, residency in residencies.values():
            low = residency.offset
            high = low + instance.segments[residency.segment].size_bytes
            for cell in range(ADDRESS_CELLS):
                floor = cell * arrays.capacity_bytes // ADDRESS_CELLS
                roof = (cell + 1) * arrays.capacity_bytes // ADDRESS_CELLS
                covered = max(0, min(high, roof) - max(low, floor))
                state.map_bytes[cell, residency.start : residency.end] += covered


def copy_of(state: State) -> State:
    """A copy that can be played on its own; the arrays that no move changes are shared."""
    t = state.tables
    return State(Tables(t.ints, t.floats, t.state.copy(), np.array(t.seconds), np.array(t.moves)))
