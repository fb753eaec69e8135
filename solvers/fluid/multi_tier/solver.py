"""`fluid` on targets with three tiers and more: flash -> DRAM -> SRAM, host -> device -> on-chip.

1. A streaming plan: every operand is where operators reach it just when they need it, else at home,
   or in steady state in another tier with room for everything.
2. The relaxation, solved by `column_generation`, with a certified bound.
3. Its shares cut into slices (`rounding`, `slices`) that replace the streaming ones where they fit,
   and that move to better paths one by one (`polish`).
4. Addresses in pages, or in one piece where the target does not cut freely (`plan`).
"""

from collections.abc import Mapping, Sequence

from ullage.compiler.common.kernel_cache import too_late_to_compile
from ullage.compiler.ir.assignment import Assignment
from ullage.compiler.ir.problem import Problem
from ullage.hwmodels.bounds import Bound
from ullage.hwmodels.cost import mac_energy_j, overhead_seconds, value_of
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.multi_tier.column_generation import relax_tiers
from ullage.solvers.fluid.multi_tier.hint import direct_prices
from ullage.solvers.fluid.multi_tier.rounding import sliced
from ullage.solvers.fluid.options import FluidOptions
from ullage.solvers.fluid.two_tier.relaxation import Relaxation
from ullage.solvers.interface import Solution
from ullage.solvers.paths.column import Column, column_of
from ullage.solvers.paths.setting import COMPILE_S, TieredProblem, is_ready, tiered_problem
from ullage.solvers.paths.slices import Slice
from ullage.solvers.paths.streaming import stays_where_there_is_room, streaming
from ullage.solvers.state.segments import uses_are_whole


def solve_tiers(
    problem: Problem, options: FluidOptions, budget: Budget, direct: Relaxation | None = None
) -> Solution:
    """The fluid plan of a target with more than two tiers.

    Args:
        problem: the problem.
        options: parameters of `fluid`.
        budget: the time.
        direct: the solved program of moves between home and the fastest tier only, whose prices are
            good ones to begin with.

    Raises:
        InfeasibleError: an operator's operands do not fit wherever they may lie.
    """
    tiered = tiered_problem(problem, budget)
    slicer, reference = streaming(tiered)
    if tiered.lacks_time:
        note = too_late_to_compile("fluid: operators are streamed", COMPILE_S)
        return Solution(reference, notes=(note,))
    reference = stays_where_there_is_room(tiered, slicer, reference, budget.is_over)
    base = {index: list(items) for index, items in slicer.items.items()}
    relaxation = relax_tiers(
        tiered,
        _columns_of(tiered, base),
        reference=_dynamic(reference),
        options=options,
        budget=budget,
        hint=None if direct is None else direct_prices(tiered.network, direct),
    )
    if relaxation is None:
        note = "fluid: the LP was not solved (time limit or numerics): operators are streamed"
        return Solution(reference, notes=(note,))
    solution = sliced(tiered, slicer, base, relaxation, budget) or reference
    if value_of(solution) > value_of(reference):
        solution = reference
    if problem.blend is not None or not uses_are_whole(problem):
        return Solution(solution)
    return Solution(solution, Bound(relaxation.bound, "fluid-lp"))


def bound_of_tiers(
    problem: Problem, options: FluidOptions, budget: Budget, direct: Relaxation | None = None
) -> Bound | None:
    """The bound of the relaxation alone; None without one, or while its kernels are not compiled.

    Arguments as of `solve_tiers`.

    Raises:
        InfeasibleError: an operator's operands do not fit wherever they may lie.
    """
    if not uses_are_whole(problem) or not is_ready():
        return None
    tiered = tiered_problem(problem, budget)
    if tiered.lacks_time:
        return None
    slicer, reference = streaming(tiered)
    reference = stays_where_there_is_room(tiered, slicer, reference)
    columns = _columns_of(tiered, {index: list(items) for index, items in slicer.items.items()})
    relaxation = relax_tiers(
        tiered,
        columns,
        reference=_dynamic(reference),
        options=options,
        budget=budget,
        hint=None if direct is None else direct_prices(tiered.network, direct),
    )
    return None if relaxation is None else Bound(relaxation.bound, "fluid-lp")


def _columns_of(tiered: TieredProblem, items: Mapping[int, Sequence[Slice]]) -> list[Column]:
    """The paths of slices as columns, each once."""
    columns: dict[tuple[int, bytes], Column] = {}
    for index, slices in items.items():
        live_range = tiered.live_ranges[index]
        assert live_range is not None  # noqa: S101 - only segments with a live range have slices
        for item in slices:
            if (index, item.path.key) not in columns:
                columns[index, item.path.key] = column_of(
                    tiered.network, index, live_range, item.path
                )
    return list(columns.values())


def _dynamic(plan: Assignment) -> float:
    """A plan's value without the part that no decision changes."""
    value, objective = value_of(plan), plan.objective
    if objective == "latency":
        return value - float(overhead_seconds(plan.problem).sum())
    if objective == "energy":
        return value - mac_energy_j(plan.problem)[0]
    return max(value, float(sum(u.accessed_bytes for s in plan.problem.steps for u in s.uses)))
