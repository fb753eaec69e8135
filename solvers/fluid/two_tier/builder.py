"""Rows and charges of the fluid LP: capacity, ports and links of every step, and the objective.

Numbers are scaled to order one, because tolerances of LP solvers are absolute: the objective in
units of a step's share of a known plan's value, sizes in units of the fastest tier's capacity.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import bandwidth_reached, compute_seconds
from ullage.hwmodels.rereads import operand_reads, times_accessed
from ullage.hwmodels.resources import resources
from ullage.solvers.fluid.two_tier.pauses import Pauses, waits_at_one_port
from ullage.solvers.fluid.two_tier.pending import Moves, Spans
from ullage.solvers.fluid.two_tier.setups import Setups
from ullage.solvers.lp.program import INFINITY, FrozenProgram, LinearProgram
from ullage.solvers.state.busy_time import port_seconds
from ullage.solvers.state.segments import Access

# Steps up to which the space of a residency is entered step by step; that of longer ones is entered
# where it begins and ends, in the running sum of the load.
DIRECT_STEPS = 32
# Share of the latency that the bytes through the slow ports cost at most, so that among plans of
# equal latency the one with less traffic is optimal.
TIE_BREAK = 5e-5


class Builder:
    """The linear program under construction; T is the number of steps.

    Attributes:
        lp: variables and rows.
        problem: the problem.
        target: its target.
        steps: T.
        objective: `latency`, `traffic` or `energy`.
        byte_weight: of a byte to or from slow tiers in what is minimised.
        joule_weight: of a joule.
        unit: the objective's value (s, bytes or J) that counts as 1 in the program.
        unit_bytes: bytes that count as 1 in the capacity rows.
        load_steps: longer residencies are entered step by step again (for solving in blocks).
        setups: set-ups of the links; None where they are left out.
        elapsed: (T,) variables, empty where time is not the objective.
        marks: (variables so far, step that the following ones serve).
        constant: part of the objective that no decision changes, in its units.
        tie_per_byte: small cost of a byte through a slow port: among equals, less traffic.
        tie_constant: that cost when no operand is accessed in the fastest tier.
        has_capacity: (T,) whether the capacity of a step is in its row; elsewhere it is empty.
        capacity_rows: (T,) rows.
        load: (T,) variables: bytes held longer than `DIRECT_STEPS`, in capacities.
        load_rows: (T,) rows.
        port_rows: tier -> (T,) rows.
        link_rows: (source, destination) -> (T,) rows.
        unit_rows: (T,) rows of the compute unit, empty where operands never keep it from computing.
        fast_port_binds: (T,) whether the port of the fastest tier can be what a step waits for.
        pauses: the DMA-only steps in which moves have no variables but next to accesses.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        reference: float,
        load_steps: int = 1 << 60,
        has_capacity: NDArray[np.bool_] | None = None,
        setups: bool = False,
    ) -> None:
        target, objective = problem.target, problem.objective
        self.problem, self.target = problem, target
        self.objective = objective
        self.byte_weight = problem.weight_of("traffic")
        self.joule_weight = problem.weight_of("energy")
        self.steps = len(problem.steps)
        self.lp = LinearProgram()
        if objective == "traffic":  # the reference may be 0 bytes, what operators access is not
            reference = float(sum(use.accessed_bytes for s in problem.steps for use in s.uses))
        self.unit = (reference or 1.0) / self.steps
        capacity_bytes = target.fastest.capacity_bytes
        self.unit_bytes = float(max(1, capacity_bytes))
        self.constant = 0.0
        self.is_timed = objective == "latency"
        self.load_steps = load_steps
        self.setups: Setups | None = None
        self.elapsed: Ints = np.zeros(0, dtype=np.int64)
        self.marks: list[tuple[int, int]] = []
        self._spans = Spans()
        self._moves = {(link.source, link.destination): Moves() for link in target.links}
        workspace = np.array([step.workspace_bytes for step in problem.steps], dtype=np.float64)
        room = (capacity_bytes - workspace) / self.unit_bytes
        self.has_capacity = (
            np.ones(self.steps, dtype=bool) if has_capacity is None else has_capacity
        )
        # What leaves was there in the step before, what arrives is there in the step after.
        room = np.where(self.has_capacity, room, 2.0 * capacity_bytes / self.unit_bytes)
        self.capacity_rows = self.lp.add_rows(self.steps, -INFINITY, room)
        # Of long residencies: load[t] = load[t - 1] + what comes - what goes.
        self.load = self.lp.add_variables(self.steps, 0.0, room)
        bounded = self.has_capacity
        self.lp.add_entries(self.capacity_rows[bounded], self.load[bounded], 1.0)
        self.load_rows = self.lp.add_rows(self.steps, 0.0, 0.0)
        self.lp.add_entries(self.load_rows, self.load, -1.0)
        self.lp.add_entries(self.load_rows[1:], self.load[:-1], 1.0)
        self.port_rows: dict[str, Ints] = {}
        self.link_rows: dict[tuple[str, str], Ints] = {}
        self.unit_rows: Ints = np.zeros(0, dtype=np.int64)
        self.exposed = resources(problem).exposed
        self.busy: dict[str, Floats] = {tier.name: np.zeros(self.steps) for tier in target.tiers}
        compute_s = compute_seconds(problem)[0]
        self.unit_busy: Floats = compute_s / self.unit
        self.fast_port_binds = np.zeros(self.steps, dtype=bool)
        if self.is_timed:
            self.fast_port_binds = _port_can_bind(problem, compute_s)
            self._add_time(compute_s / self.unit, reference / self.unit, setups=setups)
        # Among equals the plan with less traffic: TIE_BREAK of the latency at most, as no more
        # bytes than the ports' rates times the latency go through them.
        slow = [tier for tier in target.tiers if tier.name != target.fastest.name]
        rates = sum(max(tier.read_bytes_per_s, tier.write_bytes_per_s) for tier in slow)
        self.tie_per_byte = TIE_BREAK / (rates * self.unit) if self.is_timed and slow else 0.0
        self.tie_constant = 0.0
        one_port = not self.is_timed or waits_at_one_port(
            target,
            fast_port_binds=bool(self.fast_port_binds.any()),
            link_binds=bool(self.link_rows),
        )
        self.pauses = Pauses(~self.has_capacity & one_port)

    def _add_time(self, compute: Floats, longest: float, *, setups: bool) -> None:
        """Add the elapsed time of each step, from its compute time to `longest`, and its rows."""
        elapsed = self.lp.add_variables(self.steps, compute, np.maximum(compute, longest))
        self.elapsed = elapsed
        self.lp.add_cost(elapsed, 1.0)
        for tier in self.target.tiers:
            self.port_rows[tier.name] = self.lp.add_rows(self.steps, 0.0, INFINITY)
            self.lp.add_entries(self.port_rows[tier.name], elapsed, 1.0)
        if self.exposed:
            self.unit_rows = self.lp.add_rows(self.steps, 0.0, INFINITY)
            self.lp.add_entries(self.unit_rows, elapsed, 1.0)
        for link in self.target.links:
            has_setup = setups and link.setup_s > 0
            if has_setup or self._link_binds(link.source, link.destination):
                rows = self.lp.add_rows(self.steps, 0.0, INFINITY)
                self.link_rows[link.source, link.destination] = rows
                self.lp.add_entries(rows, elapsed, 1.0)
        if setups:
            self.setups = Setups(self.problem, self.lp, self.unit, self.link_rows)

    def _link_binds(self, source: str, destination: str) -> bool:
        """Whether a link can be slower than both of its ports."""
        link = self.target.link(source, destination)
        ports = (
            self.target.tier(source).read_bytes_per_s,
            self.target.tier(destination).write_bytes_per_s,
        )
        return link is not None and link.bandwidth_bytes_per_s < min(ports)

    def occupy(self, start: int, end: int, variable: int, size: int) -> None:
        """Let a fraction of a segment take space in the fastest tier during steps [start, end).

        Steps count modulo T; no span is longer than T.
        """
        self._spans.add([start], [end], [variable], size / self.unit_bytes)

    def occupy_until(self, starts: Ints, end: int, variables: Ints, size: int) -> None:
        """`occupy` for fractions of one segment from their own starts until one end."""
        ends = [end] * len(starts)
        self._spans.add(starts.tolist(), ends, variables.tolist(), size / self.unit_bytes)

    def occupy_from(self, start: int, ends: Ints, variables: Ints, size: int) -> None:
        """`occupy` for fractions of one segment from one start until their own ends."""
        starts = [start] * len(ends)
        self._spans.add(starts, ends.tolist(), variables.tolist(), size / self.unit_bytes)

    def _add_spans(self) -> None:
        """Enter the space of all spans: short ones step by step, long ones in the running sum."""
        taken, changes = self._spans.entries(self.steps, DIRECT_STEPS, self.load_steps)
        steps, variables, shares = taken
        bounded = self.has_capacity[steps]
        rows = self.capacity_rows[steps[bounded]]
        self.lp.add_entries(rows, variables[bounded], shares[bounded])
        self.lp.add_entries(self.load_rows[changes[0]], *changes[1:])

    def charge_access(self, home: str, access: Access, accessed: int) -> None:
        """Charge an operand: fraction `accessed` in the fastest tier (-1: none), rest at home."""
        read, written = access.read_bytes, access.written_bytes
        fastest = self.target.fastest.name
        slow = self._access_cost(home, read, written)
        self.constant += slow
        if self.is_timed:
            if home != fastest:
                self.tie_constant += self.tie_per_byte * (read + written)
            port = port_seconds(self.target.tier(home), read, written) / self.unit
            self.busy[home][access.step] += port
            self.unit_busy[access.step] += self.exposed * port
        if accessed < 0 or home == fastest:
            return
        self.lp.add_cost(accessed, self._access_cost(fastest, read, written) - slow)
        if self.is_timed:
            self.lp.add_cost(accessed, -self.tie_per_byte * (read + written))
            self.lp.add_entry(int(self.port_rows[home][access.step]), accessed, port)
            fast_port = port_seconds(self.target.fastest, read, written) / self.unit
            if self.exposed:
                saved = self.exposed * (port - fast_port)
                self.lp.add_entry(int(self.unit_rows[access.step]), accessed, saved)
            if self.fast_port_binds[access.step]:
                self.lp.add_entry(int(self.port_rows[fastest][access.step]), accessed, -fast_port)

    def is_dear_in_fastest(self, home: str, access: Access) -> bool:
        """Whether an access that is there at all may better be at home in the program.

        Then it has a variable of its own: what is there in part need not be accessed there.
        """
        if self.fast_port_binds[access.step]:
            return True
        if not (self.is_timed and self.exposed):
            return False
        tiers = self.target.tier(home), self.target.fastest
        there_s, here_s = (port_seconds(t, access.read_bytes, access.written_bytes) for t in tiers)
        return here_s > there_s

    def _access_cost(self, tier: str, read: float, written: float) -> float:
        """Cost of an operator's access beside time, in units; 0 for latency alone."""
        cost = 0.0
        if self.byte_weight and tier != self.target.fastest.name:
            cost += self.byte_weight * (read + written)
        if self.joule_weight:
            place = self.target.tier(tier)
            joules = read * place.read_energy_j_per_byte + written * place.write_energy_j_per_byte
            cost += self.joule_weight * joules
        return cost / self.unit

    def charge_moves(
        self, source: str, destination: str, steps: Ints, variables: Ints, scale: float
    ) -> None:
        """Charge moves of fraction x scale bytes over a link; steps count modulo T."""
        self._moves[source, destination].add(steps.tolist(), variables.tolist(), scale)

    def _add_moves(self, source: str, destination: str, moves: Moves) -> None:
        """Enter what all moves over a link cost, and the time that they keep ports and it busy."""
        variables = np.array(moves.variables, dtype=np.int64)
        scales = np.array(moves.scales, dtype=np.float64)
        self.lp.add_cost(variables, scales * self._move_cost(source, destination))
        if not self.is_timed:
            return
        self.lp.add_cost(variables, scales * self.tie_per_byte)
        steps = np.array(moves.steps, dtype=np.int64) % self.steps
        scales /= self.unit
        fastest = self.target.fastest.name
        read = self.target.tier(source).read_bytes_per_s
        written = self.target.tier(destination).write_bytes_per_s
        for tier, rate in ((source, read), (destination, written)):
            binds = self.fast_port_binds[steps] if tier == fastest else np.ones(len(steps), bool)
            self.lp.add_entries(
                self.port_rows[tier][steps[binds]], variables[binds], -scales[binds] / rate
            )
        link, rows = (
            self.target.link(source, destination),
            self.link_rows.get((source, destination)),
        )
        if rows is not None and link is not None:
            self.lp.add_entries(rows[steps], variables, -scales / link.bandwidth_bytes_per_s)

    def _move_cost(self, source: str, destination: str) -> float:
        """Cost of moving one byte beside time, in units; 0 for latency alone."""
        cost = 0.0
        if self.byte_weight:
            fastest = self.target.fastest.name
            cost += self.byte_weight * ((source != fastest) + (destination != fastest))
        if self.joule_weight:
            link = self.target.link(source, destination)
            joules = (
                self.target.tier(source).read_energy_j_per_byte
                + self.target.tier(destination).write_energy_j_per_byte
                + (link.energy_j_per_byte if link else 0.0)
            )
            cost += self.joule_weight * joules
        return cost / self.unit

    def space_prices(self, duals: Floats) -> Floats:
        """(T,) price of a byte's space in each step, in units of the objective."""
        return np.maximum(-duals[self.capacity_rows], 0.0) / self.unit_bytes

    def move_prices(self, duals: Floats, source: str, destination: str) -> Floats:
        """(T,) price of moving one byte over a link at each step, in units of the objective."""
        constant = self._move_cost(source, destination) + self.tie_per_byte
        price = np.full(self.steps, constant)
        if not self.is_timed:
            return price
        read = self.target.tier(source).read_bytes_per_s
        written = self.target.tier(destination).write_bytes_per_s
        fastest = self.target.fastest.name
        for tier, rate in ((source, read), (destination, written)):
            dual = np.maximum(duals[self.port_rows[tier]], 0.0) / (rate * self.unit)
            price += np.where(self.fast_port_binds, dual, 0.0) if tier == fastest else dual
        link = self.target.link(source, destination)
        rows = self.link_rows.get((source, destination))
        if link is not None and rows is not None:
            price += np.maximum(duals[rows], 0.0) / (link.bandwidth_bytes_per_s * self.unit)
        return price

    def mark(self, step: int) -> None:
        """Note that the variables that follow serve an access of this step."""
        self.marks.append((self.lp.variables, step))

    def steps_of_variables(self) -> Ints:
        """(n,) the step that each variable serves."""
        steps_of = np.zeros(self.lp.variables, dtype=np.int64)
        for (begin, step), (end, _) in pairwise([*self.marks, (self.lp.variables, 0)]):
            steps_of[begin:end] = step
        everywhere = np.arange(self.steps)
        steps_of[self.load] = everywhere
        if len(self.elapsed):
            steps_of[self.elapsed] = everywhere
        return steps_of

    def steps_of_rows(self, program: FrozenProgram, steps_of: Ints) -> Ints:
        """(m,) the step that each row is about: its own, else the last that its variables serve."""
        steps_of_row = np.zeros(len(program.row_low), dtype=np.int64)
        np.maximum.at(steps_of_row, program.entry_rows, steps_of[program.entry_columns])
        everywhere = np.arange(self.steps)
        timed = [*self.port_rows.values(), *self.link_rows.values()]
        if len(self.unit_rows):
            timed.append(self.unit_rows)
        for rows in (self.capacity_rows, self.load_rows, *timed):
            steps_of_row[rows] = everywhere
        return steps_of_row

    def with_load_prices(self, duals: Floats) -> Floats:
        """Multipliers with those of the load rows replaced by sums of those of the capacity rows.

        load[t] costs nothing, so price[t] - price[t + 1] is the price of capacity in step t.
        """
        duals = duals.copy()
        space = np.minimum(duals[self.capacity_rows], 0.0)
        duals[self.load_rows] = np.cumsum(space[::-1])[::-1]
        return duals

    def close(self) -> None:
        """Enter spans, moves, and operands' constant port time, when all of them are known."""
        self._add_spans()
        for (source, destination), moves in self._moves.items():
            self._add_moves(source, destination, moves)
        for tier, rows in self.port_rows.items():
            if tier != self.target.fastest.name:
                self.lp.raise_rows(rows, self.busy[tier])
            else:
                self.lp.raise_rows(rows, np.where(self.fast_port_binds, self.busy[tier], 0.0))
        if len(self.unit_rows):
            self.lp.raise_rows(self.unit_rows, self.unit_busy)


def _port_can_bind(problem: Problem, compute_s: Floats) -> NDArray[np.bool_]:
    """(T,) whether a step can wait for the port of the fastest tier.

    DMA takes at most the share of the port that the links' bandwidths are of it; when all operands
    of the step fit into the rest of the compute time, the port is never the bottleneck.
    """
    target = problem.target
    fastest = target.fastest
    share = 0.0
    for link in target.links:
        if link.source == fastest.name:
            share += link.bandwidth_bytes_per_s / fastest.read_bytes_per_s
        elif link.destination == fastest.name:
            share += link.bandwidth_bytes_per_s / fastest.write_bytes_per_s
    busy, reached = np.zeros(len(problem.steps)), bandwidth_reached(problem)
    reads = operand_reads(problem)
    for t, step in enumerate(problem.steps):
        for use in step.uses:
            often = times_accessed(use, reads[t])
            read, written = (0, use.accessed_bytes) if use.write else (use.accessed_bytes, 0)
            busy[t] += often * port_seconds(fastest, read, written) / float(reached[t])
    return busy > compute_s * max(0.0, 1.0 - share) if share < 1 else np.ones(len(busy), dtype=bool)
