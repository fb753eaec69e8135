"""The linear program over resident fractions (DESIGN: the fluid LP, lean form).

For an atom of size s with events p0 < p1 < ...: x_j is the fraction in the fastest tier at event j.
In the gap before p_j a fraction k_j <= x_{j-1} is kept, and a cumulative profile y_t >= y_{t-1},
starting from k_j, says how much is there (kept or arrived) during step t; x_j is at most the last
y. Differences of y are the bytes that DMA moves. Of each version of the data (from a write to the
next) the fraction w is written home: w >= 1 - x at the write, w >= 1 - k in later gaps, all of it
for outputs; what is not written by the operator itself is spilled later, and stays until it is.
Capacity bounds
the sum of resident bytes at every step; elapsed time of a step is at least its compute time and the
busy time of every tier and link.

Every legal plan of the order gives a feasible point (set-up times, alignment, cuts and addresses
only cost), so the optimum is a lower bound, once every profile may begin as early as it likes:
windows are opened where the prices say that an earlier step could pay.
"""

from collections.abc import Sequence

import numpy as np

from ullage.compiler.problem import Problem
from ullage.hwmodels.cost import compute_seconds
from ullage.hwmodels.target import Target
from ullage.solvers.atoms import Atom
from ullage.solvers.fluid_program import FluidProgram, Gap, Version
from ullage.solvers.lp import INFINITY, Floats, Ints, LinearProgram
from ullage.solvers.timeline import port_seconds


class _Builder:
    """Adds atoms to the program; costs are seconds for latency, else units per byte."""

    def __init__(
        self, problem: Problem, target: Target, capacity_bytes: int, horizon_s: float
    ) -> None:
        self.target = target
        self.steps = len(problem.steps)
        self.lp = LinearProgram()
        # Solvers' tolerances are absolute: numbers of order one, whatever the chip and the model.
        self.unit_s = max(horizon_s, 1e-30) / self.steps
        self.unit_bytes = float(max(1, capacity_bytes))
        compute = compute_seconds(problem, target)[0] / self.unit_s
        most = np.maximum(compute, horizon_s / self.unit_s)
        self.elapsed = self.lp.add_variables(self.steps, compute, most, 1.0)
        workspace = np.array([step.workspace_bytes for step in problem.steps], dtype=np.float64)
        room = (capacity_bytes - workspace) / self.unit_bytes
        self.capacity_rows = self.lp.add_rows(self.steps, -INFINITY, room)
        self.port_rows: dict[str, Ints] = {}
        self.link_rows: dict[tuple[str, str], Ints] = {}
        self.constants: dict[str, Floats] = {
            tier.name: np.zeros(self.steps) for tier in target.tiers
        }
        for tier in target.tiers:
            self.port_rows[tier.name] = self.lp.add_rows(self.steps, 0.0, INFINITY)
            self.lp.add_entries(self.port_rows[tier.name], self.elapsed, 1.0)
        for link in target.links:
            rows = self.lp.add_rows(self.steps, 0.0, INFINITY)
            self.link_rows[link.source, link.destination] = rows
            self.lp.add_entries(rows, self.elapsed, 1.0)

    def occupy(self, steps: int | slice | Ints, variables: object, size: int) -> None:
        """Fractions of an atom take space in the fastest tier."""
        self.lp.add_entries(self.capacity_rows[steps], variables, size / self.unit_bytes)

    def charge_access(
        self, tier: str, step: int, variable: int, read: float, written: float
    ) -> None:
        """A fraction of an operand is accessed in a tier."""
        seconds = port_seconds(self.target.tier(tier), read, written)
        self.lp.add_entries(self.port_rows[tier][step], variable, -seconds / self.unit_s)

    def charge_constant(self, tier: str, step: int, read: float, written: float) -> None:
        """An operand is accessed in a tier whatever happens."""
        seconds = port_seconds(self.target.tier(tier), read, written)
        self.constants[tier][step] += seconds / self.unit_s

    def charge_moves(
        self, source: str, destination: str, steps: Ints, variables: Ints, size: int, sign: float
    ) -> None:
        """Fractions move over a link."""
        sign /= self.unit_s
        link = self.target.link(source, destination)
        assert link is not None  # noqa: S101 - callers ask first
        read = self.target.tier(source).read_bytes_per_s
        written = self.target.tier(destination).write_bytes_per_s
        self.lp.add_entries(self.port_rows[source][steps], variables, -sign * size / read)
        self.lp.add_entries(self.port_rows[destination][steps], variables, -sign * size / written)
        self.lp.add_entries(
            self.link_rows[source, destination][steps],
            variables,
            -sign * size / link.bandwidth_bytes_per_s,
        )


def build_fluid(
    problem: Problem,
    target: Target,
    atoms: Sequence[Atom],
    *,
    capacity_bytes: int,
    horizon_s: float,
    windows: dict[tuple[int, int], int],
    default_window: int,
) -> FluidProgram:
    """The program of a problem.

    Args:
        problem: the problem.
        target: the chip.
        atoms: its atoms.
        capacity_bytes: of the fastest tier (a plan may leave some slack).
        horizon_s: no step of an optimal plan takes longer (latency of any plan known).
        windows: (atom, event) -> first step of that profile, where it differs from the default.
        default_window: steps before an event in which its profile begins, and after a write in
            which it is spilled.
    """
    builder = _Builder(problem, target, capacity_bytes, horizon_s)
    resident: list[Ints] = []
    gaps: list[Gap] = []
    versions: list[Version] = []
    for index, atom in enumerate(atoms):
        if not atom.size_bytes or not atom.events:
            resident.append(np.zeros(0, dtype=np.int64))
            continue
        if atom.home == target.fastest.name:
            _add_fixed(builder, atom)
            resident.append(np.zeros(0, dtype=np.int64))
            continue
        x = _add_events(builder, atom)
        resident.append(x)
        own: dict[int, Gap] = {}
        for event in range(len(atom.events)):
            gap = _add_gap(builder, index, atom, event, x, windows, default_window)
            if gap is not None:
                gaps.append(gap)
                own[event] = gap
        for event in range(len(atom.events)):
            if atom.events[event].writes:
                versions.append(
                    _add_version(builder, index, atom, event, x, own, windows, default_window)
                )
    for tier, constant in builder.constants.items():
        _shift(builder.lp, builder.port_rows[tier], constant)
    return FluidProgram(
        program=builder.lp.frozen(),
        unit_s=builder.unit_s,
        unit_bytes=builder.unit_bytes,
        resident=tuple(resident),
        gaps=tuple(gaps),
        versions=tuple(versions),
        capacity_rows=builder.capacity_rows,
        port_rows=builder.port_rows,
        link_rows=builder.link_rows,
    )


def _shift(lp: LinearProgram, rows: Ints, constant: Floats) -> None:
    """Raise the lower side of rows that were added as one block."""
    position = 0
    for block, low in enumerate(lp.row_low):
        if position == rows[0] and len(low) == len(rows):
            lp.row_low[block] = low + constant
            return
        position += len(low)
    raise AssertionError("rows were not added as one block")


def _add_fixed(builder: _Builder, atom: Atom) -> None:
    """An atom whose home is the fastest tier takes its space for its whole life."""
    start = 0 if atom.is_given else atom.events[0].step
    keeps = atom.is_output or atom.kind == "weight"
    end = builder.steps if keeps else atom.events[-1].step + 1
    always = builder.lp.add_variables(1, 1.0, 1.0)
    builder.occupy(slice(start, end), always[0], atom.size_bytes)
    for event in atom.events:
        builder.charge_constant(atom.home, event.step, event.read_bytes, event.written_bytes)


def _add_events(builder: _Builder, atom: Atom) -> Ints:
    """Variables x: accessed in the fastest tier, the rest at home."""
    fastest = builder.target.fastest.name
    low = 1.0 if atom.must_be_fastest else 0.0
    x = builder.lp.add_variables(len(atom.events), low, 1.0)
    for variable, event in zip(x.tolist(), atom.events, strict=True):
        read, written = event.read_bytes, event.written_bytes
        builder.charge_access(fastest, event.step, variable, read, written)
        builder.charge_access(atom.home, event.step, variable, -read, -written)
        builder.charge_constant(atom.home, event.step, read, written)
        builder.occupy(event.step, variable, atom.size_bytes)
    return x


def _add_gap(
    builder: _Builder,
    index: int,
    atom: Atom,
    event: int,
    x: Ints,
    windows: dict[tuple[int, int], int],
    default_window: int,
) -> Gap | None:
    lp, size, target = builder.lp, atom.size_bytes, builder.target
    end = atom.events[event].step
    reads = atom.events[event].reads
    previous = atom.events[event - 1] if event else None
    if previous is None and not atom.is_given:
        return None  # born here
    if previous is None:
        kept, first = -1, 0
    else:
        kept = int(lp.add_variables(1, 0.0, 1.0)[0])
        row = lp.add_rows(1, 0.0, INFINITY)
        lp.add_entries(row, [int(x[event - 1]), kept], [1.0, -1.0])
        first = previous.step + 1 if previous.writes else previous.step
    linked = target.link(atom.home, target.fastest.name) is not None
    window = max(first, windows.get((index, event), end - default_window))
    steps = np.arange(window, end, dtype=np.int64) if linked and reads else np.zeros(0, np.int64)
    y = lp.add_variables(len(steps), 0.0, 1.0)
    if kept >= 0 and previous is not None:  # kept bytes take space until the profile takes over
        until = int(steps[0]) if len(steps) else end
        builder.occupy(slice(previous.step + 1, max(until, previous.step + 1)), kept, size)
    first_move_row = -1
    if len(steps):
        chain = lp.add_rows(len(steps), 0.0, INFINITY)  # moves are not negative
        lp.add_entries(chain, y, 1.0)
        lp.add_entries(chain[1:], y[:-1], -1.0)
        first_move_row = int(chain[0])
        builder.occupy(steps, y, size)
        source, fastest = atom.home, target.fastest.name
        builder.charge_moves(source, fastest, steps, y, size, 1.0)
        builder.charge_moves(source, fastest, steps[1:], y[:-1], size, -1.0)
        if kept >= 0 and previous is not None:
            lp.add_entries(chain[0], kept, -1.0)
            builder.charge_moves(source, fastest, steps[:1], np.array([kept]), size, -1.0)
            if int(steps[0]) == previous.step:  # beside what is there during the event itself
                builder.occupy(previous.step, kept, -size)
                row = lp.add_rows(1, -INFINITY, 1.0)
                lp.add_entries(row, [int(x[event - 1]), int(y[0]), kept], [1.0, 1.0, -1.0])
        row = lp.add_rows(1, 0.0, INFINITY)
        lp.add_entries(row, [int(y[-1]), int(x[event])], [1.0, -1.0])
    elif reads:
        row = lp.add_rows(1, -INFINITY if kept >= 0 else 0.0, 0.0)
        if kept >= 0:
            lp.add_entries(row, [int(x[event]), kept], [1.0, -1.0])
        else:
            lp.add_entries(row, int(x[event]), 1.0)
    return Gap(index, event, kept, first, window, y, first_move_row)


def _add_version(
    builder: _Builder,
    index: int,
    atom: Atom,
    event: int,
    x: Ints,
    gaps: dict[int, Gap],
    windows: dict[tuple[int, int], int],
    default_window: int,
) -> Version:
    """What of the data written at an event goes home, and when.

    z_t is the fraction spilled by the end of step t. At each step every byte that was produced in
    fast memory (and is still needed) is resident or spilled already: resident + z_{t-1} >= x, where
    what lingers only to be spilled takes space of its own, q_t.
    """
    lp, target, size = builder.lp, builder.target, atom.size_bytes
    readers = _readers_of_version(atom, event)
    is_last = not any(e.writes for e in atom.events[event + 1 :])
    to_the_end = is_last and atom.is_output
    w = int(lp.add_variables(1, 1.0 if to_the_end else 0.0, 1.0)[0])
    row = lp.add_rows(1, 1.0, INFINITY)
    lp.add_entries(row, [w, int(x[event])], [1.0, 1.0])
    for reader in readers:
        row = lp.add_rows(1, 1.0, INFINITY)
        lp.add_entries(row, [w, gaps[reader].kept], [1.0, 1.0])
    first = atom.events[event].step + 1
    last_reader = atom.events[readers[-1]].step if readers else first
    end = builder.steps if to_the_end else last_reader
    reach = min(end, windows.get((index, -1 - event), first + default_window))
    fastest = target.fastest.name
    linked = target.link(fastest, atom.home) is not None
    steps = np.arange(first, reach, dtype=np.int64) if linked else np.zeros(0, np.int64)
    z = lp.add_variables(len(steps), 0.0, 1.0)
    row = lp.add_rows(1, -1.0, INFINITY)  # the last z >= w - (1 - x)
    lp.add_entries(row, [w, int(x[event])], [-1.0, -1.0])
    if len(steps):
        lp.add_entries(row, z[-1], 1.0)
        chain = lp.add_rows(len(steps), 0.0, INFINITY)
        lp.add_entries(chain, z, 1.0)
        lp.add_entries(chain[1:], z[:-1], -1.0)
        builder.charge_moves(fastest, atom.home, steps, z, size, 1.0)
        builder.charge_moves(fastest, atom.home, steps[1:], z[:-1], size, -1.0)
    # The last reader itself is checked too: what it does not read here must be at home by then.
    checked = np.arange(first, reach if to_the_end else min(reach, end) + 1, dtype=np.int64)
    if not readers and not to_the_end:
        checked = checked[:0]
    if len(checked):
        read_at = {atom.events[reader].step for reader in readers}
        # An operator reads what lingers here from here: at uses nothing lingers besides x.
        most = [0.0 if step in read_at else 1.0 for step in checked.tolist()]
        q = lp.add_variables(len(checked), 0.0, most)
        rows = lp.add_rows(len(checked), 0.0, INFINITY)
        lp.add_entries(rows, q, 1.0)
        lp.add_entries(rows, int(x[event]), -1.0)
        builder.occupy(checked, q, size)
        if len(steps):
            lp.add_entries(rows[1:], z[: len(checked) - 1], 1.0)
        for position, step in enumerate(checked.tolist()):
            there = _resident_at(atom, x, gaps, event, step)
            if there >= 0:
                lp.add_entries(rows[position], there, 1.0)
    return Version(index, event, w, first, end, z, int(row[0]))


def _readers_of_version(atom: Atom, event: int) -> list[int]:
    """Events that read what `event` wrote, the next write included."""
    found: list[int] = []
    for following in range(event + 1, len(atom.events)):
        if atom.events[following].reads:
            found.append(following)
        if atom.events[following].writes:
            break
    return found


def _resident_at(atom: Atom, x: Ints, gaps: dict[int, Gap], event: int, step: int) -> int:
    """The variable that says how much of an atom is there at a step after an event; -1: none."""
    following = event + 1
    while following < len(atom.events) and atom.events[following].step < step:
        following += 1
    if following >= len(atom.events):
        return -1
    if atom.events[following].step == step:
        return int(x[following])
    gap = gaps.get(following)
    if gap is None:
        return -1
    if len(gap.profile) and step >= gap.window:
        return int(gap.profile[step - gap.window])
    return gap.kept
