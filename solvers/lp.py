"""Linear programs from numpy arrays: built as one message, solved by MathOpt, bounded safely."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
INFINITY = float("inf")
POLL_S = 0.05


@dataclass
class LinearProgram:
    """minimise cost x subject to row_low <= A x <= row_high, low <= x <= high.

    A model under construction: variables and rows are added in blocks; entries of A are triples.
    """

    low: list[Floats] = field(default_factory=list)
    high: list[Floats] = field(default_factory=list)
    row_low: list[Floats] = field(default_factory=list)
    row_high: list[Floats] = field(default_factory=list)
    entry_rows: list[Ints] = field(default_factory=list)
    entry_columns: list[Ints] = field(default_factory=list)
    entry_values: list[Floats] = field(default_factory=list)
    single_rows: list[int] = field(default_factory=list)
    single_columns: list[int] = field(default_factory=list)
    single_values: list[float] = field(default_factory=list)
    cost_columns: list[Ints] = field(default_factory=list)
    cost_values: list[Floats] = field(default_factory=list)
    variables: int = 0
    rows: int = 0

    def add_variables(self, count: int, low: object, high: object) -> Ints:
        """Indices of `count` new variables; they cost nothing until `add_cost`."""
        first = self.variables
        self.low.append(_block(count, low))
        self.high.append(_block(count, high))
        self.variables += count
        return np.arange(first, first + count, dtype=np.int64)

    def add_variable(self, low: float, high: float) -> int:
        """Index of a new variable."""
        return int(self.add_variables(1, low, high)[0])

    def add_rows(self, count: int, low: object, high: object) -> Ints:
        """Indices of `count` new rows."""
        first = self.rows
        self.row_low.append(_block(count, low))
        self.row_high.append(_block(count, high))
        self.rows += count
        return np.arange(first, first + count, dtype=np.int64)

    def add_row(self, low: float, high: float, entries: Mapping[int, float]) -> int:
        """Index of a new row with (variable -> value) entries."""
        row = self.rows
        self.add_rows(1, low, high)
        for column, value in entries.items():
            self.add_entry(row, column, value)
        return row

    def add_entry(self, row: int, column: int, value: float) -> None:
        """One entry of A."""
        self.single_rows.append(row)
        self.single_columns.append(column)
        self.single_values.append(value)

    def add_entries(self, rows: object, columns: object, values: object) -> None:
        """Entries of A; repeated ones add up. Scalars and arrays of one length."""
        r, c, v = np.asarray(rows), np.asarray(columns), np.asarray(values, dtype=np.float64)
        count = max(r.size, c.size, v.size) if min(r.size, c.size, v.size) else 0
        self.entry_rows.append(_index_block(count, r))
        self.entry_columns.append(_index_block(count, c))
        self.entry_values.append(_block(count, v))

    def add_cost(self, columns: object, values: object) -> None:
        """Add to the cost of variables; repeated ones add up."""
        c, v = np.asarray(columns), np.asarray(values, dtype=np.float64)
        count = max(c.size, v.size) if min(c.size, v.size) else 0
        self.cost_columns.append(_index_block(count, c))
        self.cost_values.append(_block(count, v))

    def raise_rows(self, rows: Ints, amount: Floats) -> None:
        """Raise the lower side of rows that were added as one block."""
        position = 0
        for block, low in enumerate(self.row_low):
            if position == rows[0] and len(low) == len(rows):
                self.row_low[block] = low + amount
                return
            position += len(low)
        raise AssertionError("rows were not added as one block")

    def frozen(self) -> "FrozenProgram":
        """The program as flat arrays, entries sorted by row, duplicates summed."""
        rows = _ints([*self.entry_rows, np.array(self.single_rows, dtype=np.int64)])
        columns = _ints([*self.entry_columns, np.array(self.single_columns, dtype=np.int64)])
        values = _floats([*self.entry_values, np.array(self.single_values, dtype=np.float64)])
        keys = rows * max(1, self.variables) + columns
        unique, inverse = np.unique(keys, return_inverse=True)
        summed = np.bincount(inverse, weights=values, minlength=len(unique))
        kept = summed != 0.0
        cost = np.zeros(self.variables)
        np.add.at(cost, _ints(self.cost_columns), _floats(self.cost_values))
        return FrozenProgram(
            cost=cost,
            low=_floats(self.low),
            high=_floats(self.high),
            row_low=_floats(self.row_low),
            row_high=_floats(self.row_high),
            entry_rows=unique[kept] // max(1, self.variables),
            entry_columns=unique[kept] % max(1, self.variables),
            entry_values=summed[kept],
        )


def _block(count: int, value: object) -> Floats:
    """`count` numbers: an array as it is, a single number repeated."""
    array = np.asarray(value, dtype=np.float64)
    return array if array.shape == (count,) else np.full(count, array, dtype=np.float64)


def _index_block(count: int, value: object) -> Ints:
    array = np.asarray(value, dtype=np.int64)
    return array if array.shape == (count,) else np.full(count, array, dtype=np.int64)


def _floats(parts: Sequence[Floats]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros(0)


def _ints(parts: Sequence[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


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
class Solution:
    """What a solver returned.

    Attributes:
        values: (n,) primal values.
        duals: (m,) row multipliers, positive where the lower side binds.
        objective: of the primal values.
    """

    values: Floats
    duals: Floats
    objective: float


def solve_lp(
    program: FrozenProgram, *, solver: str = "glop", time_limit_s: float | None = None
) -> Solution | None:
    """Solve with `glop`, `highs` or `pdlp` through OR-Tools MathOpt.

    HiGHS comes from OR-Tools: `highspy` and `ortools` cannot share a process.

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
    return Solution(values, duals, float(program.cost @ values))


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
