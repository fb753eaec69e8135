"""Groups that run operators again: their parts, what they are worth, and that they are right."""

from pathlib import Path

import numpy as np
import pytest

from tests.solvers.scheduling.cascade.test_coarse import coarse_of, value_of_steps
from tests.support.tiled_models import gated_network, saved
from ullage.compiler.driver.compile import compile_model
from ullage.compiler.driver.options import CompileOptions
from ullage.compiler.execute.runner import RunOptions, run_plan
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.lowering.aliases import alias_options
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.moves import random_move
from ullage.solvers.scheduling.cascade.search import cascade_schedule
from ullage.solvers.scheduling.cascade.stripes import Cascade, cascade_parts, runs_thrice
from ullage.solvers.scheduling.cascade.valued import SchedulingTask, schedule_of

SIZE = 48  # rows of the network
# Convolution, depthwise convolution and mean stripe by stripe; gate; the convolutions again.
PASS_ONE, GATE = Cascade(0, 3, 12, REDUCTION), Cascade(3, 4)


def task_of(graph: Graph, memory_bytes: int) -> SchedulingTask:
    target = load_target("edge-npu").with_fast_memory(memory_bytes)
    order = tuple(range(len(graph.operators)))
    aliases = alias_options(target)
    return SchedulingTask(graph, order, target, aliases, False, "latency", 0, Budget())


def facts_of(task: SchedulingTask) -> OrderFacts:
    whole = Schedule.whole(task.order)
    return OrderFacts.of(task.graph, task.order, task.problem_of(whole))


def test_stripes_make_again_what_they_need() -> None:
    task = task_of(import_model(gated_network(), ImportOptions()), 65536)
    facts = facts_of(task)
    group = Cascade(4, 6, 12, 2, again=(0, 1), found=6)
    parts = cascade_parts(task.graph, task.order, group, facts.readers)
    assert parts is not None
    rows = {
        index: [part.intervals[2] for part in parts if part.operator == index] for index in range(6)
    }
    half, each = SIZE // 2, SIZE // 12
    assert rows[1] == [(row, row + each) for row in range(half, SIZE, each)]
    assert rows[0][0] == (half - 1, half + each + 1)  # with the halo before it
    assert [low for low, _ in rows[0][1:]] == [high for _, high in rows[0][:-1]]
    assert rows[5][0] == (0, each)
    assert {part.operator: part.copy for part in parts} == {0: 1, 1: 1, 4: 0, 5: 0}


@pytest.mark.parametrize(
    "group",
    [
        Cascade(4, 6, 12, 2, again=(1, 4)),  # no operator before the group
        Cascade(4, 6, 12, 2, again=(3, 5)),
        Cascade(4, 6, 12, 2, again=(0, 1), found=12),  # nothing runs again
        Cascade(4, 6, 12, 2, again=(0,)),  # nothing of it is needed
        Cascade(4, 6, 12, 2, blocks=2, block_axis=3, again=(0, 1)),
    ],
)
def test_what_cannot_run_again_is_no_group(group: Cascade) -> None:
    task = task_of(import_model(gated_network(), ImportOptions()), 65536)
    assert cascade_parts(task.graph, task.order, group, facts_of(task).readers) is None


def test_nothing_runs_three_times() -> None:
    task = task_of(import_model(gated_network(), ImportOptions()), 65536)
    one, other = Cascade(4, 5, 4, 2, again=(0, 1)), Cascade(5, 6, 4, 2, again=(1,))
    assert runs_thrice([PASS_ONE, GATE, one, other])
    assert schedule_of(task, facts_of(task), [PASS_ONE, GATE, one, other]) is None


@pytest.mark.parametrize("found", [0, 3, 6])
def test_plans_in_which_operators_run_again_give_the_result_of_the_whole(
    found: int, tmp_path: Path
) -> None:
    path = saved(gated_network(), tmp_path)
    task = task_of(import_model(path, ImportOptions()), 16384)
    groups = [PASS_ONE, GATE, Cascade(4, 6, 12, 2, again=(0, 1), found=found)]
    schedule = schedule_of(task, facts_of(task), groups)
    assert schedule is not None
    options = CompileOptions(schedule=schedule, solver="fluid", fast_memory_bytes=16384, fuse=True)
    plan = compile_model(path, options).plan
    assert any(step.copy for step in plan.problem.steps)
    assert all(check.passed for check in run_plan(path, plan, RunOptions(inferences=2)).outputs)


@pytest.mark.parametrize("found", [0, 6])
def test_the_value_is_near_that_of_the_steps(found: int) -> None:
    task = task_of(import_model(gated_network(96), ImportOptions(dtype="int8")), 32768)
    facts = facts_of(task)
    groups = [PASS_ONE, GATE, Cascade(4, 6, 12, 2, again=(0, 1), found=found)]
    schedule = schedule_of(task, facts, groups)
    assert schedule is not None
    assert coarse_of(task, facts, groups) == pytest.approx(value_of_steps(task, schedule), rel=0.04)


def test_moves_run_operators_again_and_no_longer() -> None:
    task = task_of(import_model(gated_network(), ImportOptions()), 16384)
    facts = facts_of(task)
    groups = [PASS_ONE, GATE, Cascade(4, 6, 12, 2)]
    rng = np.random.default_rng(0)
    seen: set[tuple[tuple[int, ...], int]] = set()
    for _ in range(2000):
        moved = random_move(facts, groups, 2, rng)
        if moved is not None and len(moved) == 3 and moved[2].stripes == 12:
            seen.add((moved[2].again, moved[2].found))
    assert {((), 0), ((0, 1), 0), ((0, 1), 6), ((1,), 3)} <= seen
    assert all(
        not group.again
        for _ in range(500)
        for group in random_move(facts, groups, 2, rng, again=False) or ()
    )


def test_a_search_finds_what_is_cheaper_made_again() -> None:
    graph = import_model(gated_network(), ImportOptions(dtype="int8"))
    found = cascade_schedule(task_of(graph, 8192), tries=120)
    assert any(group.again for group in found.cascades)
