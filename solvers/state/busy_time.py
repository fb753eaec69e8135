"""Busy time: seconds that compute, tiers and links are busy at each step, kept up to date.

Solvers use it to see what a decision costs before they take it; the score that counts is
`ullage.hwmodels.cost`'s, of the finished plan.
"""

from collections.abc import MutableSequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Tier
from ullage.hwmodels.cost import compute_seconds
from ullage.hwmodels.resources import resources

# (step, bytes moved in it) of a transfer, ascending by step.
Moves = tuple[tuple[int, int], ...]


class BusyTime:
    """Busy seconds by step, of a plan under construction; T is the number of steps.

    Attributes:
        compute_s: (T,) roofline of the compute unit.
        unit_s: (T,) the same, and the time in which operands' accesses keep it from computing.
        exposed: portion of the time of operands' accesses that does.
        tier_s: tier name -> (T,) seconds that its port is busy.
        link_s: (source, destination) -> (T,) seconds that the link is busy.
        busy_s: (T,) roofline of all of them, without the operators' overhead.
        total_s: sum of `busy_s`.
        slow_bytes: bytes read and written outside the fastest tier.
    """

    def __init__(self, problem: Problem) -> None:
        target = problem.target
        self.target = target
        steps = len(problem.steps)
        self.compute_s: NDArray[np.float64] = compute_seconds(problem)[0]
        self.exposed = resources(problem).exposed
        self.unit_s = self.compute_s.copy() if self.exposed else self.compute_s
        self.tier_s: dict[str, NDArray[np.float64]] = {
            tier.name: np.zeros(steps) for tier in target.tiers
        }
        self.link_s: dict[tuple[str, str], NDArray[np.float64]] = {
            (link.source, link.destination): np.zeros(steps) for link in target.links
        }
        self.busy_s: NDArray[np.float64] = self.compute_s.copy()
        self.total_s = float(self.busy_s.sum())
        self.slow_bytes = 0.0
        self._fastest = target.fastest.name
        # One step is read and written through these, several times faster than numpy's scalars.
        self._busy = _cells(self.busy_s)
        self._tier = {name: _cells(seconds) for name, seconds in self.tier_s.items()}
        self._link = {ends: _cells(seconds) for ends, seconds in self.link_s.items()}
        self._unit = _cells(self.unit_s)
        self._all = [self._unit, *self._tier.values(), *self._link.values()]
        self._rates = {
            tier.name: (tier.read_bytes_per_s, tier.write_bytes_per_s) for tier in target.tiers
        }

    def _touch(self, step: int) -> None:
        """Bring the roofline of a step up to date."""
        busy = max([seconds[step] for seconds in self._all])
        self.total_s += busy - self._busy[step]
        self._busy[step] = busy

    def add_operand(self, tier: str, step: int, read_bytes: float, written_bytes: float) -> None:
        """An operator reads and writes bytes in a tier (negative: no longer)."""
        read_rate, write_rate = self._rates[tier]
        seconds = read_bytes / read_rate
        if written_bytes:
            seconds += written_bytes / write_rate
        self._tier[tier][step] += seconds
        if self.exposed:
            self._unit[step] += self.exposed * seconds
        if tier != self._fastest:
            self.slow_bytes += read_bytes + written_bytes
        self._touch(step)

    def operand_seconds(self, tier: str, read_bytes: float, written_bytes: float) -> float:
        """Seconds of a tier's port for an operator's access."""
        return port_seconds(self.target.tier(tier), read_bytes, written_bytes)

    def add_moves(self, source: str, destination: str, moves: Moves, sign: int = 1) -> None:
        """Add the time of a transfer (sign -1: take it away), its set-up at its first move."""
        link = self.target.link(source, destination)
        if link is None:
            raise KeyError((source, destination))
        read_s = sign / self.target.tier(source).read_bytes_per_s
        write_s = sign / self.target.tier(destination).write_bytes_per_s
        link_s = sign / link.bandwidth_bytes_per_s
        slow = sign * ((source != self._fastest) + (destination != self._fastest))
        from_s, to_s = self._tier[source], self._tier[destination]
        over_s = self._link[source, destination]
        setup = sign * link.setup_s
        for step, size in moves:
            from_s[step] += size * read_s
            to_s[step] += size * write_s
            over_s[step] += size * link_s + setup
            setup = 0.0
            self.slow_bytes += size * slow
            self._touch(step)


def _cells(seconds: NDArray[np.float64]) -> MutableSequence[float]:
    """A view of the same memory, of which an element reads and writes as a Python float."""
    return cast("MutableSequence[float]", seconds.data)


def port_seconds(tier: Tier, read_bytes: float, written_bytes: float) -> float:
    """Seconds that reading and writing keep a tier's port busy."""
    seconds = read_bytes / tier.read_bytes_per_s
    return seconds + (written_bytes / tier.write_bytes_per_s if written_bytes else 0.0)


def byte_price(problem: Problem) -> float:
    """What a byte to or from slow tiers is worth in seconds, in a blend with latency; else 0.

    Joules count by what a byte read at the slowest tier costs more than in the fastest one.
    """
    tiers = problem.target.tiers
    saved_j = tiers[-1].read_energy_j_per_byte - tiers[0].read_energy_j_per_byte
    if problem.objective != "latency":
        return 0.0
    return problem.weight_of("traffic") + problem.weight_of("energy") * max(0.0, saved_j)
