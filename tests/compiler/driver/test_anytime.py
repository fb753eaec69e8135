"""Traces: improvements only, true at their end, and told of by the solvers that improve."""

import logging
from dataclasses import replace

import pytest

from tests.support.games import CASES
from ullage.compiler.driver.anytime import joined, trace_of
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.driver.result import Compiled


def test_a_trace_keeps_improvements_and_ends_at_the_plan() -> None:
    told = [(10.5, 9.0), (11.0, 9.5), (11.5, 7.0), (12.0, 7.0)]
    assert trace_of(told, 10.0, 3.0, 7.0) == ((0.5, 9.0), (1.5, 7.0))
    assert trace_of(told, 10.0, 3.0, 6.0) == ((0.5, 9.0), (1.5, 7.0), (3.0, 6.0))
    assert trace_of([], 10.0, 3.0, 6.0) == ((3.0, 6.0),)
    assert trace_of([(10.5, 7.0 * (1 + 1e-12))], 10.0, 3.0, 7.0) == ((0.5, 7.0),)
    assert trace_of([(10.5, 4.0), (11.0, 0.0)], 10.0, 3.0, 0.0) == ((0.5, 4.0), (1.0, 0.0))


def test_a_claim_that_the_plan_does_not_hold_counts_as_the_plan(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert trace_of([(10.5, 9.0), (11.0, 3.0)], 10.0, 3.0, 7.0) == ((0.5, 9.0), (1.0, 7.0))
    assert "claimed 3 on the way to a plan of 7" in caplog.text


def test_traces_of_runs_one_after_the_other_are_joined() -> None:
    assert joined([(0.5, 9.0), (1.0, 7.0)], [(0.1, 8.0), (0.4, 6.0)], 2.0) == (
        (0.5, 9.0),
        (1.0, 7.0),
        (2.4, 6.0),
    )
    assert joined([], [(0.1, 8.0)], 2.0) == ((2.1, 8.0),)


def check(compiled: Compiled) -> None:
    """A trace is of improvements, inside the time of solving, and ends at the plan's value."""
    times, values = zip(*compiled.anytime, strict=True)
    assert list(times) == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= compiled.solve_s
    assert list(values) == sorted(set(values), reverse=True)
    assert values[-1] == compiled.value


@pytest.mark.wide(8)
@pytest.mark.parametrize("objective", ["latency", "traffic", "energy"])
@pytest.mark.parametrize("name", ["greedy", "msa", "fluid", "cpsat", "divide", "auto"])
def test_solvers_tell_of_plans_that_they_have(
    name: str, objective: str, caplog: pytest.LogCaptureFixture
) -> None:
    limits = {"cpsat": {"time_limit_s": 3}, "divide": {"time_limit_s": 3}}
    options = CompileOptions(solver=name, parameters=limits.get(name, {}))
    early = 0
    for _, problem, _ in CASES[::8]:
        whole = problem.on(replace(problem.target, split_operands=False))
        compiled = compile_problem(whole.minimising(objective), options)
        check(compiled)
        early += compiled.anytime[0][0] < compiled.solve_s
    assert early or name in ("greedy", "msa")
    assert "claimed" not in caplog.text


@pytest.mark.parametrize("name", ["rl", "evolution", "noisy-greedy"])
def test_players_tell_of_the_games_they_win(name: str, caplog: pytest.LogCaptureFixture) -> None:
    options = CompileOptions(solver=name, parameters={"simulations": 60})
    told = 0
    for _, problem, _ in CASES[::4]:
        compiled = compile_problem(problem, options)
        check(compiled)
        assert compiled.anytime[0][0] < compiled.solve_s
        told += len(compiled.anytime)
    assert told > len(CASES[::4])
    assert "claimed" not in caplog.text
