"""The tiers and links of a target as a network on which a byte moves, and the price of each move.

At the beginning of a step a byte of a segment has current copies in a set of tiers (a bit mask, bit
0 is the fastest). During the step some copies are kept, an operator reads one of them or writes a
new one, and DMA makes more; then the next step begins. `path_search` finds the cheapest sequence.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.graph import Kind
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.hwmodels.cost import bandwidth_reached, compute_seconds
from ullage.hwmodels.rereads import operand_reads, times_accessed
from ullage.hwmodels.resources import resources
from ullage.solvers.state.segments import Segment

# Share of the latency that the bytes through slow ports cost at most, so that among plans of equal
# latency the one with less traffic is optimal.
TIE_BREAK = 5e-5


@dataclass(frozen=True)
class PathPrices:
    """Prices by step, in units of the objective; n tiers, T steps.

    Attributes:
        space: (n, T) of a byte's space.
        move: (n, n, T) of moving a byte from a tier to another; infinite without a link.
        setup: (n, n, T) of starting a transfer.
        read: (n, T) of a byte that an operator reads.
        write: (n, T) of a byte that an operator writes.
    """

    space: Floats
    move: Floats
    setup: Floats
    read: Floats
    write: Floats

    @cached_property
    def ports(self) -> Floats:
        """(3, n, T) space, reading and writing, for `path_search`."""
        return np.stack([self.space, self.read, self.write])

    def begun(self, live_range: "LiveRange", *, exact: bool) -> tuple[Floats, Ints]:
        """What having begun a move costs by each step, and since when, at best; both (n, n, T).

        The set-up of a transfer is due in the step of its first move, in which its space is taken,
        and a byte may move in a later one. So a byte's share of the set-up costs no less than that
        of any step up to its own, with its space from there on.

        Args:
            live_range: of the segment.
            exact: the bytes move where the set-up is due, as slices do.
        """
        due = live_range.setup_share * self.setup
        steps = np.broadcast_to(np.arange(due.shape[2]), due.shape)
        if exact or not due.any():
            return due, steps
        before = live_range.size_bytes * (np.cumsum(self.space, axis=1) - self.space)
        earlier = due - before
        earlier[:, :, : live_range.begin] = np.inf
        best = np.minimum.accumulate(earlier, axis=2)
        since = np.maximum.accumulate(np.where(earlier <= best, steps, 0), axis=2)
        return np.minimum(np.maximum(best + before, 0.0), due), since


class TierNetwork:
    """Tiers, links, room and unit costs of a problem on a target.

    Attributes:
        problem: the problem.
        tiers: n.
        steps: T.
        room: (n, T) bytes that residencies may take: capacity, without the operators' workspace.
        rates_read: (n,) bytes/s.
        rates_write: (n,) bytes/s, infinite where nothing can be written.
        links: (L, 2) source and destination of the links into tiers that can be written.
        link_rates: (L,) bytes/s.
        setups_s: (L,) time to start a transfer.
        compute_s: (T,) compute time of each step.
        exposed: portion of the time of operands' accesses in which the unit cannot compute. Where
            it is not 0, the unit is a resource behind ports and links.
        reachable: mask of the tiers where operators reach operands.
        looked_up: mask of the tiers from which DMA brings rows that operators look up.
        writable: mask of the tiers that can be written.
        access_cost: (n, 2) objective per byte that an operator reads and writes, without time.
        move_cost: (L,) objective per byte moved over a link, without time.
        is_timed: the objective is latency.
    """

    def __init__(self, problem: Problem) -> None:
        target = problem.target
        objective = problem.objective
        self.problem, self.target = problem, target
        self.tiers, self.steps = len(target.tiers), len(problem.steps)
        tiers = target.tiers
        self.room = np.repeat(np.array([[t.capacity_bytes] for t in tiers]), self.steps, axis=1)
        self.room[0] -= np.array([step.workspace_bytes for step in problem.steps], dtype=np.int64)
        self.rates_read = np.array([t.read_bytes_per_s for t in tiers])
        self.rates_write = np.array([np.inf if t.read_only else t.write_bytes_per_s for t in tiers])
        index = target.tier_index
        usable = [link for link in target.links if not target.tier(link.destination).read_only]
        pairs = [(index[link.source], index[link.destination]) for link in usable]
        self.links = np.array(pairs, dtype=np.int64).reshape(-1, 2)
        self.link_rates = np.array([link.bandwidth_bytes_per_s for link in usable])
        self.setups_s = np.array([link.setup_s for link in usable])
        self.compute_s = compute_seconds(problem)[0]
        self.exposed = resources(problem).exposed
        self.reachable = 1 | sum(1 << m for m, tier in enumerate(tiers) if tier.addressable)
        self.looked_up = sum(1 << index[name] for name in target.look_up_links)
        self.writable = sum(1 << m for m, tier in enumerate(tiers) if not tier.read_only)
        self.is_timed = objective == "latency"
        self.access_cost = np.zeros((self.tiers, 2))
        self.move_cost = np.zeros(len(usable))
        if objective != "energy":  # bytes to and from slow tiers; a tie-break of `latency`
            rates = [max(t.read_bytes_per_s, t.write_bytes_per_s) for t in tiers[1:]]
            tie = TIE_BREAK / sum(rates) if self.is_timed else 0.0
            weight = tie + problem.weight_of("traffic")
            self.access_cost[1:] = weight
            self.move_cost = np.full(len(usable), weight)
        joule_weight = problem.weight_of("energy")
        if joule_weight:
            pairs_j = [(t.read_energy_j_per_byte, t.write_energy_j_per_byte) for t in tiers]
            joules = np.array(pairs_j)
            link_energies = np.array([link.energy_j_per_byte for link in usable])
            moved_j = link_energies + joules[self.links[:, 0], 0]
            moved_j += joules[self.links[:, 1], 1]
            self.access_cost += joule_weight * joules
            self.move_cost += joule_weight * moved_j

    @property
    def resources(self) -> int:
        """R: ports and links, and the compute unit where operands keep it from computing."""
        return self.tiers + len(self.links) + bool(self.exposed)

    @property
    def unit(self) -> int | None:
        """Number of the compute unit among the resources; None where it is none."""
        return self.tiers + len(self.links) if self.exposed else None

    def idle_table(self) -> Floats:
        """(R, T) busy seconds of a plan that moves nothing: those that the unit computes."""
        busy_s = np.zeros((self.resources, self.steps))
        if self.unit is not None:
            busy_s[self.unit] = self.compute_s
        return busy_s

    def is_uncapacitated(self, tier: int, segments: tuple[Segment, ...]) -> bool:
        """Whether everything that can ever be in a tier fits there at once, whatever happens."""
        name, quantum = self.target.tiers[tier].name, self.target.alignment_bytes
        total = 0
        for segment in segments:
            if segment.home == name or self.writable >> tier & 1:
                total += -(-segment.size_bytes // quantum) * quantum
        return total <= int(self.room[tier].min())

    def binding_cells(self) -> Ints:
        """Flat indices (resource, step) of resources that a step can wait for, ascending.

        A link as fast as one of its ports is never what a step waits for alone, but for set-ups.
        Nor is the fastest tier's port where the operands fit beside all that links can bring.
        """
        fast = self.target.fastest
        share = 0.0
        for (a, b), rate in zip(self.links.tolist(), self.link_rates.tolist(), strict=True):
            limit = min(rate, self.rates_read[a], self.rates_write[b])
            share += limit / fast.read_bytes_per_s if a == 0 else 0.0
            share += limit / fast.write_bytes_per_s if b == 0 else 0.0
        slowest = min(fast.read_bytes_per_s, fast.write_bytes_per_s)
        reads = operand_reads(self.problem)
        accessed = [
            sum(use.accessed_bytes * times_accessed(use, often) for use in step.uses)
            for step, often in zip(self.problem.steps, reads, strict=True)
        ]
        binds = np.ones((self.resources, self.steps), dtype=bool)
        if share < 1:
            fast_s = np.array(accessed) / slowest / bandwidth_reached(self.problem)
            binds[0] = fast_s > self.compute_s * (1.0 - share)
        for at, ((a, b), rate) in enumerate(
            zip(self.links.tolist(), self.link_rates.tolist(), strict=True)
        ):
            slower = rate < min(self.rates_read[a], self.rates_write[b])
            binds[self.tiers + at] = slower or self.setups_s[at] > 0
        return np.flatnonzero(binds)

    def seconds_per_byte(self, resource: int) -> float:
        """Seconds that reading or moving a byte keeps a port (first) or a link busy.

        The unit is kept as long as reading in the slowest tier takes.
        """
        if resource < self.tiers:
            return float(1.0 / self.rates_read[resource])
        if resource == self.unit:
            return float(self.exposed / self.rates_read.min())
        return float(1.0 / self.link_rates[resource - self.tiers])

    def prices(self, busy: Floats, space: Floats) -> PathPrices:
        """Prices from the master program's multipliers.

        Args:
            busy: (R, T) price of a second that a resource is busy.
            space: (n, T) price of a byte's space.
        """
        n = self.tiers
        read = busy[:n] / self.rates_read[:, None]
        write = busy[:n] / self.rates_write[:, None]
        move = np.full((n, n, self.steps), np.inf)
        setup = np.zeros((n, n, self.steps))
        for at, (a, b) in enumerate(self.links.tolist()):
            link_prices = busy[n + at] / self.link_rates[at]
            move[a, b] = read[a] + write[b] + link_prices + self.move_cost[at]
            setup[a, b] = busy[n + at] * self.setups_s[at]
        if self.unit is not None:
            waited = self.exposed * busy[self.unit]
            read = read + waited / self.rates_read[:, None]
            write = write + waited / self.rates_write[:, None]
        read = read + self.access_cost[:, :1]
        write = write + self.access_cost[:, 1:]
        return PathPrices(space, move, setup, read, write)


@dataclass(frozen=True)
class LiveRange:
    """A segment as the search for paths sees it.

    Attributes:
        begin: first step of its live range: 0 for given data, else that of its first access.
        end: one past the last step at which it matters.
        start: mask of the tiers that have it before the first step (without loop-carried copies).
        needed: mask of the tiers that must have it in the end.
        forced: mask of the tiers that it never leaves.
        is_loop_carried: in steady state a weight begins with the copies that it ends with.
        size_bytes: bytes of the segment.
        setup_share: share of a set-up that moving all of it pays at least: its share of the buffer,
            as one transfer may move a whole buffer.
        reach: mask of tiers where operators read and write it.
        steps: (E,) of its accesses.
        reads: (E,) whether they need its data.
        writes: (E,) whether they write it.
        read_bytes: (E,) that operators really read.
        written_bytes: (E,) that they really write.
    """

    begin: int
    end: int
    start: int
    needed: int
    forced: int
    is_loop_carried: bool
    size_bytes: int
    setup_share: float
    reach: int
    steps: Ints
    reads: NDArray[np.bool_]
    writes: NDArray[np.bool_]
    read_bytes: Floats
    written_bytes: Floats

    @cached_property
    def marks(self) -> Ints:
        """(3, E) steps, whether they read, whether they write, for `path_search`."""
        return np.stack([self.steps, self.reads, self.writes]).astype(np.int64)

    @cached_property
    def moved(self) -> Floats:
        """(2, E) bytes read and written, for `path_search`."""
        return np.stack([self.read_bytes, self.written_bytes])


def live_range_of(network: TierNetwork, segment: Segment, uncapacitated: int) -> LiveRange | None:
    """The live range of a segment; None when it never exists.

    Args:
        network: the network.
        segment: the segment.
        uncapacitated: mask of the tiers with space for everything: given data never leaves them.
    """
    if not segment.size_bytes or not (segment.accesses or segment.is_given):
        return None
    target, accesses = network.target, segment.accesses
    home = 1 << target.tier_index[segment.home]
    weight_loops = network.problem.steady_state and segment.is_constant
    final = network.problem.buffers[segment.buffer].final  # a weight may be an output as well
    is_final = any(a < segment.end_byte and segment.start_byte < b for a, b in final)
    lasts = is_final or segment.is_state or weight_loops
    end = network.steps if lasts else (accesses[-1].step + 1 if accesses else 1)
    is_fixed = segment.is_given and not any(e.writes for e in accesses) and home & uncapacitated
    confined = target.must_be_fastest(segment.kind)
    return LiveRange(
        begin=0 if segment.is_given else accesses[0].step,
        end=end,
        start=home if segment.is_given else 0,
        needed=home if lasts else 0,
        forced=home if is_fixed else 0,
        is_loop_carried=weight_loops,
        size_bytes=segment.size_bytes,
        setup_share=segment.size_bytes / network.problem.buffers[segment.buffer].size_bytes,
        reach=(1 if confined else network.reachable)
        | (network.looked_up if segment.is_looked_up else 0),
        steps=np.array([e.step for e in accesses], dtype=np.int64),
        reads=np.array([e.reads for e in accesses], dtype=np.bool_),
        writes=np.array([e.writes for e in accesses], dtype=np.bool_),
        read_bytes=np.array([e.read_bytes for e in accesses], dtype=np.float64),
        written_bytes=np.array([e.written_bytes for e in accesses], dtype=np.float64),
    )


def needs_detour(target: Target) -> bool:
    """Whether data must, or can only, reach operators through a third tier.

    So it is where an operand cannot be used at home, and a middle tier can hold it, or no link
    leads straight to the fastest one.
    """
    fastest = target.fastest.name
    kinds: tuple[Kind, ...] = ("input", "weight", "activation", "output")
    if len(target.tiers) < 3:
        return False
    for kind in kinds:
        home, confined = target.homes[kind], target.must_be_fastest(kind)
        if home == fastest or (target.tier(home).addressable and not confined):
            continue
        written = kind in ("activation", "output")
        if not confined or target.link(home, fastest) is None:
            return True
        if written and target.link(fastest, home) is None:
            return True
    return False
