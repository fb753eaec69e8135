"""`fluid`: an LP over resident fractions, cut into slices; with a certified lower bound.

1. Solve the LP of `two_tier.model` (windows opened until prices say that no other step could pay).
   Its dual value, made safe against the solver's tolerance, bounds every legal plan of this order.
2. Cut the fractions into slices (`two_tier.slicing`), add them while they fit, the most valuable
   per byte and step first (`two_tier.rounding`), and let the greedy moves fill what rounding left.
3. Give the slices addresses in equal pages, for which the left-edge rule needs no more than the
   live bytes: nothing is lost to fragmentation. Adjacent pages become one residency.

Targets with more tiers have a program of their own (`multi_tier`); where every home is next to the
fastest tier, the two-tier program is tried too. Where operands are whole, or cut between rows only,
fractions are rounded accordingly, placed in one piece each, and improved by annealing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.ir.assignment import Assignment, assignment_of
from ullage.compiler.ir.plan import Residency
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import value_of
from ullage.solvers.annealing.search import whole_residencies
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.bound import DIRECT_SHARE
from ullage.solvers.fluid.multi_tier.solver import solve_tiers
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import Relaxation, relax
from ullage.solvers.fluid.two_tier.rounding import (
    REPAIR_WINDOW_STEPS,
    round_requests,
)
from ullage.solvers.fluid.two_tier.sliced_state import SlicedResidencyState
from ullage.solvers.fluid.two_tier.slicing import SliceRequest, cut_slices
from ullage.solvers.interface import ShadowPrice, Solution, Solver
from ullage.solvers.packing.pages import Rectangle, page_runs, page_size
from ullage.solvers.paths.network import needs_detour
from ullage.solvers.run import run_solver
from ullage.solvers.state.build_plan import SegmentResidency, assemble
from ullage.solvers.state.greedy_moves import keep_what_pays, retime
from ullage.solvers.state.home_plan import home_assignment
from ullage.solvers.state.segments import Segment, segments_of

# A plan further above its bound than this is held against the heuristics' ...
FALLBACK_GAP = 1e-2
# ... and every plan of a program so short that heuristics take milliseconds.
ALWAYS_FALLBACK_STEPS = 300
# Programs longer than this are not tried with heuristics, which take their time.
NEVER_FALLBACK_STEPS = 2000
# Share of the time left after it for the program over all tiers.
TIERS_SHARE = 0.6


def solve(problem: Problem, options: FluidOptions, budget: Budget) -> Solution:
    """Plan by linear programming over resident fractions; see the module's description.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    if len(problem.target.tiers) == 2:
        solution = _direct_plan(_direct(problem, options, budget), options, budget)
    elif needs_detour(problem.target):
        solution = solve_tiers(problem, options, budget)
    else:
        solution = _best_of_both(problem, options, budget)
    return replace(solution, stop_reason="time limit" if budget.is_over() else solution.stop_reason)


def _best_of_both(problem: Problem, options: FluidOptions, budget: Budget) -> Solution:
    """The plan where there are more tiers, but every home is next to the fastest one.

    Third tiers may pay, and the bound has to know them; what moves between home and the fastest
    tier only has finer tools.
    """
    try:
        direct = _direct(problem, options, budget.share(DIRECT_SHARE))
    except InfeasibleError:  # a home has no room for all of its tensors at the same time
        return solve_tiers(problem, options, budget)
    solution = solve_tiers(problem, options, budget.share(TIERS_SHARE), direct.relaxation)
    if budget.is_over():
        note = "fluid: no time for the plan that uses home and the fastest tier only"
        return replace(solution, notes=(*solution.notes, note))
    other = _direct_plan(direct, options, budget)
    if value_of(other.assignment) >= value_of(solution.assignment):
        return solution
    return replace(other, bound=solution.bound)


@dataclass(frozen=True)
class _Direct:
    """The program of data that moves between home and the fastest tier only, solved.

    Attributes:
        problem: the problem.
        segments: the segments of the problem.
        reference: the assignment that keeps everything at home.
        relaxation: None where the LP was not solved.
    """

    problem: Problem
    segments: tuple[Segment, ...]
    reference: Assignment
    relaxation: Relaxation | None


def _direct(problem: Problem, options: FluidOptions, budget: Budget) -> _Direct:
    """Solve the program between home and the fastest tier."""
    segments = segments_of(problem)
    reference = home_assignment(problem)
    known = value_of(reference)
    budget.on_improvement(known)
    return _Direct(problem, segments, reference, relax(problem, segments, known, options, budget))


def _direct_plan(direct: _Direct, options: FluidOptions, budget: Budget) -> Solution:
    """The plan of the program between home and the fastest tier, with its bound."""
    reference, relaxation = direct.reference, direct.relaxation
    if relaxation is None and options.own_plan:
        raise TimeLimitError(
            "fluid: its linear program was not solved in time, or has too many entries (thousands "
            "of readers of one result); give more time (--time-limit), or use another solver"
        )
    if relaxation is None:
        note = (
            "fluid: the LP was not solved (time limit, numerics, or thousands of readers of one "
            "result): everything stays slow"
        )
        return _at_least_heuristic(
            Solution(reference, notes=(note,), made_by="all-slow"), None, budget
        )
    solution = _rounded_plan(direct, relaxation, options, budget)
    if not options.own_plan:
        solution = _at_least_heuristic(solution, relaxation.bound, budget)
    bound = None if relaxation.bound is None else Bound(relaxation.bound, "fluid-lp")
    prices = _prices(relaxation) if direct.problem.objective == "latency" else ()
    return replace(solution, bound=bound, shadow_prices=prices)


def _at_least_heuristic(solution: Solution, bound: float | None, budget: Budget) -> Solution:
    """The plan, or that of a heuristic where rounding lost more than the heuristic does."""
    problem, notes = solution.assignment.problem, solution.notes
    value = value_of(solution.assignment)
    budget.on_improvement(value)
    steps = len(problem.steps)
    allowed = FALLBACK_GAP if steps > ALWAYS_FALLBACK_STEPS else 1e-9
    near = bound is not None and value <= bound * (1 + allowed)
    if near or (bound is not None and steps > NEVER_FALLBACK_STEPS):
        return solution
    for name in ("greedy", "msa"):
        if budget.is_over():
            break
        try:
            other = run_solver(name, problem, budget.for_member())
        except (InfeasibleError, UsageError):
            continue  # a heuristic may not know such targets; this plan stands
        if other.value < value:
            saved = 1 - other.value / value
            note = f"fluid: {name} lost less than rounding did ({saved:.2%}): its plan"
            theirs = other.plan.notes
            kept = (note for note in notes if note not in theirs)
            solution = Solution(
                assignment_of(other.plan), notes=(*theirs, *kept, note), made_by=name
            )
            value = other.value
    return solution


def _prices(relaxation: Relaxation) -> tuple[ShadowPrice, ...]:
    """Shadow prices: 10 % more fast memory saves at most the capacity's multipliers (convexity)."""
    builder = relaxation.fluid.builder
    per_byte_s = float(builder.space_prices(relaxation.solution.duals).sum()) * builder.unit
    fastest = builder.target.fastest
    return (ShadowPrice(f"10 % more {fastest.name}", 0.1 * fastest.capacity_bytes * per_byte_s),)


def _rounded_plan(
    direct: _Direct, relaxation: Relaxation, options: FluidOptions, budget: Budget
) -> Solution:
    """The LP's fractions as a plan of slices, else of whole segments, else everything at home.

    Pages round slices up, so that what operators cannot do without may not fit in slices where it
    does whole. The plan that keeps everything at home is known to be legal.
    """
    for cut in (True, False):
        try:
            return _sliced_plan(direct, relaxation, options, budget, cut=cut)
        except (LookupError, InfeasibleError):  # what operators cannot do without has no place
            continue
    note = "fluid: slices found no addresses: everything stays slow"
    return Solution(direct.reference, notes=(note,))


def _sliced_plan(
    direct: _Direct, relaxation: Relaxation, options: FluidOptions, budget: Budget, *, cut: bool
) -> Solution:
    """The LP's fractions as a plan: slices accepted, rounding repaired, addresses given.

    Raises:
        InfeasibleError: what operators cannot do without does not fit in slices.
        LookupError: it finds no addresses.
    """
    problem, segments = direct.problem, direct.segments
    target = problem.target
    grain = target.slice_granularity_bytes
    paged = cut and target.split_operands and grain > 0
    page = 0
    if paged:
        page = page_size(target.fastest.capacity_bytes, grain, target.fastest.alignment_bytes)
    grains = [page or (_grain(problem, segment) if cut else 0) for segment in segments]
    axis = relaxation.axis
    slices, requests = cut_slices(relaxation.fluid, relaxation.solution, axis.segments, grains)
    slices = tuple(axis.long_segment(item) for item in slices)
    requests = [axis.long_request(request) for request in requests]
    if not paged:  # addresses of what wraps around the inference are found for pages only
        requests = [
            r for r in requests if not (r.is_loop_carried or r.is_left) or _is_pinned(slices, r)
        ]
    sliced = SlicedResidencyState(problem, slices, page)
    round_requests(sliced, requests, budget)
    keep_what_pays(sliced, REPAIR_WINDOW_STEPS, budget)
    if not paged:
        placed, notes = whole_residencies(sliced, budget, options.search_work, options.seed)
        residencies = [residency for _, _, residency in placed.all_residencies()]
        return Solution(assemble(problem, placed.segments, residencies), notes=notes)
    retime(sliced, REPAIR_WINDOW_STEPS, budget)
    in_pages = _place_in_pages(sliced, budget)
    residencies = [replace(residency, offset=0) for _, _, residency in sliced.all_residencies()]
    assignment = assemble(problem, sliced.segments, residencies)
    elsewhere = [r for r in assignment.residencies if r.tier != target.fastest.name]
    ordered = sorted(elsewhere + in_pages, key=lambda r: (r.buffer, r.start_byte, r.start))
    return Solution(replace(assignment, residencies=tuple(ordered)))


def _is_pinned(slices: Sequence[Segment], request: SliceRequest) -> bool:
    """Whether a request keeps a weight at all steps, in every inference."""
    last = len(slices[request.slice].accesses) - 1
    return (
        request.is_loop_carried and request.is_left and (request.first, request.last) == (0, last)
    )


def _grain(problem: Problem, segment: Segment) -> int:
    """Bytes between possible cuts of a segment; 0 where it is not cut at all."""
    target = problem.target
    if not target.split_operands:
        return 0
    return target.slice_granularity_bytes or problem.buffers[segment.buffer].row_bytes


def _place_in_pages(state: SlicedResidencyState, budget: Budget) -> list[Residency]:
    """Residencies of the fastest tier in runs of adjacent pages.

    Slices that find no pages (in steady state, where the rule is not optimal) lose their
    residencies, or others keep fewer bytes from one inference to the next.
    """
    page, target = state.page_bytes, state.target
    workspace = max((step.workspace_bytes for step in state.problem.steps), default=0)
    while True:
        entries = state.all_residencies()
        rectangles = _rectangles(state, [residency for _, _, residency in entries])
        room = target.fastest.capacity_bytes - workspace
        runs, missing = page_runs(rectangles, page, room)
        lost = [
            (*entry, size)
            for entry, size, pages in zip(entries, missing, runs, strict=True)
            if pages is None
        ]
        if not lost:
            break
        for first, _, residency, size in lost:
            cut = state.cut_loop_carried(size, residency.start, residency.end)
            if cut is None:
                state.drop(residency.segment, first)
            else:
                retime(state, REPAIR_WINDOW_STEPS, budget, {cut})
    placed: list[Residency] = []
    for (_, _, residency), pages in zip(entries, runs, strict=True):
        segment = state.slices[residency.segment]
        base = segment.start_byte // page * page
        for offset, size in pages or ():
            low, high = max(segment.start_byte, base), min(base + size, segment.end_byte)
            # A run that begins inside the slice's first page keeps the page's own address.
            span = (segment.buffer, low, high, target.fastest.name, offset)
            placed.append(Residency(*span, residency.start, residency.ready, residency.end))
            base += size
    return placed


def _rectangles(
    state: SlicedResidencyState, residencies: Sequence[SegmentResidency]
) -> list[Rectangle]:
    """The residencies as rectangles; loop-carried ones refer to where they begin the inference."""
    begins = {
        s.segment: i
        for i, s in enumerate(residencies)
        if not s.start and s.segment in state.untouched
    }
    return [
        Rectangle(
            residency.start,
            residency.end,
            state.aligned_bytes(state.slices[residency.segment]),
            begins.get(residency.segment, -1)
            if residency.start and residency.end == state.steps
            else -1,
        )
        for residency in residencies
    ]


SOLVER = Solver(
    "fluid", "LP over resident fractions, cut into slices; certified bound", solve, FluidOptions
)
