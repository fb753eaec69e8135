"""Groups that need little memory without a spill."""

import numpy as np
import pytest

from tests.support.tiled_models import residual_network
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.aliases import alias_options
from ullage.hwmodels.bounds import live_bytes_bound
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import compute_seconds, overhead_seconds
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.peak import PeakGroups, PeakSearch
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.valued import SchedulingTask, schedule_of


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


def test_estimates_compute_as_long_as_the_parts(search: PeakSearch) -> None:
    """On a unit that computes in blocks small parts take longer than their share of the whole."""
    task, facts = search.task, search.facts
    estimated, of_wholes = [], []
    for group in [g for ending in search.estimates for g in ending][::7]:
        cascade = group.cascade
        rest = [Cascade(p, p + 1) for p in range(len(facts.order))]
        groups = [*rest[: cascade.first], cascade, *rest[cascade.last :]]
        schedule = schedule_of(task, facts, groups)
        assert schedule is not None
        problem = task.problem_of(schedule)
        members = facts.order[cascade.first : cascade.last]
        inside = [step.operator in members for step in problem.steps]
        seconds = float((compute_seconds(problem)[0] + overhead_seconds(problem))[inside].sum())
        if seconds:
            estimated.append(group.compute_s / seconds)
            of_wholes.append(sum(facts.compute_s[cascade.first : cascade.last]) / seconds)
    assert np.median(estimated) == pytest.approx(1.0, abs=0.02)
    assert 0.6 < min(estimated) <= max(estimated) < 1.2
    assert min(of_wholes) < 0.3


def test_figures_are_those_of_the_groups(search: PeakSearch) -> None:
    for ending in search.estimates:
        for room in (0.0, 500.0, 1e9):
            again = ending.figures.read_again(np.full(len(ending), room))
            assert again.tolist() == [group.read_again(room) for group in ending]


def test_compute_weighs_more_where_weights_come_meanwhile(search: PeakSearch) -> None:
    sizes = range(2048, 40000, 2048)
    for size in sizes:
        quick, other = (search.groups_within(size, weight) for weight in (1.0, None))
        assert (quick is None) == (other is None)
        if quick is not None and other is not None:
            assert search.compute_s(quick) <= search.compute_s(other) * (1 + 1e-9)
