"""Checkmate's and POET's integer programs: what brute force finds on tiny graphs, and schedules."""

import heapq
from collections.abc import Iterable, Iterator
from itertools import combinations
from random import Random

import pytest

from tests.support.onnx_models import imported
from tests.support.solving import solve_with
from tests.support.training import slow_chip, training_step
from ullage.compiler.common.errors import TimeLimitError
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.aliases import alias_options
from ullage.compiler.lowering.orders import model_order
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade.valued import SchedulingTask
from ullage.solvers.scheduling.recompute.copies import recompute_facts
from ullage.solvers.scheduling.recompute.surrogate import surrogate_of
from ullage.solvers.scheduling.rematerialisation import stages as module
from ullage.solvers.scheduling.rematerialisation.stages import (
    StageGraph,
    program_size,
    solve_graph,
    solve_stages,
)

Values = frozenset[int]


def tiny_graph(rng: Random, count: int) -> StageGraph:
    """Operators of one result each; each reads the one before it and some earlier one."""
    reads = [
        tuple(sorted({place - 1, rng.randrange(place)})) if place else () for place in range(count)
    ]
    return StageGraph(
        operators=tuple(range(count)),
        seconds=tuple(float(rng.randint(1, 5)) for _ in range(count)),
        scratch_bytes=tuple(float(rng.choice((0, 0, 1))) for _ in range(count)),
        again=tuple(rng.random() < 0.8 for _ in range(count)),
        reads=tuple(reads),
        writes=tuple((place,) for place in range(count)),
        maker=tuple(range(count)),
        size_bytes=tuple(float(rng.randint(1, 3)) for _ in range(count)),
        capacity_bytes=float(rng.randint(6, 9)),
        read_s=rng.choice((0.1, 0.5, 2.0)),
        write_s=rng.choice((0.1, 0.5, 2.0)),
    )


def subsets(items: Iterable[int]) -> Iterator[Values]:
    listed = sorted(items)
    for count in range(len(listed) + 1):
        yield from map(frozenset, combinations(listed, count))


def fits(
    graph: StageGraph, there: Values, fetched: Values, running: list[int], kept: Values
) -> bool:
    """Whether a stage fits: what is dropped goes right behind its last reader of the stage."""
    load = sum(graph.size_bytes[v] for v in there) + sum(graph.size_bytes[v] for v in fetched)
    for number, place in enumerate(running):
        load += graph.size_bytes[place]
        if load + graph.scratch_bytes[place] > graph.capacity_bytes:
            return False
        for value in {*graph.reads[place], place}:
            later = running[number + 1 :]
            if value not in kept and not any(value == p or value in graph.reads[p] for p in later):
                load -= graph.size_bytes[value]
    return True


def brute_force(graph: StageGraph, *, with_paging: bool) -> float | None:
    """The least cost over all stages, by Dijkstra's algorithm; None where nothing fits."""
    count = len(graph.operators)
    seconds = {(0, frozenset[int](), frozenset[int]()): 0.0}
    queue: list[tuple[float, int, list[int], list[int]]] = [(0.0, 0, [], [])]
    while queue:
        cost, stage, ram_list, stored_list = heapq.heappop(queue)
        ram, stored = frozenset(ram_list), frozenset(stored_list)
        if cost > seconds[stage, ram, stored]:
            continue
        if stage == count:
            return cost
        for again in subsets(p for p in range(stage) if graph.again[p]):
            running = sorted({*again, stage})
            ran = set(running)
            if any(v not in ran and v not in ram for p in running for v in graph.reads[p]):
                continue
            spent = cost + sum(graph.seconds[p] for p in running)
            for fetched in subsets(stored if with_paging else ()):
                for sent in subsets(ram - stored if with_paging else ()):
                    paged = sum(graph.size_bytes[v] for v in fetched) * graph.read_s
                    paged += sum(graph.size_bytes[v] for v in sent) * graph.write_s
                    for kept in subsets(ram | ran | fetched):
                        if not fits(graph, ram, fetched, running, kept):
                            continue
                        key = stage + 1, kept, stored | sent
                        if spent + paged < seconds.get(key, float("inf")):
                            seconds[key] = spent + paged
                            item = spent + paged, stage + 1, sorted(kept), sorted(stored | sent)
                            heapq.heappush(queue, item)
    return None


@pytest.mark.parametrize("with_paging", [False, True])
def test_it_finds_what_brute_force_finds(with_paging: bool) -> None:
    solvable = 0
    for seed in range(6):
        graph = tiny_graph(Random(seed), 4)
        best = brute_force(graph, with_paging=with_paging)
        found = solve_graph(graph, Budget(), with_paging=with_paging)
        assert (found is None) == (best is None)
        if found is None or best is None:
            continue
        solvable += 1
        runs, cost_s, bound_s = found
        assert cost_s == pytest.approx(best, rel=2e-4)
        assert bound_s <= best * (1 + 1e-9)
        assert runs.diagonal().all()
        assert not runs[0, 1:].any()
    assert solvable >= 3


def test_its_size_is_told_before_it_is_solved() -> None:
    graph = tiny_graph(Random(3), 6)
    alone, paged = (program_size(graph, with_paging=paging) for paging in (False, True))
    made = sum(range(1, 6))  # results that exist when a later stage begins
    assert paged - alone == 3 * made
    assert alone > 6 * 7 // 2 + made - sum(not again for again in graph.again) * 6


def test_paging_never_costs_more() -> None:
    for seed in (3, 5, 8):
        graph = tiny_graph(Random(seed), 6)
        alone = solve_graph(graph, Budget(), with_paging=False)
        paged = solve_graph(graph, Budget(), with_paging=True)
        if alone is not None:
            assert paged is not None
            assert paged[1] <= alone[1] * (1 + 2e-4)


def test_schedules_of_a_training_step_are_planned_and_run_again() -> None:
    graph = imported(training_step(2, batch=64))
    target = slow_chip(6 * 64 * 32 * 4)
    order = model_order(graph)
    task = SchedulingTask(
        graph, order, target, alias_options(target), False, "latency", 0, Budget()
    )
    facts = recompute_facts(graph, order, task.aliases)
    surrogate = surrogate_of(facts, task.problem_of(Schedule.whole(order)))
    plenty = solve_stages(facts, surrogate, Budget(), with_paging=False)
    assert plenty is not None
    assert all(part.copy == 0 for part in plenty.schedule.parts)
    solve_with("fluid", task.problem_of(plenty.schedule))


def test_large_programs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_VARIABLES", 10)
    with pytest.raises(TimeLimitError, match="small graphs"):
        solve_graph(tiny_graph(Random(0), 5), Budget(), with_paging=True)
