"""Groups that need little memory without a spill."""

import pytest

from tests.support.tiled_models import residual_network
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.aliases import alias_options
from ullage.hwmodels.bounds import live_bytes_bound
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.peak import PeakGroups, PeakSearch
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import SchedulingTask


def peak_task() -> SchedulingTask:
    """A residual network on a chip with little memory."""
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    target = load_target("ethos-u55-128")
    return SchedulingTask(
        graph,
        tuple(range(len(graph.operators))),
        target,
        alias_options(target),
        steady_state=False,
        objective="peak",
        seed=0,
        budget=Budget().at_most(100.0),
    )


@pytest.fixture(scope="module")
def search() -> PeakSearch:
    task = peak_task()
    whole = task.problem_of(Schedule.whole(task.order))
    return PeakSearch(task, OrderFacts.of(task.graph, task.order, whole))


@pytest.fixture(scope="module")
def best(search: PeakSearch) -> PeakGroups:
    found = search.smallest(patience=10)
    assert found is not None
    return found


def test_the_smallest_peak_is_a_plan_without_spills(search: PeakSearch, best: PeakGroups) -> None:
    count = len(search.facts.order)
    whole = search.valued([Cascade(p, p + 1) for p in range(count)])
    assert whole is not None
    assert best.live_bytes < 0.6 * whole.live_bytes
    problem = search.task.problem_of(best.schedule).minimising("peak")
    assert live_bytes_bound(problem, problem.target).value == best.live_bytes
    plan = run_solver("no-spill", problem)
    assert best.live_bytes <= plan.value <= 1.2 * best.live_bytes


def test_more_memory_takes_no_more_time(search: PeakSearch, best: PeakGroups) -> None:
    seconds = []
    for factor in (1.2, 2, 4):
        size_bytes = round(factor * best.live_bytes)
        within = search.within(size_bytes)
        assert within is not None
        assert within.live_bytes <= size_bytes
        seconds.append(within.seconds)
    assert seconds == sorted(seconds, reverse=True)
    assert search.within(best.live_bytes // 4) is None
