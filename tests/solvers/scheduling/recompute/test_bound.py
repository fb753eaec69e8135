"""The bound over all repetitions of an order: below every plan, and worth something."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from tests.support.graphs import random_graph
from tests.support.onnx_models import imported
from tests.support.training import chip, slow_chip, training_step
from ullage.compiler.common.errors import InfeasibleError, UsageError
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import NO_ALIASES, alias_options
from ullage.compiler.lowering.orders import model_order
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.budget import Budget
from ullage.solvers.lp.program import safe_bound
from ullage.solvers.lp.solve import solve_lp
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade.valued import SchedulingTask
from ullage.solvers.scheduling.recompute import order_items as order_items_module
from ullage.solvers.scheduling.recompute.bound import (
    MARKS,
    SOURCE,
    bound_of,
    marks_of,
    relaxed_sets,
    solved_relaxations,
    streaming_s,
)
from ullage.solvers.scheduling.recompute.copies import first_runs, recompute_facts, schedule_of
from ullage.solvers.scheduling.recompute.order_items import OrderItems, order_items, why_no_items
from ullage.solvers.scheduling.recompute.relaxation import recompute_program

ACTIVATION_BYTES = 256 * 32 * 4


def task_of(graph: Graph, target: Target) -> SchedulingTask:
    return SchedulingTask(
        graph=graph,
        order=model_order(graph),
        target=target,
        aliases=alias_options(target),
        steady_state=False,
        objective="latency",
        seed=0,
        budget=Budget(),
    )


def items_of(task: SchedulingTask) -> OrderItems | None:
    problem = task.problem_of(Schedule.whole(task.order))
    assert why_no_items(problem) == ""
    return order_items(task.graph, task.order, task.aliases, problem)


def bounds_of(items: OrderItems) -> list[float]:
    """What programs of few marks and of all prove, in seconds."""
    reference = streaming_s(items)
    count = len(items.operators)
    found = []
    for marks in ([0], [count // 2], [count - 1], list(range(0, count, 3)), list(range(count))):
        program = recompute_program(items, sorted(set(marks)), reference)
        solution = solve_lp(program.program)
        assert solution is not None
        proven = safe_bound(program.program, solution.duals) * reference
        found.append(min(reference, proven))
    return found


@pytest.mark.parametrize("seed", range(30))
def test_no_plan_of_a_random_schedule_is_below(seed: int) -> None:
    rng = Random(seed)
    graph = imported(training_step(3)) if seed % 10 == 0 else random_graph(rng, 14)
    size = rng.choice((3, 4, 6)) * (ACTIVATION_BYTES if seed % 10 == 0 else 512)
    task = task_of(graph, chip(size, rng.choice((1e8, 5e8, 4e9))))
    if seed % 3 == 1:
        task = replace(task, aliases=NO_ALIASES)
    items = items_of(task)
    if items is None or not items.operators:
        return
    bound = max(bounds_of(items))
    facts = recompute_facts(graph, task.order, task.aliases)
    for share in (0.0, 0.3, 1.0):
        chosen = [gap for gap in facts.gaps if rng.random() < share]
        dropped = [replace(gap, stays=rng.random() < 0.4) for gap in chosen]
        schedule = schedule_of(facts, dropped)
        order = first_runs(facts, schedule)
        if order != task.order:  # the bound is of an order of first runs
            other = items_of(replace(task, order=order))
            assert other is not None
            bound = max(bounds_of(other))
        try:
            value = run_solver("fluid", task.problem_of(schedule), Budget()).value
        except (InfeasibleError, UsageError):
            continue
        assert value >= bound * (1 - 1e-9)


@pytest.mark.parametrize("target", ["edge-npu", "edge-npu-spm", "cosma"])
def test_no_plan_of_a_chip_is_below(target: str) -> None:
    chosen = load_target(target).with_fast_memory(8 * ACTIVATION_BYTES)
    task = task_of(imported(training_step(3)), chosen)
    items = items_of(task)
    assert items is not None
    problem = task.problem_of(Schedule.whole(task.order))
    assert max(bounds_of(items)) <= run_solver("fluid", problem, Budget()).value * (1 + 1e-9)


def test_it_is_nearer_than_computing_alone_and_falls_with_memory() -> None:
    task = task_of(imported(training_step()), slow_chip(4 * ACTIVATION_BYTES))
    compute_s = compute_seconds(task.problem_of(Schedule.whole(task.order)))[0].sum()
    last = np.inf
    for activations in (3, 4, 6, 64):
        items = items_of(replace(task, target=slow_chip(activations * ACTIVATION_BYTES)))
        assert items is not None
        found = bound_of(solved_relaxations(items, streaming_s(items), Budget()))
        assert found is not None
        assert found.source == SOURCE
        assert compute_s <= found.value <= last * (1 + 1e-9)
        last = found.value
    narrow = items_of(replace(task, target=slow_chip(3 * ACTIVATION_BYTES)))
    assert narrow is not None
    proven = bound_of(solved_relaxations(narrow, streaming_s(narrow), Budget()))
    assert proven is not None
    assert proven.value > 1.02 * last


def test_repetitions_make_it_lower() -> None:
    task = task_of(imported(training_step()), slow_chip(4 * ACTIVATION_BYTES))
    items = items_of(task)
    assert items is not None
    once = replace(items, again=np.zeros(len(items.operators), dtype=bool))
    assert max(bounds_of(items)) < 0.9 * max(bounds_of(once))


def test_a_plan_faster_than_the_reference_is_not_below() -> None:
    """A reference that no plan reaches is itself a bound."""
    task = task_of(imported(training_step()), slow_chip(4 * ACTIVATION_BYTES))
    items = items_of(task)
    assert items is not None
    honest = bound_of(solved_relaxations(items, streaming_s(items), Budget()))
    assert honest is not None
    loose = bound_of(solved_relaxations(items, 10 * streaming_s(items), Budget()))
    assert loose is not None
    assert loose.value == pytest.approx(honest.value, rel=1e-6)


def test_small_items_left_out_only_lower_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters take a thirtieth of this memory."""
    items = items_of(task_of(imported(training_step()), slow_chip(4 * ACTIVATION_BYTES)))
    assert items is not None
    reference, marks = streaming_s(items), marks_of(items, 8)
    found = []
    for share in (0.0, 0.1):
        monkeypatch.setattr(order_items_module, "SMALL_SHARE", share)
        program = recompute_program(items, marks, reference).program
        solution = solve_lp(program)
        assert solution is not None
        found.append((len(program.cost), safe_bound(program, solution.duals)))
    (every, honest), (fewer, lower) = found
    assert fewer < 0.8 * every
    assert 0.7 * honest < lower <= honest * (1 + 1e-6)


def test_sets_of_the_relaxation_are_gaps_of_the_order() -> None:
    task = task_of(imported(training_step()), slow_chip(4 * ACTIVATION_BYTES))
    items = items_of(task)
    assert items is not None
    facts = recompute_facts(task.graph, task.order, task.aliases)
    solved = solved_relaxations(items, streaming_s(items), Budget())
    sets = relaxed_sets(facts, items, solved)
    known = set(facts.gaps)
    assert all({replace(gap, stays=False) for gap in dropped} <= known for dropped in sets)
    assert any(any(part.copy for part in schedule_of(facts, s).parts) for s in sets)


def test_without_time_nothing_is_proven() -> None:
    items = items_of(task_of(imported(training_step()), slow_chip(4 * ACTIVATION_BYTES)))
    assert items is not None
    assert bound_of(solved_relaxations(items, streaming_s(items), Budget(0.0))) is None


def test_marks_are_places_in_order() -> None:
    items = items_of(task_of(imported(training_step()), slow_chip(4 * ACTIVATION_BYTES)))
    assert items is not None
    for count in MARKS:
        marks = marks_of(items, count)
        assert marks == sorted(set(marks))
        assert 1 <= len(marks) <= count
        assert marks[0] >= 0
        assert marks[-1] < len(items.operators)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"objective": "traffic"}, "latency"),
        ({"steady_state": True}, "steady state"),
        ({"target": load_target("phone-npu-flash")}, "two memories"),
    ],
)
def test_where_nothing_is_proven_it_says_why(changes: dict[str, object], reason: str) -> None:
    task = task_of(imported(training_step(2)), slow_chip(1 << 20))
    task = replace(task, **changes)  # type: ignore[arg-type]
    assert reason in why_no_items(task.problem_of(Schedule.whole(task.order)))
