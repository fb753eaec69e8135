"""Addresses of `msa`: where the segment was before, else best fit, else everything repacked."""

import numpy as np

from ullage.compiler.common.arrays import Ints
from ullage.solvers.engine.tables import (
    ACCESS_SEGMENT,
    ACCESSES,
    SIZES,
    SLOT_BYTES,
    SLOT_END,
    SLOT_LAST,
    SLOT_OFFSET,
    SLOT_START,
    SLOTS,
    Tables,
)
from ullage.solvers.heuristics.msa_search import LIFTED, LIFTED_SLOTS, LOW
from ullage.solvers.packing.pack import pack
from ullage.solvers.state.address_map import AddressMap
from ullage.solvers.state.engine_tables import movable, residents
from ullage.solvers.state.residency_state import ResidencyState


class Addresses:
    """Addresses in fast memory of all residencies in tables.

    Attributes:
        map: rectangles of steps and addresses that are taken.
        repacks_left: how often all addresses may still be given anew.
    """

    def __init__(self, state: ResidencyState, t: Tables, max_repacks: int) -> None:
        """Enter all residencies of the tables; they have addresses."""
        self.tables = t
        self.repacks_left = max_repacks
        fastest = state.target.fastest
        workspace = max((s.workspace_bytes for s in state.problem.steps), default=0)
        self.capacity = fastest.capacity_bytes - workspace
        self.alignment = fastest.alignment_bytes
        self.trial = int(t.ints[SIZES, SLOTS]) - 1
        accesses = int(t.ints[SIZES, ACCESSES])
        indices = np.array([*movable(state), *residents(state)], dtype=np.int64)
        owner = t.ints[ACCESS_SEGMENT, : self.trial].copy()
        owner[accesses:] = np.arange(len(indices) - self.trial + accesses, len(indices))
        # Of each slot, the index of its segment in the problem; then all slots in its order.
        self._in_order = np.argsort(indices[owner], kind="stable")
        self._first_fixed = accesses
        self._map_all(self._taken())

    def _taken(self) -> Ints:
        """Slots with a residency, by segment."""
        slots = self._in_order
        has = (self.tables.state[SLOT_LAST, slots] >= 0) | (slots >= self._first_fixed)
        taken: Ints = slots[has]
        return taken

    def _map_all(self, slots: Ints) -> None:
        """A fresh address map of the residencies in some slots."""
        self.map = AddressMap(self.capacity, self.alignment)
        self._rectangles: dict[int, int] = {}
        for slot in slots.tolist():
            self._occupy(slot, slot)

    def _occupy(self, slot: int, source: int) -> None:
        """Enter the residency in slot `source` into the map, as that of another one."""
        start, end, offset = self.tables.state[[SLOT_START, SLOT_END, SLOT_OFFSET], source].tolist()
        size = int(self.tables.ints[SLOT_BYTES, slot])
        self._rectangles[slot] = self.map.occupy(start, end, offset, size)

    def place(self, cursor: Ints) -> bool:
        """Address for the residency in the trial slot: where it was, the best hole, or repacked.

        Args:
            cursor: says where it will be kept, and which residencies it replaces.
        """
        t, slot = self.tables, int(cursor[LOW])
        start, end = t.state[[SLOT_START, SLOT_END], self.trial].tolist()
        size = int(t.ints[SLOT_BYTES, slot])
        lifted = t.state[LIFTED_SLOTS, : cursor[LIFTED]].tolist()
        for old in lifted:
            self.map.release(self._rectangles.pop(old))
        for old in lifted:
            offset = int(t.state[SLOT_OFFSET, old])
            if self.map.is_free(start, end, offset, size):
                return self._settle(slot, offset)
        hole = self.map.find(start, end, size)
        if hole is not None:
            return self._settle(slot, hole)
        if self._repack(slot, lifted):
            return True
        for old in lifted:
            self._occupy(old, old)
        return False

    def _settle(self, slot: int, offset: int) -> bool:
        """Give the residency in the trial slot its address; returns True."""
        self.tables.state[SLOT_OFFSET, self.trial] = offset
        self._occupy(slot, self.trial)
        return True

    def _repack(self, slot: int, lifted: list[int]) -> bool:
        """New addresses for all residencies, that in the trial slot included.

        Args:
            slot: where it will be kept.
            lifted: slots of the residencies that it replaces.
        """
        if self.repacks_left <= 0:
            return False
        self.repacks_left -= 1
        t = self.tables
        kept = np.isin(self._in_order, self._taken()) & ~np.isin(self._in_order, lifted)
        slots = self._in_order[kept | (self._in_order == slot)]
        sources = np.where(slots == slot, self.trial, slots)
        packing = pack(
            t.state[SLOT_START, sources],
            t.state[SLOT_END, sources],
            t.ints[SLOT_BYTES, slots],
            alignment_bytes=self.alignment,
            capacity_bytes=self.capacity,
        )
        if packing.peak_bytes > self.capacity:
            return False
        t.state[SLOT_OFFSET, sources] = packing.offsets
        self._map_all(slots[slots != slot])
        self._occupy(slot, self.trial)
        return True
