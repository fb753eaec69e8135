"""`msa` in plain Python on a residency state: the reference of the compiled one."""

import math

import numpy as np

from tests.support.plain_moves import propose, room_bytes, spread
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import overhead_seconds
from ullage.solvers.heuristics.msa import MsaOptions
from ullage.solvers.packing.pack import pack
from ullage.solvers.state.address_map import AddressMap
from ullage.solvers.state.build_plan import SegmentResidency
from ullage.solvers.state.place import place_residencies
from ullage.solvers.state.residency_state import ResidencyState
from ullage.solvers.state.segments import segments_of
from ullage.solvers.state.span_lookup import UseSpan

Removed = list[tuple[int, int, SegmentResidency]]


def plain_msa(problem: Problem, options: MsaOptions) -> ResidencyState:
    """The residencies of memory-space assignment, with addresses."""
    state = ResidencyState(problem, segments_of(problem))
    place_residencies(state)
    assignment = _Assignment(state, options)
    queue = _by_memory_boundedness(state)
    for _ in range(options.sweeps):
        for index in queue:
            assignment.assign(index)
    return state


def _by_memory_boundedness(state: ResidencyState) -> list[int]:
    keys: list[tuple[float, float, int]] = []
    busy_time, fastest = state.busy_time, state.target.fastest.name
    for index, segment in enumerate(state.segments):
        if not segment.size_bytes or not segment.accesses or segment.home == fastest:
            continue
        lost = moved = 0.0
        home = state.target.tier(segment.home)
        for access in segment.accesses:
            seconds = access.read_bytes / home.read_bytes_per_s
            if access.written_bytes:
                seconds += access.written_bytes / home.write_bytes_per_s
            rest = float(busy_time.compute_s[access.step])
            for name, tier_s in busy_time.tier_s.items():
                own = seconds if name == segment.home else 0.0
                rest = max(rest, float(tier_s[access.step]) - own)
            if busy_time.exposed:
                fast = state.target.fastest
                near = access.read_bytes / fast.read_bytes_per_s
                if access.written_bytes:
                    near += access.written_bytes / fast.write_bytes_per_s
                unit_s = float(busy_time.unit_s[access.step])
                rest = max(rest, unit_s - busy_time.exposed * (seconds - near))
            for link_s in busy_time.link_s.values():
                rest = max(rest, float(link_s[access.step]))
            lost += max(0.0, float(busy_time.busy_s[access.step]) - rest)
            moved += access.read_bytes + access.written_bytes
        lifetime = segment.accesses[-1].step - segment.accesses[0].step + 1
        weight = math.sqrt(segment.size_bytes * lifetime)
        keys.append((-lost / weight, -moved / weight, index))
    return [index for _, _, index in sorted(keys)]


class _Assignment:
    """The decisions so far, with addresses."""

    def __init__(self, state: ResidencyState, options: MsaOptions) -> None:
        self.state, self.options = state, options
        self.overhead_s = overhead_seconds(state.problem)
        self.addresses = _Addresses(state, options.max_repacks)

    def assign(self, index: int) -> None:
        """Decide how each use of a segment is served, in program order."""
        segment = self.state.segments[index]
        position = 0
        while position < len(segment.accesses):
            span = self.state.span_of(index, position)
            access = segment.accesses[position]
            if span is None and access.reads:
                self._prefetch(index, position)
                span = self.state.span_of(index, position)
            if span is not None or not access.reads:
                span = self._no_copy(index, position, span) or span
            position = position + 1 if span is None else span[1] + 1

    def _no_copy(self, index: int, position: int, span: UseSpan | None) -> UseSpan | None:
        low, reached = span or (position, position)
        last = len(self.state.segments[index].accesses) - 1
        ends = list(range(last, reached, -1))
        if last - reached > self.options.max_run_ends:
            ends = [reached + ((last - reached) >> k) for k in range((last - reached).bit_length())]
        for high in ends:
            old = self.state.lookup.between(index, low, high)
            if not (old and old[-1][1] > high) and self._try(index, (low, high), old):
                return low, high
        return None

    def _try(self, index: int, span: UseSpan, old: list[UseSpan]) -> bool:
        state = self.state
        before = state.mark()
        removed = [(begin, *state.remove(index, begin)) for begin, _ in old]
        residency = propose(state, index, *span, self.options.spill_window_steps)
        if residency is not None and self._commit(index, span, residency, removed, before):
            return True
        for begin, end, kept in removed:
            state.add(index, begin, end, kept)
        return False

    def _commit(
        self,
        index: int,
        span: UseSpan,
        residency: SegmentResidency,
        removed: Removed,
        before: tuple[float, float],
    ) -> bool:
        state = self.state
        size = state.aligned_bytes(state.segments[index])
        if not state.fits(size, residency.start, residency.end):
            return False
        state.add(index, *span, residency)
        if state.improved_since(before) and self.addresses.place(index, span[0], removed):
            return True
        state.remove(index, span[0])
        return False

    def _prefetch(self, index: int, position: int) -> None:
        state = self.state
        before = state.mark()
        size = state.aligned_bytes(state.segments[index])
        for start in self._starts(index, position):
            if not state.fits(size, start, state.segments[index].accesses[position].step + 1):
                continue
            residency = self._prefetch_from(index, position, start)
            if residency is None or not state.fits(size, residency.start, residency.end):
                continue
            state.add(index, position, position, residency)
            helps = state.improved_since(before)
            if helps and self.addresses.place(index, position, []):
                return
            state.remove(index, position)
            if not helps:
                return

    def _starts(self, index: int, position: int) -> list[int]:
        state, options = self.state, self.options
        segment, target = state.segments[index], state.target
        link = target.link(segment.home, target.fastest.name)
        if link is None:
            return []
        rate = min(link.bandwidth_bytes_per_s, target.tier(segment.home).read_bytes_per_s)
        copy_s = link.setup_s + segment.size_bytes / rate
        use = segment.accesses[position].step
        window = slice(state.free_from(index, position), use)
        elapsed = (state.busy_time.busy_s[window] + self.overhead_s[window])[::-1].cumsum()
        ratios = elapsed / copy_s
        most_s = options.max_overlap_ratio * (link.setup_s + target.fastest.capacity_bytes / rate)
        allowed = np.flatnonzero((ratios >= options.min_overlap_ratio) & (elapsed <= most_s))
        with np.errstate(divide="ignore"):
            distance = np.abs(np.log(ratios[allowed] / options.preferred_overlap_ratio))
        nearest = allowed[np.argsort(distance, kind="stable")]
        return [use - 1 - int(back) for back in nearest[: options.max_prefetch_starts]]

    def _prefetch_from(self, index: int, position: int, start: int) -> SegmentResidency | None:
        state = self.state
        segment = state.segments[index]
        use = segment.accesses[position].step
        ends = (segment.home, state.target.fastest.name)
        room = room_bytes(state.busy_time, *ends, start, use)
        if int(room.sum()) < self.options.min_hidden_fraction * segment.size_bytes:
            return None
        fill = spread(state.busy_time, ends, segment.size_bytes, start, use, late=False)
        most = self.options.max_outstanding_prefetches
        if most and self._outstanding(fill) >= most:
            return None
        if position and fill[-1][0] < segment.accesses[position - 1].step:
            return None
        end = use + 1
        spill: tuple[tuple[int, int], ...] = ()
        if state.needs_spill(index, position, position):
            window = self.options.spill_window_steps
            proposed = propose(state, index, position, position, window)
            if proposed is None:
                return None
            spill, end = proposed.spill, proposed.end
        return SegmentResidency(index, fill[0][0], fill[-1][0] + 1, end, fill, spill)

    def _outstanding(self, fill: tuple[tuple[int, int], ...]) -> int:
        """Copies into fast memory that share a step with another one."""
        copies = [r for _, _, r in self.state.all_residencies() if r.fill]
        return sum(r.fill[0][0] <= fill[-1][0] and fill[0][0] < r.ready for r in copies)


class _Addresses:
    """Addresses in fast memory of all residencies of a state."""

    def __init__(self, state: ResidencyState, max_repacks: int) -> None:
        self.state, self.repacks_left = state, max_repacks
        workspace = max((s.workspace_bytes for s in state.problem.steps), default=0)
        self.capacity = state.target.fastest.capacity_bytes - workspace
        self.alignment = state.target.fastest.alignment_bytes
        self._map_all()

    def _map_all(self) -> None:
        self.map = AddressMap(self.capacity, self.alignment)
        self._rectangles: dict[tuple[int, int], int] = {}
        for first, _, residency in self.state.all_residencies():
            self._occupy(residency.segment, first, residency)

    def _occupy(self, index: int, first: int, residency: SegmentResidency) -> None:
        size = self.state.segments[index].size_bytes
        self._rectangles[index, first] = self.map.occupy(
            residency.start, residency.end, residency.offset, size
        )

    def place(self, index: int, first: int, removed: Removed) -> bool:
        """Address for a new residency: where it was, the best hole, or after repacking."""
        state = self.state
        size = state.segments[index].size_bytes
        _, residency = state.residencies[index][first]
        for begin, _, _ in removed:
            self.map.release(self._rectangles.pop((index, begin)))
        for _, _, kept in removed:
            if self.map.is_free(residency.start, residency.end, kept.offset, size):
                return self._settle(index, first, kept.offset)
        offset = self.map.find(residency.start, residency.end, size)
        if offset is not None:
            return self._settle(index, first, offset)
        if self._repack():
            return True
        for begin, _, kept in removed:
            self._occupy(index, begin, kept)
        return False

    def _settle(self, index: int, first: int, offset: int) -> bool:
        self.state.place(index, first, offset)
        self._occupy(index, first, self.state.residencies[index][first][1])
        return True

    def _repack(self) -> bool:
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
