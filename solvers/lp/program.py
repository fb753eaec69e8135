"""Linear programs as numpy arrays, and lower bounds that any multipliers certify.

Solvers build programs of some 100,000 variables in blocks of rows and columns; nothing here solves
them (`solve` does).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints

# A side of a row or variable that does not bind.
INFINITY = float("inf")


class _Numbers:
    """An array that grows at its end."""

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
        variables: number of variables.
        rows: number of rows.
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
    """Length of the arrays among scalars and arrays, 1 where there are scalars only."""
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
class LpSolution:
    """The optimum that a solver returned.

    Attributes:
        values: (n,) primal values.
        duals: (m,) row multipliers, positive where the lower side binds.
        objective: cost of the primal values.
        basis: where the solver stopped, if it says.
    """

    values: Floats
    duals: Floats
    objective: float
    basis: Basis | None = None


def reduced_costs(program: FrozenProgram, duals: Floats) -> Floats:
    """(n,) reduced costs of the variables: cost - A' duals."""
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
    # Allow for the rounding errors of the sums themselves, generously.
    scale = float(np.abs(rows).sum() + np.abs(columns).sum())
    return total - 1e-13 * scale
