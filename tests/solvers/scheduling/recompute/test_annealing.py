"""Moves of the annealing: every order is one of the graph, and the values are the surrogate's."""

from random import Random

import numpy as np
import pytest

from tests.support.graphs import random_graph
from tests.support.training import slow_chip
from ullage.compiler.ir.dag import is_order, operator_dag
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import model_order
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade.valued import SchedulingTask
from ullage.solvers.scheduling.recompute.annealing import DRAWS, ORDER_SHARE, anneal
from ullage.solvers.scheduling.recompute.copies import (
    first_runs,
    in_order,
    recompute_facts,
    schedule_of,
)
from ullage.solvers.scheduling.recompute.surrogate import MOST_TIMES, surrogate_of


@pytest.mark.parametrize("seed", range(3))
def test_the_best_is_an_order_with_the_value_that_is_told(seed: int) -> None:
    graph = random_graph(Random(seed), 16)
    target = slow_chip(3000)
    task = SchedulingTask(
        graph,
        model_order(graph),
        target,
        alias_options(target),
        steady_state=False,
        objective="latency",
        seed=seed,
        budget=Budget(),
    )
    facts = recompute_facts(graph, task.order, task.aliases)
    surrogate = surrogate_of(facts, task.problem_of(Schedule.whole(task.order)))
    flags = np.array(sorted({surrogate.flag_of(gap) for gap in facts.gaps}), np.int64)
    gone = np.zeros(len(surrogate.accesses), dtype=np.uint8)
    first = surrogate.value(gone)
    rng = np.random.default_rng(seed)
    for hot in (1.0, 1e-6):
        values = np.array([first, first])
        best = surrogate.running.copy(), gone.copy()
        now = surrogate.running.copy(), gone.copy()
        draws = rng.random((400, DRAWS))
        anneal(
            (*now, *best, values), flags, surrogate.arguments, MOST_TIMES, draws, np.full(400, hot)
        )
        for value, (running, flagged) in zip(values, (now, best), strict=True):
            moved = in_order(facts, running.tolist())
            assert is_order(operator_dag(graph), moved.order)
            assert surrogate.value(flagged, running) == pytest.approx(value, rel=1e-12)
            schedule = schedule_of(moved, surrogate.dropped(flagged, moved))
            task.problem_of(schedule)  # every part finds what it reads
            runs = [i for i in first_runs(moved, schedule) if facts.writes[i]]
            assert sorted(runs) == sorted(running.tolist())
        assert values[1] <= min(first, values[0])
    orders: set[tuple[int, ...]] = set()
    draws[:, 0] *= ORDER_SHARE  # moves of the order alone
    now = surrogate.running.copy(), gone.copy()
    state = (*now, *best, np.array([first, first]))
    for draw in draws[:100]:
        anneal(state, flags, surrogate.arguments, MOST_TIMES, draw[None], np.full(1, 10.0))
        orders.add(tuple(now[0].tolist()))
    assert not now[1].any()
    assert len(orders) > 1
