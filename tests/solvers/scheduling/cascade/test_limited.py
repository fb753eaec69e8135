"""Groups for the least memory under a limit of the latency."""

from dataclasses import replace

import pytest

from tests.solvers.scheduling.cascade.test_peak import peak_task
from ullage.compiler.ir.schedule import Schedule
from ullage.hwmodels.bounds import live_bytes_bound
from ullage.solvers.bounds.schedules import memory_bounds
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.search import limited_schedule
from ullage.solvers.scheduling.cascade.valued import SchedulingTask


@pytest.fixture(scope="module")
def task() -> SchedulingTask:
    return peak_task()


@pytest.fixture(scope="module")
def best_s(task: SchedulingTask) -> float:
    problem = task.problem_of(Schedule.whole(task.order))
    return run_solver("fluid", problem.minimising("latency")).value


def test_the_value_is_near_that_of_the_plan_and_above_all_bounds(
    task: SchedulingTask, best_s: float
) -> None:
    limit_s = 1.5 * best_s
    found = limited_schedule(replace(task, limit_s=limit_s), tries=40)
    assert found.value is not None
    assert found.whole_value is not None
    assert found.value < 0.7 * found.whole_value
    problem = task.problem_of(found.schedule)
    assert found.value >= live_bytes_bound(problem, problem.target).value
    plan = run_solver("no-spill", problem.within(limit_s))
    assert plan.value == pytest.approx(found.value, rel=0.1)
    bounds = memory_bounds(task.graph, task.target, limit_s)
    assert bounds is not None
    assert bounds.any_schedule.value <= bounds.whole_reductions.value <= plan.value


def test_less_time_takes_more_memory(task: SchedulingTask, best_s: float) -> None:
    values, bounds = [], []
    for share in (0.1, 0.5, 2.0):
        limit_s = (1 + share) * best_s
        found = limited_schedule(replace(task, limit_s=limit_s), tries=20)
        assert found.value is not None
        values.append(found.value)
        bound = memory_bounds(task.graph, task.target, limit_s)
        assert bound is not None
        bounds.append(bound.any_schedule.value)
    assert values == sorted(values, reverse=True)
    assert bounds == sorted(bounds, reverse=True)


def test_the_same_seed_finds_the_same(task: SchedulingTask, best_s: float) -> None:
    one, other = (limited_schedule(replace(task, limit_s=2 * best_s), tries=15) for _ in range(2))
    assert one == other


def test_time_that_is_over_leaves_whole_operators(task: SchedulingTask) -> None:
    late = replace(task, limit_s=1.0, budget=Budget(deadline=0.0))
    assert limited_schedule(late).schedule.is_whole
