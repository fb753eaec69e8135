"""`msa`: XLA's memory-space assignment, re-stated.

The production allocator that the paper on mallocMuZero (arXiv 2305.07440, section 2.3) is measured
against. Tensors are taken in the order of their memory-boundedness: the time that their uses lose
in slow memory, over the square root of the room (bytes x steps) they take. For each use of a
tensor, in program order, the first choice that works is final:

- no copy: the tensor is in fast memory since its definition or previous use and stays, at the same
  address where possible (pinned, when that holds for all uses);
- prefetch: it is copied in before the use. The copy must fit between computation: the steps it
  overlaps take `min_overlap_ratio` to `max_overlap_ratio` times as long as the copy, near
  `preferred_overlap_ratio` first, with idle link time for every byte;
- otherwise the operator uses slow memory. Where a tensor leaves fast memory and is needed later, it
  is evicted: copied out after its definition.

Offsets are best fit at the time of the decision; when no hole is left but bytes are, everything is
repacked (`max_repacks` times). There is no backtracking; a second sweep offers what is left over
to the uses that found nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import overhead_seconds
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics.msa_addresses import Addresses
from ullage.solvers.interface import Solution, Solver
from ullage.solvers.parameters import parameter
from ullage.solvers.state.build_plan import Stay, assemble
from ullage.solvers.state.busy_time import spread
from ullage.solvers.state.place import place_stays
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import atoms_of
from ullage.solvers.state.span_lookup import Run

FIRST_LOOK_STEPS = 256  # how far back prefetch starts are looked for at first


@dataclass(frozen=True)
class MsaOptions:
    """Parameters of `msa`; the overlap ratios are XLA's."""

    min_overlap_ratio: float = parameter(
        1.0, "least computing time beside a prefetch, in times of its own duration", least=0
    )
    preferred_overlap_ratio: float = parameter(
        1.5, "computing time beside a prefetch that is tried first", least=1e-9
    )
    max_overlap_ratio: float = parameter(
        100.0,
        "most computing time beside a prefetch: earlier it would take space for nothing",
        least=0,
    )
    min_hidden_fraction: float = parameter(
        1.0, "share of a prefetch's bytes that must find idle time of the link", least=0, most=1
    )
    sweeps: int = parameter(2, "passes over all tensors", least=1)
    max_prefetch_starts: int = parameter(32, "starts that are tried for each prefetch", least=1)
    max_run_ends: int = parameter(64, "lengths of a residency that are tried at each use", least=1)
    max_repacks: int = parameter(
        10, "times that all addresses are chosen anew where one finds no hole", least=0
    )
    spill_window_steps: int = parameter(
        64, "steps after a use in which its write-back may end", least=1
    )


def solve(problem: Problem, options: MsaOptions, budget: Budget) -> Solution:
    """The plan of memory-space assignment.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    occupancy, notes = assign(problem, options, budget)
    return Solution(
        assemble(problem, occupancy.atoms, [stay for _, _, stay in occupancy.all_stays()]),
        stop_reason="time limit" if budget.is_over() else "finished",
        notes=tuple(notes),
    )


def assign(problem: Problem, options: MsaOptions, budget: Budget) -> tuple[Occupancy, list[str]]:
    """The stays of memory-space assignment, with addresses, and notes on limits met.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    occupancy = Occupancy(problem, atoms_of(problem))
    assignment = _Assignment(occupancy, options, budget)
    queue = _by_memory_boundedness(occupancy)
    notes: list[str] = []
    for _ in range(options.sweeps):
        before = occupancy.mark()
        for index in queue:
            if budget.remaining_s() <= 0:
                break  # what is decided is legal as it stands
            assignment.assign(index)
        if occupancy.mark() == before:
            break
    if budget.remaining_s() <= 0:
        notes.append("msa: the time limit ended the assignment early")
    if assignment.has_skipped_ends:
        notes.append(
            f"msa: of buffers with more than {options.max_run_ends} further uses only some "
            "lengths of stay were tried (parameter max_run_ends)"
        )
    return occupancy, notes


def _by_memory_boundedness(occupancy: Occupancy) -> list[int]:
    """Atoms, the one first whose uses lose most time to slow memory for the room they take.

    XLA divides the benefit by the square root of the size; here lifetime counts like size (2 %
    better in the geometric mean over eight models and four capacities).
    """
    timeline = occupancy.timeline
    keys: list[tuple[float, float, int]] = []
    for index, atom in enumerate(occupancy.atoms):
        if not atom.size_bytes or not atom.events or atom.home == occupancy.target.fastest.name:
            continue
        lost = 0.0
        moved = 0.0
        for event in atom.events:
            mine = timeline.operand_seconds(atom.home, event.read_bytes, event.written_bytes)
            rest = timeline.busy_without(event.step, atom.home, mine)
            lost += max(0.0, float(timeline.busy_s[event.step]) - rest)
            moved += event.read_bytes + event.written_bytes
        lifetime = atom.events[-1].step - atom.events[0].step + 1
        weight = math.sqrt(atom.size_bytes * lifetime)
        keys.append((-lost / weight, -moved / weight, index))
    return [index for _, _, index in sorted(keys)]


class _Assignment:
    """Decisions so far, with addresses."""

    def __init__(self, occupancy: Occupancy, options: MsaOptions, budget: Budget) -> None:
        self.occupancy = occupancy
        self.options = options
        self.budget = budget
        self.has_skipped_ends = False
        self.overhead_s = overhead_seconds(occupancy.problem)
        place_stays(occupancy)  # what operators cannot do without has its place first
        self.addresses = Addresses(occupancy, options.max_repacks)

    def assign(self, index: int) -> None:
        """Decide every use of an atom in program order."""
        atom = self.occupancy.atoms[index]
        position = 0
        while position < len(atom.events):
            run = self.occupancy.run_of(index, position)
            event = atom.events[position]
            if run is None and event.reads:
                self._prefetch(index, position)
                run = self.occupancy.run_of(index, position)
            if run is not None or not event.reads:
                run = self._no_copy(index, position, run) or run
            position = position + 1 if run is None else run[1] + 1

    def _no_copy(self, index: int, position: int, run: Run | None) -> Run | None:
        """Stay from an event in fast memory (or a definition) for as many uses as possible."""
        atom = self.occupancy.atoms[index]
        low = run[0] if run is not None else position
        reached = run[1] if run is not None else position
        for high in self._run_ends(reached, len(atom.events) - 1):
            if self.budget.remaining_s() <= 0:
                return None  # what is decided is legal as it stands
            old = self.occupancy.runs.between(index, low, high)
            if old and old[-1][1] > high:
                continue  # would cut a stay in two
            if self._try(index, (low, high), old):
                return low, high
        return None

    def _run_ends(self, reached: int, last: int) -> Sequence[int]:
        """Events that a longer run may end with, the furthest first.

        All of them where they are few, else at distances from `reached` that halve: an atom of many
        uses would take the cube of their number.
        """
        if last - reached <= self.options.max_run_ends:
            return range(last, reached, -1)
        self.has_skipped_ends = True
        halvings = range((last - reached).bit_length())
        return [reached + ((last - reached) >> k) for k in halvings]

    def _try(self, index: int, run: Run, old: list[Run]) -> bool:
        """Replace runs of an atom by one, if it fits, helps, and finds an address."""
        occupancy = self.occupancy
        before = occupancy.mark()
        removed = [(begin, *occupancy.remove(index, begin)) for begin, _ in old]
        window = self.options.spill_window_steps
        stay = occupancy.propose(index, *run, window=window)
        if stay is not None and self._commit(index, run, stay, removed, before):
            return True
        for begin, end, kept in removed:
            occupancy.add(index, begin, end, kept)
        return False

    def _commit(
        self,
        index: int,
        run: Run,
        stay: Stay,
        removed: list[tuple[int, int, Stay]],
        before: tuple[float, float],
    ) -> bool:
        """Add a stay if latency falls and an address is found; else leave things as they are."""
        occupancy = self.occupancy
        size = occupancy.aligned_bytes(occupancy.atoms[index])
        if not occupancy.fits(size, stay.start, stay.end):
            return False
        occupancy.add(index, *run, stay)
        if occupancy.improved_since(before) and self.addresses.place(index, run, removed):
            return True
        occupancy.remove(index, run[0])
        return False

    def _prefetch(self, index: int, position: int) -> None:
        """Copy in before a use, near the preferred overlap first."""
        occupancy = self.occupancy
        before = occupancy.mark()
        size = occupancy.aligned_bytes(occupancy.atoms[index])
        for start in self._prefetch_starts(index, position):
            if not occupancy.fits(size, start, occupancy.atoms[index].events[position].step + 1):
                continue
            stay = self._prefetch_from(index, position, start)
            if stay is None or not occupancy.fits(size, stay.start, stay.end):
                continue
            occupancy.add(index, position, position, stay)
            helps = occupancy.improved_since(before)
            if helps and self.addresses.place(index, (position, position), []):
                return
            occupancy.remove(index, position)
            if not helps:
                return  # all of the copy is hidden: another start gains as little

    def _prefetch_starts(self, index: int, position: int) -> list[int]:
        """Steps at which a prefetch may begin, by distance from the preferred overlap ratio."""
        occupancy, options = self.occupancy, self.options
        atom = occupancy.atoms[index]
        target = occupancy.target
        link = target.link(atom.home, target.fastest.name)
        if link is None:
            return []
        rate = min(link.bandwidth_bytes_per_s, target.tier(atom.home).read_bytes_per_s)
        copy_s = link.setup_s + atom.size_bytes / rate
        use = atom.events[position].step
        low = occupancy.free_from(index, position)
        furthest = options.max_overlap_ratio
        ratios = self._elapsed(low, use, furthest * copy_s) / copy_s
        allowed = np.flatnonzero((ratios >= options.min_overlap_ratio) & (ratios <= furthest))
        distance = np.abs(np.log(ratios[allowed] / options.preferred_overlap_ratio))
        chosen = allowed[np.argsort(distance, kind="stable")]
        return [use - 1 - int(back) for back in chosen[: options.max_prefetch_starts]]

    def _elapsed(self, low: int, use: int, enough_s: float) -> NDArray[np.float64]:
        """Seconds from each step to a use, backwards to step `low` or until there are enough."""
        steps = FIRST_LOOK_STEPS
        while True:
            window = slice(max(low, use - steps), use)
            busy_s = self.occupancy.timeline.busy_s[window] + self.overhead_s[window]
            elapsed = busy_s[::-1].cumsum()
            if window.start == low or elapsed[-1] > enough_s:
                return elapsed
            steps *= 4

    def _prefetch_from(self, index: int, position: int, start: int) -> Stay | None:
        """The stay of a prefetch that begins at a step, None without idle time for all of it."""
        occupancy = self.occupancy
        atom = occupancy.atoms[index]
        use = atom.events[position].step
        fastest = occupancy.target.fastest.name
        room = occupancy.timeline.room_bytes(atom.home, fastest, start, use)
        if int(room.sum()) < self.options.min_hidden_fraction * atom.size_bytes:
            return None
        fill = spread(atom.size_bytes, room, start, late=False)
        if fill[-1][0] < occupancy.used_before(index, position):
            return None  # here before an earlier use, for which it was not worth it
        end = use + 1
        spill: tuple[tuple[int, int], ...] = ()
        if occupancy.needs_spill(index, position, position):
            proposed = occupancy.propose(index, position, position)
            if proposed is None:
                return None
            spill, end = proposed.spill, proposed.end
        return Stay(index, fill[0][0], fill[-1][0] + 1, end, fill, spill)


SOLVER = Solver(
    "msa", "XLA's memory-space assignment re-stated: the production baseline", solve, MsaOptions
)
