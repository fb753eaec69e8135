"""The best plan on a chain of tiers by trying all, straight from docs/plan-semantics.md.

Operators reach the first tier only, everything lives in the last, links join neighbours. Whole
segments of a byte or two, each written at most once. Every segment is walked through the steps by
itself: in each, copies end, operators access or write, and DMA moves bytes into copies that grow,
one transfer a copy. What remains is a set of ways, each with the bytes it takes in every tier and
the seconds it charges; one way for each segment is chosen by depth-first search. Nothing here is
shared with a solver.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.solvers.state.segments import Access, Segment, segments_of

Floats = NDArray[np.float64]
ABSENT, READY = -1, 99  # of a tier's copy; between them: bytes of it that have arrived

# For each tier: how much of the copy is there, and the tier that DMA fills it from (-1: none).
State = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Way:
    """A way of a segment: (M, T) bytes in tiers, (M + L + 1, T) seconds of ports, links, unit."""

    load: NDArray[np.int64]
    seconds: Floats


class ChainOracle:
    """Ways of all segments of a problem on a chain of tiers; the objective is latency."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.target = problem, problem.target
        self.tiers, self.steps = len(self.target.tiers), len(problem.steps)
        self.rows = self.tiers + len(self.target.links) + 1  # the compute unit is the last
        self.segments = [s for s in segments_of(problem) if s.size_bytes and s.accesses]
        sizes = [tier.capacity_bytes for tier in self.target.tiers]
        self.room = np.repeat(np.array(sizes)[:, None], self.steps, axis=1)
        self.room[0] -= np.array([step.workspace_bytes for step in problem.steps])
        self.links = {
            (self.target.tier_index[link.source], self.target.tier_index[link.destination]): i
            for i, link in enumerate(self.target.links)
        }
        self.compute_s = compute_seconds(problem)[0]

    def best(self) -> float | None:
        """Latency of the best plan in seconds; None where there is none."""
        ways = [self.ways(segment) for segment in self.segments]
        if not all(ways):
            return None
        self.found: float | None = None
        zero = Way(np.zeros_like(self.room), np.zeros((self.rows, self.steps)))
        self._choose(sorted(ways, key=len), zero)
        return None if self.found is None else self.found

    def _value(self, seconds: Floats) -> float:
        longest = np.maximum(seconds[:-1].max(axis=0), self.compute_s + seconds[-1])
        return float(longest.sum() + overhead_seconds(self.problem).sum())

    def _choose(self, ways: Sequence[Sequence[Way]], taken: Way) -> None:
        value = self._value(taken.seconds)
        if self.found is not None and value >= self.found * (1 - 1e-12):
            return
        if not ways:
            self.found = value
            return
        fitting = [
            Way(taken.load + way.load, taken.seconds + way.seconds)
            for way in ways[0]
            if bool((taken.load + way.load <= self.room).all())
        ]
        for following in sorted(fitting, key=lambda way: self._value(way.seconds)):
            self._choose(ways[1:], following)

    # -- one segment ----------------------------------------------------------------------------

    def ways(self, segment: Segment) -> list[Way]:
        """All ways of a segment, without those that another beats in every respect."""
        accesses = {access.step: access for access in segment.accesses}
        home = self.tiers - 1
        nothing: State = ((ABSENT, -1),) * self.tiers
        first = (*nothing[:home], (READY, -1)) if segment.is_given else nothing
        empty = Way(np.zeros_like(self.room), np.zeros((self.rows, self.steps)))
        front: dict[State, list[Way]] = {first: [empty]}
        for t in range(self.steps):
            following: dict[State, list[Way]] = {}
            for state, partial in front.items():
                for after, held, charges in self._moves(segment, state, accesses.get(t)):
                    for way in partial:
                        load, seconds = way.load.copy(), way.seconds.copy()
                        load[list(held), t] += segment.size_bytes
                        for row, busy_s in charges:
                            seconds[row, t] += busy_s
                        following.setdefault(after, []).append(Way(load, seconds))
            front = {state: _undominated(found) for state, found in following.items()}
        done: list[Way] = []
        for state, found in front.items():
            growing = any(0 <= there < READY for there, _ in state)
            if not growing and (not segment.is_output or state[home][0] == READY):
                done += found
        return _undominated(done)

    def _moves(
        self, segment: Segment, state: State, access: Access | None
    ) -> Iterator[tuple[State, tuple[int, ...], list[tuple[int, float]]]]:
        """(state after a step, tiers that hold a copy, seconds charged by row)."""
        for begun in self._begun(state):
            charges: list[tuple[int, float]] = []
            held = tuple(m for m in range(self.tiers) if begun[m][0] != ABSENT)
            if access is not None and access.writes:
                assert all(there == ABSENT for there, _ in state)
                written = segment.size_bytes / self.target.tiers[0].write_bytes_per_s
                if all(there == ABSENT for there, _ in begun):
                    after = ((READY, -1), *begun[1:])
                    yield after, (0,), self._accessed(written)
                continue
            if access is not None:
                if begun[0][0] != READY:
                    continue
                read = access.read_bytes / self.target.tiers[0].read_bytes_per_s
                charges = self._accessed(read)
            growing = [m for m in range(self.tiers) if 0 <= begun[m][0] < READY]
            left = [range(segment.size_bytes - begun[m][0] + 1) for m in growing]
            for sizes in product(*left):
                after_list, more = list(begun), list(charges)
                for m, size in zip(growing, sizes, strict=True):
                    there, source = begun[m]
                    if size:
                        more += self._transfer(source, m, size, starts=there == 0)
                        full = there + size == segment.size_bytes
                        after_list[m] = (READY, -1) if full else (there + size, source)
                yield tuple(after_list), held, more

    def _accessed(self, seconds: float) -> list[tuple[int, float]]:
        """What an operator's access in the fastest tier keeps busy: its port, and the unit."""
        return [(0, seconds), (self.rows - 1, (1.0 - self.target.compute.overlap) * seconds)]

    def _begun(self, state: State) -> Iterator[State]:
        """States in which copies have ended, and others begin to be filled."""
        choices: list[list[tuple[int, int]]] = []
        sources = {source for _, source in state if source >= 0}
        for m, (there, source) in enumerate(state):
            options = [(there, source)]
            if there == READY and m not in sources:
                options.append((ABSENT, -1))
            if there in {ABSENT, READY} and m not in sources:
                near = [n for n in (m - 1, m + 1) if 0 <= n < self.tiers]
                if there == ABSENT:
                    options += [(0, n) for n in near if state[n][0] == READY]
            choices.append(options)
        for chosen in product(*choices):
            if all(source < 0 or chosen[source][0] == READY for _, source in chosen):
                yield chosen

    def _transfer(
        self, source: int, to: int, size: int, *, starts: bool
    ) -> list[tuple[int, float]]:
        link = self.links[source, to]
        spec, tiers = self.target.links[link], self.target.tiers
        busy_s = size / spec.bandwidth_bytes_per_s + (spec.setup_s if starts else 0.0)
        return [
            (source, size / tiers[source].read_bytes_per_s),
            (to, size / tiers[to].write_bytes_per_s),
            (self.tiers + link, busy_s),
        ]


def _undominated(ways: Sequence[Way]) -> list[Way]:
    """Ways that no other beats in bytes and seconds at every step."""
    kept: list[Way] = []
    for way in sorted(ways, key=lambda w: (float(w.seconds.sum()), int(w.load.sum()))):
        beaten = any(
            bool((other.load <= way.load).all())
            and bool((other.seconds <= way.seconds + 1e-15).all())
            for other in kept
        )
        if not beaten:
            kept.append(way)
    return kept
