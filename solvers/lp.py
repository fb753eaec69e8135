"""Linear programs from numpy arrays: built as one message, solved by MathOpt, bounded safely."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
INFINITY = float("inf")
POLL_S = 0.05


class _Numbers:
    """Numbers in an array that grows."""

    def __init__(self, dtype: type) -> None:
        self.data: NDArray[Any] = np.empty(1024, dtype=dtype)
        self.size = 0

    def add(self, count: int, value: object) -> None:
        """Append `count` numbers: an array of them, or one repeated."""
        end = self.size + count
        if end > len(self.data):
            grown = np.empty(max(end, 2 * len(self.data)), dtype=self.data.dtype)
            grown[: self.size] = self.data[: self.size]
            self.data = grown
        self.data[self.size : end] = value
        self.size = end

    def array(self) -> NDArray[Any]:
        """The numbers so far."""
        return self.data[: self.size]


class LinearProgram:
    """minimise cost x subject to row_low <= A x <= row_high, low <= x <= high.

    A model under construction: variables and rows are added in blocks; entries of A are triples.

    Attributes:
        variables: how many there are.
        rows: how many there are.
    """

    def __init__(self) -> None:
        self.variables = 0
        self.rows = 0
        self._low, self._high = _Numbers(np.float64), _Numbers(np.float64)
        self._row_low, self._row_high = _Numbers(np.float64), _Numbers(np.float64)
        self._entry_rows, self._entry_columns = _Numbers(np.int64), _Numbers(np.int64)
        self._entry_values = _Numbers(np.float64)
        self._cost_columns, self._cost_values = _Numbers(np.int64), _Numbers(np.float64)

    def add_variables(self, count: int, low: object, high: object) -> Ints:
        """Indices of `count` new variables; they cost nothing until `add_cost`."""
        first = self.variables
        self._low.add(count, low)
        self._high.add(count, high)
        self.variables += count
        return np.arange(first, first + count, dtype=np.int64)

    def add_variable(self, low: float, high: float) -> int:
        """Index of a new variable."""
        self._low.add(1, low)
        self._high.add(1, high)
        self.variables += 1
        return self.variables - 1

    def add_rows(self, count: int, low: object, high: object) -> Ints:
        """Indices of `count` new rows."""
        first = self.rows
        self._row_low.add(count, low)
        self._row_high.add(count, high)
        self.rows += count
        return np.arange(first, first + count, dtype=np.int64)

    def add_row(self, low: float, high: float, entries: Mapping[int, float]) -> int:
        """Index of a new row with (variable -> value) entries."""
        row = self.rows
        self._row_low.add(1, low)
        self._row_high.add(1, high)
        self.rows += 1
        self._entry_rows.add(len(entries), row)
        self._entry_columns.add(len(entries), list(entries))
        self._entry_values.add(len(entries), list(entries.values()))
        return row

    def add_entry(self, row: int, column: int, value: float) -> None:
        """One entry of A."""
        self._entry_rows.add(1, row)
        self._entry_columns.add(1, column)
        self._entry_values.add(1, value)

    def add_entries(self, rows: Ints | int, columns: Ints | int, values: Floats | float) -> None:
        """Entries of A; repeated ones add up. Scalars and arrays of one length."""
        count = _length(rows, columns, values)
        self._entry_rows.add(count, rows)
        self._entry_columns.add(count, columns)
        self._entry_values.add(count, values)

    def add_cost(self, columns: Ints | int, values: Floats | float) -> None:
        """Add to the cost of variables; repeated ones add up."""
        count = _length(columns, values)
        self._cost_columns.add(count, columns)
        self._cost_values.add(count, values)

    def raise_rows(self, rows: Ints, amount: Floats) -> None:
        """Raise the lower side of rows."""
        self._row_low.array()[rows] += amount

    def frozen(self) -> "FrozenProgram":
        """The program as flat arrays, entries sorted by row, duplicates summed."""
        width = max(1, self.variables)
        keys = self._entry_rows.array() * width + self._entry_columns.array()
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        values = self._entry_values.array()[order]
        summed = np.add.reduceat(values, first) if len(first) else values
        kept = summed != 0.0
        unique = keys[first][kept]
        cost = np.zeros(self.variables)
        np.add.at(cost, self._cost_columns.array(), self._cost_values.array())
        return FrozenProgram(
            cost=cost,
            low=self._low.array().copy(),
            high=self._high.array().copy(),
            row_low=self._row_low.array().copy(),
            row_high=self._row_high.array().copy(),
            entry_rows=unique // width,
            entry_columns=unique % width,
            entry_values=summed[kept],
        )


def _length(*parts: NDArray[Any] | float) -> int:
    """How many numbers scalars and arrays make together."""
    return min((len(p) for p in parts if isinstance(p, np.ndarray)), default=1)


@dataclass(frozen=True)
class FrozenProgram:
    """A linear program of n variables, m rows and k entries, as arrays."""

    cost: Floats
    low: Floats
    high: Floats
    row_low: Floats
    row_high: Floats
    entry_rows: Ints
    entry_columns: Ints
    entry_values: Floats


@dataclass(frozen=True)
class Basis:
    """Where a simplex solver stopped: MathOpt's status of each variable and of each row."""

    variables: Ints
    rows: Ints


@dataclass(frozen=True)
class Solution:
    """What a solver returned.

    Attributes:
        values: (n,) primal values.
        duals: (m,) row multipliers, positive where the lower side binds.
        objective: of the primal values.
        basis: where the solver stopped, if it says.
    """

    values: Floats
    duals: Floats
    objective: float
    basis: Basis | None = None


def solve_lp(
    program: FrozenProgram,
    *,
    solver: str = "glop",
    time_limit_s: float | None = None,
    start: Basis | None = None,
    with_basis: bool = False,
) -> Solution | None:
    """Solve with `glop`, `highs` or `pdlp` through OR-Tools MathOpt.

    HiGHS comes from OR-Tools: `highspy` and `ortools` cannot share a process.

    Args:
        program: the program.
        solver: which one.
        time_limit_s: for the solver.
        start: basis of a program with fewer variables, to go on from; later ones are at their
            lower bounds.
        with_basis: tell the basis.

    Returns:
        The optimum; None, with the reason logged, when the solver found none in time (or in its
        arithmetic: our programs are feasible and bounded by construction).
    """
    import datetime as dt

    from ortools.math_opt.python import mathopt
    from ortools.util.python.solve_interrupter import SolveInterrupter

    model = mathopt.Model.from_model_proto(_proto(program))
    limit = None
    if time_limit_s is not None:
        limit = dt.timedelta(seconds=max(0.01, time_limit_s))
    kinds = {
        "glop": mathopt.SolverType.GLOP,
        "highs": mathopt.SolverType.HIGHS,
        "pdlp": mathopt.SolverType.PDLP,
    }
    interrupter = SolveInterrupter()
    with ThreadPoolExecutor(1) as pool:  # a solver in the main thread would not hear Ctrl-C
        future = pool.submit(
            mathopt.solve,
            model,
            kinds[solver],
            params=mathopt.SolveParameters(time_limit=limit),
            model_params=_started(model, start),
            interrupter=interrupter if solver == "glop" else None,
        )
        try:
            while not future.done():
                wait([future], timeout=POLL_S)
        except KeyboardInterrupt:
            interrupter.interrupt()
            raise
    result = future.result()
    reason = result.termination.reason
    if reason != mathopt.TerminationReason.OPTIMAL:
        logger.warning("%s found no optimum of the linear program: %s", solver, reason.value)
        return None
    primal = result.solutions[0].primal_solution
    dual = result.solutions[0].dual_solution
    if primal is None or dual is None:
        return None
    values = np.zeros(len(program.cost))
    for variable, value in primal.variable_values.items():
        values[variable.id] = value
    duals = np.zeros(len(program.row_low))
    for row, value in dual.dual_values.items():
        duals[row.id] = value
    basis = None
    if with_basis:
        basis = _basis_of(result.solutions[0].basis, len(values), len(duals))
    return Solution(values, duals, float(program.cost @ values), basis)


def _started(model: Any, start: Basis | None) -> Any:  # noqa: ANN401 - MathOpt's types
    """MathOpt's parameters with a basis to start from."""
    from ortools.math_opt.python import mathopt

    if start is None:
        return mathopt.ModelSolveParameters()
    status = {kind.value: kind for kind in mathopt.BasisStatus}
    variables, rows = list(model.variables()), list(model.linear_constraints())
    new = [mathopt.BasisStatus.AT_LOWER_BOUND.value] * (len(variables) - len(start.variables))
    basis = mathopt.Basis(
        variable_status={
            v: status[s] for v, s in zip(variables, [*start.variables.tolist(), *new], strict=True)
        },
        constraint_status={r: status[s] for r, s in zip(rows, start.rows.tolist(), strict=True)},
    )
    return mathopt.ModelSolveParameters(initial_basis=basis)


def _basis_of(found: Any, variables: int, rows: int) -> Basis | None:  # noqa: ANN401 - MathOpt's
    if found is None or len(found.variable_status) != variables:
        return None
    kept = Basis(np.zeros(variables, dtype=np.int64), np.zeros(rows, dtype=np.int64))
    for variable, status in found.variable_status.items():
        kept.variables[variable.id] = status.value
    for row, status in found.constraint_status.items():
        kept.rows[row.id] = status.value
    return kept


def _proto(program: FrozenProgram) -> object:
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


def reduced_costs(program: FrozenProgram, duals: Floats) -> Floats:
    """Cost - A' duals."""
    weights = program.entry_values * duals[program.entry_rows]
    return np.asarray(
        program.cost
        - np.bincount(program.entry_columns, weights=weights, minlength=len(program.cost)),
        dtype=np.float64,
    )


def safe_bound(program: FrozenProgram, duals: Floats) -> float:
    """A lower bound of the optimum for *any* multipliers, whatever the solver's tolerance.

    Multipliers of the wrong sign for a one-sided row are set to zero; each variable then takes the
    end of its range that its reduced cost prefers (Neumaier and Shcherbina, Safe bounds in linear
    and mixed-integer linear programming, 2004). All variables must have finite ranges.
    """
    y = np.where(np.isinf(program.row_low), np.minimum(duals, 0.0), duals)
    y = np.where(np.isinf(program.row_high), np.maximum(y, 0.0), y)
    side = np.where(y > 0, program.row_low, program.row_high)
    rows = np.where(y != 0.0, y * np.where(np.isinf(side), 0.0, side), 0.0)
    rc = reduced_costs(program, y)
    columns = np.where(rc > 0, rc * program.low, rc * program.high)
    total = float(rows.sum() + columns.sum())
    # Rounding of the sums themselves, generously.
    scale = float(np.abs(rows).sum() + np.abs(columns).sum())
    return total - 1e-13 * scale
