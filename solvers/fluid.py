"""`fluid`: an LP over resident fractions, cut into slices; with a certified lower bound.

1. Solve the LP of `fluid_lp` (windows opened until prices say that no earlier step could pay). Its
   dual value, made safe against the solver's tolerance, bounds every legal plan of this order.
2. Cut the fractions into slices (`fluid_slices`), add them while they fit, the most valuable per
   byte and step first, and let the greedy moves fill what rounding left.
3. Give the slices addresses in equal pages, for which the left-edge rule needs no more than the
   live bytes: nothing is lost to fragmentation. Adjacent pages become one residency.

Where operands are whole, or cut between rows only, fractions are rounded accordingly and placed in
one piece each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ullage.compiler.plan import Plan, Residency
from ullage.compiler.problem import Problem
from ullage.hwmodels.cost import objective_value, score
from ullage.hwmodels.target import Target
from ullage.solvers import all_slow
from ullage.solvers.assemble import Stay, assemble
from ullage.solvers.atoms import Atom, atoms_of
from ullage.solvers.fluid_relax import Relaxation, relax
from ullage.solvers.fluid_slices import Wish, cut_slices, page_runs, page_size, slice_of
from ullage.solvers.greedy import close_gaps, hide_single_uses, try_run
from ullage.solvers.occupancy import Occupancy
from ullage.solvers.placement import place_stays
from ullage.solvers.registry import SolverOptions, parameters_of
from ullage.solvers.timeline import spread

SUMMARY = "LP over resident fractions, cut into slices; certified bound"
DEFAULTS: Mapping[str, Any] = {"lp_solver": "glop", "window_steps": 24, "max_rounds": 20}
OBJECTIVES = ("latency", "traffic", "energy")
REPAIR_WINDOW_STEPS = 64
SPILL_STEPS = 64  # how long a slice may linger to be spilled


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The fluid plan.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    chosen = parameters_of(options, DEFAULTS)
    atoms = atoms_of(problem, target)
    reference = all_slow.solve(problem, target, replace(options, parameters={}))
    known = objective_value(score(reference), options.objective)
    relaxation = relax(problem, target, atoms, known, options, chosen)
    if relaxation is None:
        note = "fluid: the LP was not solved (time limit or numerics): everything stays slow"
        return replace(reference, solver="fluid", notes=(*reference.notes, note))
    plan = _sliced_plan(problem, target, atoms, relaxation, options)
    return replace(plan, lower_bound=relaxation.bound, bound_source="fluid-lp")


def _sliced_plan(
    problem: Problem,
    target: Target,
    atoms: Sequence[Atom],
    relaxation: Relaxation,
    options: SolverOptions,
) -> Plan:
    """The LP's fractions as a plan: slices granted, rounding repaired, addresses given."""
    grain, paged = target.slice_granularity_bytes, target.split_operands
    paged = paged and grain > 0
    page = 0
    if paged:
        page = page_size(target.fastest.capacity_bytes, grain, target.fastest.alignment_bytes)
    grains = [page or _grain(problem, target, atom) for atom in atoms]
    slices, wishes = cut_slices(relaxation.fluid, relaxation.solution, atoms, grains)
    occupancy = SlicedOccupancy(problem, target, slices, page)
    grant(occupancy, wishes)
    close_gaps(occupancy, REPAIR_WINDOW_STEPS, options)
    hide_single_uses(occupancy, REPAIR_WINDOW_STEPS, options)
    if not paged:
        place_stays(occupancy)
    listed = [stay for _, _, stay in occupancy.all_stays()]
    plan = assemble(
        problem,
        target,
        occupancy.slices,
        [replace(s, offset=0) for s in listed] if paged else listed,
        solver="fluid",
        objective=options.objective,
        seed=options.seed,
    )
    return _paged(plan, occupancy, listed) if paged else plan


def _grain(problem: Problem, target: Target, atom: Atom) -> int:
    """Bytes between possible cuts of an atom; 0 where it is not cut at all."""
    if not target.split_operands:
        return 0
    return target.slice_granularity_bytes or problem.buffers[atom.buffer].row_bytes


class SlicedOccupancy(Occupancy):
    """Occupancy of slices that can still be cut, counted in whole pages where there are any."""

    def __init__(
        self, problem: Problem, target: Target, atoms: Sequence[Atom], page_bytes: int
    ) -> None:
        self.page_bytes = page_bytes
        self.slices = list(atoms)
        super().__init__(problem, target, self.slices)

    def split(self, index: int, excess_bytes: int) -> int | None:
        """Cut at least `excess_bytes` off the end of a slice without stays.

        Returns:
            The new slice, None when nothing would be left (or the memory has no pages).
        """
        atom = self.slices[index]
        if not self.page_bytes:
            return None
        cut = (atom.end_byte - excess_bytes) // self.page_bytes * self.page_bytes
        if cut <= atom.start_byte:
            return None
        self.slices[index] = slice_of(atom, atom.start_byte, cut)
        self.slices.append(slice_of(atom, cut, atom.end_byte))
        self.stays.append({})
        return len(self.slices) - 1

    def aligned_bytes(self, atom: Atom) -> int:
        """Bytes of the pages that an atom touches; pages begin at multiples inside the buffer."""
        if not self.page_bytes:
            return super().aligned_bytes(atom)
        first, last = atom.start_byte // self.page_bytes, -(-atom.end_byte // self.page_bytes)
        return (last - first) * self.page_bytes


def grant(occupancy: SlicedOccupancy, wishes: Sequence[Wish]) -> int:
    """Add the wished stays that fit, most valuable slices first; returns how many were refused.

    A slice that sticks out is cut, so that the part that fits is granted.
    """
    by_slice: dict[int, list[Wish]] = {}
    for wish in wishes:
        by_slice.setdefault(wish.slice, []).append(wish)
    refused = 0
    order = sorted(by_slice, key=lambda n: (-_worth(occupancy.atoms[n], by_slice[n]), n))
    for number in order:
        mine = by_slice[number]
        if occupancy.atoms[number].must_be_fastest:
            for wish in mine:
                for event in range(wish.first + 1, wish.last + 1):
                    try_run(occupancy, number, event - 1, event, REPAIR_WINDOW_STEPS)
            continue
        excess = max(_excess(occupancy, wish) for wish in mine)
        rest = occupancy.split(number, excess) if excess > 0 else None
        refused += sum(not _grant_one(occupancy, wish) for wish in mine)
        if rest is not None:
            refused += sum(not _grant_one(occupancy, replace(w, slice=rest)) for w in mine)
    return refused


def _worth(atom: Atom, wishes: Sequence[Wish]) -> float:
    """Slow bytes that wished stays save, per byte and step that they take."""
    saved = taken = 0.0
    for wish in wishes:
        events = atom.events[wish.first : wish.last + 1]
        saved += sum(e.read_bytes + e.written_bytes for e in events)
        saved -= atom.size_bytes if wish.fill >= 0 else 0
        taken += atom.size_bytes * (events[-1].step + 1 - _begin(atom, wish))
    return saved / taken


def _begin(atom: Atom, wish: Wish) -> int:
    return wish.fill if wish.fill >= 0 else atom.events[wish.first].step


def _excess(occupancy: Occupancy, wish: Wish) -> int:
    """Bytes by which a wished stay exceeds the memory; negative when it fits."""
    atom = occupancy.atoms[wish.slice]
    span = slice(_begin(atom, wish), atom.events[wish.last].step + 1)
    load = int(occupancy.load_bytes[span].max())
    return load + occupancy.aligned_bytes(atom) - occupancy.target.fastest.capacity_bytes


def _grant_one(occupancy: Occupancy, wish: Wish) -> bool:
    atom = occupancy.atoms[wish.slice]
    end = atom.events[wish.last].step + 1
    fill = ((wish.fill, atom.size_bytes),) if wish.fill >= 0 else ()
    start = _begin(atom, wish)
    if fill and wish.fill < occupancy.free_from(wish.slice, wish.first):
        return False
    if _excess(occupancy, wish) > 0:
        return False
    stay = Stay(wish.slice, start, start + 1 if fill else start, end, fill)
    if occupancy.needs_spill(wish.slice, wish.first, wish.last):
        spilled = _spilled_as_wished(occupancy, wish, stay) or _spilled(occupancy, wish, stay)
        if spilled is None:
            return False
        stay = spilled
    occupancy.add(wish.slice, wish.first, wish.last, stay)
    return True


def _spilled_as_wished(occupancy: Occupancy, wish: Wish, stay: Stay) -> Stay | None:
    """The stay with the LP's own spill, lingering until it is done; None where that is illegal."""
    atom = occupancy.atoms[wish.slice]
    if wish.spill < _spill_from(atom, wish, stay) or wish.spill >= _spill_limit(occupancy, wish):
        return None
    end = max(stay.end, wish.spill + 1)
    if not occupancy.fits(occupancy.aligned_bytes(atom), stay.end, end):
        return None
    return replace(stay, end=end, spill=((wish.spill, atom.size_bytes),))


def _spill_from(atom: Atom, wish: Wish, stay: Stay) -> int:
    """First step in which a spill may move: after the last write, when the slice is ready."""
    writes = [e.step for e in atom.events[wish.first : wish.last + 1] if e.writes]
    return max([*writes, stay.ready - 1]) + 1


def _spill_limit(occupancy: Occupancy, wish: Wish) -> int:
    """First step that is too late for a spill: the next use."""
    atom = occupancy.atoms[wish.slice]
    followed = wish.last + 1 < len(atom.events)
    return atom.events[wish.last + 1].step if followed else occupancy.steps


def _spilled(occupancy: Occupancy, wish: Wish, stay: Stay) -> Stay | None:
    """The stay with a spill in idle steps after its last write, lingering where it must."""
    atom = occupancy.atoms[wish.slice]
    fastest = occupancy.target.fastest.name
    if occupancy.target.link(fastest, atom.home) is None:
        return None
    after, limit = _spill_from(atom, wish, stay), _spill_limit(occupancy, wish)
    reach = stay.end
    size = occupancy.aligned_bytes(atom)
    while (
        reach < limit and reach < stay.end + SPILL_STEPS and occupancy.fits(size, reach, reach + 1)
    ):
        reach += 1
    if after >= reach:
        return None
    room = occupancy.timeline.room_bytes(fastest, atom.home, after, reach)
    spill = spread(atom.size_bytes, room, after, late=False)
    return replace(stay, end=max(stay.end, spill[-1][0] + 1), spill=spill)


def _paged(plan: Plan, occupancy: SlicedOccupancy, stays: Sequence[Stay]) -> Plan:
    """Replace the residencies of the fastest tier by runs of adjacent pages."""
    page, fastest = occupancy.page_bytes, plan.target.fastest.name
    atoms = [occupancy.slices[stay.atom] for stay in stays]
    runs = page_runs(
        [s.start for s in stays],
        [s.end for s in stays],
        [occupancy.aligned_bytes(atom) for atom in atoms],
        page,
    )
    found = [r for r in plan.residencies if r.tier != fastest]
    for stay, atom, pages in zip(stays, atoms, runs, strict=True):
        base = atom.start_byte // page * page
        for offset, size in pages:
            low, high = max(atom.start_byte, base), min(base + size, atom.end_byte)
            # A run that begins inside the slice's first page keeps the page's own address.
            span = (atom.buffer, low, high, fastest, offset)
            found.append(Residency(*span, stay.start, stay.ready, stay.end))
            base += size
    found.sort(key=lambda r: (r.buffer, r.start_byte, r.start))
    return replace(plan, residencies=tuple(found))
