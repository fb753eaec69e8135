"""Bounds of linear programs that rounding cannot break."""

from fractions import Fraction
from math import isinf
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ullage.compiler.common.arrays import Floats
from ullage.solvers.lp.program import FrozenProgram, LinearProgram, safe_bound

seeds = st.integers(0, 10**6)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=seeds)
def test_the_safe_bound_is_below_the_same_sum_in_rational_numbers(seed: int) -> None:
    rng = Random(seed)
    rows, columns = rng.randint(1, 6), rng.randint(1, 8)
    lp = LinearProgram()
    for _ in range(columns):
        low = rng.uniform(-3, 3)
        lp.add_cost(lp.add_variable(low, low + rng.uniform(0, 5)), rng.uniform(-4, 4))
    for _ in range(rows):
        entries = {
            c: rng.uniform(-9, 9) for c in rng.sample(range(columns), rng.randint(1, columns))
        }
        middle = rng.uniform(-5, 5)
        kind = rng.randrange(3)
        high = float("inf") if kind == 0 else middle + (rng.uniform(0, 3) if kind == 1 else 0.0)
        lp.add_row(float("-inf") if kind == 1 else middle, high, entries)
    program = lp.frozen()
    duals = np.array([rng.uniform(-5, 5) for _ in range(rows)])
    assert safe_bound(program, duals) <= exact_bound(program, duals)


def exact_bound(program: FrozenProgram, duals: Floats) -> Fraction:
    """The Lagrangian bound of multipliers, clipped to their signs, without rounding."""
    reduced = [Fraction(float(c)) for c in program.cost]
    total = Fraction(0)
    for row, dual in enumerate(duals.tolist()):
        low, high = float(program.row_low[row]), float(program.row_high[row])
        kept = Fraction(dual)
        if (dual > 0 and isinf(low)) or (dual < 0 and isinf(high)):
            kept = Fraction(0)
        elif kept:
            total += kept * Fraction(low if dual > 0 else high)
        for at in np.flatnonzero(program.entry_rows == row).tolist():
            value = Fraction(float(program.entry_values[at]))
            reduced[int(program.entry_columns[at])] -= kept * value
    for cost, low, high in zip(reduced, program.low.tolist(), program.high.tolist(), strict=True):
        total += cost * Fraction(low if cost > 0 else high)
    return total
