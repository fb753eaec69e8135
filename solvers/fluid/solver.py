"""`fluid`: an LP over resident fractions, cut into slices; with a certified lower bound.

1. Solve the LP of `fluid_lp` (windows opened until prices say that no earlier step could pay). Its
   dual value, made safe against the solver's tolerance, bounds every legal plan of this order.
2. Cut the fractions into slices (`fluid_slices`), add them while they fit, the most valuable per
   byte and step first, and let the greedy moves fill what rounding left.
3. Give the slices addresses in equal pages, for which the left-edge rule needs no more than the
   live bytes: nothing is lost to fragmentation. Adjacent pages become one residency.

Targets with more tiers have a program of their own (`tiers`), and where every home is next to the
fastest tier this one is tried too. Where operands are whole, or cut
between rows only, fractions are rounded accordingly, placed in one piece each, and improved by
annealing (`whole_search`).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.plan import Plan, Residency
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.target import Target
from ullage.compiler.verify.verifier import find_violations
from ullage.hwmodels.cost import objective_value, score
from ullage.solvers.annealing.search import DEFAULT_WORK, whole_stays
from ullage.solvers.fluid.multi_tier.network import needs_detour
from ullage.solvers.fluid.multi_tier.solver import solve_tiers
from ullage.solvers.fluid.two_tier.relaxation import Relaxation, relax
from ullage.solvers.fluid.two_tier.rounding import (
    REPAIR_WINDOW_STEPS,
    SlicedOccupancy,
    grant,
    retime,
)
from ullage.solvers.fluid.two_tier.slicing import Wish, cut_slices
from ullage.solvers.packing.pages import Rectangle, page_runs, page_size
from ullage.solvers.registry import SolverOptions, find_solver, parameters_of
from ullage.solvers.state.build_plan import Stay, assemble
from ullage.solvers.state.greedy_moves import close_gaps, hide_single_uses
from ullage.solvers.state.home_plan import home_plan
from ullage.solvers.state.residency_state import Occupancy
from ullage.solvers.state.segments import Atom, atoms_of

SUMMARY = "LP over resident fractions, cut into slices; certified bound"
DEFAULTS: Mapping[str, Any] = {
    "lp_solver": "glop",
    "window_steps": 24,
    "max_rounds": 20,
    "max_tier_rounds": 80,
    "whole_steps": 2000,
    "block_window_steps": 16,
    "search_work": DEFAULT_WORK,
}
OBJECTIVES = ("latency", "traffic", "energy")
NEAR = 1e-2  # a plan so near to its bound is not worth another try,
LP_SHARE = 0.3  # of the time, for the direct program where there are more tiers,
TIERS_SHARE = 0.6  # and of what is left, for the plan that uses all of them
QUICK_STEPS = 300  # unless heuristics are quick
HEURISTIC_STEPS = 2000  # longer programs are not tried with heuristics, which take their time


def solve(problem: Problem, target: Target, options: SolverOptions) -> Plan:
    """The fluid plan.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
        UsageError: a parameter makes no sense.
    """
    chosen = parameters_of(options, DEFAULTS)
    _check(chosen)
    if len(target.tiers) == 2:
        return _direct_plan(_direct(problem, target, options, chosen), options, chosen)
    if needs_detour(target):
        return solve_tiers(problem, target, options, chosen)
    return _best_of_both(problem, target, options, chosen)


def _best_of_both(
    problem: Problem, target: Target, options: SolverOptions, chosen: Mapping[str, Any]
) -> Plan:
    """The plan where there are more tiers, but every home is next to the fastest one.

    Third tiers may pay, and the bound has to know them; what moves between home and the fastest
    tier only has finer tools.
    """
    try:
        direct = _direct(problem, target, _sooner(options, LP_SHARE), chosen)
    except InfeasibleError:  # a home has no room for all of its tensors at the same time
        return solve_tiers(problem, target, options, chosen)
    relaxation = direct.relaxation
    plan = solve_tiers(problem, target, _sooner(options, TIERS_SHARE), chosen, relaxation)
    if options.remaining_s() <= 0:
        note = "fluid: no time for the plan that uses home and the fastest tier only"
        return replace(plan, notes=(*plan.notes, note))
    other = _direct_plan(direct, options, chosen)
    values = [objective_value(score(p), options.objective) for p in (plan, other)]
    if values[1] >= values[0]:
        return plan
    return replace(other, lower_bound=plan.lower_bound, bound_source=plan.bound_source)


def _sooner(options: SolverOptions, share: float) -> SolverOptions:
    """The same with a share of the time."""
    if options.deadline is None:
        return options
    return replace(options, deadline=time.monotonic() + share * max(0.0, options.remaining_s()))


@dataclass(frozen=True)
class _Direct:
    """The program of data that moves between home and the fastest tier only, solved.

    Attributes:
        atoms: of the problem.
        reference: the plan that keeps everything at home.
        relaxation: None where the LP was not solved.
    """

    atoms: tuple[Atom, ...]
    reference: Plan
    relaxation: Relaxation | None


def _direct(
    problem: Problem, target: Target, options: SolverOptions, chosen: Mapping[str, Any]
) -> _Direct:
    atoms = atoms_of(problem, target)
    reference = home_plan(problem, target, options.for_member(), "fluid")
    known = objective_value(score(reference), options.objective)
    options.on_improvement(known)
    return _Direct(atoms, reference, relax(problem, target, atoms, known, options, chosen))


def _direct_plan(direct: _Direct, options: SolverOptions, chosen: Mapping[str, Any]) -> Plan:
    """Its plan, with its bound."""
    reference, relaxation = direct.reference, direct.relaxation
    problem, target, atoms = reference.problem, reference.target, direct.atoms
    if relaxation is None:
        note = "fluid: the LP was not solved (time limit or numerics): everything stays slow"
        slow = replace(reference, notes=(*reference.notes, note))
        return _at_least_heuristic(slow, None, options)
    try:
        plan = _sliced_plan(problem, target, atoms, relaxation, options, int(chosen["search_work"]))
    except LookupError:  # what operators cannot do without has no pages
        note = "fluid: slices found no addresses: everything stays slow"
        plan = replace(reference, notes=(*reference.notes, note))
    plan = _at_least_heuristic(plan, relaxation.bound, options)
    prices = _prices(relaxation) if options.objective == "latency" else {}
    return replace(
        plan,
        lower_bound=relaxation.bound,
        bound_source="fluid-lp",
        options={**plan.options, **prices},
    )


def _check(chosen: Mapping[str, Any]) -> None:
    """Without a step to move in, or a round, nothing would be proven."""
    for name in ("window_steps", "block_window_steps", "max_rounds", "max_tier_rounds"):
        if int(chosen[name]) < 1:
            raise UsageError(f"{name} of fluid is 1 or more, not {chosen[name]}")


def _at_least_heuristic(plan: Plan, bound: float | None, options: SolverOptions) -> Plan:
    """The plan, or that of a heuristic where rounding lost more than the heuristic does."""
    value = objective_value(score(plan), options.objective)
    options.on_improvement(value)
    own, steps = plan.notes, len(plan.problem.steps)
    near = bound is not None and value <= bound * (1 + (NEAR if steps > QUICK_STEPS else 1e-9))
    if near or (bound is not None and steps > HEURISTIC_STEPS):
        return plan
    for name in ("greedy", "msa"):
        if options.remaining_s() <= 0:
            break
        try:
            other = find_solver(name).solve(plan.problem, plan.target, options.for_member())
        except (InfeasibleError, UsageError):
            continue  # a heuristic may not know such targets; this plan stands
        if find_violations(other, limit=1):
            continue
        its = objective_value(score(other), options.objective)
        if its < value:
            note = f"fluid: {name} lost less than rounding did ({1 - its / value:.2%}): its plan"
            notes = (*other.notes, *(n for n in own if n not in other.notes), note)
            plan, value = replace(other, solver="fluid", notes=notes), its
    return plan


def _prices(relaxation: Relaxation) -> dict[str, Any]:
    """What 10 % more fast memory saves at most: the multipliers of the capacity (convexity)."""
    builder = relaxation.fluid.builder
    per_byte_s = float(builder.space_prices(relaxation.solution.duals).sum()) * builder.unit
    fastest = builder.target.fastest
    saves_s = 0.1 * fastest.capacity_bytes * per_byte_s
    what = {"what": f"10 % more {fastest.name}", "saves_s": saves_s, "source": "fluid-lp, at most"}
    return {"prices": [what]}


def _sliced_plan(
    problem: Problem,
    target: Target,
    atoms: Sequence[Atom],
    relaxation: Relaxation,
    options: SolverOptions,
    search_work: int,
) -> Plan:
    """The LP's fractions as a plan: slices granted, rounding repaired, addresses given."""
    grain, paged = target.slice_granularity_bytes, target.split_operands
    paged = paged and grain > 0
    page = 0
    if paged:
        page = page_size(target.fastest.capacity_bytes, grain, target.fastest.alignment_bytes)
    grains = [page or _grain(problem, target, atom) for atom in atoms]
    slices, wishes = cut_slices(relaxation.fluid, relaxation.solution, atoms, grains)
    if not paged:  # addresses of what wraps around the inference are found for pages only
        wishes = [w for w in wishes if not (w.is_carried or w.is_left) or _is_pinned(slices, w)]
    sliced = SlicedOccupancy(problem, target, slices, page, options.objective)
    grant(sliced, wishes)
    close_gaps(sliced, REPAIR_WINDOW_STEPS, options)
    hide_single_uses(sliced, REPAIR_WINDOW_STEPS, options)
    if paged:
        retime(sliced, options)
    residencies = _place_in_pages(sliced) if paged else []
    occupancy: Occupancy = sliced
    notes: tuple[str, ...] = ()
    if not paged:
        occupancy, notes = whole_stays(occupancy, options, search_work)
    listed = [stay for _, _, stay in occupancy.all_stays()]
    plan = assemble(
        problem,
        target,
        occupancy.atoms,
        [replace(s, offset=0) for s in listed] if paged else listed,
        solver="fluid",
        objective=options.objective,
        seed=options.seed,
    )
    if not paged:
        return replace(plan, notes=(*plan.notes, *notes))
    elsewhere = [r for r in plan.residencies if r.tier != target.fastest.name]
    found = sorted(elsewhere + residencies, key=lambda r: (r.buffer, r.start_byte, r.start))
    return replace(plan, residencies=tuple(found))


def _is_pinned(slices: Sequence[Atom], wish: Wish) -> bool:
    """Whether a wish keeps a weight for ever."""
    last = len(slices[wish.slice].events) - 1
    return wish.is_carried and wish.is_left and (wish.first, wish.last) == (0, last)


def _grain(problem: Problem, target: Target, atom: Atom) -> int:
    """Bytes between possible cuts of an atom; 0 where it is not cut at all."""
    if not target.split_operands:
        return 0
    return target.slice_granularity_bytes or problem.buffers[atom.buffer].row_bytes


def _place_in_pages(occupancy: SlicedOccupancy) -> list[Residency]:
    """Residencies of the fastest tier in runs of adjacent pages.

    Slices that find no pages (in steady state, where the rule is not optimal) lose their stays.
    """
    page, target = occupancy.page_bytes, occupancy.target
    workspace = max((step.workspace_bytes for step in occupancy.problem.steps), default=0)
    while True:
        entries = occupancy.all_stays()
        rectangles = _rectangles(occupancy, [stay for _, _, stay in entries])
        runs = page_runs(rectangles, page, target.fastest.capacity_bytes - workspace)
        lost = [entry for entry, pages in zip(entries, runs, strict=True) if pages is None]
        if not lost:
            break
        for first, _, stay in lost:
            occupancy.drop(stay.atom, first)
    found: list[Residency] = []
    for (_, _, stay), pages in zip(entries, runs, strict=True):
        atom = occupancy.slices[stay.atom]
        base = atom.start_byte // page * page
        for offset, size in pages or ():
            low, high = max(atom.start_byte, base), min(base + size, atom.end_byte)
            # A run that begins inside the slice's first page keeps the page's own address.
            span = (atom.buffer, low, high, target.fastest.name, offset)
            found.append(Residency(*span, stay.start, stay.ready, stay.end))
            base += size
    return found


def _rectangles(occupancy: SlicedOccupancy, stays: Sequence[Stay]) -> list[Rectangle]:
    begins = {s.atom: i for i, s in enumerate(stays) if not s.start and s.atom in occupancy.carried}
    return [
        Rectangle(
            stay.start,
            stay.end,
            occupancy.aligned_bytes(occupancy.slices[stay.atom]),
            begins.get(stay.atom, -1) if stay.start and stay.end == occupancy.steps else -1,
        )
        for stay in stays
    ]
