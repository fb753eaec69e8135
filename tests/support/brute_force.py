"""The best plan of whole segments by trying them all, straight from docs/plan-semantics.md.

Each segment is walked through the steps on its own. Its state is what is in the fastest tier
(nothing, a fill that has brought some bytes, or the whole) and whether the home tier is current,
stale, or being filled by a spill. At every step all that DMA may do is tried, byte by byte. What
remains is a set of ways through the program, each with the bytes it takes in the fastest tier and
the seconds (or cost) that it charges; one way for each segment is then chosen by depth-first
search. Nothing here is shared with the model of `cpsat`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import compute_seconds, mac_energy_j, overhead_seconds
from ullage.solvers.state.segments import Access, Segment, segments_of

Floats = NDArray[np.float64]
ABSENT, READY = -1, 1 << 30  # in the fastest tier; between them: bytes of a fill that arrived
STALE, CURRENT = -1, 1 << 30  # at home; between them: bytes of a spill that arrived

Span = tuple[int, int]


@dataclass(frozen=True)
class _State:
    """Where a segment is at the beginning of a step."""

    fast: int
    fast_current: bool
    home: int
    since: int  # first step of the residency in the fastest tier
    spans: tuple[Span, ...]  # residencies that have ended


@dataclass(frozen=True)
class Way:
    """A way of a segment through the program.

    Attributes:
        load: (T,) bytes in the fastest tier.
        seconds: (R, T) of each tier's port, then each link.
        cost: bytes of slow traffic, or J.
        spans: residencies in the fastest tier.
    """

    load: NDArray[np.int64]
    seconds: Floats
    cost: float
    spans: tuple[Span, ...]


class Oracle:
    """Ways of all segments of a problem on two tiers, both of them home or fastest."""

    def __init__(self, problem: Problem, objective: str) -> None:
        target = problem.target
        self.problem, self.target, self.objective = problem, target, objective
        self.steps = len(problem.steps)
        self.fast, self.slow = target.tiers
        self.up = target.link(self.slow.name, self.fast.name)
        self.down = target.link(self.fast.name, self.slow.name)
        self.resources = len(target.tiers) + len(target.links) + 1  # the compute unit is the last
        self.segments = [a for a in segments_of(problem) if a.size_bytes and a.accesses]
        self.room = np.array(
            [self.fast.capacity_bytes - step.workspace_bytes for step in problem.steps]
        )

    def best(self, *, addresses: bool = False) -> float | None:
        """Value of the best plan in the objective's unit, None where there is none.

        Traffic counts all slow bytes, compulsory ones too. With `addresses` the plan must also
        have a place for every residency, else the sum of live bytes decides.
        """
        self.tracks = addresses
        ways = [self.ways(segment) for segment in self.segments]
        if not all(ways):
            return None
        order = sorted(range(len(ways)), key=lambda i: -len(ways[i]))
        self.found: float | None = None
        self._choose([ways[i] for i in order], order, [], addresses=addresses)
        return self.found

    # -- one segment ----------------------------------------------------------------------------

    def ways(self, segment: Segment) -> list[Way]:
        """All ways of a segment, without those that another beats in every respect."""
        accesses = {access.step: access for access in segment.accesses}
        home = CURRENT if segment.is_given else STALE
        zero = np.zeros((self.resources, self.steps))
        no_load = np.zeros(self.steps, dtype=np.int64)
        front: dict[_State, list[Way]] = {
            _State(ABSENT, False, home, 0, ()): [Way(no_load, zero, 0.0, ())]
        }
        for t in range(self.steps):
            following: dict[_State, list[Way]] = {}
            for state, partial in front.items():
                for after, charge, held, cost in self._moves(segment, state, t, accesses.get(t)):
                    for way in partial:
                        load = way.load.copy()
                        load[t] += segment.size_bytes * held
                        seconds = way.seconds.copy()
                        seconds[:, t] += charge
                        grown = Way(load, seconds, way.cost + cost, ())
                        following.setdefault(after, []).append(grown)
            front = {state: _undominated(found) for state, found in following.items()}
        done: list[Way] = []
        for state, found in front.items():
            if segment.is_output and state.home != CURRENT:
                continue
            if 0 <= state.home < CURRENT:
                continue
            spans = state.spans
            if self.tracks and state.fast != ABSENT:
                spans = (*spans, (state.since, self.steps))
            done += [Way(way.load, way.seconds, way.cost, spans) for way in found]
        return _undominated(done)

    def _moves(
        self, segment: Segment, state: _State, t: int, access: Access | None
    ) -> Iterator[tuple[_State, Floats, int, float]]:
        """(state after step t, seconds charged, in the fastest tier or not, cost)."""
        for start in self._starts(state, t, writes=access is not None and access.writes):
            for fast, home, charge, cost in self._dma(segment, start, access):
                used = self._operate(segment, start, fast, home, access)
                if used is None:
                    continue
                after, more, extra = used
                fast_after, current, home_after = after
                fast_after = READY if fast_after == segment.size_bytes else fast_after
                home_after = CURRENT if home_after == segment.size_bytes else home_after
                held = int(start.fast != ABSENT)
                yield (
                    _State(fast_after, current, home_after, start.since, start.spans),
                    charge + more,
                    held,
                    cost + extra,
                )

    def _starts(self, state: _State, t: int, *, writes: bool) -> Iterator[_State]:
        """Keep the residency, end it, begin one to be filled or to be written."""
        yield state
        spans = state.spans
        if state.fast != ABSENT:
            if state.fast != READY or 0 <= state.home < CURRENT:
                return  # a transfer is under way
            if self.tracks:
                spans = (*spans, (state.since, t))
            yield _State(ABSENT, False, state.home, 0, spans)
        since = t if self.tracks else 0
        if state.home == CURRENT:
            yield _State(0, True, state.home, since, spans)
        if writes:
            yield _State(READY, False, state.home, since, spans)

    def _dma(
        self, segment: Segment, state: _State, access: Access | None
    ) -> Iterator[tuple[int, int, Floats, float]]:
        nothing = np.zeros(self.resources)
        yield state.fast, state.home, nothing, 0.0
        writes = access is not None and access.writes
        if writes:
            return
        if 0 <= state.fast < READY and state.home == CURRENT and self.up is not None:
            for size in range(1, segment.size_bytes - state.fast + 1):
                charge, cost = self._transfer(up=True, size=size, first=state.fast == 0)
                yield state.fast + size, state.home, charge, cost
        if state.fast == READY and state.fast_current and self.down is not None:
            before = state.home if 0 <= state.home < CURRENT else 0
            if state.home != CURRENT:
                for size in range(1, segment.size_bytes - before + 1):
                    charge, cost = self._transfer(up=False, size=size, first=before == 0)
                    yield state.fast, before + size, charge, cost

    def _transfer(self, *, up: bool, size: int, first: bool) -> tuple[Floats, float]:
        link = self.up if up else self.down
        assert link is not None
        source, destination = (self.slow, self.fast) if up else (self.fast, self.slow)
        charge = np.zeros(self.resources)
        charge[self.target.tier_index[source.name]] += size / source.read_bytes_per_s
        charge[self.target.tier_index[destination.name]] += size / destination.write_bytes_per_s
        place = len(self.target.tiers) + self.target.links.index(link)
        charge[place] = size / link.bandwidth_bytes_per_s + (link.setup_s if first else 0.0)
        if self.objective == "traffic":
            return charge, float(size)
        energy = source.read_energy_j_per_byte + destination.write_energy_j_per_byte
        return charge, size * (energy + link.energy_j_per_byte)

    def _operate(
        self, segment: Segment, begun: _State, fast: int, home: int, access: Access | None
    ) -> tuple[tuple[int, bool, int], Floats, float] | None:
        """What the operator does to a segment; None where it must not."""
        charge = np.zeros(self.resources)
        current = begun.fast_current
        if access is None:
            return (fast, current, home), charge, 0.0
        inside = begun.fast == READY
        if inside:
            if access.reads and not current:
                return None
        elif segment.must_be_fastest or (access.reads and begun.home != CURRENT):
            return None
        if access.writes and inside:
            if 0 <= home < CURRENT:
                return None  # the spill's source changes under way
            current, home = True, STALE
        elif access.writes:
            if self.slow.read_only or fast != ABSENT:
                return None  # the fill's source changes under way
            home = CURRENT
        tier = self.fast if inside else self.slow
        seconds = access.read_bytes / tier.read_bytes_per_s
        seconds += access.written_bytes / tier.write_bytes_per_s if access.writes else 0.0
        charge[self.target.tier_index[tier.name]] = seconds
        charge[-1] = (1.0 - self.target.compute.overlap) * seconds
        if self.objective == "traffic":
            return (
                (fast, current, home),
                charge,
                (0.0 if inside else access.read_bytes + access.written_bytes),
            )
        cost = access.read_bytes * tier.read_energy_j_per_byte
        cost += access.written_bytes * tier.write_energy_j_per_byte
        return (fast, current, home), charge, cost

    # -- all segments ---------------------------------------------------------------------------

    def _value(self, ways: Sequence[Way]) -> float:
        if self.objective == "latency":
            compute, _ = compute_seconds(self.problem)
            seconds = np.zeros((self.resources, self.steps))
            for way in ways:
                seconds = seconds + way.seconds
            busiest = np.maximum(seconds[:-1].max(axis=0), compute + seconds[-1])
            return float(busiest.sum() + overhead_seconds(self.problem).sum())
        total = sum(way.cost for way in ways)
        if self.objective == "energy":
            total += mac_energy_j(self.problem)[0]
        return total

    def _choose(
        self,
        ways: Sequence[Sequence[Way]],
        order: Sequence[int],
        chosen: list[Way],
        *,
        addresses: bool,
    ) -> None:
        value = self._value(chosen)
        if self.found is not None and value >= self.found * (1 - 1e-12):
            return
        if len(chosen) == len(ways):
            sizes = [self.segments[i].size_bytes for i in order]
            if not addresses or self._has_addresses(chosen, sizes):
                self.found = value
            return
        load = np.array([way.load for way in chosen]).sum(axis=0) if chosen else 0
        fitting = [w for w in ways[len(chosen)] if bool((load + w.load <= self.room).all())]
        fitting.sort(key=lambda way: self._value([*chosen, way]))
        for way in fitting:
            self._choose(ways, order, [*chosen, way], addresses=addresses)

    def _has_addresses(self, chosen: Sequence[Way], sizes: Sequence[int]) -> bool:
        """Whether all residencies have a place, trying every order of pushing them down."""
        unit = self.fast.alignment_bytes
        blocks = [
            (span, size) for way, size in zip(chosen, sizes, strict=True) for span in way.spans
        ]

        def fits(placed: list[tuple[Span, int, int]], left: list[tuple[Span, int]]) -> bool:
            if not left:
                return True
            for i, ((start, end), size) in enumerate(left):
                top = int(self.room[start:end].min())
                beside = [p for p in placed if p[0][0] < end and start < p[0][1]]
                for low in sorted({0, *(-(-(o + s) // unit) * unit for _, o, s in beside)}):
                    clear = all(low + size <= o or o + s <= low for _, o, s in beside)
                    # A packing can be pushed down block by block in the order of addresses.
                    if (
                        clear
                        and low + size <= top
                        and low >= max((o for _, o, _ in placed), default=0)
                    ):
                        rest = left[:i] + left[i + 1 :]
                        if fits([*placed, ((start, end), low, size)], rest):
                            return True
                        break
            return False

        return fits([], blocks)


def _undominated(ways: Sequence[Way]) -> list[Way]:
    """Ways that no other beats in load, seconds and cost at every step."""
    kept: list[Way] = []
    rows = sorted(ways, key=lambda w: (float(w.seconds.sum()), int(w.load.sum()), w.cost))
    for way in rows:
        beaten = any(
            other.cost <= way.cost + 1e-18
            and bool((other.load <= way.load).all())
            and bool((other.seconds <= way.seconds + 1e-15).all())
            and all(any(a <= c and d <= b for a, b in way.spans) for c, d in other.spans)
            for other in kept
        )
        if not beaten:
            kept.append(way)
    return kept
