"""Solving the fluid LP: in rounds that open windows, or in blocks; and the bound it certifies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ullage.compiler.common.arrays import Floats
from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.cost import mac_energy_j, overhead_seconds
from ullage.hwmodels.traffic import compulsory
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.blocks import BLOCK_STEPS, LOAD_STEPS, solve_in_blocks
from ullage.solvers.fluid.two_tier.builder import TIE_BREAK, Builder
from ullage.solvers.fluid.two_tier.model import Windows, build_fluid
from ullage.solvers.fluid.two_tier.program import (
    FluidProgram,
    start_from,
    streaming_values,
    with_home_prices,
)
from ullage.solvers.fluid.two_tier.setups import setups_matter
from ullage.solvers.fluid.two_tier.time_axis import TimeAxis, time_axis
from ullage.solvers.fluid.two_tier.windows import closed_worth, open_windows
from ullage.solvers.lp.program import FrozenProgram, LpSolution, safe_bound
from ullage.solvers.lp.solve import solve_lp_in_turn, solve_lps
from ullage.solvers.state.segments import Segment, uses_are_whole

# Share of the time left that the LP gets; the rest is for cutting, repairing and scoring.
LP_SHARE = 0.7
# Programs of so many accesses begin with shorter windows: the first solution takes most time, and
# those with more windows go on from it.
LONG_ACCESSES = 10_000
LONG_WINDOW_STEPS = 10
# Programs of so many rows go on from the optimum before windows were opened, others begin anew.
WARM_ROWS = 20_000
# No more windows are opened once all closed ones are worth less than this share of the value.
ENOUGH = 1e-3
# As `ENOUGH`, for programs solved in blocks, ...
BLOCKS_ENOUGH = 1e-2
# ... which are solved so many times at most.
BLOCK_ROUNDS = 3
# Bytes by which the score may differ from an exact sum: it rounds each of its few sums of bytes.
TRAFFIC_ROUNDING_BYTES = 8


@dataclass(frozen=True)
class Relaxation:
    """The LP of a problem, solved.

    Attributes:
        fluid: the program.
        solution: its optimum, with multipliers.
        bound: certified lower bound of the objective in its unit; None where plans have ways that
            the LP does not know (more than two tiers, parts of tensors that stay whole).
        rounds: number of solves, with windows opened in between.
        axis: the problem and its segments in the program's steps.
        windows: which moves the program knows.
        moved: (n,) values with what moves in each step, where those of `solution` say in which step
            the transfer begins that moves it; None where that is the same.
        proved_by: name of what proved the bound.
    """

    fluid: FluidProgram
    solution: LpSolution
    bound: float | None
    rounds: int
    axis: TimeAxis
    windows: Windows
    moved: Floats | None = None
    proved_by: str = "fluid-lp"


def relax(
    problem: Problem,
    segments: Sequence[Segment],
    reference: float,
    options: FluidOptions,
    budget: Budget,
    *,
    may_be_infeasible: bool = False,
    similar: Relaxation | None = None,
) -> Relaxation | None:
    """Solve the LP; None when the deadline comes before the first solution.

    Args:
        problem: the problem.
        segments: the segments of the problem.
        reference: objective value of a known legal plan. For latency, no step of an optimal plan
            takes longer.
        options: parameters of `fluid`.
        budget: the time.
        may_be_infeasible: what operators cannot do without may not fit; None then.
        similar: of the same program but for the room in its steps: that of a long one goes on from
            its optimum.
    """
    axis = time_axis(problem, segments)
    problem, segments = axis.problem, axis.segments
    if problem.program.operators > options.whole_steps:
        return _relax_in_blocks(axis, reference, options, budget)
    accesses = sum(len(segment.accesses) for segment in segments)
    shorter = min(options.window_steps, LONG_WINDOW_STEPS)
    windows = Windows(options.window_steps if accesses < LONG_ACCESSES else shorter)
    if similar is not None and accesses >= LONG_ACCESSES:
        windows = similar.windows.copy()
    setups = setups_matter(problem, segments, reference)
    best: Relaxation | None = None
    for number in range(1, options.max_rounds + 1):
        part = budget.share(LP_SHARE)
        builder = Builder(
            problem, reference=reference, has_capacity=axis.has_capacity, setups=setups
        )
        try:
            fluid = build_fluid(
                builder,
                segments,
                steady_state=problem.steady_state,
                windows=windows,
                budget=part,
            )
        except TimeLimitError:
            break
        left = part.remaining_s()
        if left <= 0:
            break
        is_long = len(fluid.program.row_low) >= WARM_ROWS
        start, last = None, best or similar
        if is_long and last is not None:
            start = start_from(fluid, last.fluid, last.solution.basis)
        solution = solve_lp_in_turn(
            fluid.program,
            solver=options.lp_solver,
            time_limit_s=None if math.isinf(left) else left,
            may_be_infeasible=may_be_infeasible,
            start=start,
            with_basis=is_long,
        )
        if solution is None:
            break
        worth = ENOUGH * solution.objective / max(1, len(fluid.gaps) + len(fluid.spills))
        opened, shortfall = open_windows(windows, fluid, segments, solution, max(worth, 1e-9))
        bound = None
        if _is_complete(problem, segments) and problem.blend is None:
            bound = _bound(fluid, solution, shortfall, problem)
            if best is not None and best.bound is not None:
                bound = max(bound, best.bound)
        best = Relaxation(fluid, solution, bound, number, axis, windows)
        enough = shortfall <= ENOUGH * abs(solution.objective + builder.constant)
        if enough or not opened:
            break
    return best


def optimum(problem: Problem, relaxation: Relaxation) -> float:
    """Optimum of the LP in the objective's unit, a small price on slow traffic included.

    Args:
        problem: the problem that was relaxed.
        relaxation: its LP, solved.
    """
    builder = relaxation.fluid.builder
    value = relaxation.solution.objective + builder.constant + builder.tie_constant
    value *= builder.unit
    if builder.is_timed:
        value += float(overhead_seconds(problem).sum())
    return float(value)


def _is_complete(problem: Problem, segments: Sequence[Segment]) -> bool:
    """Whether the LP covers all legal plans.

    No third tier, nothing whose home is the fastest, and bytes of a segment that are used alike.
    """
    target = problem.target
    if len(target.tiers) != 2 or not uses_are_whole(problem):
        return False
    at_home = any(
        segment.size_bytes and segment.home == target.fastest.name for segment in segments
    )
    return not at_home


def _relax_in_blocks(
    axis: TimeAxis, reference: float, options: FluidOptions, budget: Budget
) -> Relaxation | None:
    """`relax` for a program that is too long for one solve; None when a block was not solved.

    Where what must be in the fastest tier is fetched long before it is used, windows are opened as
    in `relax`, but fewer times, and only while closed ones are worth much.
    """
    problem, segments = axis.problem, axis.segments
    windows = Windows(options.block_window_steps, reach_steps=BLOCK_STEPS // 2)
    programs_budget = budget.share(LP_SHARE)
    is_bound = _is_complete(problem, segments) and problem.blend is None
    best: Relaxation | None = None
    for number in range(1, BLOCK_ROUNDS + 1):
        builder = Builder(
            problem, reference=reference, load_steps=LOAD_STEPS, has_capacity=axis.has_capacity
        )
        try:  # weights do not wrap: what is kept for the next inference touches all blocks
            fluid = build_fluid(
                builder, segments, steady_state=False, windows=windows, budget=programs_budget
            )
        except TimeLimitError:
            break
        solution = _solved_in_blocks(fluid, segments, options, programs_budget)
        if solution is None:
            break
        worth = closed_worth(fluid, segments, solution)
        bound = None
        if is_bound and not problem.steady_state:
            # Without any multipliers it is the time to compute; those of blocks may say less.
            unpriced = replace(solution, duals=np.zeros_like(solution.duals))
            bound = _bound(fluid, solution, worth, problem)
            bound = max(bound, _bound(fluid, unpriced, 0.0, problem))
            if best is not None and best.bound is not None:
                bound = max(bound, best.bound)
        best = Relaxation(fluid, solution, bound, number, axis, windows)
        if worth <= BLOCKS_ENOUGH * abs(solution.objective + builder.constant):
            break
        least = ENOUGH * solution.objective / max(1, len(fluid.gaps) + len(fluid.spills))
        if not open_windows(windows, fluid, segments, solution, max(least, 1e-9))[0]:
            break
    return best


def _solved_in_blocks(
    fluid: FluidProgram, segments: Sequence[Segment], options: FluidOptions, budget: Budget
) -> LpSolution | None:
    """A feasible solution of a program, block by block, with multipliers; None without time."""
    builder = fluid.builder

    def solve_blocks(programs: Sequence[FrozenProgram], done: float) -> list[LpSolution | None]:
        budget.progress(f"fluid: linear program, {done:.0%}")
        left = budget.remaining_s()
        if left <= 0:
            return [None] * len(programs)
        limit = None if math.isinf(left) else left
        return solve_lps(programs, solver=options.lp_solver, time_limit_s=limit)

    steps_of = builder.steps_of_variables()
    solution = solve_in_blocks(
        fluid.program,
        steps_of,
        builder.steps_of_rows(fluid.program, steps_of),
        builder.elapsed,
        builder.load,
        solve_blocks,
        streaming_values(fluid, segments),
    )
    if solution is None:
        return None
    duals = with_home_prices(fluid, builder.with_load_prices(solution.duals))
    return replace(solution, duals=duals)


def _bound(fluid: FluidProgram, solution: LpSolution, shortfall: float, problem: Problem) -> float:
    """Lower bound of the value of all legal plans of this order, in the objective's unit.

    Holds for any multipliers and windows: `safe_bound` is safe against the solver's tolerance, and
    `shortfall` bounds what closed windows are worth. Latency: the program also pays for bytes
    through the slow ports, at most the share TIE_BREAK of the latency.
    """
    return bound_of(fluid, safe_bound(fluid.program, solution.duals) - shortfall, problem)


def bound_of(fluid: FluidProgram, value: float, problem: Problem) -> float:
    """Lower bound of the objective, in its unit, where no point of the program costs less.

    Args:
        fluid: the program.
        value: what a point of it costs at least.
        problem: the problem, in the program's steps.
    """
    builder = fluid.builder
    if builder.objective == "latency":
        value += builder.tie_constant
        value /= 1.0 + TIE_BREAK
        return value * builder.unit + float(overhead_seconds(problem).sum())
    value = (value + builder.constant) * builder.unit
    if builder.objective == "energy":
        return value + mac_energy_j(problem)[0]
    needed = compulsory(problem)
    unavoidable = float(needed.loads.sum() + needed.stores.sum())
    return max(0.0, value - unavoidable - TRAFFIC_ROUNDING_BYTES)
