"""The value of dropped gaps in a fraction of a millisecond: Belady's rule for parts of tensors.

The arithmetic is that of `joint_surrogate`: gaps between uses are closed in the order of what that
saves per byte and step, as far as memory goes. Idle time of the link fetches for later steps, and
stores what earlier ones made. Every
execution of an operator writes a new item, so that what is computed again begins anew. Candidates
are ranked by it, never accepted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.scheduling.recompute.copies import DROPPED, KEPT, STAYS, GapOf, RecomputeFacts

if TYPE_CHECKING:  # importing the kernels imports numba
    from ullage.solvers.scheduling.recompute.kernels import Figures, Given, Listed, Rates

# By access KEPT, DROPPED or STAYS.
Flags = NDArray[np.uint8]
# Executions of operators at most, in multiples of those of a schedule without repetitions.
MOST_TIMES = 8


@dataclass(frozen=True)
class RecomputeSurrogate:
    """Figures of a graph on a target, from which any set of dropped gaps is valued.

    Attributes:
        facts: the graph in its order; N operators, R results.
        capacity_bytes: capacity of the fastest tier.
        compute_s: (N,) compute time of each operator; zero where time is not minimised.
        scratch_bytes: (N,) workspace.
        read_s: seconds per byte of reading from the home of results.
        write_s: seconds per byte of writing there.
        given_bytes: sizes of what is read and never written.
        given_read_s: seconds of reading each from its home.
        given_reads: for each operator which of these it reads.
        exposed: portion of the time at home in which operators cannot compute; all of that counts
            as in place.
    """

    facts: RecomputeFacts
    capacity_bytes: int
    compute_s: Floats
    scratch_bytes: Floats
    read_s: float
    write_s: float
    given_bytes: Floats
    given_read_s: Floats
    given_reads: tuple[tuple[int, ...], ...]
    exposed: float = 0.0

    def value(self, gone: Flags, running: Ints | None = None) -> float:
        """Seconds of the schedule that drops results in gaps; of slow traffic alone for others.

        Args:
            gone: KEPT, DROPPED or STAYS for the gap behind each access, by its number in `flag_of`.
            running: operators that write, as they run once; default the order of the facts.
        """
        from ullage.solvers.scheduling.recompute.kernels import seconds

        order = self.running if running is None else running
        return float(seconds(order, *self.arguments, gone, MOST_TIMES))

    @cached_property
    def running(self) -> Ints:
        """The operators that write, in the order of the facts."""
        facts = self.facts
        return np.array([i for i in facts.order if facts.writes[i]], dtype=np.int64)

    @cached_property
    def arguments(self) -> "tuple[Listed, Given, Figures, Rates]":
        """The kernel's arguments without the order and the flags of gaps."""
        facts = self.facts
        listed = (
            *_listed(facts.reads),
            *_listed(facts.writes),
            np.array([result.producer for result in facts.results], dtype=np.int64),
            np.array([len(result.places) for result in facts.results], dtype=np.int64),
            np.array([result.is_output for result in facts.results], dtype=np.uint8),
            *_listed(facts.overwritten),
        )
        given = *_listed(self.given_reads), self.given_bytes, self.given_read_s
        sizes = np.array([result.size_bytes for result in facts.results], dtype=np.float64)
        rates = self.read_s, self.write_s, float(self.capacity_bytes), self.exposed
        return listed, given, (sizes, self.compute_s, self.scratch_bytes), rates

    @cached_property
    def accesses(self) -> dict[tuple[int, int], int]:
        """(operator, result) -> number of the access: all reads by operator, then all writes."""
        facts = self.facts
        pairs = chain(
            ((o, result) for o, read in enumerate(facts.reads) for result in read),
            ((o, result) for o, written in enumerate(facts.writes) for result in written),
        )
        return {pair: number for number, pair in enumerate(pairs)}

    def flag_of(self, gap: GapOf) -> int:
        """Number of the access that a gap is behind."""
        place = self.facts.results[gap.result].places[gap.number]
        return self.accesses[self.facts.order[place], gap.result]

    def flags_of(self, dropped: Iterable[GapOf]) -> Flags:
        """(all accesses) KEPT, DROPPED or STAYS, for a set."""
        flags = np.full(len(self.accesses), KEPT, dtype=np.uint8)
        for gap in dropped:
            flags[self.flag_of(gap)] = STAYS if gap.stays else DROPPED
        return flags

    def dropped(self, flags: Flags, facts: RecomputeFacts) -> frozenset[GapOf]:
        """The set of flags, for the graph in some order."""
        gone: list[GapOf] = []
        for gap in facts.gaps:
            result = facts.results[gap.result]
            flag = flags[self.accesses[facts.order[result.places[gap.number]], gap.result]]
            if flag != KEPT:
                is_last = gap.number == len(result.places) - 1
                gone.append(replace(gap, stays=is_last and bool(flag == STAYS)))
        return frozenset(gone)


def surrogate_of(facts: RecomputeFacts, problem: Problem) -> RecomputeSurrogate:
    """Prepare the surrogate.

    Args:
        facts: the graph in its order.
        problem: operators whole, in that order, on the target.
    """
    target = problem.target
    count = len(facts.graph.operators)
    compute, scratch = [0.0] * count, [0] * count
    seconds = compute_seconds(problem)[0].tolist()
    given: dict[int, int] = {}
    sizes: list[float] = []
    times: list[float] = []
    given_reads: list[tuple[int, ...]] = [()] * count
    for step, time_s in zip(problem.steps, seconds, strict=True):
        if step.operator < 0:
            continue
        compute[step.operator] = time_s if problem.objective == "latency" else 0.0
        scratch[step.operator] = step.workspace_bytes
        read: list[int] = []
        for use in step.uses:
            buffer = problem.buffers[use.buffer]
            if use.write or buffer.kind not in ("input", "weight") or not use.accessed_bytes:
                continue
            if use.buffer not in given:
                given[use.buffer] = len(sizes)
                sizes.append(float(use.accessed_bytes))
                rate = target.home(buffer.kind).read_bytes_per_s
                times.append(use.accessed_bytes / rate)
            read.append(given[use.buffer])
        given_reads[step.operator] = tuple(dict.fromkeys(read))
    home = target.home("activation")
    return RecomputeSurrogate(
        facts=facts,
        capacity_bytes=target.fastest.capacity_bytes,
        compute_s=np.array(compute),
        scratch_bytes=np.array(scratch, dtype=np.float64),
        read_s=1.0 / home.read_bytes_per_s,
        write_s=0.0 if home.read_only else 1.0 / home.write_bytes_per_s,
        given_bytes=np.array(sizes, dtype=np.float64),
        given_read_s=np.array(times, dtype=np.float64),
        given_reads=tuple(given_reads),
        exposed=target.compute.exposed if problem.objective == "latency" else 0.0,
    )


def _listed(lists: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Lists one behind the other: where each begins, and their numbers."""
    first = np.array([0, *accumulate(map(len, lists))], dtype=np.int64)
    return first, np.array([*chain.from_iterable(lists)], dtype=np.int64)
