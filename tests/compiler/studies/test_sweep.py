"""Sweeps: sizes, honest carrying over between them, bisection, time limits, Ctrl-C."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.sweeps import GREEDY, KIB, ask, problem_of
from tests.support.tiled_models import residual_network, saved
from tests.support.timing import within_limit
from ullage.compiler.common.errors import (
    ContractError,
    InfeasibleError,
    TimeLimitError,
    UllageError,
    UsageError,
)
from ullage.compiler.driver.compile import compile_problem
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.ir.problem import Problem
from ullage.compiler.studies.sweep import SweepOptions, describe_sweep, sweep
from ullage.compiler.verify.verifier import find_violations
from ullage.solvers.bounds.schedules import schedule_bounds
from ullage.solvers.budget import Budget
from ullage.solvers.heuristics import greedy
from ullage.solvers.interface import Solution
from ullage.solvers.parameters import NoOptions


def test_a_sweep_is_monotone_and_each_point_is_as_good_as_compiling_for_it(deep: Path) -> None:
    found = sweep(deep, ask(), GREEDY)
    values, bounds = [], []
    for point in found.points:
        assert point.compiled is not None
        assert not find_violations(point.compiled.plan)
        assert point.compiled.plan.target.fastest.capacity_bytes == point.size_bytes
        values.append(point.compiled.value)
        bounds.append(point.compiled.bound.value)
        problem = problem_of(deep)
        chip = problem.target.with_fast_memory(point.size_bytes)
        alone = compile_problem(problem.on(chip), GREEDY)
        assert point.compiled.value <= alone.value * (1 + 1e-9)
        if point.taken_from_bytes is None:
            assert point.compiled.value == alone.value
    assert values == sorted(values, reverse=True)
    assert bounds == sorted(bounds, reverse=True)
    assert values[-1] < 0.9 * values[0]


def test_a_plan_that_cannot_be_beaten_is_carried_on_without_solving(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    asked: list[int] = []

    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        asked.append(target.fastest.capacity_bytes)
        return greedy.solve(problem, greedy.GreedyOptions(), budget)

    options = solver(solve, objective="traffic")
    found = sweep(deep, ask(4 * KIB, 1024 * KIB, 9), options)
    zero = [p.size_bytes for p in found.points if p.compiled and p.compiled.value == 0]
    assert len(zero) >= 2
    assert asked == [p.size_bytes for p in found.points if p.size_bytes <= zero[0]]


def test_infeasible_sizes_are_rows_and_all_infeasible_is_an_error(deep: Path) -> None:
    cosma = replace(GREEDY, target="cosma")
    found = describe_sweep(sweep(deep, ask(1 * KIB, 64 * KIB), cosma))
    statuses = [row["status"] for row in found["rows"]]
    assert statuses[0] == "infeasible"
    assert statuses[-1] in ("feasible", "optimal")
    row = found["rows"][0]
    assert row["fast_memory_bytes"] == row["error"]["details"]["available_bytes"] == KIB
    assert (row["model"], row["solver"], row["target"]) == ("deep", "greedy", "cosma")
    with pytest.raises(InfeasibleError) as caught:
        sweep(deep, ask(1 * KIB, 2 * KIB, 3), cosma)
    assert caught.value.details["available_bytes"] == 2 * KIB


@pytest.mark.parametrize(
    ("asked", "options", "word"),
    [
        (ask(), CompileOptions(objective="peak"), "peak"),
        (ask(), CompileOptions(solver="nobody"), "nobody"),
        (ask(meet_latency_s=1.0), CompileOptions(objective="energy"), "--objective latency"),
        (ask(meet_latency_s=0.0), CompileOptions(), "above 0"),
        (ask(meet_latency_s=float("nan")), CompileOptions(), "above 0"),
    ],
)
def test_nonsense_is_refused_before_the_model_is_read(
    asked: SweepOptions, options: CompileOptions, word: str
) -> None:
    with pytest.raises(UsageError, match=word):
        sweep(Path("missing.onnx"), asked, options)


def test_the_time_limit_is_shared_by_all_sizes(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        time.sleep(max(0.0, budget.remaining_s()))
        return greedy.solve(problem, greedy.GreedyOptions(), budget)

    found = within_limit(1.5, lambda _: sweep(deep, ask(points=5), solver(solve, time_limit_s=1.5)))
    spent = [p.compiled.solve_s for p in found.points if p.compiled and not p.taken_from_bytes]
    assert len(spent) >= 3
    assert max(spent) < 0.8


def test_sizes_without_time_left_take_over_or_say_so(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        if target.fastest.capacity_bytes > 16 * KIB:
            raise TimeLimitError("too slow for this size")
        return greedy.solve(problem, greedy.GreedyOptions(), budget)

    found = sweep(deep, ask(), solver(solve))
    last = found.points[-1]
    assert last.taken_from_bytes == 16 * KIB
    assert last.compiled is not None
    assert any("too slow for this size" in note for note in last.compiled.plan.notes)
    with pytest.raises(
        TimeLimitError, match=r"shared by all sizes|before solving began|before the model was read"
    ):
        sweep(deep, ask(), replace(GREEDY, time_limit_s=1e-6))


def test_a_size_that_was_cut_short_gets_the_time_that_others_left(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    asked: list[int] = []

    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        asked.append(target.fastest.capacity_bytes)
        if len(asked) == 1:
            raise TimeLimitError("a slow start")
        return greedy.solve(problem, greedy.GreedyOptions(), budget)

    found = sweep(deep, ask(points=3), solver(solve, time_limit_s=30))
    assert asked[0] == asked[-1] == 4 * KIB
    assert asked.count(4 * KIB) == 2
    assert found.points[0].compiled is not None
    assert found.points[0].error is None
    assert found.points[0].taken_from_bytes is None
    assert not found.notes


@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_keeps_the_finished_sizes(
    deep: Path, solver: Callable[..., CompileOptions], *, kept: bool
) -> None:
    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        found = greedy.solve(problem, greedy.GreedyOptions(), budget)
        if target.fastest.capacity_bytes < 32 * KIB:
            return found
        if kept:
            return replace(found, stop_reason="interrupted")
        raise KeyboardInterrupt

    found = sweep(deep, ask(), solver(solve))
    done = [4 * KIB, 8 * KIB, 16 * KIB, *([32 * KIB] if kept else [])]
    assert found.partial
    assert [point.size_bytes for point in found.points] == done
    assert describe_sweep(found)["partial"] is True


def test_ctrl_c_before_any_plan_is_passed_on(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(_problem: Problem, _options: NoOptions, _budget: Budget) -> Solution:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(deep, ask(), solver(solve))


def test_a_defect_at_one_size_does_not_lose_the_others(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(problem: Problem, _options: NoOptions, budget: Budget) -> Solution:
        target = problem.target
        found = greedy.solve(problem, greedy.GreedyOptions(), budget)
        if target.fastest.capacity_bytes == 4 * KIB:
            held = found.assignment.residencies[1:]
            return replace(found, assignment=replace(found.assignment, residencies=held))
        return found

    first = sweep(deep, ask(), solver(solve)).points[0]
    assert isinstance(first.error, ContractError)
    if first.compiled is not None:  # a plan of a larger size fits
        assert any("broke its contract" in note for note in first.compiled.plan.notes)
    only = sweep(deep, ask(4 * KIB, 8 * KIB, 2), solver(solve)).points
    assert only[1].compiled is not None


def test_errors_other_than_of_a_size_end_the_sweep(
    deep: Path, solver: Callable[..., CompileOptions]
) -> None:
    def solve(_problem: Problem, _options: NoOptions, _budget: Budget) -> Solution:
        raise UsageError("a wrong parameter")

    with pytest.raises(UllageError, match="wrong parameter"):
        sweep(deep, ask(), solver(solve))


def test_cascades_are_chosen_for_each_size(tmp_path: Path) -> None:
    path = saved(residual_network(size=32), tmp_path)
    request = SweepOptions(4 * KIB, 32 * KIB, 2)
    whole = sweep(path, request, replace(GREEDY, dtype="int8"))
    cut = sweep(path, request, replace(GREEDY, dtype="int8", schedule="cascade"))
    values = [point.compiled.value for point in cut.points if point.compiled is not None]
    assert len(values) == 2
    assert values == sorted(values, reverse=True)
    for one, other in zip(cut.points, whole.points, strict=True):
        assert one.compiled is not None
        assert other.compiled is not None
        assert one.compiled.bound.value <= one.compiled.value <= other.compiled.value
        assert not find_violations(one.compiled.plan)
    first, first_whole = cut.points[0].compiled, whole.points[0].compiled
    assert first is not None
    assert first_whole is not None
    assert first.value < first_whole.value
    assert first.plan.program.parts > first_whole.plan.program.parts
    with pytest.raises(UsageError, match="--schedule whole"):
        sweep(
            path,
            replace(request, meet_latency_s=1e-3),
            replace(GREEDY, dtype="int8", schedule="cascade"),
        )


def test_what_a_large_memory_needs_not_is_left_to_the_small_ones(tmp_path: Path) -> None:
    """Cascades are searched for from the largest size on: the last ones have the most time."""
    path = saved(residual_network(size=32), tmp_path)
    request = SweepOptions(4 * KIB, 512 * KIB, 3)
    for schedule, first in (("cascade", "1 of 3, 512 KiB"), (None, "1 of 3, 4 KiB")):
        texts: list[str] = []
        options = replace(GREEDY, dtype="int8", schedule=schedule, progress=texts.append)
        swept = sweep(path, request, options)
        assert next(text for text in texts if "of 3" in text).startswith(first)
        assert [point.size_bytes for point in swept.points] == sorted(
            point.size_bytes for point in swept.points
        )


def test_rows_say_that_operators_run_whole(tmp_path: Path) -> None:
    path = saved(residual_network(size=32), tmp_path)
    request = SweepOptions(8 * KIB, 32 * KIB, 2)
    for schedule in (None, "whole"):
        swept = sweep(path, request, replace(GREEDY, dtype="int8", schedule=schedule))
        rows = describe_sweep(swept)["rows"]
        told = ["unless --schedule cascade" in (row["whole_because"] or "") for row in rows]
        assert told == [schedule is None] * 2


def test_bounds_over_all_schedules_are_those_of_each_size(tmp_path: Path) -> None:
    path = saved(residual_network(size=32), tmp_path)
    request = SweepOptions(2 * KIB, 512 * KIB, 7)
    options = replace(GREEDY, dtype="int8", schedule="cascade", time_limit_s=21)
    begun = time.monotonic()
    swept = sweep(path, request, options)
    assert time.monotonic() - begun < 25
    bounds = []
    for point in swept.points:
        compiled = point.compiled
        assert compiled is not None
        found = compiled.schedule_bounds
        if found is None:
            assert compiled.unbounded
            continue
        assert compiled.graph is not None
        own = schedule_bounds(compiled.graph, compiled.plan.target)
        assert own is not None
        assert found.any_schedule.value <= own.any_schedule.value * (1 + 1e-12)
        assert found.any_schedule.value <= compiled.value
        bounds.append(found.any_schedule.value)
    assert bounds == sorted(bounds, reverse=True)
    values = [point.compiled.value for point in swept.points if point.compiled is not None]
    assert values == sorted(values, reverse=True)
    assert any(point.taken_from_bytes is not None for point in swept.points)
