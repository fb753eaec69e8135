"""Seconds, bytes and joules as whole numbers for CP-SAT, rounded so that bounds stay bounds.

Every rounding makes the model's cost at most the real one: coefficients of non-negative variables
and constants are rounded down. Only the elapsed time of a step, a whole number of ticks, may be
up to one tick above the real one in the image of a real plan; `LatencyCost.bound_s` takes that
off.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target, Tier
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.hwmodels.resources import resources

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

# Relative distance within which a figure is the whole number next to it.
EXACT = 1e-9
# Relative error of all rounding together, taken off a claimed bound.
RELATIVE_ERROR = 2e-8
# Share of the longest sensible latency that rounding to ticks may cost the bound.
ROUNDING_SHARE = 1e-7
# Ticks per byte of the slowest link at most, as a power of two.
MAX_TICKS_PER_BYTE_LOG2 = 24
# Bits of a rate that is no simple fraction of a tick.
FINE_LOG2 = 23
# Factors that are tried to make rates whole numbers of ticks per byte.
SMALL_SCALES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 16, 20, 24, 25, 30, 32, 48, 50, 64, 100, 128, 256)
# Largest time of a row in ticks: coarser ticks are taken where figures lie further apart.
MAX_TICKS = 2**48
# Largest number in a row; CP-SAT computes in signed 64-bit integers.
MAX_NUMBER = 2**61
# Number of units at most that a traffic or energy cost is counted in.
COST_UNITS = 2**44

# Name of a tier, for its port, (source, destination) of a link, or the compute unit.
Resource = str | tuple[str, str]
# The compute unit, where operands keep it from computing; no tier has an empty name.
UNIT = ""


def whole(value: float) -> int:
    """The value rounded down; the nearest whole number where it differs by a rounding error."""
    nearest = round(value)
    return nearest if abs(value - nearest) <= EXACT * max(1.0, abs(value)) else math.floor(value)


def _largest(variable: Any) -> int:  # noqa: ANN401 - a variable of CP-SAT
    """The largest value that a variable may have."""
    return int(max(variable.proto.domain))  # as intervals; it takes no negative index


@dataclass
class _Row:
    """Seconds that a resource is busy in a step: a constant, and terms (variable, seconds)."""

    constant: float = 0.0
    terms: list[tuple[Any, float]] = field(default_factory=list)


class LatencyCost:
    """The latency: the sum over steps of the busiest resource's seconds.

    Attributes:
        tick_s: seconds of a tick.
        elapsed: variable of each step that has a choice.
    """

    def __init__(self, problem: Problem, horizon_s: float) -> None:
        target = problem.target
        self.target = target
        self.steps = len(problem.steps)
        self.horizon_s = horizon_s
        self.compute_s = compute_seconds(problem)[0]
        self.exposed = resources(problem).exposed
        self.overhead_s = float(overhead_seconds(problem).sum())
        speeds = [link.bandwidth_bytes_per_s for link in target.links]
        slowest = 1.0 / min(speeds or [tier.read_bytes_per_s for tier in target.tiers])
        wanted = self.steps * slowest / (ROUNDING_SHARE * max(horizon_s, 1e-30))
        finer = min(MAX_TICKS_PER_BYTE_LOG2, max(0, math.ceil(math.log2(max(wanted, 1.0)))))
        self.tick_s: float = slowest / 2**finer
        self.rows: dict[tuple[Resource, int], _Row] = {}
        self.elapsed: dict[int, Any] = {}
        self.scale: dict[Resource, int] = {}
        for step, seconds in enumerate(self.compute_s) if self.exposed else ():
            self._row(UNIT, step).constant = float(seconds)

    def _choose_scales(self) -> None:
        """Set the tick and the factor of each resource so that every row stays in 64 bits.

        Where figures of a target lie so far apart that this costs precision, coefficients are
        rounded down further: the model's cost is still at most the real one.
        """
        largest_s = self.horizon_s
        for row in self.rows.values():
            terms = (abs(seconds) * _largest(variable) for variable, seconds in row.terms)
            largest_s = max(largest_s, abs(row.constant) + sum(terms))
        self.tick_s = max(self.tick_s, largest_s / MAX_TICKS)
        most = int(MAX_NUMBER / max(largest_s / self.tick_s + self.steps + 1, 1.0))
        for tier in self.target.tiers:
            rates = [tier.read_bytes_per_s] + ([] if tier.read_only else [tier.write_bytes_per_s])
            self.scale[tier.name] = min(self._scale_of(rates), most)
        rates = [tier.read_bytes_per_s for tier in self.target.tiers]
        self.scale[UNIT] = min(self._scale_of(rates), most)
        for link in self.target.links:
            scale = self._scale_of([link.bandwidth_bytes_per_s])
            self.scale[link.source, link.destination] = min(scale, most)

    def _scale_of(self, rates: Sequence[float]) -> int:
        """A factor that makes the ticks per byte of these rates (bytes/s) nearly whole numbers."""
        ticks = [1.0 / (rate * self.tick_s) for rate in rates]
        for scale in SMALL_SCALES:
            if all(abs(t * scale - round(t * scale)) <= EXACT * t * scale for t in ticks):
                return scale
        return max(1, math.ceil((1 << FINE_LOG2) / min(ticks)))

    def _row(self, resource: Resource, step: int) -> _Row:
        return self.rows.setdefault((resource, step), _Row())

    def access(
        self, tier: Tier, step: int, read: float, written: float, variable: object = None
    ) -> None:
        """An operator reads and writes bytes in a tier, where a variable is given only if it is 1.

        Negative bytes take back what was charged as a constant.
        """
        seconds = read / tier.read_bytes_per_s
        seconds += written / tier.write_bytes_per_s if written else 0.0
        rows = [(self._row(tier.name, step), seconds)]
        if self.exposed:
            rows.append((self._row(UNIT, step), self.exposed * seconds))
        for row, busy_s in rows:
            if variable is None:
                row.constant += busy_s
            elif busy_s:
                row.terms.append((variable, busy_s))

    def move(self, way: tuple[str, str], step: int, variable: object, bytes_each: int) -> None:
        """A variable, times some bytes, goes over the link from one tier to another."""
        source, destination = way
        link = self.target.link(*way)
        assert link is not None  # noqa: S101 - callers ask first
        for resource, rate in (
            (source, self.target.tier(source).read_bytes_per_s),
            (destination, self.target.tier(destination).write_bytes_per_s),
            (way, link.bandwidth_bytes_per_s),
        ):
            self._row(resource, step).terms.append((variable, bytes_each / rate))

    def set_up(self, way: tuple[str, str], step: int, variable: object, sign: int) -> None:
        """A transfer starts where the variable is 1 (with sign -1: it had started before)."""
        link = self.target.link(*way)
        if link is not None and link.setup_s:
            self._row(way, step).terms.append((variable, sign * link.setup_s))

    def finish(self, model: "cp_model.CpModel") -> None:
        """Add the rows and the objective to the model."""
        self._choose_scales()
        self.least = least = [whole(seconds / self.tick_s) for seconds in self.compute_s]
        for (_, step), row in self.rows.items():
            if not row.terms:
                least[step] = max(least[step], whole(row.constant / self.tick_s))
        horizon = math.ceil(self.horizon_s / self.tick_s) + self.steps + 1
        for (resource, step), row in self.rows.items():
            if not row.terms:
                continue
            if step not in self.elapsed:
                high = max(horizon, least[step])
                self.elapsed[step] = model.new_int_var(least[step], high, "")
            scale = self.scale[resource]
            factor = scale / self.tick_s
            model.add(
                scale * self.elapsed[step]
                >= sum(whole(seconds * factor) * variable for variable, seconds in row.terms)
                + whole(row.constant * factor)
            )
        self.constant = sum(ticks for t, ticks in enumerate(least) if t not in self.elapsed)
        model.minimize(sum(self.elapsed.values()) + self.constant)

    def hints(self, values: dict[int, int]) -> dict[int, int]:
        """Ticks of each step for values of all other variables by index."""
        hinted: dict[int, int] = {}
        for (resource, step), row in self.rows.items():
            if row.terms:
                variable = self.elapsed[step]
                factor = self.scale[resource] / self.tick_s
                total = whole(row.constant * factor)
                total += sum(whole(s * factor) * values.get(v.index, 0) for v, s in row.terms)
                ticks = -(-total // self.scale[resource])
                hinted[variable.index] = max(hinted.get(variable.index, self.least[step]), ticks)
        return hinted

    def value(self, ticks: float) -> float:
        """Seconds of a solution."""
        return ticks * self.tick_s + self.overhead_s

    def bound(self, ticks: float) -> float:
        """A lower bound of all plans in seconds, when `ticks` is one of the model."""
        real = max(0.0, math.ceil(ticks - 0.5) - len(self.elapsed)) * self.tick_s
        return real * (1 - RELATIVE_ERROR) + self.overhead_s


class LinearCost:
    """The objective traffic or energy: bytes times a weight of each tier and link."""

    def __init__(self, target: Target, objective: str, constant: float) -> None:
        self.target = target
        self.constant = constant
        fastest = target.fastest.name
        if objective == "traffic":
            self.read = {t.name: float(t.name != fastest) for t in target.tiers}
            self.written = dict(self.read)
            self.over = {(k.source, k.destination): 1.0 for k in target.links}
        else:
            self.read = {t.name: t.read_energy_j_per_byte for t in target.tiers}
            self.written = {t.name: t.write_energy_j_per_byte for t in target.tiers}
            self.over = {
                (k.source, k.destination): k.energy_j_per_byte
                + self.read[k.source]
                + self.written[k.destination]
                for k in target.links
            }
        self.rounds_keys = objective == "traffic"
        self.terms: list[tuple[Any, float]] = []
        self.is_whole = True
        self.unit = 1.0

    def access(
        self, tier: Tier, step: int, read: float, written: float, variable: object = None
    ) -> None:
        """As `LatencyCost.access`; the step does not matter."""
        del step
        cost = read * self.read[tier.name] + written * self.written[tier.name]
        if variable is None:
            self.constant += cost
        elif cost:
            self.terms.append((variable, cost))

    def transfer(self, way: tuple[str, str], variable: object, size: int) -> None:
        """A whole segment goes over the link from one tier to another where the variable is 1."""
        self.terms.append((variable, size * self.over[way]))

    def finish(self, model: "cp_model.CpModel") -> None:
        """Add the objective to the model."""
        costs = [cost for _, cost in self.terms]
        total = sum(abs(cost) for cost in costs)
        self.is_whole = total < COST_UNITS and all(
            cost == round(cost) for cost in (*costs, self.constant)
        )
        self.unit = 1.0 if self.is_whole else max(total, 1e-300) / COST_UNITS
        model.minimize(sum(whole(cost / self.unit) * variable for variable, cost in self.terms))

    def value(self, units: float) -> float:
        """Cost of a solution."""
        return units * self.unit + self.constant

    def bound(self, units: float) -> float:
        """A lower bound of all plans, when `units` is one of the model."""
        value = math.ceil(units - 0.5) * self.unit + self.constant
        if self.is_whole:
            return max(0.0, value)
        scale = sum(abs(cost) for _, cost in self.terms) + abs(self.constant)
        value -= RELATIVE_ERROR * scale
        if self.rounds_keys:  # the score rounds the bytes of each direction to whole ones
            value -= 0.5 * (2 * len(self.target.tiers) + len(self.target.links)) + 0.5
        return max(0.0, value)
