"""Linear programs solved by OR-Tools MathOpt: arrays go in and come out as its own messages.

MathOpt's Python objects, one a variable and row, would take as long as GLOP itself on the programs
of `fluid`; so the messages are built from arrays and handed to the solver directly.
"""

import logging
import math
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ullage.solvers.lp.background import run_beside
from ullage.solvers.lp.program import Basis, FrozenProgram, LpSolution

logger = logging.getLogger(__name__)

# Names of the LP solvers of OR-Tools that can be chosen.
SOLVERS = ("glop", "highs", "pdlp")
# The first of them, and what is asked where nothing is said.
GLOP = SOLVERS[0]
# Name of GLOP by its dual simplex method, the program as it stands: where presolving or the primal
# method gets stuck in rounding errors, this may not.
GLOP_DUAL = "glop-dual"
# Rows of a program from which on GLOP, given a basis, estimates the norms of edges (Devex) instead
# of computing them: that takes longer than the few iterations that are left.
DEVEX_ROWS = 20_000
# The solver that is tried last where others found no optimum, ...
LAST = "highs"
# ... and the number of entries of a program up to which it is: it takes minutes for larger ones.
LAST_ENTRIES = 200_000


class NoSolutionError(Exception):
    """A linear program has no solution."""


def solve_lp(
    program: FrozenProgram,
    *,
    solver: str = "glop",
    time_limit_s: float | None = None,
    start: Basis | None = None,
    with_basis: bool = False,
    may_be_infeasible: bool = False,
) -> LpSolution | None:
    """Solve one program: as `solve_lps`, and it can go on from a basis.

    Args:
        program: the program.
        solver: which one, of `SOLVERS`, or `GLOP_DUAL`.
        time_limit_s: for the solver.
        start: basis of a program with fewer variables, to go on from; later ones are at their
            lower bounds.
        with_basis: return the basis in the solution.
        may_be_infeasible: it is no fault where the program has no solution.

    Raises:
        NoSolutionError: the solver says that there is none, and that may be.
    """
    message = model_message(program), _start(start, len(program.cost))
    devex = start is not None and len(program.row_low) >= DEVEX_ROWS
    answer = _solve_all([message], solver, time_limit_s, devex=devex)[0]
    if may_be_infeasible and _is_infeasible(answer):
        raise NoSolutionError
    return _solution(program, answer, solver, with_basis=with_basis)


def solve_lp_in_turn(
    program: FrozenProgram,
    *,
    solver: str = "glop",
    time_limit_s: float | None = None,
    start: Basis | None = None,
    with_basis: bool = False,
    may_be_infeasible: bool = False,
) -> LpSolution | None:
    """As `solve_lp`; where a solver ends without an optimum, others are tried while time is left.

    In turn: the solver from its start, the same from none, GLOP's dual simplex method without
    presolving, HiGHS. The solution says which one found it. Programs have solutions, so that one
    that is called infeasible shows rounding errors, unless it is said that it may have none: then
    the first solver that finds so is believed.
    """
    until = math.inf if time_limit_s is None else time.monotonic() + time_limit_s
    ways: list[tuple[str, Basis | None]] = [(solver, start)] if start is not None else []
    ways += [(solver, None), (GLOP_DUAL, None)]
    if len(program.entry_values) <= LAST_ENTRIES and solver != LAST:
        ways.append((LAST, None))
    for name, basis in ways:
        left_s = until - time.monotonic()
        if left_s <= 0:
            break
        try:
            solution = solve_lp(
                program,
                solver=name,
                time_limit_s=None if math.isinf(left_s) else left_s,
                start=basis,
                with_basis=with_basis,
                may_be_infeasible=may_be_infeasible,
            )
        except NoSolutionError:
            return None
        if solution is not None:
            return solution
    return None


def _is_infeasible(answer: Any) -> bool:  # noqa: ANN401 - MathOpt's message
    """Whether a solver says that a program has no solution; ours are all bounded."""
    from ortools.math_opt import result_pb2

    reasons = result_pb2.TerminationReasonProto
    return answer.termination.reason in {
        reasons.TERMINATION_REASON_INFEASIBLE,
        reasons.TERMINATION_REASON_INFEASIBLE_OR_UNBOUNDED,
    }


def solve_lps(
    programs: Sequence[FrozenProgram], *, solver: str = "glop", time_limit_s: float | None = None
) -> list[LpSolution | None]:
    """Solve programs at the same time, a thread each.

    HiGHS comes from OR-Tools: `highspy` and `ortools` cannot share a process.

    Returns:
        The optimum of each; None when the solver found none in time, or in its arithmetic (our
        programs are feasible and bounded by construction). The reason is logged as information.
    """
    messages = [(model_message(program), _start(None, 0)) for program in programs]
    answers = _solve_all(messages, solver, time_limit_s)
    return [
        _solution(program, answer, solver, with_basis=False)
        for program, answer in zip(programs, answers, strict=True)
    ]


def _solve_all(
    messages: Sequence[tuple[Any, Any]],
    solver: str,
    time_limit_s: float | None,
    *,
    devex: bool = False,
) -> list[Any]:
    """MathOpt's answers to (model, start) pairs; Ctrl-C stops all."""
    from ortools.glop import parameters_pb2 as glop_pb2
    from ortools.math_opt import callback_pb2, parameters_pb2
    from ortools.math_opt.core.python import solver as core
    from ortools.util.python.solve_interrupter import SolveInterrupter

    parameters = parameters_pb2.SolveParametersProto()
    if time_limit_s is not None:
        parameters.time_limit.FromNanoseconds(int(max(0.01, time_limit_s) * 1e9))
    family = solver.removesuffix("-dual")
    if solver == GLOP_DUAL:
        parameters.glop.use_dual_simplex = True
        parameters.glop.use_preprocessing = False
    if devex:
        rule = glop_pb2.GlopParameters.DEVEX
        parameters.glop.optimization_rule = parameters.glop.feasibility_rule = rule
    kind = parameters_pb2.SolverTypeProto.Value(f"SOLVER_TYPE_{family.upper()}")
    interrupter = SolveInterrupter()
    stop = interrupter.pybind_interrupter if family == "glop" else None
    calls = [
        partial(
            core.solve,
            model,
            kind,
            parameters_pb2.SolverInitializerProto(),
            parameters,
            start,
            None,
            callback_pb2.CallbackRegistrationProto(),
            None,
            stop,
        )
        for model, start in messages
    ]
    return run_beside(calls, interrupter.interrupt)


def model_message(program: FrozenProgram) -> Any:  # noqa: ANN401 - MathOpt's message
    """A program as MathOpt's model message."""
    from ortools.math_opt import model_pb2

    proto = model_pb2.ModelProto()
    proto.variables.ids.extend(range(len(program.cost)))
    proto.variables.lower_bounds.extend(program.low.tolist())
    proto.variables.upper_bounds.extend(program.high.tolist())
    proto.variables.integers.extend([False] * len(program.cost))
    used = np.flatnonzero(program.cost)
    proto.objective.linear_coefficients.ids.extend(used.tolist())
    proto.objective.linear_coefficients.values.extend(program.cost[used].tolist())
    proto.linear_constraints.ids.extend(range(len(program.row_low)))
    proto.linear_constraints.lower_bounds.extend(program.row_low.tolist())
    proto.linear_constraints.upper_bounds.extend(program.row_high.tolist())
    matrix = proto.linear_constraint_matrix
    matrix.row_ids.extend(program.entry_rows.tolist())
    matrix.column_ids.extend(program.entry_columns.tolist())
    matrix.coefficients.extend(program.entry_values.tolist())
    return proto


def _start(start: Basis | None, variables: int) -> Any:  # noqa: ANN401 - MathOpt's message
    """MathOpt's parameters with a basis to start from, if there is one."""
    from ortools.math_opt import model_parameters_pb2, solution_pb2

    parameters = model_parameters_pb2.ModelSolveParametersProto()
    if start is None:
        return parameters
    at_low = solution_pb2.BasisStatusProto.BASIS_STATUS_AT_LOWER_BOUND
    basis = parameters.initial_basis
    basis.variable_status.ids.extend(range(variables))
    basis.variable_status.values.extend(start.variables.tolist())
    basis.variable_status.values.extend([at_low] * (variables - len(start.variables)))
    basis.constraint_status.ids.extend(range(len(start.rows)))
    basis.constraint_status.values.extend(start.rows.tolist())
    return parameters


def _solution(
    program: FrozenProgram,
    answer: Any,  # noqa: ANN401 - MathOpt's message
    solver: str,
    *,
    with_basis: bool,
) -> LpSolution | None:
    from ortools.math_opt import result_pb2

    reason = answer.termination.reason
    reasons = result_pb2.TerminationReasonProto
    if reason != reasons.TERMINATION_REASON_OPTIMAL:
        name = reasons.Name(reason).removeprefix("TERMINATION_REASON_")
        # Nothing for users: callers try another way, or say in a note what their plan lacks.
        logger.info("%s found no optimum of the linear program: %s", solver, name.lower())
        return None
    optimum = answer.solutions[0]
    if not (optimum.HasField("primal_solution") and optimum.HasField("dual_solution")):
        return None
    variables, rows = len(program.cost), len(program.row_low)
    values = scattered(optimum.primal_solution.variable_values, variables)
    duals = scattered(optimum.dual_solution.dual_values, rows)
    basis = None
    if with_basis and len(optimum.basis.variable_status.ids) == variables:
        basis = Basis(
            scattered(optimum.basis.variable_status, variables).astype(np.int64),
            scattered(optimum.basis.constraint_status, rows).astype(np.int64),
        )
    return LpSolution(values, duals, float(program.cost @ values), basis, solver)


def scattered(vector: Any, size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:  # noqa: ANN401
    """MathOpt's sparse vector as an array of `size` numbers."""
    dense = np.zeros(size)
    dense[np.array(vector.ids, dtype=np.int64)] = np.array(vector.values, dtype=np.float64)
    return dense
