"""Residency state of slices: cut while requests are accepted, counted in pages."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ullage.compiler.ir.problem import Problem
from ullage.solvers.fluid.slices.slicing import slice_of
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.busy_time import Moves
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import Segment


class SlicedResidencyState(ResidencyState):
    """Residency state of slices that can still be cut, counted in whole pages where there are any.

    Attributes:
        page_bytes: size of a page, 0 where memory is not divided into pages.
        grains_bytes: for each slice, bytes inside the buffer at whose multiples it may be cut; 0:
            it may not be.
        slices: the segments, cut further while requests are accepted.
        untouched: slices with residencies that continue in the next inference; they are left as
            they are.
    """

    def __init__(
        self,
        problem: Problem,
        segments: Sequence[Segment],
        page_bytes: int,
        grains_bytes: Sequence[int],
    ) -> None:
        self.page_bytes = page_bytes
        self.grains_bytes = list(grains_bytes)
        self.slices = list(segments)
        super().__init__(problem, self.slices)
        if page_bytes:  # pages have one size and place for all steps: so has the workspace above
            workspace = np.array([step.workspace_bytes for step in problem.steps], dtype=np.int64)
            self.load_bytes += workspace.max(initial=0) - workspace

    def split(self, index: int, excess_bytes: int) -> int | None:
        """Cut at least `excess_bytes` off the end of a slice without residencies.

        Returns:
            The new slice, None when nothing would be left (or it must not be cut).
        """
        segment, grain = self.slices[index], self.grains_bytes[index]
        if not grain:
            return None
        cut = (segment.end_byte - excess_bytes) // grain * grain
        if cut <= segment.start_byte:
            return None
        self.slices[index] = slice_of(segment, segment.start_byte, cut)
        self.slices.append(slice_of(segment, cut, segment.end_byte))
        self.grains_bytes.append(grain)
        self.residencies.append({})
        return len(self.slices) - 1

    def join(self, low: int, high: int) -> None:
        """Append the bytes of one slice to its neighbour below; neither has residencies."""
        one, two = self.slices[low], self.slices[high]
        accesses = tuple(
            replace(
                a,
                read_bytes=a.read_bytes + b.read_bytes,
                written_bytes=a.written_bytes + b.written_bytes,
            )
            for a, b in zip(one.accesses, two.accesses, strict=True)
        )
        self.slices[low] = replace(one, end_byte=two.end_byte, accesses=accesses)
        self.slices[high] = replace(two, start_byte=two.end_byte, accesses=())

    def drop(self, index: int, first: int) -> None:
        """Take a residency back: its operators go to the home tier, or it is fetched for each.

        Raises:
            LookupError: they cannot, and no loop-carried slice could make room instead.
        """
        if not self.slices[index].must_be_fastest or index in self.untouched:
            for begin in list(self.residencies[index]) if index in self.untouched else [first]:
                if begin in self.residencies[index]:
                    self.remove(index, begin)
            self.untouched.discard(index)
            if self.slices[index].must_be_fastest:
                self.add_singles(index)
        elif self.untouched:
            self.drop(min(self.untouched), 0)
        else:
            raise LookupError(index)

    def cut_loop_carried(self, missing_bytes: int, start: int, end: int) -> int | None:
        """Keep fewer bytes from one inference to the next where that frees pages for [start, end).

        Pages to which a slice comes back at the end of the inference are free before, but not for
        what lasts beyond that step. Of the smallest slice with enough of them, bytes are cut off.

        Returns:
            The slice that was cut off, or the whole one; None where no slice comes back then.
        """
        candidates = [
            (self.aligned_bytes(self.slices[index]), index)
            for index in self.untouched
            if any(
                start < residency.start < end and residency.end == self.steps
                for _, residency in self.residencies[index].values()
            )
        ]
        if not candidates:
            return None
        enough = [candidate for candidate in candidates if candidate[0] >= missing_bytes]
        _, index = min(enough) if enough else max(candidates)
        return self.keep_less(index, missing_bytes)

    def keep_less(self, index: int, missing_bytes: int) -> int:
        """Cut bytes off a slice that is kept from one inference to the next.

        They have no residencies then, but for those that operators cannot do without.

        Returns:
            The slice that was cut off, or the whole one where less than that cannot be cut.
        """
        kept = self.lift(index)
        self.untouched.discard(index)
        rest = self.split(index, missing_bytes)
        if rest is None:
            rest = index
        else:
            size = self.slices[index].size_bytes
            for first, last, residency in kept:
                fill = tuple((step, size) for step, _ in residency.fill)
                spill = tuple((step, size) for step, _ in residency.spill)
                self.add(index, first, last, replace(residency, fill=fill, spill=spill))
            self.untouched.add(index)
        if self.slices[rest].must_be_fastest:
            self.add_singles(rest)
        return rest

    def cut_off(self, index: int, size_bytes: int) -> int | None:
        """Cut at least so many bytes off a slice; they lose what residencies they can.

        Returns:
            The new slice; None where the slice cannot be cut so.
        """
        kept = self.lift(index)
        rest = self.split(index, size_bytes)
        size = self.slices[index].size_bytes
        for first, last, residency in kept:
            fill, spill = _first_bytes(residency.fill, size), _first_bytes(residency.spill, size)
            ready = fill[-1][0] + 1 if fill else residency.ready
            shorter = replace(residency, ready=ready, fill=fill, spill=spill)
            self.add(index, first, last, shorter)
        if rest is not None and self.slices[rest].must_be_fastest:
            self.add_singles(rest)
        return rest

    def lift(self, index: int) -> list[tuple[int, int, SegmentResidency]]:
        """Take all residencies of a slice away; (first access, last access, residency) of each."""
        return [(first, *self.remove(index, first)) for first in sorted(self.residencies[index])]

    def add_singles(self, index: int) -> None:
        """The shortest residencies for all accesses of a slice that have none."""
        for access in range(len(self.slices[index].accesses)):
            if self.span_of(index, access) is None:
                self.add_single(index, access)

    def aligned_bytes(self, segment: Segment) -> int:
        """Bytes of the pages that a segment touches; pages begin at multiples inside the buffer."""
        if not self.page_bytes:
            return super().aligned_bytes(segment)
        first, last = segment.start_byte // self.page_bytes, -(-segment.end_byte // self.page_bytes)
        return (last - first) * self.page_bytes


def _first_bytes(moves: Moves, size_bytes: int) -> Moves:
    """The moves of the first bytes of a transfer, which moves its slice in address order."""
    kept: list[tuple[int, int]] = []
    for step, size in moves:
        part = min(size, size_bytes)
        if part:
            kept.append((step, part))
        size_bytes -= part
    return tuple(kept)
