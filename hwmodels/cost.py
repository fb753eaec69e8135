"""The cost model: what a plan takes in time, traffic, energy and space.

Time passes step by step. In a step, compute unit, tier ports and links work side by side; the
slowest of them determines when the next step begins:

    step t      | overhead | compute ... + exposed.. |
                |          | port of sram ....       |
                |          | port of dram .......... |   <- binds this step
                |          | link dram->sram ...     |
                |<------------ elapsed_s[t] -------->|

Exposed is what the unit spends on its operands' accesses instead of computing, a portion of their
time (`Compute.overlap`); it is 0 where DMA or a pipeline feeds the unit.
docs/plan-semantics.md has the definition.
"""

from dataclasses import dataclass, field

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.errors import UsageError
from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.problem import Problem, computed_once
from ullage.compiler.ir.program import DMA_STEP
from ullage.compiler.ir.target import Target, link_name
from ullage.hwmodels.compute.listed import listed_or_scaled
from ullage.hwmodels.compute.model import StepTimes
from ullage.hwmodels.compute.work import nests_of
from ullage.hwmodels.resources import resources
from ullage.hwmodels.traffic import (
    compulsory,
    dma_charges,
    look_up_charges,
    operand_charges,
    tier_bytes,
)

# Relative difference up to which a latency keeps a limit: sums of seconds are rounded.
LIMIT_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Score:
    """The cost of a plan over T steps, M tiers (fastest first) and L links (in the target's order).

    Attributes:
        tiers: names of the tiers.
        links: names of the links.
        latency_s: sum of `elapsed_s`.
        compute_s: sum of compute time and overhead, without what operands' accesses add; no plan
            takes less.
        energy_j: operand, DMA and MAC energy.
        elapsed_s: (T,) time of each step in seconds.
        compute_by_step: (T,) compute time of each step in seconds, without overhead.
        exposed_seconds: (M, T) time in which operands in each tier keep the unit from computing.
        overhead_by_step: (T,) overhead of each step in seconds.
        tier_seconds: (M, T) time in which each tier's port is busy.
        link_seconds: (L, T) time in which each link is busy, set-up included.
        traffic_bytes: bytes to and from tiers other than the fastest, by `source->destination`;
            `compute` stands for the operators.
        compulsory_bytes: the part of it that no plan avoids.
        noncompulsory_bytes: the rest.
        peak_bytes: by tier, the highest address that residencies use (workspace not counted).
        load_bytes: by tier, the largest sum of live bytes; the peak minus it is fragmentation.
        notes: fallbacks taken by the model.
    """

    tiers: tuple[str, ...]
    links: tuple[str, ...]
    latency_s: float
    compute_s: float
    energy_j: float
    elapsed_s: Floats = field(repr=False)
    compute_by_step: Floats = field(repr=False)
    exposed_seconds: Floats = field(repr=False)
    overhead_by_step: Floats = field(repr=False)
    tier_seconds: Floats = field(repr=False)
    link_seconds: Floats = field(repr=False)
    traffic_bytes: dict[str, int]
    compulsory_bytes: int
    noncompulsory_bytes: int
    peak_bytes: dict[str, int]
    load_bytes: dict[str, int]
    notes: tuple[str, ...] = ()

    @property
    def unit_by_step(self) -> Floats:
        """(T,) time for which each step keeps the compute unit: computing, and exposed operands."""
        return np.asarray(self.compute_by_step + self.exposed_seconds.sum(axis=0))


def score(plan: Assigned) -> Score:
    """Cost of a legal plan, exactly as docs/plan-semantics.md defines it.

    Raises:
        VerificationError: an operand is in no residency, a transfer uses a link that the target
            lacks, or a read-only tier is written; other breaches are the verifier's to find.
    """
    problem, target = plan.problem, plan.target
    compute, compute_notes = compute_seconds(problem)
    mac_j, energy_notes = mac_energy_j(problem)
    overhead = overhead_seconds(problem)
    operands = operand_charges(plan)
    dma = dma_charges(plan)
    looked_up = look_up_charges(operands, target, len(problem.steps))
    read, written = tier_bytes(operands, target, len(problem.steps))
    moved = dma.moved + looked_up.moved
    table = resources(problem)
    reached = bandwidth_reached(problem)
    brought = dma.written + looked_up.written
    tier_seconds = table.port_seconds(read / reached + dma.read, written / reached + brought)
    tier_seconds += table.waiting_seconds(read, written)
    link_seconds = table.link_seconds(
        moved, dma.setups + looked_up.setups, dma.ranges + looked_up.ranges
    )
    exposed_seconds = table.exposed * table.operand_seconds(read, written, reached)
    unit = compute + exposed_seconds.sum(axis=0)
    busiest = np.vstack([unit[None], tier_seconds, link_seconds]).max(axis=0)
    elapsed = overhead + busiest
    access_j = sum(
        float((read[m] + dma.read[m]).sum() * table.read_j[m])
        + float((written[m] + brought[m]).sum() * table.write_j[m])
        for m in range(len(table.tiers))
    )
    link_j = sum(float(each.sum() * j) for each, j in zip(moved, table.move_j, strict=True))
    by_dma = np.zeros_like(read)
    np.add.at(by_dma, table.source, looked_up.moved)
    traffic = _traffic_bytes(target, read - by_dma, written, moved)
    needed = compulsory(problem)
    needed_bytes = round(float(needed.loads.sum() + needed.stores.sum()))
    peak, load = _space_bytes(plan)
    return Score(
        tiers=tuple(tier.name for tier in target.tiers),
        links=table.links,
        latency_s=float(elapsed.sum()),
        compute_s=float((compute + overhead).sum()),
        energy_j=access_j + link_j + mac_j,
        elapsed_s=elapsed,
        compute_by_step=compute,
        exposed_seconds=exposed_seconds,
        overhead_by_step=overhead,
        tier_seconds=tier_seconds,
        link_seconds=link_seconds,
        traffic_bytes=traffic,
        compulsory_bytes=needed_bytes,
        # Gathers charge fractions of bytes, so rounding can leave the total one byte short.
        noncompulsory_bytes=max(0, sum(traffic.values()) - needed_bytes),
        peak_bytes=peak,
        load_bytes=load,
        notes=compute_notes + energy_notes,
    )


def bottleneck(score: Score) -> tuple[str, ...]:
    """What binds each step: `compute`, a tier, a link, `overhead`, or `idle` if nothing takes time.

    Ties go to compute, then to the faster tier, then to links. `overhead` binds where it exceeds
    all the others. Where a step waits for a compute unit that accesses operands itself, what takes
    the unit longest binds: computing, or a tier.
    """
    names = ("overhead", "compute", *score.tiers, *score.links)
    rows = np.vstack(
        [
            score.overhead_by_step[None],
            score.unit_by_step[None],
            score.tier_seconds,
            score.link_seconds,
        ]
    )
    longest = 1 + rows[1:].argmax(axis=0)
    inside = np.vstack([score.compute_by_step[None], score.exposed_seconds]).argmax(axis=0)
    binding = np.where(longest == 1, 1 + inside, longest)
    binding = np.where(rows[0] > rows[1:].max(axis=0), 0, binding)
    return tuple(
        names[row] if rows[row, t] > 0 else "idle" for t, row in enumerate(binding.tolist())
    )


def objective_value(score: Score, objective: str) -> float:
    """The figure that an objective minimises.

    Latency in s, traffic in non-compulsory bytes, energy in J, peak in bytes of the fastest tier.

    Raises:
        UsageError: there is no such objective.
    """
    if objective == "latency":
        return score.latency_s
    if objective == "traffic":
        return float(score.noncompulsory_bytes)
    if objective == "energy":
        return score.energy_j
    if objective == "peak":
        return float(score.peak_bytes[score.tiers[0]])
    raise unknown_objective(objective)


def value_of(plan: Assigned) -> float:
    """The figure that a plan's own objective minimises, in its unit; see `worth`."""
    return worth(score(plan), plan.problem)


def worth(score: Score, problem: Problem) -> float:
    """What a problem minimises: its objective's value, and its blend's where it has one."""
    value = objective_value(score, problem.objective)
    if problem.blend is not None:
        value += problem.blend.weight * objective_value(score, problem.blend.objective)
    return value


def exceeds_limit(latency_s: float, limit_s: float) -> bool:
    """Whether a latency is above a limit by more than sums of the cost model are rounded.

    Two plans that take equally long may differ in the last digits, as their steps are added up in
    other orders.

    Args:
        latency_s: the latency, or a lower bound of it.
        limit_s: what is allowed.
    """
    return latency_s > limit_s * (1 + LIMIT_TOLERANCE)


def unknown_objective(objective: str) -> UsageError:
    """The error for an objective that does not exist."""
    return UsageError(
        f"unknown objective {objective!r}; choose latency, traffic, energy or peak",
        {"objective": objective},
    )


@computed_once
def overhead_seconds(problem: Problem) -> Floats:
    """(T,) fixed time per operator; DMA-only steps have none."""
    target = problem.target
    runs = np.array([step.kind != DMA_STEP for step in problem.steps], dtype=np.float64)
    return runs * target.compute.overhead_s


@computed_once
def compute_seconds(problem: Problem) -> tuple[Floats, tuple[str, ...]]:
    """(T,) compute time of each step in seconds, and notes about fallbacks.

    The target's compute model says what operators take (`hwmodels.compute`); DMA-only steps take
    none. A data type without figures is costed by one that has some, with a note.

    Raises:
        UsageError: the target has no MAC rate at all, or a data type has no width.
    """
    target = problem.target
    times = StepTimes(target)
    seconds = np.array([0.0 if step.kind == DMA_STEP else times.of(step) for step in problem.steps])
    notes = times.notes
    if times.shapeless:
        notes.append(
            f"operators that are no matrix products ({times.shapeless}): costed at the MAC rate of"
            f" {target.name}, not by the shape of its array"
        )
    return seconds, tuple(notes)


@computed_once
def bandwidth_reached(problem: Problem) -> Floats:
    """(T,) share of the tiers' bandwidths that each step's operands are accessed at.

    A step is of the kind of its first loop nest that multiplies, else of its first one.
    """
    shares = problem.target.compute.bandwidth_efficiency
    reached = np.ones(len(problem.steps))
    for t, step in enumerate(problem.steps) if shares else ():
        nests = nests_of(step)
        main = next((nest for nest in nests if nest.is_mac), nests[0] if nests else None)
        if shares and main is not None:
            reached[t] = shares.get(main.kind, 1.0)
    return reached


@computed_once
def mac_energy_j(problem: Problem) -> tuple[float, tuple[str, ...]]:
    """Energy of all MACs in J, and notes on data types that are costed by the figure of another.

    Raises:
        UsageError: a data type has no width.
    """
    target = problem.target
    listed = target.compute.energy_j_per_mac
    if not listed:
        tiers = target.tiers
        known = any(tier.read_energy_j_per_byte or tier.write_energy_j_per_byte for tier in tiers)
        if known and any(step.macs for step in problem.steps):
            return 0.0, (f"no MAC energy on {target.name}: energy is that of memory alone",)
        return 0.0, ()
    figures: dict[str, float] = {}
    notes: list[str] = []
    energy_j = 0.0
    for step in problem.steps:
        if step.macs:
            if step.mac_dtype not in figures:
                figure_j = listed_or_scaled(listed, step, target, notes, is_rate=False)
                figures[step.mac_dtype] = figure_j
            energy_j += step.macs * figures[step.mac_dtype]
    return energy_j, tuple(notes)


def _traffic_bytes(target: Target, read: Floats, written: Floats, moved: Floats) -> dict[str, int]:
    """Whole bytes by `source->destination`, without accesses of operators to the fastest tier."""
    exact: dict[str, float] = {}
    for m, tier in enumerate(target.tiers[1:], start=1):
        exact[f"{tier.name}->compute"] = float(read[m].sum())
        exact[f"compute->{tier.name}"] = float(written[m].sum())
    for i, link in enumerate(target.links):
        name = link_name(link.source, link.destination)
        exact[name] = exact.get(name, 0.0) + float(moved[i].sum())
    return {name: round(size) for name, size in exact.items() if round(size)}


def _space_bytes(plan: Assigned) -> tuple[dict[str, int], dict[str, int]]:
    """By tier the highest address used and the largest sum of live bytes."""
    tiers = plan.target.tiers
    index = plan.target.tier_index
    change = np.zeros((len(tiers), len(plan.problem.steps) + 1), dtype=np.int64)
    rows = [
        (index[r.tier], r.start, r.end, r.end_byte - r.start_byte, r.offset)
        for r in plan.residencies
    ]
    table = np.array(rows, dtype=np.int64).reshape(-1, 5)
    tier, start, end, size, offset = table.T
    np.add.at(change, (tier, start), size)
    np.add.at(change, (tier, end), -size)
    peak = np.zeros(len(tiers), dtype=np.int64)
    np.maximum.at(peak, tier, offset + size)
    load = change.cumsum(axis=1).max(axis=1)
    names = [tier.name for tier in tiers]
    return (
        dict(zip(names, peak.tolist(), strict=True)),
        dict(zip(names, load.tolist(), strict=True)),
    )
