"""Programs that start from the basis of another one: the same optimum, sooner."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from ullage.solvers.lp.named_basis import AT_LOW, BASIC, NamedBasis
from ullage.solvers.lp.program import INFINITY, FrozenProgram, LinearProgram
from ullage.solvers.lp.solve import solve_lp

COUNT = 12


def covering(left_out: int, added: int) -> tuple[FrozenProgram, list[int], list[int]]:
    """A program that covers rows by columns, without one column and row, with others added.

    Returns:
        The program, and the names of its columns and rows.
    """
    rng = np.random.default_rng(0)
    costs, matrix = rng.uniform(1, 2, 2 * COUNT), rng.uniform(0, 1, (2 * COUNT, 2 * COUNT))
    names = [n for n in range(COUNT + added) if n != left_out]
    program = LinearProgram()
    columns = program.add_variables(len(names), 0.0, 10.0)
    program.add_cost(columns, costs[names])
    rows = program.add_rows(len(names), 1.0, INFINITY)
    for row, name in zip(rows.tolist(), names, strict=True):
        program.add_entries(row, columns, matrix[name, names])
    return program.frozen(), names, [1000 + name for name in names]


def basis_of(left_out: int, added: int) -> NamedBasis:
    program, names, rows = covering(left_out, added)
    solution = solve_lp(program, with_basis=True)
    assert solution is not None
    assert solution.basis is not None
    return NamedBasis.of(solution.basis, names, rows)


@pytest.mark.parametrize("left_out", range(0, COUNT, 3))
@pytest.mark.parametrize("added", [0, 1, 2])
def test_a_start_changes_no_optimum(left_out: int, added: int) -> None:
    start = basis_of(1, 1)
    program, names, rows = covering(left_out, added)
    basis = start.on(names, rows)
    assert basis is not None
    in_basis = int((basis.variables == BASIC).sum() + (basis.rows == BASIC).sum())
    assert in_basis == len(rows)
    cold, warm = solve_lp(program), solve_lp(program, start=basis)
    assert cold is not None
    assert warm is not None
    assert_allclose(warm.objective, cold.objective, rtol=1e-9)


def test_what_is_new_is_out_of_the_basis_with_its_row_in_it() -> None:
    start = NamedBasis({1: BASIC, 2: AT_LOW}, {10: AT_LOW, 20: BASIC, 30: BASIC})
    basis = start.on([1, 2, 3], [10, 20, 30, 40])
    assert basis is not None
    assert basis.variables.tolist() == [BASIC, AT_LOW, AT_LOW]
    assert basis.rows.tolist() == [AT_LOW, BASIC, BASIC, BASIC]


def test_more_or_fewer_in_the_basis_than_rows_are_made_as_many() -> None:
    start = NamedBasis({1: BASIC, 2: BASIC}, {10: AT_LOW, 20: AT_LOW, 30: BASIC, 40: BASIC})
    few = start.on([1], [10, 20, 30, 40])  # one of the basis is gone
    assert few is not None
    assert few.variables.tolist() == [BASIC]
    assert (few.rows == BASIC).sum() == 3
    many = start.on([1, 2], [20, 30, 40])  # a row is gone that was not in it
    assert many is not None
    assert (many.variables == BASIC).sum() + (many.rows == BASIC).sum() == 3


def test_a_program_of_mostly_new_rows_starts_from_nothing() -> None:
    start = NamedBasis({1: BASIC}, {10: AT_LOW})
    assert start.on([1], [10, 20]) is None
