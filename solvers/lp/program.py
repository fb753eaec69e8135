"""Linear programs as numpy arrays, and lower bounds that any multipliers certify.

Solvers build programs of some 100,000 variables in blocks of rows and columns; nothing here solves
them (`solve` does).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ullage.compiler.common.arrays import Floats, Ints

# A side of a row or variable that does not bind.
INFINITY = float("inf")
# Entries of a row from which on they are kept in arrays: a list takes several times the memory.
LONG_ROW = 32


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


class _Entries:
    """Entries of a matrix, or costs of variables: arrays of them, and single ones in lists."""

    def __init__(self, keys: int) -> None:
        self.keys = [_Numbers(np.int64) for _ in range(keys)]
        self.values = _Numbers(np.float64)
        self.single_keys: list[list[int]] = [[] for _ in range(keys)]
        self.single_values: list[float] = []

    def add(self, keys: Sequence[Ints | int], values: Floats | float) -> None:
        """Append entries: arrays of one length, or numbers that are repeated."""
        count = _length(*keys, values)
        for numbers, key in zip(self.keys, keys, strict=True):
            numbers.add(count, key)
        self.values.add(count, values)

    def arrays(self) -> tuple[list[Ints], Floats]:
        """All keys and values, single ones last."""
        keys = [
            np.concatenate([numbers.array(), np.array(single, dtype=np.int64)])
            for numbers, single in zip(self.keys, self.single_keys, strict=True)
        ]
        return keys, np.concatenate([self.values.array(), np.array(self.single_values)])


class LinearProgram:
    """minimise cost x subject to row_low <= A x <= row_high, low <= x <= high.

    A model under construction: variables and rows are added in blocks; entries of A are triples.

    Attributes:
        variables: number of variables.
        rows: number of rows.
    """

    def __init__(self) -> None:
        self._low: list[float] = []
        self._high: list[float] = []
        self._row_low: list[float] = []
        self._row_high: list[float] = []
        self._raised: list[tuple[Ints, Floats]] = []
        self._entries, self._cost = _Entries(2), _Entries(1)

    @property
    def variables(self) -> int:
        """Number of variables."""
        return len(self._low)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self._row_low)

    def add_variables(self, count: int, low: Floats | float, high: Floats | float) -> Ints:
        """Indices of `count` new variables; they cost nothing until `add_cost`."""
        first = self.variables
        self._low += _repeated(count, low)
        self._high += _repeated(count, high)
        return np.arange(first, first + count, dtype=np.int64)

    def add_variable(self, low: float, high: float) -> int:
        """Index of a new variable."""
        self._low.append(low)
        self._high.append(high)
        return len(self._low) - 1

    def add_rows(self, count: int, low: Floats | float, high: Floats | float) -> Ints:
        """Indices of `count` new rows."""
        first = self.rows
        self._row_low += _repeated(count, low)
        self._row_high += _repeated(count, high)
        return np.arange(first, first + count, dtype=np.int64)

    def add_row(self, low: float, high: float, entries: Mapping[int, float]) -> int:
        """Index of a new row with (variable -> value) entries."""
        row = len(self._row_low)
        self._row_low.append(low)
        self._row_high.append(high)
        if len(entries) > LONG_ROW:
            columns = np.fromiter(entries, dtype=np.int64, count=len(entries))
            values = np.fromiter(entries.values(), dtype=np.float64, count=len(entries))
            self._entries.add((row, columns), values)
            return row
        single_rows, single_columns = self._entries.single_keys
        single_rows += [row] * len(entries)
        single_columns += entries
        self._entries.single_values += entries.values()
        return row

    def add_entry(self, row: int, column: int, value: float) -> None:
        """One entry of A."""
        rows, columns = self._entries.single_keys
        rows.append(row)
        columns.append(column)
        self._entries.single_values.append(value)

    def add_entries(self, rows: Ints | int, columns: Ints | int, values: Floats | float) -> None:
        """Entries of A; repeated ones add up. Scalars and arrays of one length."""
        self._entries.add((rows, columns), values)

    def add_cost(self, columns: Ints | int, values: Floats | float) -> None:
        """Add to the cost of variables; repeated ones add up."""
        if isinstance(columns, int) and isinstance(values, float):
            self._cost.single_keys[0].append(columns)
            self._cost.single_values.append(values)
        else:
            self._cost.add((columns,), values)

    def raise_rows(self, rows: Ints, amount: Floats) -> None:
        """Raise the lower side of rows."""
        self._raised.append((rows, amount))

    def frozen(self) -> "FrozenProgram":
        """The program as flat arrays, entries sorted by row, duplicates summed."""
        width = max(1, self.variables)
        (rows, columns), entry_values = self._entries.arrays()
        keys = rows * width + columns
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        first = np.flatnonzero(np.diff(keys, prepend=-1))
        values = entry_values[order]
        summed = np.add.reduceat(values, first) if len(first) else values
        kept = summed != 0.0
        unique = keys[first][kept]
        (costed,), costs = self._cost.arrays()
        cost = np.zeros(self.variables)
        np.add.at(cost, costed, costs)
        row_low = np.array(self._row_low, dtype=np.float64)
        for raised, amount in self._raised:
            row_low[raised] += amount
        return FrozenProgram(
            cost=cost,
            low=np.array(self._low, dtype=np.float64),
            high=np.array(self._high, dtype=np.float64),
            row_low=row_low,
            row_high=np.array(self._row_high, dtype=np.float64),
            entry_rows=unique // width,
            entry_columns=unique % width,
            entry_values=summed[kept],
        )


def _repeated(count: int, value: Floats | float) -> list[float]:
    """`count` numbers: an array of them, or one repeated."""
    return value.tolist() if isinstance(value, np.ndarray) else [value] * count


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


# MathOpt's status of a variable at its lower bound.
AT_LOWER_BOUND = 2


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
        solver: its name.
    """

    values: Floats
    duals: Floats
    objective: float
    basis: Basis | None = None
    solver: str = "glop"


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
