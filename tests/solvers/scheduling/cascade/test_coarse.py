"""The coarse axis of time: its value is near that of the plan's own steps, and its bytes add up."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.support.onnx_models import info, model, node
from tests.support.tiled_models import heavy_end, residual_network
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import alias_options
from ullage.hwmodels.catalog.registry import load_target
from ullage.hwmodels.cost import compute_seconds
from ullage.solvers.budget import Budget
from ullage.solvers.fluid.two_tier.relaxation import optimum, relax
from ullage.solvers.lp.program import FrozenProgram, LpSolution
from ullage.solvers.lp.solve import solve_lp
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade import valued as valued_module
from ullage.solvers.scheduling.cascade.chain import choose_groups, estimated_groups
from ullage.solvers.scheduling.cascade.coarse import profile
from ullage.solvers.scheduling.cascade.coarse import value as coarse_module
from ullage.solvers.scheduling.cascade.coarse.profile import Profiles
from ullage.solvers.scheduling.cascade.coarse.program import coarse_program
from ullage.solvers.scheduling.cascade.coarse.value import coarse_value
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.fitted import FittedGroups
from ullage.solvers.scheduling.cascade.stripes import Cascade
from ullage.solvers.scheduling.cascade.two_tiers import with_two_tiers
from ullage.solvers.scheduling.cascade.valued import (
    OPTIONS,
    Judge,
    SchedulingTask,
    schedule_of,
)
from ullage.solvers.state.segments import segments_of

GRAPH = import_model(residual_network(size=32), ImportOptions())
COUNT = len(GRAPH.operators)


def task_of(target: Target, objective: str = "latency") -> SchedulingTask:
    order = tuple(range(COUNT))
    aliases = alias_options(target)
    return SchedulingTask(GRAPH, order, target, aliases, False, objective, 0, Budget())


def facts_of(task: SchedulingTask) -> OrderFacts:
    return OrderFacts.of(GRAPH, task.order, task.problem_of(Schedule.whole(task.order)))


def value_of_steps(task: SchedulingTask, schedule: Schedule) -> float:
    """Optimum of the LP of a schedule's own steps."""
    problem = task.problem_of(schedule)
    known = run_solver("all-slow", problem).value
    relaxation = relax(problem, segments_of(problem), known, OPTIONS, Budget())
    assert relaxation is not None
    return optimum(problem, relaxation)


def coarse_of(task: SchedulingTask, facts: OrderFacts, groups: Sequence[Cascade]) -> float:
    """Optimum of the coarse LP of groups, in which nearly every step is a block."""
    program = coarse_program(Profiles(facts, task.target, task.aliases, 1000), groups)
    assert program is not None
    found = coarse_value(program, task.target, task.objective, Budget(), steady_state=False)
    assert found is not None
    return found.value


def random_groups(facts: OrderFacts, task: SchedulingTask, rng: Random) -> list[Cascade]:
    """Groups in a few stripes of rows, some in blocks of columns, that can be cut so."""
    groups: list[Cascade] = []
    while (first := groups[-1].last if groups else 0) < COUNT:
        last = min(COUNT, first + rng.randint(1, 4))
        group = Cascade(first, last, rng.randint(2, 4), 2)
        shape = GRAPH.values[facts.operator(last - 1).outputs[0]].shape
        if rng.random() < 0.3:
            group = replace(group, blocks=2, block_axis=3)
        if len(shape) != 4 or min(shape[2:]) < 4 or schedule_of(task, facts, [group]) is None:
            group = Cascade(first, first + 1)
        groups.append(group)
    return groups


@pytest.mark.parametrize("objective", ["latency", "energy"])
@pytest.mark.parametrize("memory_bytes", [2048, 4096, 16384])
def test_the_value_is_near_that_of_the_steps(memory_bytes: int, objective: str) -> None:
    target = load_target("edge-npu").with_fast_memory(memory_bytes)
    target = replace(target, slice_granularity_bytes=0)  # rounding of slices is not in that LP
    task = task_of(target, objective)
    facts = facts_of(task)
    rng = Random(memory_bytes)
    for groups in ([Cascade(p, p + 1) for p in range(COUNT)], random_groups(facts, task, rng)):
        schedule = schedule_of(task, facts, groups)
        assert schedule is not None
        assert coarse_of(task, facts, groups) == pytest.approx(
            value_of_steps(task, schedule), rel=0.04
        )


@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize("memory_bytes", [2048, 16384])
def test_the_value_is_near_that_of_the_steps_where_the_unit_loads_its_operands(
    memory_bytes: int, overlap: float
) -> None:
    target = load_target("edge-npu").with_fast_memory(memory_bytes)
    compute = replace(target.compute, overlap=overlap)
    target = replace(target, compute=compute, slice_granularity_bytes=0)
    task = task_of(target)
    facts = facts_of(task)
    rng = Random(memory_bytes)
    for groups in ([Cascade(p, p + 1) for p in range(COUNT)], random_groups(facts, task, rng)):
        schedule = schedule_of(task, facts, groups)
        assert schedule is not None
        assert coarse_of(task, facts, groups) == pytest.approx(
            value_of_steps(task, schedule), rel=0.04
        )


@pytest.mark.parametrize("memory_bytes", [3072, 4096, 8192])
def test_the_value_is_near_that_of_the_steps_where_operands_must_fit(memory_bytes: int) -> None:
    target = load_target("edge-npu-spm").with_fast_memory(memory_bytes)
    target = replace(target, slice_granularity_bytes=0)  # rounding of slices is not in that LP
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = replace(task_of(target), graph=graph)
    facts = OrderFacts.of(graph, task.order, task.problem_of(Schedule.whole(task.order)))
    fitted = FittedGroups(task, facts)
    estimates = estimated_groups(facts, lambda: False)
    assert estimates is not None
    grouped = fitted.repaired(choose_groups(facts, estimates, target, None))
    assert grouped is not None
    for groups in (fitted.singles(), grouped):
        problem = task.problem_of(fitted.schedule(groups))
        known = run_solver("all-slow", problem).value
        relaxation = relax(problem, segments_of(problem), known, OPTIONS, Budget())
        assert relaxation is not None
        valued = Judge(task, facts).value(groups)
        assert valued is not None
        assert valued.value == pytest.approx(optimum(problem, relaxation), rel=0.05)


@pytest.mark.parametrize("chip", ["edge-npu", "ethos-u55-128", "tpu-v4i"])
@pytest.mark.parametrize("measured", [False, True])
def test_blocks_compute_as_long_as_the_steps_of_the_plan(chip: str, measured: bool) -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    if measured:
        timed = [replace(o, measured_s=1e-6 * (i + 1)) for i, o in enumerate(graph.operators)]
        graph = replace(graph, operators=tuple(timed))
    task = replace(task_of(load_target(chip)), graph=graph)
    facts = OrderFacts.of(graph, task.order, task.problem_of(Schedule.whole(task.order)))
    groups = random_groups(facts, task, Random(1))
    schedule = schedule_of(task, facts, groups)
    assert schedule is not None
    program = coarse_program(Profiles(facts, task.target, task.aliases, 1000), groups)
    assert program is not None
    steps_s = compute_seconds(task.problem_of(schedule))[0].sum()
    assert program.compute_s.sum() == pytest.approx(steps_s)


def test_long_programs_start_from_one_another_and_say_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values do not depend on where the solver starts, and it does start from a basis."""
    task = task_of(load_target("edge-npu").with_fast_memory(4096))
    facts = facts_of(task)
    groups = [random_groups(facts, task, Random(seed)) for seed in range(6)]
    groups += [*groups[:3]]  # these are known: all of their rows are
    cold = [valued.value for valued in map(Judge(task, facts).value, groups) if valued]
    starts: list[bool] = []

    def solve(program: FrozenProgram, **options: Any) -> LpSolution | None:
        starts.append(options["start"] is not None)
        return solve_lp(program, **options)

    monkeypatch.setattr(valued_module, "LONG_ACCESSES", 0)
    monkeypatch.setattr(coarse_module, "solve_lp", solve)
    warm = [valued.value for valued in map(Judge(task, facts).value, groups) if valued]
    assert warm == pytest.approx(cold, rel=1e-7)
    assert not starts[0]
    assert any(starts)


def test_few_blocks_say_nearly_the_same() -> None:
    target = load_target("edge-npu").with_fast_memory(4096)
    task = task_of(target)
    facts = facts_of(task)
    groups = random_groups(facts, task, Random(3))
    values = []
    for detail in (8, 1000):
        program = coarse_program(Profiles(facts, target, task.aliases, detail), groups)
        assert program is not None
        found = coarse_value(program, target, "latency", Budget(), steady_state=False)
        assert found is not None
        values.append(found.value)
    assert values[0] == pytest.approx(values[1], rel=0.05)


@pytest.mark.parametrize("chip", ["edge-npu", "ethos-u55-128"])
def test_a_first_stripe_that_makes_nearly_all_hides_no_weights(chip: str) -> None:
    """Weights of the last operator have no room before it: they do not hide behind the first."""
    graph = import_model(heavy_end(), ImportOptions(dtype="int8"))
    target = with_two_tiers(load_target(chip).with_fast_memory(64 * 1024))
    order = tuple(range(len(graph.operators)))
    aliases = alias_options(target)
    task = SchedulingTask(graph, order, target, aliases, False, "latency", 0, Budget())
    facts = OrderFacts.of(graph, order, task.problem_of(Schedule.whole(order)))
    group = Cascade(0, len(order), 8, 1)  # channels of the product: all else is in its first stripe
    values = []
    for detail in (6, 1000):
        program = coarse_program(Profiles(facts, target, aliases, detail), [group])
        assert program is not None
        found = coarse_value(program, target, "latency", Budget(), steady_state=False)
        assert found is not None
        values.append(found.value)
    assert values[0] == pytest.approx(values[1], rel=0.02)


def gated_network() -> onnx.ModelProto:
    """A convolution, its result times its own mean in place, and another convolution."""
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", "x w0", "a", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("GlobalAveragePool", "a", "k"),
        node("Mul", "a k", "b"),
        node("Conv", "b w1", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    ]
    weights = [
        numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)
        for name, shape in (("w0", (16, 4, 3, 3)), ("w1", (4, 16, 3, 3)))
    ]
    return model(nodes, [info("x", [1, 4, 64, 64])], [info("y", [1, 4, 64, 64])], weights)


@pytest.mark.parametrize("memory_bytes", [16384, 32768])
def test_results_in_place_that_are_used_up_inside_blocks_do_not_go_home(memory_bytes: int) -> None:
    graph = import_model(gated_network(), ImportOptions(dtype="int8"))
    target = load_target("edge-npu").with_fast_memory(memory_bytes)
    task = SchedulingTask(
        graph, (0, 1, 2, 3), target, alias_options(target), False, "latency", 0, Budget()
    )
    facts = OrderFacts.of(graph, task.order, task.problem_of(Schedule.whole(task.order)))
    groups = [Cascade(0, 1, 32, 2), Cascade(1, 2), Cascade(2, 4, 32, 2)]
    summed = [Cascade(0, 2, 32, REDUCTION), Cascade(2, 4, 32, 2)]
    for chosen in (groups, summed):
        check_detail(task, facts, chosen)


def check_detail(task: SchedulingTask, facts: OrderFacts, groups: list[Cascade]) -> None:
    """Check that six blocks of a group say nearly the same as all of its steps."""
    values = []
    for detail in (6, 1000):
        program = coarse_program(Profiles(facts, task.target, task.aliases, detail), groups)
        assert program is not None
        found = coarse_value(program, task.target, "latency", Budget(), steady_state=False)
        assert found is not None
        values.append(found.value)
    assert values[0] == pytest.approx(values[1], rel=0.04)


def test_a_result_in_place_may_have_another_shape() -> None:
    weight = np.random.default_rng(0).standard_normal((16, 16)).astype(np.float32)
    nodes = [
        node("MatMul", "x w", "a"),
        node("Reshape", "a s", "b"),
        node("Add", "b z", "c"),
        node("Softmax", "c", "y"),
    ]
    shape = numpy_helper.from_array(np.array([4, 8, 16]), "s")
    constants = [numpy_helper.from_array(weight, "w"), shape]
    given = [info("x", [32, 16]), info("z", [4, 8, 16])]
    proto = model(nodes, given, [info("y", [4, 8, 16])], constants)
    graph = import_model(proto, ImportOptions())
    target = load_target("edge-npu").with_fast_memory(4096)
    order = tuple(range(len(graph.operators)))
    aliases = alias_options(target)
    task = SchedulingTask(graph, order, target, aliases, False, "latency", 0, Budget())
    facts = OrderFacts.of(graph, order, task.problem_of(Schedule.whole(order)))
    assert Judge(task, facts).value([Cascade(p, p + 1) for p in order]) is not None


def test_pieces_make_up_what_several_groups_use() -> None:
    target = replace(load_target("edge-npu"), slice_granularity_bytes=0)
    task = task_of(target)
    facts = facts_of(task)
    groups = random_groups(facts, task, Random(5))
    profiles = Profiles(facts, target, task.aliases, 8)
    shared = 0
    for index, region in enumerate(profiles.regions):
        touching = tuple(g for g in groups if any(g.first <= p < g.last for p in region.places))
        if len(touching) > 1:
            shared += 1
            pieces = profiles.shared(index, touching)
            assert sum(p.size_bytes for p in pieces) == pytest.approx(region.size_bytes)
    assert shared


def test_a_stretch_of_everything_is_everything() -> None:
    target = load_target("edge-npu").with_fast_memory(4096)
    task = task_of(target)
    judge = Judge(task, facts_of(task))
    groups = [Cascade(p, p + 1) for p in range(COUNT)]
    whole, stretch = judge.value(groups), judge.value(groups[2:6])
    assert whole is not None
    assert stretch is not None
    assert stretch.value < whole.value
    assert len(stretch.lost) == 4


def test_without_time_there_is_no_value() -> None:
    task = replace(task_of(load_target("edge-npu")), budget=Budget().at_most(0))
    assert Judge(task, facts_of(task)).value([Cascade(p, p + 1) for p in range(COUNT)]) is None


def test_forgotten_groups_are_worked_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(load_target("edge-npu").with_fast_memory(4096))
    facts = facts_of(task)
    groups = random_groups(facts, task, Random(7))
    kept = Judge(task, facts).value(groups)
    monkeypatch.setattr(profile, "MOST_KEPT", 2)
    forgotten = Judge(task, facts).value(groups)
    assert kept is not None
    assert forgotten is not None
    assert forgotten.value == kept.value
