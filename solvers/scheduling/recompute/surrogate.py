"""The value of dropped gaps in milliseconds: Belady's rule for parts of tensors, on a schedule.

The arithmetic is that of `joint_surrogate`: gaps between uses are closed in the order of what that
saves per byte and step, as far as memory goes, and idle time of the link helps later steps. Every
execution of an operator writes a new item, so that what is computed again begins anew. Candidates
are ranked by it, never accepted.
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.scheduling.joint_surrogate import OrderSurrogate
from ullage.solvers.scheduling.recompute.copies import GapOf, RecomputeFacts, parts_of


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
    """

    facts: RecomputeFacts
    capacity_bytes: int
    compute_s: tuple[float, ...]
    scratch_bytes: tuple[int, ...]
    read_s: float
    write_s: float
    given_bytes: tuple[float, ...]
    given_read_s: tuple[float, ...]
    given_reads: tuple[tuple[int, ...], ...]

    def value(self, dropped: Collection[GapOf]) -> float:
        """Seconds of the schedule that drops results in gaps; of slow traffic alone for others."""
        order = parts_of(self.facts, dropped)
        results, reads, writes = self.facts.results, self.facts.reads, self.facts.writes
        users: list[list[int]] = []
        sizes: list[float] = []
        read_s: list[float] = []
        write_s: list[float] = []
        written: list[bool] = []
        kept: list[bool] = []
        current = [-1] * len(results)
        given = [-1] * len(self.given_bytes)

        def item(size: float, read: float, write: float, *, is_written: bool) -> int:
            users.append([])
            sizes.append(size)
            read_s.append(read)
            write_s.append(write)
            written.append(is_written)
            kept.append(False)
            return len(users) - 1

        for place, operator in enumerate(order):
            for name in self.given_reads[operator]:
                if given[name] < 0:
                    size = self.given_bytes[name]
                    given[name] = item(size, self.given_read_s[name], 0.0, is_written=False)
                users[given[name]].append(place)
            for result in reads[operator]:
                users[current[result]].append(place)
            for result in writes[operator]:
                size = float(max(1, results[result].size_bytes))
                times = size * self.read_s, size * self.write_s
                current[result] = item(size, *times, is_written=True)
                users[current[result]].append(place)
        for index, one in enumerate(results):
            kept[current[index]] = one.is_output
        at = np.array(order, dtype=np.int64)
        first = np.cumsum([0, *map(len, users)], dtype=np.int64)
        figures = OrderSurrogate(
            capacity_bytes=self.capacity_bytes,
            compute_s=np.array(self.compute_s)[at],
            fixed_s=np.zeros(len(order)),
            scratch_bytes=np.array(self.scratch_bytes, dtype=np.float64)[at],
            first=first,
            users=np.array([user for one in users for user in one], dtype=np.int64),
            size_bytes=np.array(sizes),
            read_s=np.array(read_s),
            write_s=np.array(write_s),
            written=np.array(written, dtype=np.bool_),
            kept=np.array(kept, dtype=np.bool_),
        )
        return figures.value(range(len(order)))


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
        compute_s=tuple(compute),
        scratch_bytes=tuple(scratch),
        read_s=1.0 / home.read_bytes_per_s,
        write_s=0.0 if home.read_only else 1.0 / home.write_bytes_per_s,
        given_bytes=tuple(sizes),
        given_read_s=tuple(times),
        given_reads=tuple(given_reads),
    )
