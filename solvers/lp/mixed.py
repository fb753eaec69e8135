"""Mixed-integer programs solved by HiGHS, through OR-Tools MathOpt.

HiGHS searches by branch and bound in floating point. Its bound is therefore lowered by more than
its tolerances can make of it before anything is called proven by it.
"""

import logging
import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats
from ullage.solvers.lp.background import run_beside
from ullage.solvers.lp.program import FrozenProgram
from ullage.solvers.lp.solve import model_message, scattered

logger = logging.getLogger(__name__)

# Share of the objective by which HiGHS's bound is lowered: its tolerances are 1e-6 and less.
TOLERANCE = 1e-5
# Share of the objective by which the answer may differ from the optimum.
GAP = 1e-4


@dataclass(frozen=True)
class MixedSolution:
    """The best solution that was found, and what was proven.

    Attributes:
        values: (n,) values of the variables.
        objective: cost of these values.
        bound: no solution costs less.
    """

    values: Floats
    objective: float
    bound: float


def solve_mixed(
    program: FrozenProgram, is_integer: NDArray[np.bool_], *, time_limit_s: float, nodes: int
) -> MixedSolution | None:
    """The best solution found in some time in which some variables are whole numbers.

    Args:
        program: the program, all of whose variables have finite ranges.
        is_integer: (n,) which variables are whole.
        time_limit_s: seconds of the clock.
        nodes: of the search tree, at most.

    Returns:
        None where there is no solution, or none was found in time; the reason is logged.
    """
    from ortools.math_opt import callback_pb2, parameters_pb2, result_pb2
    from ortools.math_opt import model_parameters_pb2 as start_pb2
    from ortools.math_opt.core.python import solver as core

    message = model_message(program)
    del message.variables.integers[:]
    message.variables.integers.extend(is_integer.tolist())
    parameters = parameters_pb2.SolveParametersProto()
    parameters.time_limit.FromNanoseconds(int(max(0.01, time_limit_s) * 1e9))
    parameters.node_limit = nodes
    parameters.relative_gap_tolerance = GAP
    kind = parameters_pb2.SolverTypeProto.Value("SOLVER_TYPE_HIGHS")
    solve = partial(
        core.solve,
        message,
        kind,
        parameters_pb2.SolverInitializerProto(),
        parameters,
        start_pb2.ModelSolveParametersProto(),
        None,
        callback_pb2.CallbackRegistrationProto(),
        None,
        None,
    )
    [answer] = run_beside([solve])  # MathOpt cannot interrupt HiGHS
    solutions = [s for s in answer.solutions if s.HasField("primal_solution")]
    if not solutions:
        reasons = result_pb2.TerminationReasonProto
        reason = reasons.Name(answer.termination.reason).removeprefix("TERMINATION_REASON_")
        logger.info("HiGHS found no solution of the mixed-integer program: %s", reason.lower())
        return None
    values = scattered(solutions[0].primal_solution.variable_values, len(program.cost))
    objective = float(program.cost @ values)
    bound = answer.termination.objective_bounds.dual_bound
    bound = min(bound, objective) if math.isfinite(bound) else -math.inf
    return MixedSolution(values, objective, bound - TOLERANCE * abs(objective))
