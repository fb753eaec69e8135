"""A basis whose variables and rows have names, to start programs that are nearly the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ullage.solvers.lp.program import Basis

# MathOpt's status of a variable at its lower bound, and of one (or a row) in the basis.
AT_LOW, BASIC = 2, 5
# Share of rows that are new up to which a basis of another program is worth starting from.
MOST_NEW = 0.25


@dataclass(frozen=True)
class NamedBasis:
    """Where the simplex method stopped: MathOpt's status of variables and of rows, by name."""

    variables: Mapping[int, int]
    rows: Mapping[int, int]

    @classmethod
    def of(cls, basis: Basis, variables: Sequence[int], rows: Sequence[int]) -> "NamedBasis":
        """A basis with names for its variables and rows."""
        return cls(
            dict(zip(variables, basis.variables.tolist(), strict=True)),
            dict(zip(rows, basis.rows.tolist(), strict=True)),
        )

    def on(self, variables: Sequence[int], rows: Sequence[int]) -> Basis | None:
        """The basis of a program with other variables and rows; None where most are others.

        Variables that are new are 0, rows that are new do not bind: what is new lies at home.
        """
        known, bound = self.variables, self.rows
        columns = np.array([known.get(name, AT_LOW) for name in variables], dtype=np.int64)
        slacks = np.array([bound.get(name, BASIC) for name in rows], dtype=np.int64)
        is_new = np.array([name not in bound for name in rows], dtype=bool)
        if is_new.mean() > MOST_NEW:
            return None
        # MathOpt takes as many of the basis as there are rows; the solver replaces what depends on
        # the rest.
        surplus = int((columns == BASIC).sum() + (slacks == BASIC).sum()) - len(rows)
        if surplus > 0:
            places = np.concatenate(
                [np.flatnonzero(is_new), np.flatnonzero(~is_new & (slacks == BASIC))]
            )
            slacks[places[:surplus]] = AT_LOW
            columns[np.flatnonzero(columns == BASIC)[: max(0, surplus - len(places))]] = AT_LOW
        elif surplus < 0:
            slacks[np.flatnonzero(slacks != BASIC)[:-surplus]] = BASIC
        return Basis(columns, slacks)
