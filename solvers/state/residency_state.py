"""Who is in the fastest tier when: decisions of a solver, their load, and their cost.

The state that heuristics work on. Addresses come later; here only the sum of live bytes counts.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.problem import Problem
from ullage.solvers.state.build_plan import Stay
from ullage.solvers.state.busy_time import Moves, Timeline, spread
from ullage.solvers.state.infeasibility import step_refusal
from ullage.solvers.state.required import resident_stay, single_stay
from ullage.solvers.state.segments import Atom
from ullage.solvers.state.span_lookup import Run, RunLookup, uncounted

RELATIVE_TOLERANCE = 1e-10  # of the latency: rounding of the running sum stays far below


class Occupancy:
    """Runs of events during which atoms stay in the fastest tier.

    Attributes:
        problem: the problem.
        atoms: its atoms.
        timeline: busy seconds of the plan so far.
        load_bytes: (T,) live bytes in the fastest tier, aligned, workspace included.
        stays: for each atom its stays by first event.
        runs: looks up which run is where.
    """

    def __init__(
        self,
        problem: Problem,
        atoms: Sequence[Atom],
    ) -> None:
        target = problem.target
        self.problem = problem
        self.objective = problem.objective
        self.target = target
        self.atoms = atoms
        self.timeline = Timeline(problem)
        self.steps = len(problem.steps)
        self.load_bytes: NDArray[np.int64] = np.array(
            [step.workspace_bytes for step in problem.steps], dtype=np.int64
        )
        self.stays: list[dict[int, tuple[int, Stay]]] = [{} for _ in atoms]
        self.runs = RunLookup(self.stays, atoms)
        for atom in atoms:
            for event in atom.events:
                self.timeline.add_operand(
                    atom.home, event.step, event.read_bytes, event.written_bytes
                )
        self._settle_mandatory()

    # -- sizes -------------------------------------------------------------------------------

    def aligned_bytes(self, atom: Atom) -> int:
        """Bytes that an atom takes in the fastest tier."""
        unit = self.target.fastest.alignment_bytes
        return -(-atom.size_bytes // unit) * unit

    def fits(self, size: int, low: int, high: int) -> bool:
        """Whether `size` more bytes fit during steps [low, high)."""
        if low >= high:
            return True
        return int(self.load_bytes[low:high].max()) + size <= self.target.fastest.capacity_bytes

    def earliest_fit(self, size: int, low: int, high: int) -> int:
        """Smallest step s in [low, high] such that `size` bytes fit during [s, high)."""
        room = self.target.fastest.capacity_bytes - size
        too_full = np.flatnonzero(self.load_bytes[low:high] > room)
        return low + int(too_full[-1]) + 1 if len(too_full) else low

    # -- changes -----------------------------------------------------------------------------

    def add(
        self, index: int, first: int, last: int, stay: Stay, counted: Sequence[Run] = ()
    ) -> None:
        """Atom `index` stays during events first..last.

        Args:
            index: the atom.
            first: first event of the run.
            last: last event of the run.
            stay: the stay.
            counted: runs inside it whose operands are charged to the fastest tier already.
        """
        self._account(index, first, last, stay, 1, counted)
        self.stays[index][first] = (last, stay)
        self.runs.added(index, first)

    def remove(self, index: int, first: int, counted: Sequence[Run] = ()) -> tuple[int, Stay]:
        """Undo `add`; returns what it was.

        Args:
            index: the atom.
            first: first event of the run.
            counted: runs inside it whose operands stay charged to the fastest tier, for an `add`
                that follows.
        """
        last, stay = self.stays[index].pop(first)
        self.runs.removed(index, first)
        self._account(index, first, last, stay, -1, counted)
        return last, stay

    def _account(
        self, index: int, first: int, last: int, stay: Stay, sign: int, counted: Sequence[Run]
    ) -> None:
        atom = self.atoms[index]
        self.load_bytes[stay.start : stay.end] += sign * self.aligned_bytes(atom)
        fastest = self.target.fastest.name
        for low, high in uncounted(first, last, counted):
            for event in atom.events[low:high]:
                self.timeline.add_operand(
                    atom.home, event.step, -sign * event.read_bytes, -sign * event.written_bytes
                )
                self.timeline.add_operand(
                    fastest, event.step, sign * event.read_bytes, sign * event.written_bytes
                )
        if stay.fill:
            self.timeline.add_moves(atom.home, fastest, stay.fill, sign)
        if stay.spill:
            self.timeline.add_moves(fastest, atom.home, stay.spill, sign)

    def mark(self) -> tuple[float, float]:
        """Latency and slow-tier bytes now, for `improved_since`."""
        return self.timeline.total_s, self.timeline.slow_bytes

    def improved_since(self, before: tuple[float, float]) -> bool:
        """Whether latency fell, or stayed with less slow traffic; other objectives: the traffic."""
        seconds, moved = self.timeline.total_s, self.timeline.slow_bytes
        tolerance = RELATIVE_TOLERANCE * before[0]
        less = moved < before[1] - 0.5
        if self.objective != "latency":
            return less
        return seconds < before[0] - tolerance or (seconds <= before[0] + tolerance and less)

    def worse_than(self, before: tuple[float, float]) -> bool:
        """Whether the objective (latency; for others the slow traffic) has grown since `mark`."""
        if self.objective != "latency":
            return self.timeline.slow_bytes > before[1] + 0.5
        return self.timeline.total_s > before[0] * (1 + RELATIVE_TOLERANCE)

    # -- building stays ----------------------------------------------------------------------

    def run_of(self, index: int, event: int) -> Run | None:
        """The run that covers an event, None when the operator goes to the home tier."""
        return self.runs.of(index, event)

    def needs_spill(self, index: int, first: int, last: int) -> bool:
        """Whether a run must leave a copy at home when it ends."""
        atom = self.atoms[index]
        followed = last + 1 < len(atom.events)
        wanted = atom.events[last + 1].reads if followed else atom.is_output
        if not wanted:
            return False
        wrote = self.runs.last_write(index, first, last) is not None
        return wrote or not self.runs.at_home_after(index, first)

    def propose(
        self, index: int, first: int, last: int, *, window: int = 64, hide_spill: bool = True
    ) -> Stay | None:
        """The stay of a run with its moves placed where they cost least; None if it cannot be.

        Args:
            index: the atom.
            first: first event of the run.
            last: last event of the run.
            window: how many steps before the run its fill may begin, and after it its spill end.
            hide_spill: let the run outlast its last event so that the spill finds idle steps.
        """
        atom = self.atoms[index]
        size = self.aligned_bytes(atom)
        begin, end = atom.events[first].step, atom.events[last].step + 1
        following = self.runs.behind(index, last)
        next_start = self.steps if following is None else following.start
        if end > next_start:
            return None
        fill: Moves = ()
        start = begin
        fastest = self.target.fastest.name
        if atom.events[first].reads:
            if self.target.link(atom.home, fastest) is None:
                return None
            low = max(self.free_from(index, first), begin - window)
            low = self.earliest_fit(size, low, begin)
            if low >= begin:
                return None
            room = self.timeline.room_bytes(atom.home, fastest, low, begin)
            fill = spread(atom.size_bytes, room, low, late=True)
            used = self.used_before(index, first)
            if fill[-1][0] < used:
                fill = spread(atom.size_bytes, room[used - low :], used, late=True)
            start = fill[0][0]
        spill: Moves = ()
        if self.needs_spill(index, first, last):
            if self.target.link(fastest, atom.home) is None:
                return None
            writer = self.runs.last_write(index, first, last)
            after = 1 + max(
                -1 if writer is None else atom.events[writer].step,
                fill[-1][0] if fill else begin - 1,
            )
            limit = next_start
            if last + 1 < len(atom.events):
                limit = min(limit, atom.events[last + 1].step)
            reach = min(limit, end + (window if hide_spill else 0))
            reach = self._latest_fit(size, max(end, after), reach)
            if after >= reach:
                return None
            room = self.timeline.room_bytes(fastest, atom.home, after, reach)
            spill = spread(atom.size_bytes, room, after, late=False)
            end = max(end, spill[-1][0] + 1)
        return Stay(index, start, fill[-1][0] + 1 if fill else start, end, fill, spill)

    def _latest_fit(self, size: int, low: int, high: int) -> int:
        room = self.target.fastest.capacity_bytes - size
        too_full = np.flatnonzero(self.load_bytes[low:high] > room)
        return low + int(too_full[0]) if len(too_full) else max(low, high)

    def free_from(self, index: int, first: int) -> int:
        """First step at which a fill before event `first` may move: data at home, no older stay."""
        step = 0
        older = self.runs.before(index, first)
        if older is not None:  # stays follow one another: the latest is the last to end
            step = max(older.end, older.spill[-1][0] + 1 if older.spill else 0)
        writer = self.runs.last_write(index, 0, first - 1)
        return step if writer is None else max(step, self.atoms[index].events[writer].step + 1)

    def used_before(self, index: int, first: int) -> int:
        """Step of the event before `first`, -1 without one.

        A fill must not end before it: the operator would read the copy that is there, while the
        decision (and its cost) says the home tier.
        """
        return self.atoms[index].events[first - 1].step if first else -1

    # -- what operators cannot do without ----------------------------------------------------

    def _settle_mandatory(self) -> None:
        """Stays without which no plan is legal, and the proof that they fit."""
        for index, atom in enumerate(self.atoms):
            if not atom.size_bytes:
                continue
            if atom.home == self.target.fastest.name:
                stay = resident_stay(index, atom, self.steps)
                if stay is not None:
                    self.load_bytes[stay.start : stay.end] += self.aligned_bytes(atom)
                    self.stays[index][0] = (len(atom.events) - 1, stay)
            elif atom.must_be_fastest:
                for position in range(len(atom.events)):
                    self.add_single(index, position)
        step = int(self.load_bytes.argmax()) if self.steps else 0
        if self.steps and int(self.load_bytes[step]) > self.target.fastest.capacity_bytes:
            here = [s.atom for _, _, s in self.all_stays() if s.start <= step < s.end]
            present = [self.atoms[index] for index in dict.fromkeys(here)]
            needed = int(self.load_bytes[step])
            raise step_refusal(self.problem, step, needed, present)

    def add_single(self, index: int, position: int) -> None:
        """The stay that an operator cannot do without, for one event."""
        leaves = self.needs_spill(index, position, position)
        atom = self.atoms[index]
        stay = single_stay(self.problem, index, atom, position, spills=leaves)
        self.add(index, position, position, stay)

    # -- addresses ---------------------------------------------------------------------------

    def all_stays(self) -> list[tuple[int, int, Stay]]:
        """(first event, last event, stay) of everything that is in the fastest tier."""
        return [
            (first, last, stay)
            for runs in self.stays
            for first, (last, stay) in sorted(runs.items())
        ]

    def place(self, index: int, first: int, offset: int) -> None:
        """Give a stay its address."""
        last, stay = self.stays[index][first]
        self.stays[index][first] = (last, replace(stay, offset=offset))
