"""Addresses of `msa`: the old one, else best fit, else everything repacked."""

from dataclasses import replace

import numpy as np

from ullage.solvers.packing.pack import pack
from ullage.solvers.state.address_map import AddressMap
from ullage.solvers.state.build_plan import Stay
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.span_lookup import Run


class Addresses:
    """Addresses in fast memory of all stays of an occupancy.

    Attributes:
        map: what is taken, by step and address.
        repacks_left: how often everything may still be moved.
    """

    def __init__(self, occupancy: Occupancy, max_repacks: int) -> None:
        self.occupancy = occupancy
        self.repacks_left = max_repacks
        fastest = occupancy.target.fastest
        workspace = max((s.workspace_bytes for s in occupancy.problem.steps), default=0)
        self.capacity = fastest.capacity_bytes - workspace
        self.alignment = fastest.alignment_bytes
        self._map_all()

    def _map_all(self) -> None:
        """A fresh address map of all stays."""
        self.map = AddressMap(self.capacity, self.alignment)
        self._rectangles: dict[tuple[int, int], int] = {}
        for first, _, stay in self.occupancy.all_stays():
            self._occupy(stay.atom, first, stay)

    def _occupy(self, index: int, first: int, stay: Stay) -> None:
        size = self.occupancy.atoms[index].size_bytes
        self._rectangles[index, first] = self.map.occupy(stay.start, stay.end, stay.offset, size)

    def place(self, index: int, run: Run, removed: list[tuple[int, int, Stay]]) -> bool:
        """Address for a stay just added: where it was, else the best hole, else after repacking."""
        occupancy = self.occupancy
        size = occupancy.atoms[index].size_bytes
        _, stay = occupancy.stays[index][run[0]]
        for begin, _, _ in removed:
            self.map.release(self._rectangles.pop((index, begin)))
        for _, _, kept in removed:
            if self.map.is_free(stay.start, stay.end, kept.offset, size):
                return self._settle(index, run[0], kept.offset)
        offset = self.map.find(stay.start, stay.end, size)
        if offset is not None:
            return self._settle(index, run[0], offset)
        if self._repack():
            return True
        for begin, _, kept in removed:
            self._occupy(index, begin, kept)
        return False

    def _settle(self, index: int, first: int, offset: int) -> bool:
        last, stay = self.occupancy.stays[index][first]
        placed = replace(stay, offset=offset)
        self.occupancy.stays[index][first] = (last, placed)
        self._occupy(index, first, placed)
        return True

    def _repack(self) -> bool:
        """New addresses for everything, the newcomer included."""
        if self.repacks_left <= 0:
            return False
        self.repacks_left -= 1
        listed = self.occupancy.all_stays()
        packing = pack(
            np.array([s.start for _, _, s in listed], dtype=np.int64),
            np.array([s.end for _, _, s in listed], dtype=np.int64),
            np.array(
                [self.occupancy.atoms[s.atom].size_bytes for _, _, s in listed], dtype=np.int64
            ),
            alignment_bytes=self.alignment,
            capacity_bytes=self.capacity,
        )
        if packing.peak_bytes > self.capacity:
            return False
        for (first, _, stay), offset in zip(listed, packing.offsets, strict=True):
            self.occupancy.place(stay.atom, first, int(offset))
        self._map_all()
        return True
