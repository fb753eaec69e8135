"""Linear programs: solving, and bounds that hold for any multipliers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ullage.solvers.lp import INFINITY, FrozenProgram, LinearProgram, safe_bound, solve_lp


def knapsack(values: list[float], sizes: list[float], capacity: float) -> FrozenProgram:
    """Fractions of items that fit, as a minimisation; the optimum is greedy by value density."""
    lp = LinearProgram()
    x = lp.add_variables(len(values), 0.0, 1.0)
    lp.add_cost(x, -np.array(values))
    row = lp.add_row(-INFINITY, capacity, {})
    lp.add_entries(row, x, np.array(sizes))
    return lp.frozen()


def best_knapsack(values: list[float], sizes: list[float], capacity: float) -> float:
    total = 0.0
    for value, size in sorted(zip(values, sizes, strict=True), key=lambda p: -p[0] / p[1]):
        share = min(1.0, capacity / size)
        total += share * value
        capacity -= share * size
    return -total


@pytest.mark.parametrize("solver", ["glop", "highs"])
def test_solvers_agree_with_the_greedy_optimum(solver: str) -> None:
    values, sizes = [6.0, 10.0, 12.0], [1.0, 2.0, 3.0]
    program = knapsack(values, sizes, 5.0)
    solution = solve_lp(program, solver=solver)
    assert solution is not None
    assert solution.objective == pytest.approx(best_knapsack(values, sizes, 5.0))
    assert safe_bound(program, solution.duals) == pytest.approx(solution.objective)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    items=st.lists(st.tuples(st.floats(0.1, 9), st.floats(0.1, 9)), min_size=1, max_size=8),
    capacity=st.floats(0.1, 30),
    multiplier=st.floats(-9, 9),
)
def test_any_multiplier_gives_a_bound(
    items: list[tuple[float, float]], capacity: float, multiplier: float
) -> None:
    values, sizes = [v for v, _ in items], [s for _, s in items]
    program = knapsack(values, sizes, capacity)
    best = best_knapsack(values, sizes, capacity)
    assert safe_bound(program, np.array([multiplier])) <= best + 1e-9


def test_entries_of_one_place_add_up() -> None:
    lp = LinearProgram()
    x = lp.add_variable(0.0, 10.0)
    lp.add_cost(x, 1.0)
    row = lp.add_row(6.0, INFINITY, {})
    lp.add_entries(row, x, 1.0)
    lp.add_entries(row, x, 2.0)
    solution = solve_lp(lp.frozen())
    assert solution is not None
    assert solution.values.tolist() == pytest.approx([2.0])
