"""The fluid LP solved: rounds of opened windows, and the bound that its multipliers certify."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ullage.compiler.problem import Problem
from ullage.hwmodels.charges import compulsory
from ullage.hwmodels.cost import mac_energy_j, overhead_seconds
from ullage.hwmodels.target import Target
from ullage.solvers.atoms import Atom
from ullage.solvers.fluid_builder import TIE_BREAK, Builder
from ullage.solvers.fluid_lp import Windows, build_fluid
from ullage.solvers.fluid_program import FluidProgram
from ullage.solvers.fluid_windows import open_windows
from ullage.solvers.lp import Solution, safe_bound, solve_lp
from ullage.solvers.registry import SolverOptions

LP_SHARE = 0.7  # of the time left; the rest cuts, repairs and scores
ENOUGH = 1e-3  # windows stay closed once all of them are worth less than this share of the value
TRAFFIC_ROUNDING_BYTES = 8  # the score rounds each of its few sums of bytes


@dataclass(frozen=True)
class Relaxation:
    """The LP of a problem, solved.

    Attributes:
        fluid: the program.
        solution: its optimum.
        bound: certified lower bound of the objective in its unit; None where the target has ways
            that the LP does not know (more than two tiers).
        rounds: how often it was solved.
    """

    fluid: FluidProgram
    solution: Solution
    bound: float | None
    rounds: int


def relax(
    problem: Problem,
    target: Target,
    atoms: Sequence[Atom],
    reference: float,
    options: SolverOptions,
    parameters: Mapping[str, Any],
) -> Relaxation | None:
    """Solve the LP; None when the deadline comes before the first solution.

    Args:
        problem: the problem.
        target: the chip.
        atoms: of the problem.
        reference: objective value of a known legal plan. For latency, no step of an optimal plan
            takes longer.
        options: objective and deadline.
        parameters: of the solver: `lp_solver`, `window_steps`, `max_rounds`.
    """
    windows = Windows(int(parameters["window_steps"]))
    best: Relaxation | None = None
    for number in range(1, int(parameters["max_rounds"]) + 1):
        left = LP_SHARE * options.remaining_s()
        if left <= 0:
            break
        builder = Builder(
            problem,
            target,
            objective=options.objective,
            capacity_bytes=target.fastest.capacity_bytes,
            reference=reference,
        )
        fluid = build_fluid(
            builder,
            atoms,
            steady_state=problem.steady_state,
            windows=windows,
        )
        solution = solve_lp(
            fluid.program,
            solver=str(parameters["lp_solver"]),
            time_limit_s=None if math.isinf(left) else left,
        )
        if solution is None:
            break
        worth = ENOUGH * solution.objective / max(1, len(fluid.gaps) + len(fluid.spills))
        opened, shortfall = open_windows(windows, fluid, atoms, solution, max(worth, 1e-9))
        bound = None
        if len(target.tiers) == 2:  # a plan could go through a third one
            bound = _bound(fluid, solution, shortfall, problem)
            if best is not None and best.bound is not None:
                bound = max(bound, best.bound)
        best = Relaxation(fluid, solution, bound, number)
        enough = shortfall <= ENOUGH * abs(solution.objective + builder.constant)
        if enough or not opened:
            break
    return best


def _bound(fluid: FluidProgram, solution: Solution, shortfall: float, problem: Problem) -> float:
    """What no legal plan of this order falls below, in the objective's unit.

    Holds for any multipliers and windows: `safe_bound` is safe against the solver's tolerance, and
    `shortfall` bounds what closed windows are worth. Latency: the program also pays for bytes
    through the slow ports, at most the share TIE_BREAK of the latency.
    """
    builder = fluid.builder
    target = builder.target
    value = safe_bound(fluid.program, solution.duals) - shortfall
    if builder.objective == "latency":
        value += builder.tie_constant
        value /= 1.0 + TIE_BREAK
        return value * builder.unit + float(overhead_seconds(problem, target).sum())
    value = (value + builder.constant) * builder.unit
    if builder.objective == "energy":
        return value + mac_energy_j(problem, target)[0]
    needed = compulsory(problem, target)
    unavoidable = float(needed.loads.sum() + needed.stores.sum())
    return max(0.0, value - unavoidable - TRAFFIC_ROUNDING_BYTES)
