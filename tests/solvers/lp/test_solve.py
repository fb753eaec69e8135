"""Linear programs: solving, and bounds that hold for any multipliers."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ullage.solvers.lp import solve
from ullage.solvers.lp.program import INFINITY, FrozenProgram, LinearProgram, safe_bound
from ullage.solvers.lp.solve import solve_lp, solve_lp_in_turn, solve_lps


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


@pytest.mark.parametrize("solver", ["glop", "glop-dual", "highs"])
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


def test_programs_solved_together_are_solved_as_alone() -> None:
    capacities = [2.0, 5.0, 30.0]
    programs = [knapsack([6.0, 10.0, 12.0], [1.0, 2.0, 3.0], c) for c in capacities]
    for program, together in zip(programs, solve_lps(programs), strict=True):
        alone = solve_lp(program)
        assert alone is not None
        assert together is not None
        assert together.values.tolist() == alone.values.tolist()
        assert together.duals.tolist() == alone.duals.tolist()


def test_a_solver_goes_on_from_a_basis() -> None:
    small = knapsack([6.0, 10.0], [1.0, 2.0], 5.0)
    first = solve_lp(small, with_basis=True)
    assert first is not None
    assert first.basis is not None
    program = knapsack([6.0, 10.0, 12.0], [1.0, 2.0, 3.0], 5.0)
    again = solve_lp(program, start=first.basis)
    assert again is not None
    assert again.objective == pytest.approx(best_knapsack([6.0, 10.0, 12.0], [1.0, 2.0, 3.0], 5.0))


def test_a_program_without_a_solution_is_none_and_logged_as_information(
    caplog: pytest.LogCaptureFixture,
) -> None:
    lp = LinearProgram()
    x = lp.add_variable(0.0, 1.0)
    lp.add_row(2.0, INFINITY, {x: 1.0})
    with caplog.at_level(logging.INFO):
        assert solve_lp(lp.frozen()) is None
    assert "found no optimum" in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.INFO}


def test_an_imprecise_answer_is_asked_again_and_nobody_is_shown_it(
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ortools.math_opt import result_pb2

    solved = solve._solve_all

    def imprecise(messages: Sequence[Any], solver: str, *limit: Any, devex: bool) -> list[Any]:
        answers = solved(messages, solver, *limit, devex=devex)
        for answer in answers if solver == "glop" else ():
            answer.termination.reason = result_pb2.TERMINATION_REASON_IMPRECISE
        return answers

    monkeypatch.setattr(solve, "_solve_all", imprecise)
    solution = solve_lp_in_turn(knapsack([6.0, 10.0, 12.0], [1.0, 2.0, 3.0], 5.0))
    assert solution is not None
    assert solution.solver == "glop-dual"
    assert solution.objective == pytest.approx(best_knapsack([6.0, 10.0, 12.0], [1.0, 2.0, 3.0], 5))
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_program_that_may_have_no_solution_is_no_fault(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lp = LinearProgram()
    x = lp.add_variable(0.0, 1.0)
    lp.add_row(2.0, INFINITY, {x: 1.0})
    asked: list[str] = []

    def counted(*arguments: object, solver: str, **options: object) -> object:
        asked.append(solver)
        return solve_lp(*arguments, solver=solver, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(solve, "solve_lp", counted)
    assert solve_lp_in_turn(lp.frozen(), may_be_infeasible=True) is None
    assert asked == ["glop"]
    assert not caplog.text


@pytest.mark.parametrize(
    ("stuck", "finds"),
    [((), "glop"), (("glop",), "glop-dual"), (("glop", "glop-dual"), "highs")],
)
def test_other_solvers_are_tried_where_one_gets_stuck(
    monkeypatch: pytest.MonkeyPatch, stuck: tuple[str, ...], finds: str
) -> None:
    def sometimes(*arguments: object, solver: str, **options: object) -> object:
        if solver in stuck:
            return None
        return solve_lp(*arguments, solver=solver, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(solve, "solve_lp", sometimes)
    program = knapsack([6.0, 10.0, 12.0], [1.0, 2.0, 3.0], 5.0)
    solution = solve_lp_in_turn(program)
    assert solution is not None
    assert solution.solver == finds
    assert solution.objective == pytest.approx(best_knapsack([6.0, 10.0, 12.0], [1.0, 2.0, 3.0], 5))
    assert solve_lp_in_turn(program, time_limit_s=0.0) is None
