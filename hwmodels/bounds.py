"""Lower bounds that need no solver: they hold for every legal plan in every order of the steps."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.assignment import Assigned
from ullage.compiler.ir.plan import Residency
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.program import Step
from ullage.compiler.ir.target import Target, Tier
from ullage.hwmodels.cost import (
    bandwidth_reached,
    compute_seconds,
    mac_energy_j,
    overhead_seconds,
    unknown_objective,
)
from ullage.hwmodels.crossings import crossing_bytes, crossing_seconds, way_energy_j
from ullage.hwmodels.refills import fetched_weights, transfers_seconds
from ullage.hwmodels.resources import resources
from ullage.hwmodels.traffic import compulsory, compulsory_resident

# Sources of bounds that hold in every order of the operators, beside `compulsory-TIER`: they add up
# what each operator takes by itself. `max-operator` is none, since in another order other results
# may take over the bytes of dead operands.
EVERY_ORDER = ("compute", "operands", "trivial", "refill", "compulsory-energy")
# Bytes by which the score may differ from an exact sum: it rounds each of its few sums of bytes.
TRAFFIC_ROUNDING_BYTES = 8
# Relative amount by which a bound may exceed the value: sums in another order round differently.
BOUND_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Bound:
    """A value of an objective that no legal plan falls below.

    Attributes:
        value: in the unit of the objective (s, bytes, J, bytes).
        source: kebab-case name of the relaxation that proved it.
    """

    value: float
    source: str

    @property
    def every_order(self) -> bool:
        """Whether it is known to hold in every order of the operators, not in the plan's alone."""
        return self.source in EVERY_ORDER or self.source.startswith("compulsory-")


def order_free_bound(problem: Problem) -> Bound:
    """The best of the bounds that need no solver and no order.

    They hold for every legal plan of every order of these steps over these buffers. (For another
    order an importer may let other values share bytes: that gives another problem, with bounds of
    its own.) In steady state they bound one inference of the loop, in which weights need no load at
    all.

    latency: `compute` (compute and overhead, and what operands add at least), `operands` (the same,
        where reading and writing its operands takes an operator longer than its computation,
        wherever they lie), `refill` (in steady state: overhead, and bringing the weights that have
        no room in any tier but their home, out of operators' reach), `refill-transfers` (the same
        with the set-ups of transfers, for this order) or `compulsory-NAME` (overhead,
        and what first loads and last stores take at least at a tier's port or on a link: at home,
        and wherever no way between home and operators leads around).
    traffic: the further links that first loads and last stores cross (`compulsory-hops`), 0 where
        they need none (`trivial`).
    energy: MACs, every operand access where it is cheapest, and what first loads and last stores
        cost beyond that, on the cheapest way: `compulsory-energy`.
    peak: `max-operator`, the largest non-weight storage that one operator uses (M_R of COSMA, arXiv
        2311.18246). It holds for plans whose operators use the fastest tier for these operands:
        `peak` asks for the smallest fast memory with which no operand has to lie elsewhere.

    Raises:
        UsageError: no such objective, or the target cannot cost the problem's data types.
    """
    objective = problem.objective
    if objective == "latency":
        return _latency_bound(problem)
    if objective == "traffic":
        return _traffic_bound(problem)
    if objective == "energy":
        return Bound(_energy_bound_j(problem), "compulsory-energy")
    if objective == "peak":
        largest = max((_operand_bytes(problem, step) for step in problem.steps), default=0)
        return Bound(float(largest), "max-operator")
    raise unknown_objective(objective)


def live_bytes_bound(problem: Problem, target: Target | None = None) -> Bound:
    """Largest sum, over the steps of this order, of live non-weight bytes (`live-bytes`).

    A byte is live from its first write to its last use, inputs from step 0, outputs to the end.
    It bounds the peak of every plan that keeps live bytes in the fastest tier.

    Args:
        problem: steps and buffers.
        target: where it is given, inputs and outputs whose home is not the fastest tier count from
            their first to their last use only: an input may be fetched just before, and an output
            stored just after, without being spilled.
    """
    return Bound(float(live_bytes_by_step(problem, target).max()), "live-bytes")


def live_bytes_by_step(problem: Problem, target: Target | None = None) -> NDArray[np.int64]:
    """(T,) live non-weight bytes of each step; arguments as for `live_bytes_bound`."""
    steps = len(problem.steps)
    change = np.zeros(steps + 1, dtype=np.int64)
    for b, buffer in enumerate(problem.buffers):
        uses = problem.uses_of[b]
        if buffer.constant or not (uses or buffer.outputs):
            continue
        waits = target is not None and target.home(buffer.kind) is not target.fastest
        cuts = np.unique(
            [edge for _, use in uses for edge in (use.start_byte, use.end_byte)]
            + [edge for output in buffer.outputs for edge in output]
        )
        segment_of = {int(cut): segment for segment, cut in enumerate(cuts)}
        first = np.full(len(cuts) - 1, 0 if buffer.initial and not waits else steps)
        last = np.full(len(cuts) - 1, -1)
        for t, use in uses:
            part = slice(segment_of[use.start_byte], segment_of[use.end_byte])
            first[part] = np.minimum(first[part], t)
            last[part] = t
        for start, end in () if waits else buffer.outputs:
            last[segment_of[start] : segment_of[end]] = steps - 1
        alive = last >= first
        sizes = np.diff(cuts)[alive]
        np.add.at(change, first[alive], sizes)
        np.add.at(change, last[alive] + 1, -sizes)
    return change.cumsum()[:steps]


def lower_bound(problem: Problem) -> Bound:
    """The best certified bound of an objective for this order and target."""
    free = order_free_bound(problem)
    if problem.objective != "peak":
        return free
    live = live_bytes_bound(problem, problem.target)
    return live if live.value >= free.value else free


def keeps_live_bytes(plan: Assigned) -> bool:
    """Whether a legal plan has all live non-weight bytes in the fastest tier: it has no spill.

    Those of inputs and outputs from their first to their last use, where the fastest is not their
    home. The bounds of the peak hold for such plans.
    """
    problem, fastest = plan.problem, plan.target.fastest
    held: dict[int, list[Residency]] = {}
    for residency in plan.residencies:
        if residency.tier == fastest.name:
            held.setdefault(residency.buffer, []).append(residency)
    for b, buffer in enumerate(problem.buffers):
        uses = problem.uses_of[b]
        if buffer.constant or not uses:
            continue
        mine = held.get(b, [])
        ranges = [(use.start_byte, use.end_byte) for _, use in uses]
        ranges += [(r.start_byte, r.end_byte) for r in mine]
        cuts = np.unique(ranges)
        first = np.full(len(cuts) - 1, len(problem.steps))
        last = np.full(len(cuts) - 1, -1)
        there = np.zeros(len(cuts) - 1, dtype=np.int64)
        for t, use in uses:
            part = slice(*np.searchsorted(cuts, (use.start_byte, use.end_byte)))
            first[part] = np.minimum(first[part], t)
            last[part] = t
        for r in mine:
            part = slice(*np.searchsorted(cuts, (r.start_byte, r.end_byte)))
            begin = np.maximum(first[part], r.ready)
            there[part] += np.maximum(0, np.minimum(last[part] + 1, r.end) - begin)
        if (there < last + 1 - first).any():
            return False
    return True


def _latency_bound(problem: Problem) -> Bound:
    """The largest of the bounds on the latency, in seconds."""
    compute, _ = compute_seconds(problem)
    overhead = overhead_seconds(problem)
    reached = bandwidth_reached(problem)
    operands = np.array([_operand_seconds(problem, step) for step in problem.steps]) / reached
    exposed = np.array([_exposed_seconds(problem, step) for step in problem.steps]) / reached
    compute = compute + exposed
    bounds = [
        Bound(float((overhead + compute).sum()), "compute"),
        Bound(float((overhead + np.maximum(compute, operands)).sum()), "operands"),
    ]
    bounds.append(Bound(float(overhead.sum()) + _refill_seconds(problem), "refill"))
    set_up_s = transfers_seconds(problem)
    bounds.append(Bound(float(overhead.sum()) + set_up_s, "refill-transfers"))
    for name, seconds in crossing_seconds(problem).items():
        bounds.append(Bound(float(overhead.sum()) + seconds, f"compulsory-{name}"))
    return max(bounds, key=lambda bound: bound.value)


def _refill_seconds(problem: Problem) -> float:
    """Least time in which links bring the weights that cannot stay, in steady state.

    Where operators cannot reach the weights' home, every used byte comes from there in the
    inference, or was elsewhere when that began. Then the one before had ended, with its outputs and
    states at home: weights had no more than the rest of all other tiers.
    """
    target = problem.target
    home = target.home("weight")
    if not problem.steady_state or home.addressable or home is target.fastest:
        return 0.0
    used = sum(fetched_weights(problem))
    room = sum(tier.capacity_bytes for tier in target.tiers if tier is not home)
    for buffer in problem.buffers:
        if target.home(buffer.kind) is not home:
            room -= sum(high - low for low, high in buffer.final)
    rate = sum(link.bandwidth_bytes_per_s for link in target.links if link.source == home.name)
    rate = min(rate, home.read_bytes_per_s)
    return max(0, used - room) / rate if rate > 0 else 0.0


def _traffic_bound(problem: Problem) -> Bound:
    """Non-compulsory traffic of bytes that cross more than one link, or further than they count."""
    needed = compulsory(problem)
    hops = crossing_bytes(problem) - float(needed.loads.sum() + needed.stores.sum())
    uses = (use for step in problem.steps for use in step.uses)
    if any(use.accessed_bytes != use.end_byte - use.start_byte for use in uses):
        hops -= TRAFFIC_ROUNDING_BYTES  # shares of bytes, summed by tier and rounded
    return Bound(hops, "compulsory-hops") if hops > 0 else Bound(0.0, "trivial")


def _operand_seconds(problem: Problem, step: Step) -> float:
    """Least time in which tiers can serve a step's operands, however they are spread.

    In s seconds a tier moves at most s * max(read, write bandwidth) bytes; operands that must be
    in the fastest tier all share its port. First bytes and the rest of bursts are left out.
    """
    target = problem.target.as_served
    fastest = target.fastest
    fastest_s, anywhere_bytes = 0.0, 0.0
    for use in step.uses:
        if use.look_up and target.look_up_links:
            continue  # DMA may bring it from a tier that operators do not reach
        anywhere_bytes += use.accessed_bytes
        if target.must_be_fastest(problem.buffers[use.buffer].kind):
            rate = fastest.write_bytes_per_s if use.write else fastest.read_bytes_per_s
            fastest_s += use.accessed_bytes / rate
    ports = sum(_port_rate(tier) for tier in target.tiers if tier.addressable or tier is fastest)
    return max(fastest_s, anywhere_bytes / ports)


def _exposed_seconds(problem: Problem, step: Step) -> float:
    """Least time in which a step's operands keep the unit from computing: where each is fastest."""
    target = problem.target.as_served
    seconds = 0.0
    for use in step.uses if target.compute.exposed else ():
        confined = target.must_be_fastest(problem.buffers[use.buffer].kind)
        tiers = target.tiers[:1] if confined else target.tiers
        rates = (
            tier.write_bytes_per_s if use.write else tier.read_bytes_per_s
            for tier in tiers
            if tier is target.fastest or (tier.addressable and not (use.write and tier.read_only))
        )
        seconds += use.accessed_bytes / max(rates)
    return target.compute.exposed * seconds


def _port_rate(tier: Tier) -> float:
    """Most bytes per second that a tier's port moves in either direction."""
    if tier.read_only:
        return tier.read_bytes_per_s
    return max(tier.read_bytes_per_s, tier.write_bytes_per_s)


def _energy_bound_j(problem: Problem) -> float:
    """Joules of MACs, of operand accesses where cheapest, and of compulsory traffic beyond those.

    An operand that is accessed at home is a compulsory byte and an access at the same time, so only
    the difference to the cheapest tier is added. Where operators cannot reach the home, all that
    the cheapest way costs is added.
    """
    target, table = problem.target, resources(problem)
    energy_j, _ = mac_energy_j(problem)
    needed = compulsory_resident(problem)
    for b, buffer in enumerate(problem.buffers):
        home = target.home(buffer.kind)
        confined = target.must_be_fastest(buffer.kind)
        tiers = [tier for tier in target.tiers if tier.addressable or tier is target.fastest]
        reach = [target.fastest] if confined else tiers
        read_j = min(tier.read_energy_j_per_byte for tier in reach)
        write_j = min(
            (tier.write_energy_j_per_byte for tier in reach if not tier.read_only), default=0.0
        )
        for _, use in problem.uses_of[b]:
            by_dma = use.look_up and bool(target.look_up_links)
            if by_dma and (confined or not home.addressable):
                continue  # DMA brings it to where its operator's result lies
            energy_j += use.accessed_bytes * (write_j if use.write else read_j)
        if confined or not home.addressable:
            load_j = way_energy_j(target, table, buffer.kind, outgoing=True)
            store_j = way_energy_j(target, table, buffer.kind, outgoing=False)
        else:
            load_j = home.read_energy_j_per_byte - read_j
            store_j = home.write_energy_j_per_byte - write_j
        energy_j += float(needed.loads[b]) * load_j + float(needed.stores[b]) * store_j
    return energy_j


def _operand_bytes(problem: Problem, step: Step) -> int:
    """Non-weight bytes that a step uses: the union of its ranges, buffer by buffer."""
    ranges: dict[int, list[tuple[int, int]]] = {}
    for use in step.uses:
        if not problem.buffers[use.buffer].constant:
            ranges.setdefault(use.buffer, []).append((use.start_byte, use.end_byte))
    total = 0
    for spans in ranges.values():
        covered_to = 0
        for start, end in sorted(spans):
            total += max(0, end - max(start, covered_to))
            covered_to = max(covered_to, end)
    return total
