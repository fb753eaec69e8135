"""`fluid`: an LP over resident fractions, cut into slices; with a certified lower bound.

1. Solve the LP of `two_tier.model` (windows opened until prices say that no other step could pay).
   Its dual value, made safe against the solver's tolerance, bounds every legal plan of this order.
2. Cut the fractions into slices (`slices.slicing`), add them while they fit, the most valuable
   per byte and step first (`slices.rounding`), and let the greedy moves fill what rounding left.
3. Give the slices addresses in equal pages, for which the left-edge rule needs no more than the
   live bytes: nothing is lost to fragmentation. Adjacent pages become one residency.

Targets with more tiers have a program of their own (`multi_tier`); where every home is next to the
fastest tier, the two-tier program is tried too. Where operands are whole, or cut between rows only,
fractions are rounded accordingly, placed in one piece each, and improved by annealing.
"""

from contextlib import suppress
from dataclasses import replace

from ullage.compiler.common.errors import InfeasibleError, TimeLimitError, UsageError
from ullage.compiler.ir.assignment import Assignment, assignment_of
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import Bound, order_free_bound
from ullage.hwmodels.cost import value_of
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.bound import DIRECT_SHARE
from ullage.solvers.fluid.multi_tier.solver import solve_tiers
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.refill.plan import refill
from ullage.solvers.fluid.refill.reduced import reduce
from ullage.solvers.fluid.sliced_plans import Direct, rounded_plan
from ullage.solvers.fluid.two_tier.diving import dive
from ullage.solvers.fluid.two_tier.relaxation import Relaxation, optimum, relax
from ullage.solvers.fluid.two_tier.whole_transfers import (
    is_timed_everywhere,
    with_whole_transfers,
)
from ullage.solvers.interface import ShadowPrice, Solution, Solver
from ullage.solvers.paths.greedy import brings_operands
from ullage.solvers.paths.network import needs_detour
from ullage.solvers.paths.streaming import home_assignment
from ullage.solvers.run import run_solver
from ullage.solvers.state.segments import segments_of

# A plan further above its bound than this is held against the heuristics' ...
FALLBACK_GAP = 1e-2
# ... and every plan of a program so short that heuristics take milliseconds, ...
ALWAYS_FALLBACK_STEPS = 300
# ... or, where operands come in pieces, which takes seconds, if it is further away than this.
PIECES_GAP = 1e-3
# Programs longer than this are not tried with heuristics, which take their time, ...
NEVER_FALLBACK_STEPS = 2000
# ... unless the plan is further above its bound than this: its slices found no addresses.
LOST_GAP = 0.2
# Share of the time left for rounding and its repair; the rest is for heuristics, or left over.
ROUNDING_SHARE = 0.85
# The same of programs of parts: packing their many short residencies takes ten times as long.
NEVER_FALLBACK_PARTS = 300
# A plan further above its bound is made again of fractions with whole set-ups and rows; ...
WHOLE_GAP = 1e-3
# ... and, in steady state, one that is still further away of fractions that are nearly whole.
DIVE_GAP = 2e-3
# Share of the time for the plan in which weights stream through a middle tier, ...
REFILL_SHARE = 0.6
# ... which is kept without another one if it is so near to its bound.
REFILL_GAP = 1e-2
# Share by which the optimum of the program between home and the fastest tier may be above that of
# all moves: closed windows are worth no more, and slow traffic has a small price.
WINDOWS_WORTH = 2e-3
# Share of the time left after it for the program over all tiers.
TIERS_SHARE = 0.75


def solve(problem: Problem, options: FluidOptions, budget: Budget) -> Solution:
    """Plan by linear programming over resident fractions; see the module's description.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit.
    """
    if len(problem.target.tiers) == 2 or problem.no_spill:
        solution = _direct_plan(_direct(problem, options, budget), options, budget)
    else:
        solution = _in_tiers(problem, options, budget)
        if not options.own_plan:
            bound = None if solution.bound is None else _bound_of(solution)
            solution = _at_least_heuristic(solution, bound, budget)
    return replace(solution, stop_reason="time limit" if budget.is_over() else solution.stop_reason)


def _in_tiers(problem: Problem, options: FluidOptions, budget: Budget) -> Solution:
    """The plan where there are more tiers, or one whose weights stream through a middle tier.

    The latter comes first where it may be made, and is the plan if it is near its bound.
    """
    solve_all = solve_tiers if needs_detour(problem.target) else _best_of_both
    streamed = _refilled(problem, options, budget.share(REFILL_SHARE))
    if streamed is None:
        return solve_all(problem, options, budget)
    value, bound = value_of(streamed.assignment), _bound_of(streamed)
    budget.on_improvement(value)
    if value <= bound * (1 + REFILL_GAP) or budget.is_over():
        return streamed
    other = solve_all(problem, options, budget)
    best = min(streamed, other, key=lambda solution: value_of(solution.assignment))
    bounds = [s.bound for s in (streamed, other) if s.bound is not None]
    return replace(best, bound=max(bounds, key=lambda b: b.value, default=None))


def _refilled(problem: Problem, options: FluidOptions, budget: Budget) -> Solution | None:
    """The plan in which a part of the weights streams through the tier behind their home.

    Its bound is that of the problem in which the tier has room for all of them, and is also one of
    this problem.
    """
    roomy = reduce(problem)
    if roomy is None:
        return None
    try:
        # Its plans cost less than those that are made of them: none is told.
        solution = solve(roomy, replace(options, own_plan=False), budget.for_member())
    except (InfeasibleError, TimeLimitError, UsageError):
        return None  # the way over more tiers may have a plan
    plans = [refill(problem, solution.assignment, budget.is_over)]
    # Operators may read all weights where they stay.
    if not budget.is_over() and roomy.target.home("weight").addressable:
        with suppress(InfeasibleError):  # an operator's data may have no room
            plans.append(refill(problem, home_assignment(roomy), budget.is_over))
    found = [plan for plan in plans if plan is not None]
    if not found:
        return None
    return replace(solution, assignment=min(found, key=value_of), shadow_prices=())


def _bound_of(solution: Solution) -> float:
    """The best bound known without another program."""
    own = 0.0 if solution.bound is None else solution.bound.value
    return max(own, order_free_bound(solution.assignment.problem).value)


def _best_of_both(problem: Problem, options: FluidOptions, budget: Budget) -> Solution:
    """The plan where there are more tiers, but every home is next to the fastest one.

    Third tiers may pay, and the bound has to know them; what moves between home and the fastest
    tier only has finer tools.
    """
    try:
        direct = _direct(problem, options, budget.share(DIRECT_SHARE))
    except InfeasibleError:  # a home has no room for all of its tensors at the same time
        return solve_tiers(problem, options, budget)
    try:
        solution = solve_tiers(problem, options, budget.share(TIERS_SHARE), direct.relaxation)
    except InfeasibleError:  # the direct plan is tighter packed than the one that streams over all
        other = _direct_plan(direct, options, budget)
        note = "fluid: found no plan over all tiers; this one uses home and the fastest tier only"
        # Its bound is that of plans which use two tiers; others may be better.
        return replace(other, bound=None, shadow_prices=(), notes=(*other.notes, note))
    if not _direct_may_win(direct, solution):
        return solution
    if budget.is_over():
        note = "fluid: no time for the plan that uses home and the fastest tier only"
        return replace(solution, notes=(*solution.notes, note))
    other = _direct_plan(direct, options, budget)
    if value_of(other.assignment) >= value_of(solution.assignment):
        return solution
    return replace(other, bound=solution.bound)


def _direct_may_win(direct: Direct, solution: Solution) -> bool:
    """Whether a plan that uses home and the fastest tier only may be better than another one.

    The optimum of its program bounds those plans, less the small price on slow traffic.
    """
    problem, relaxation = direct.problem, direct.relaxation
    if relaxation is None or problem.objective != "latency" or problem.blend is not None:
        return True
    least = optimum(problem, relaxation) / (1 + WINDOWS_WORTH)
    return value_of(solution.assignment) > least


def _direct(problem: Problem, options: FluidOptions, budget: Budget) -> Direct:
    """Solve the program between home and the fastest tier."""
    segments = segments_of(problem)
    reference = _reference(problem, budget)
    known = value_of(reference)
    budget.on_improvement(known)
    return Direct(problem, segments, reference, relax(problem, segments, known, options, budget))


def _reference(problem: Problem, budget: Budget) -> Assignment:
    """A plan to begin with: the one that keeps nothing, or one that keeps what has no room at home.

    Raises:
        InfeasibleError: an operator's mandatory operands do not fit, or no plan was found.
    """
    try:
        return home_assignment(problem)
    except InfeasibleError as error:
        if error.details.get("proven", True) or len(problem.target.tiers) > 2:
            raise
        return assignment_of(run_solver("greedy", problem, budget.for_member()).plan)


def _direct_plan(direct: Direct, options: FluidOptions, budget: Budget) -> Solution:
    """The plan of the program between home and the fastest tier, with its bound."""
    reference, relaxation = direct.reference, direct.relaxation
    if relaxation is None and options.own_plan:
        raise TimeLimitError(
            "fluid: its linear program was not solved in time; give more (--time-limit), or use "
            "another solver"
        )
    if relaxation is None:
        note = "fluid: the LP was not solved (time limit or numerics): its first plan stays"
        return _at_least_heuristic(
            Solution(reference, notes=(note,), made_by="all-slow"), None, budget
        )
    part = budget.share(ROUNDING_SHARE)
    solution, relaxation = _improved_plan(direct, relaxation, options, part)
    if not options.own_plan:
        solution = _at_least_heuristic(solution, relaxation.bound, budget)
    notes = solution.notes
    proved_by = relaxation.solution.solver
    if proved_by != options.lp_solver:
        wanted = options.lp_solver
        notes += (f"fluid: {wanted} found no optimum of the last linear program, {proved_by} did",)
    bound = None if relaxation.bound is None else Bound(relaxation.bound, relaxation.proved_by)
    prices = _prices(relaxation) if direct.problem.objective == "latency" else ()
    return replace(solution, bound=bound, shadow_prices=prices, notes=notes)


def _improved_plan(
    direct: Direct, relaxation: Relaxation, options: FluidOptions, budget: Budget
) -> tuple[Solution, Relaxation]:
    """The plan of the LP's fractions, or that of fractions nearer to plans, and what bounds it.

    These are of the program with whole set-ups and rows; where that is too long, in steady state,
    of the LP with fractions fixed that are nearly whole.
    """
    best = rounded_plan(direct, relaxation, options, budget)
    proves = is_timed_everywhere(relaxation, value_of(best.assignment))
    for spare in (False, True) if proves else (True,):  # with room to spare nothing is proven
        value, bound = value_of(best.assignment), relaxation.bound
        if bound is None or value <= bound * (1 + WHOLE_GAP) or budget.is_over():
            return best, relaxation
        budget.on_improvement(value)
        nearer = with_whole_transfers(relaxation, value, budget, spare=spare)
        if nearer is None:
            break
        relaxation = replace(relaxation, bound=nearer.bound, proved_by=nearer.proved_by)
        best = _better_of(best, rounded_plan(direct, nearer, options, budget))
    value, bound = value_of(best.assignment), relaxation.bound
    far = bound is not None and value > bound * (1 + DIVE_GAP)
    fixed = None
    if far and direct.problem.steady_state and not budget.is_over():
        fixed = dive(relaxation, options, budget)
    if fixed is not None:
        best = _better_of(best, rounded_plan(direct, fixed, options, budget))
    return best, relaxation


def _better_of(one: Solution, other: Solution) -> Solution:
    """The solution of less value; of equals the first."""
    return min(one, other, key=lambda found: value_of(found.assignment))


def _at_least_heuristic(solution: Solution, bound: float | None, budget: Budget) -> Solution:
    """The plan, or that of a heuristic where rounding lost more than the heuristic does."""
    problem, notes = solution.assignment.problem, solution.notes
    value = value_of(solution.assignment)
    budget.on_improvement(value)
    steps = len(problem.steps)
    allowed = FALLBACK_GAP
    if steps <= ALWAYS_FALLBACK_STEPS:
        allowed = PIECES_GAP if brings_operands(problem) else 1e-9
    near = bound is not None and value <= bound * (1 + allowed)
    program = problem.program
    is_long = steps > NEVER_FALLBACK_STEPS
    if program.is_cut:
        is_long = program.parts > NEVER_FALLBACK_PARTS
    is_lost = bound is not None and value > bound * (1 + LOST_GAP)
    if near or (bound is not None and is_long and not is_lost):
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
            solution = replace(
                solution,
                assignment=assignment_of(other.plan),
                notes=(*theirs, *kept, note),
                made_by=name,
            )
            value = other.value
    return solution


def _prices(relaxation: Relaxation) -> tuple[ShadowPrice, ...]:
    """Shadow prices: 10 % more fast memory saves at most the capacity's multipliers (convexity)."""
    builder = relaxation.fluid.builder
    per_byte_s = float(builder.space_prices(relaxation.solution.duals).sum()) * builder.unit
    fastest = builder.target.fastest
    return (ShadowPrice(f"10 % more {fastest.name}", 0.1 * fastest.capacity_bytes * per_byte_s),)


SOLVER = Solver(
    "fluid", "LP over resident fractions, cut into slices; certified bound", solve, FluidOptions
)
