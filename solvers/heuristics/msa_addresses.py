"""Addresses of `msa`: where the segment was before, else best fit, else everything repacked."""

from dataclasses import replace

import numpy as np

from ullage.solvers.packing.pack import pack
from ullage.solvers.state.address_map import AddressMap
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.span_lookup import UseSpan


class Addresses:
    """Addresses in fast memory of all residencies of a state.

    Attributes:
        map: rectangles of steps and addresses that are taken.
        repacks_left: how often all addresses may still be given anew.
    """

    def __init__(self, state: ResidencyState, max_repacks: int) -> None:
        self.state = state
        self.repacks_left = max_repacks
        fastest = state.target.fastest
        workspace = max((s.workspace_bytes for s in state.problem.steps), default=0)
        self.capacity = fastest.capacity_bytes - workspace
        self.alignment = fastest.alignment_bytes
        self._map_all()

    def _map_all(self) -> None:
        """A fresh address map of all residencies."""
        self.map = AddressMap(self.capacity, self.alignment)
        self._rectangles: dict[tuple[int, int], int] = {}
        for first, _, residency in self.state.all_residencies():
            self._occupy(residency.segment, first, residency)

    def _occupy(self, index: int, first: int, residency: SegmentResidency) -> None:
        """Enter a residency into the map."""
        size = self.state.segments[index].size_bytes
        self._rectangles[index, first] = self.map.occupy(
            residency.start, residency.end, residency.offset, size
        )

    def place(
        self, index: int, span: UseSpan, removed: list[tuple[int, int, SegmentResidency]]
    ) -> bool:
        """Address for a new residency: where it was, the best hole, or after repacking."""
        state = self.state
        size = state.segments[index].size_bytes
        _, residency = state.residencies[index][span[0]]
        for begin, _, _ in removed:
            self.map.release(self._rectangles.pop((index, begin)))
        for _, _, kept in removed:
            if self.map.is_free(residency.start, residency.end, kept.offset, size):
                return self._settle(index, span[0], kept.offset)
        offset = self.map.find(residency.start, residency.end, size)
        if offset is not None:
            return self._settle(index, span[0], offset)
        if self._repack():
            return True
        for begin, _, kept in removed:
            self._occupy(index, begin, kept)
        return False

    def _settle(self, index: int, first: int, offset: int) -> bool:
        """Give a residency its address; returns True."""
        last, residency = self.state.residencies[index][first]
        placed = replace(residency, offset=offset)
        self.state.residencies[index][first] = (last, placed)
        self._occupy(index, first, placed)
        return True

    def _repack(self) -> bool:
        """New addresses for all residencies, the new one included."""
        if self.repacks_left <= 0:
            return False
        self.repacks_left -= 1
        listed = self.state.all_residencies()
        packing = pack(
            np.array([s.start for _, _, s in listed], dtype=np.int64),
            np.array([s.end for _, _, s in listed], dtype=np.int64),
            np.array(
                [self.state.segments[s.segment].size_bytes for _, _, s in listed], dtype=np.int64
            ),
            alignment_bytes=self.alignment,
            capacity_bytes=self.capacity,
        )
        if packing.peak_bytes > self.capacity:
            return False
        for (first, _, residency), offset in zip(listed, packing.offsets, strict=True):
            self.state.place(residency.segment, first, int(offset))
        self._map_all()
        return True
