"""Cascades: parts of groups, estimates, and a search that never makes things worse."""

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

import numpy as np
import pytest

from tests.support.tiled import check_execution, random_tiled_graph
from tests.support.tiled_models import repeated_blocks, residual_network
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Part, Schedule
from ullage.compiler.lowering.aliases import AliasOptions, alias_options
from ullage.compiler.lowering.lower import build_program
from ullage.compiler.lowering.parts import lower_schedule
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade import search
from ullage.solvers.scheduling.cascade.chain import Chain, choose_groups, estimated_groups
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.search import cascade_schedule
from ullage.solvers.scheduling.cascade.stripes import Cascade, cascade_parts, stripe_ends
from ullage.solvers.scheduling.cascade.valued import Judge, SchedulingTask, ValuedGroups


def facts_of(graph: Graph) -> OrderFacts:
    order = range(len(graph.operators))
    problem = Problem(build_program(graph, order), load_target("edge-npu"))
    return OrderFacts.of(graph, order, problem)


@pytest.mark.parametrize(("overlap", "seconds"), [(1.0, 4.0), (0.75, 4.0), (0.25, 5.0), (0.0, 6.0)])
def test_what_the_unit_cannot_compute_beside_is_added(overlap: float, seconds: float) -> None:
    facts = facts_of(random_tiled_graph(Random(0), operators=2))
    compute = replace(facts.target.compute, overlap=overlap)
    core = replace(facts, target=replace(facts.target, compute=compute))
    assert core.together(2.0, 4.0) == seconds


def task_of(graph: Graph, memory_bytes: int, seconds: float) -> SchedulingTask:
    target = load_target("edge-npu").with_fast_memory(memory_bytes)
    order = tuple(range(len(graph.operators)))
    budget = Budget().at_most(seconds)
    aliases = alias_options(target)
    return SchedulingTask(graph, order, target, aliases, False, "latency", 0, budget)


@pytest.mark.parametrize("seed", range(80))
def test_parts_of_random_groups_compute_the_graph(seed: int) -> None:
    rng = Random(seed)
    graph = random_tiled_graph(rng, operators=8)
    facts = facts_of(graph)
    count = len(graph.operators)
    ends = sorted({0, count, *rng.sample(range(1, count), 2)})
    parts = []
    for first, last in pairwise(ends):
        shape = graph.values[graph.operators[last - 1].outputs[0]].shape
        axis = rng.choice([a for a in range(1, 4) if shape[a] > 1])
        cascade = Cascade(first, last, rng.randint(2, 6), axis)
        made = cascade_parts(graph, facts.order, cascade, facts.readers)
        if made is None:
            made = cascade_parts(graph, facts.order, Cascade(first, last), facts.readers)
        assert made is not None
        parts += made
    program = lower_schedule(
        graph, Schedule("mine", tuple(parts)), aliases=AliasOptions(alignment_bytes=1)
    )
    check_execution(graph, program)
    macs = sum(step.macs for step in program.steps)
    assert macs == sum(operator.macs for operator in graph.operators)  # nothing is made twice


@pytest.mark.parametrize("seed", range(40))
def test_parts_of_blocks_compute_the_graph(seed: int) -> None:
    rng = Random(1000 + seed)
    graph = random_tiled_graph(rng, operators=6)
    facts = facts_of(graph)
    count = len(graph.operators)
    shape = graph.values[graph.operators[-1].outputs[0]].shape
    axes = [a for a in range(1, 4) if shape[a] > 1]
    if len(axes) < 2:
        pytest.skip("its result has one axis to cut")
    axis, block_axis = rng.sample(axes, 2)
    blocks = rng.randint(2, 3)
    cascade = Cascade(0, count, rng.randint(1, 4), axis, blocks=blocks, block_axis=block_axis)
    parts = cascade_parts(graph, facts.order, cascade, facts.readers)
    if parts is None:  # an operator needs whole what two axes would cut
        pytest.skip("this group has no blocks")
    assert any(len(part.ranges) == 2 for part in parts) or cascade.stripes == 1
    program = lower_schedule(
        graph, Schedule("blocks", tuple(parts)), aliases=AliasOptions(alignment_bytes=1)
    )
    check_execution(graph, program)
    macs = sum(step.macs for step in program.steps)
    assert macs == sum(operator.macs for operator in graph.operators)  # nothing is made twice


def test_halos_of_blocks_have_cells_of_their_own() -> None:
    graph = import_model(residual_network(size=32), ImportOptions())
    facts = facts_of(graph)
    first, last = _longest_cut(graph, facts, Cascade(0, 1, 4, 2, blocks=2, block_axis=3))
    cascade = Cascade(first, last, 4, 2, blocks=2, block_axis=3)
    parts = cascade_parts(graph, facts.order, cascade, facts.readers)
    assert parts is not None
    rest = [Part(i) for i in facts.order[last:]]
    before = [Part(i) for i in facts.order[:first]]
    program = lower_schedule(graph, Schedule("blocks", (*before, *parts, *rest)))
    layouts = [v.layout for b in program.buffers for v in b.values if v.layout is not None]
    assert any(len(cuts.ends) > 3 for layout in layouts for cuts in layout.cuts)


def _longest_cut(graph: Graph, facts: OrderFacts, like: Cascade) -> tuple[int, int]:
    """First and last position of the longest group from the first on that can be cut like this."""
    best = (0, 1)
    for last in range(2, len(facts.order) + 1):
        shape = graph.values[facts.operator(last - 1).outputs[0]].shape
        if len(shape) != 4 or min(shape[2:]) < 4:
            continue
        cascade = replace(like, last=last)
        if cascade_parts(graph, facts.order, cascade, facts.readers) is not None:
            best = (0, last)
    return best


def test_stripes_of_a_reduction_read_each_weight_once() -> None:
    graph = import_model(residual_network(size=32), ImportOptions())
    facts = facts_of(graph)
    at = next(
        p
        for p in range(1, len(facts.order))
        if (reach := facts.operator(p).reach) is not None
        and reach.reduction > 3
        and facts.operator(p - 1).outputs[0] in facts.operator(p).inputs
    )
    cascade = Cascade(at - 1, at + 1, 2, REDUCTION)
    parts = cascade_parts(graph, facts.order, cascade, facts.readers)
    assert parts is not None
    sums = [part.intervals[REDUCTION] for part in parts if REDUCTION in part.intervals]
    reach = facts.operator(at).reach
    assert reach is not None
    assert sums[0][0] == 0
    assert sums[0][1] == sums[1][0]
    assert sums[1][1] == reach.reduction
    schedule = (
        *(Part(i) for i in facts.order[: at - 1]),
        *parts,
        *(Part(i) for i in facts.order[at + 1 :]),
    )
    program = lower_schedule(graph, Schedule("sums", schedule))
    weights = {i for i, b in enumerate(program.buffers) if b.kind == "weight"}
    index = facts.order[at - 1]
    read = [u for s in program.steps if s.operator == index for u in s.uses if u.buffer in weights]
    assert len({(u.buffer, u.start_byte) for u in read}) == len(read)


def test_stripes_are_as_equal_as_whole_rows_allow() -> None:
    assert stripe_ends(10, 4) == [3, 5, 8, 10]
    assert stripe_ends(3, 8) == [1, 2, 3]
    assert stripe_ends(7, 1) == [7]


@pytest.mark.parametrize("weight", [None, 0.0, 0.5])
def test_groups_partition_the_order(weight: float | None) -> None:
    graph = import_model(residual_network(size=32), ImportOptions())
    facts = facts_of(graph)
    estimates = estimated_groups(facts, lambda: False)
    assert estimates is not None
    target = load_target("edge-npu").with_fast_memory(4096)
    groups = choose_groups(facts, estimates, target, weight)
    assert [g.first for g in groups] == [0, *(g.last for g in groups[:-1])]
    assert groups[-1].last == len(graph.operators)
    assert any(g.stripes > 1 for g in groups)


def test_groups_of_a_stretch_vary_with_the_draws_and_stay_inside() -> None:
    graph = import_model(residual_network(size=32), ImportOptions())
    facts = facts_of(graph)
    estimates = estimated_groups(facts, lambda: False)
    assert estimates is not None
    chain = Chain(facts, estimates, load_target("edge-npu").with_fast_memory(4096), None)
    begin, end = 2, len(graph.operators) - 1
    found = set()
    for seed in range(8):
        groups = chain.best(begin, end, np.random.default_rng(seed), 0.5)
        assert groups == chain.best(begin, end, np.random.default_rng(seed), 0.5)
        assert [g.first for g in groups] == [begin, *(g.last for g in groups[:-1])]
        assert groups[-1].last == end
        found.add(tuple(groups))
    assert len(found) > 1
    assert chain.best(begin, end) == chain.best(begin, end, np.random.default_rng(0), 0.0)


def test_estimates_stop_when_time_is_over() -> None:
    graph = import_model(residual_network(), ImportOptions())
    assert estimated_groups(facts_of(graph), lambda: True) is None


def test_the_search_gains_and_repeats() -> None:
    graph = import_model(residual_network(size=32), ImportOptions())
    found = cascade_schedule(task_of(graph, 4096, 600), tries=6)
    assert found.value is not None
    assert found.whole_value is not None
    assert found.value < 0.9 * found.whole_value
    again = cascade_schedule(task_of(graph, 4096, 600), tries=6)
    assert again == found


def test_the_search_goes_on_where_no_move_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = import_model(residual_network(size=32), ImportOptions())
    monkeypatch.setattr(search, "PATIENCE_EACH", 1)
    tasks = [replace(task_of(graph, 2048, 600), seed=seed) for seed in range(4)]
    monkeypatch.setattr(search, "KICKS", 0)
    stuck = [cascade_schedule(task, tries=60) for task in tasks]
    monkeypatch.setattr(search, "KICKS", 1000)
    found = [cascade_schedule(task, tries=60) for task in tasks]
    gains = [
        one.value / other.value
        for one, other in zip(stuck, found, strict=True)
        if one.value and other.value
    ]
    assert sum(one.tries for one in stuck) < sum(one.tries for one in found)
    assert min(gains) >= 1.0
    assert max(gains) > 1.01


def test_what_gains_in_one_block_is_tried_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = import_model(repeated_blocks(8), ImportOptions(dtype="int8"))
    monkeypatch.setattr(search, "PROGRAMS", ())  # the local search begins with whole operators
    tasks = [replace(task_of(graph, 16384, 600), seed=seed) for seed in range(3)]
    everywhere = [cascade_schedule(task, tries=16).value or 0.0 for task in tasks]
    monkeypatch.setattr(search, "with_twins", lambda *_: None)
    alone = [cascade_schedule(task, tries=16).value or 0.0 for task in tasks]
    assert 0 < sum(everywhere) < 0.8 * sum(alone)


def test_where_everything_fits_operators_stay_whole() -> None:
    graph = import_model(residual_network(), ImportOptions())
    found = cascade_schedule(task_of(graph, 1 << 24, 600), tries=3)
    assert found.value is not None
    assert found.whole_value is not None
    assert found.value <= found.whole_value


def test_without_time_operators_stay_whole() -> None:
    graph = import_model(residual_network(), ImportOptions())
    assert cascade_schedule(task_of(graph, 4096, 0)).schedule.is_whole


def test_a_schedule_has_no_more_parts_than_can_be_planned() -> None:
    graph = import_model(residual_network(size=32), ImportOptions())
    most = len(graph.operators) + 4
    counts = []
    for limit in (None, most):
        task = replace(task_of(graph, 6144, 60.0), most_parts=limit)
        found = cascade_schedule(task, tries=20)
        assert found.value is not None
        counts.append(task.problem_of(found.schedule).program.parts)
    assert counts[1] <= most < counts[0]


@pytest.mark.parametrize("limit_s", [None, 1.0, 30.0, 1e4])
def test_the_search_leaves_time_for_the_plan(
    limit_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SchedulingTask] = []

    def keep(task: SchedulingTask, *, correct: object) -> search.CascadeResult:
        assert correct is None
        asked.append(task)
        return search.CascadeResult(Schedule.whole(task.order))

    monkeypatch.setattr(search, "cascade_schedule", keep)
    graph = import_model(residual_network(size=32), ImportOptions())
    budget = Budget() if limit_s is None else Budget().at_most(limit_s)
    search.schedule_until(replace(task_of(graph, 6144, 1.0), budget=budget))
    (task,) = asked
    most = task.most_parts
    assert most is not None
    if limit_s is None:
        assert task.budget.remaining_s() <= search.DEFAULT_BUDGET_S
        assert most == search.DEFAULT_PARTS
    else:
        left_s = limit_s - task.budget.remaining_s()
        assert left_s > 0.35 * limit_s
        assert len(graph.operators) <= most <= search.MOST_PARTS
        assert most <= max(len(graph.operators), search.PARTS_PER_S * left_s)


@pytest.mark.parametrize("valued", [1, 2])
def test_where_time_leaves_groups_without_a_value_their_plan_tells(
    valued: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time ends after whole operators have their value, or the first groups their coarse one."""
    graph = import_model(residual_network(size=32), ImportOptions())
    task = task_of(graph, 6144, 60.0)
    value = Judge.value
    counts = {"left": valued}

    def late(judge: Judge, groups: Sequence[Cascade], *, fine: bool = False) -> ValuedGroups | None:
        counts["left"] -= 1
        return value(judge, groups, fine=fine) if counts["left"] >= 0 else None

    monkeypatch.setattr(Judge, "value", late)
    monkeypatch.setattr(Budget, "is_over", lambda _: counts["left"] < 0)
    found = cascade_schedule(task)
    assert not found.schedule.is_whole
    assert found.value is None


def test_on_a_busy_machine_there_are_fewer_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = import_model(residual_network(size=32), ImportOptions())
    counts = []
    for share in (1.0, 0.1):
        monkeypatch.setattr(search, "_core_share", lambda *_, share=share: share)
        task = replace(task_of(graph, 6144, 60.0), most_parts=300)
        found = cascade_schedule(task, tries=20)
        counts.append(task.problem_of(found.schedule).program.parts)
    assert counts[1] <= 30 < counts[0] <= 300


def test_the_share_of_a_core_is_measured() -> None:
    now, processor_s = time.monotonic(), time.process_time()
    assert search._core_share(now, processor_s) == 1.0
    assert search._core_share(now - 10.0, processor_s - 4.0) == pytest.approx(0.4, abs=0.05)
    assert search._core_share(now - 10.0, processor_s - 40.0) == 1.0
