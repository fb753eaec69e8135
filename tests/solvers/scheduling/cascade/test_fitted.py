"""Cuts of operators that fit where the compute unit reaches the fastest memory only."""

from dataclasses import replace
from random import Random

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.support.onnx_models import info, model, node
from tests.support.tiled import check_execution, random_tiled_graph
from tests.support.tiled_models import residual_network
from ullage.compiler.common.errors import InfeasibleError, TimeLimitError
from ullage.compiler.importer.build import ImportOptions, import_model
from ullage.compiler.ir.graph import Graph
from ullage.compiler.ir.problem import Problem
from ullage.compiler.ir.reach import REDUCTION
from ullage.compiler.ir.schedule import Schedule
from ullage.compiler.ir.target import Target
from ullage.compiler.lowering.aliases import AliasOptions, alias_options
from ullage.compiler.lowering.parts import lower_schedule
from ullage.hwmodels.catalog.registry import load_target
from ullage.solvers.budget import Budget
from ullage.solvers.run import run_solver
from ullage.solvers.scheduling.cascade import fitted, search, valued
from ullage.solvers.scheduling.cascade.chain import estimated_groups
from ullage.solvers.scheduling.cascade.estimate import OrderFacts
from ullage.solvers.scheduling.cascade.fitted import (
    PLAN_LOOKS,
    FittedGroups,
    accesses_of,
    crowded_operators,
)
from ullage.solvers.scheduling.cascade.fitting import (
    grids_that_fit,
    least_bytes,
    least_grid_bytes,
)
from ullage.solvers.scheduling.cascade.search import cascade_schedule
from ullage.solvers.scheduling.cascade.stripes import Cascade, cascade_parts
from ullage.solvers.scheduling.cascade.valued import Judge, SchedulingTask

SPM = load_target("edge-npu-spm")


def task_of(
    graph: Graph, memory_bytes: int, seconds: float = 20.0, chip: Target = SPM
) -> SchedulingTask:
    target = chip.with_fast_memory(memory_bytes)
    order = tuple(range(len(graph.operators)))
    return SchedulingTask(
        graph,
        order,
        target,
        alias_options(target),
        steady_state=False,
        objective="latency",
        seed=0,
        budget=Budget().at_most(seconds),
    )


def product(tokens: int, inner: int, columns: int, dtype: str | None = "int8") -> Graph:
    """One matrix product, in int8 where not told otherwise."""
    weights = np.zeros((inner, columns), dtype=np.float32)
    nodes = [node("MatMul", "x w", "y")]
    made: onnx.ModelProto = model(
        nodes,
        [info("x", [tokens, inner])],
        [info("y", [tokens, columns])],
        [numpy_helper.from_array(weights, "w")],
    )
    return import_model(made, ImportOptions(dtype=dtype))


@pytest.mark.parametrize("seed", range(20))
def test_parts_of_grids_compute_the_operator(seed: int) -> None:
    rng = Random(seed)
    graph = random_tiled_graph(rng, operators=4)
    parts = []
    for position, operator in enumerate(graph.operators):
        grids = grids_that_fit(graph, operator, SPM, rng.choice((600, 1200, 5000)), 1e-6)
        loops = [g.loops for g in grids if REDUCTION not in dict(g.loops)]
        cascade = Cascade(position, position + 1)
        if loops:
            (axis, stripes), *inner = rng.choice(loops)
            cascade = Cascade(position, position + 1, stripes, axis, tuple(inner))
        made = cascade_parts(graph, range(len(graph.operators)), cascade, {})
        assert made is not None
        parts += made
    program = lower_schedule(
        graph, Schedule("grids", tuple(parts)), aliases=AliasOptions(alignment_bytes=1)
    )
    check_execution(graph, program)


@pytest.mark.parametrize("memory_bytes", [12 << 10, 40 << 10])
def test_estimated_bytes_are_those_of_the_steps(memory_bytes: int) -> None:
    graph = product(64, 768, 256)
    (operator,) = graph.operators
    grids = grids_that_fit(graph, operator, SPM, memory_bytes, 1e-6)
    assert len(grids) > 1
    for grid in grids:
        (axis, stripes), *inner = grid.loops
        made = cascade_parts(graph, (0,), Cascade(0, 1, stripes, axis, tuple(inner)), {})
        assert made is not None
        assert len(made) == grid.parts
        program = lower_schedule(graph, Schedule("grid", tuple(made)))
        steps = [
            sum(end - start for _, start, end in {(u.buffer, u.start_byte, u.end_byte) for u in s})
            for s in (step.uses for step in program.steps)
        ]
        assert max(steps) <= grid.part_bytes <= memory_bytes
        if REDUCTION not in dict(grid.loops):
            assert max(steps) == grid.part_bytes


def test_operators_that_do_not_fit_are_cut_and_planned() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = task_of(graph, 4096, chip=replace(SPM, slice_granularity_bytes=16))
    whole = task.problem_of(Schedule.whole(task.order))
    assert crowded_operators(whole)
    with pytest.raises(InfeasibleError, match="--schedule cascade"):
        run_solver("fluid", whole)
    found = cascade_schedule(task, tries=4)
    problem = task.problem_of(found.schedule)
    assert not crowded_operators(problem)
    outcome = run_solver("fluid", problem)
    assert outcome.solution.bound is not None
    assert outcome.solution.bound.value <= outcome.value
    assert found.value == pytest.approx(outcome.solution.bound.value, rel=0.1)  # rounded up


@pytest.mark.parametrize("chip", ["edge-npu-spm", "edge-npu"])
def test_parts_with_many_accesses_count_as_more_where_operands_must_fit(
    monkeypatch: pytest.MonkeyPatch, chip: str
) -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = task_of(graph, 6144, chip=load_target(chip))
    facts = OrderFacts.of(graph, task.order, task.problem_of(Schedule.whole(task.order)))
    groups = fitted_groups(graph, 6144).singles()
    few = Judge(task, facts).value(groups)
    monkeypatch.setattr(valued, "ACCESSES_PER_PART", 1)
    many = Judge(task, facts).value(groups)
    assert few is not None
    assert many is not None
    assert many.value == few.value
    if chip == "edge-npu":
        assert many.parts == few.parts
        return
    program = task.problem_of(fitted_groups(graph, 6144).schedule(groups)).program
    assert few.parts == program.parts < many.parts
    assert Judge(replace(task, most_parts=many.parts), facts).value(groups) is not None
    assert Judge(replace(task, most_parts=many.parts - 1), facts).value(groups) is None


def test_no_groups_of_more_accesses_than_the_first_cut_and_a_limit_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    fine, coarse = (fitted_groups(graph, size).singles() for size in (3072, 12288))
    accesses = [
        accesses_of(one.task.problem_of(one.schedule(groups)))
        for one, groups in ((fitted_groups(graph, 12288), g) for g in (coarse, fine))
    ]
    assert accesses[0] < accesses[1]
    assert fitted_groups(graph, 12288).fits(fine)
    monkeypatch.setattr(fitted, "MOST_ACCESSES", accesses[1] - 1)
    fitting = fitted_groups(graph, 12288)
    assert fitting.fits(coarse)
    assert not fitting.fits(fine)
    assert fitting.repaired(fine) == fine  # a first cut may have as many as it takes
    assert fitting.fits(fine)


def test_groups_that_do_not_fit_in_pages_are_not_taken_unless_the_first_cut_is_such() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    chip = replace(SPM, slice_granularity_bytes=1024)
    groups = fitted_groups(graph, 4096).singles()
    needed = 0
    for size in (4096, 16384, 1 << 20):
        task = task_of(graph, size, chip=chip)
        whole = task.problem_of(Schedule.whole(task.order))
        fitting = FittedGroups(task, OrderFacts.of(graph, task.order, whole))
        problem = fitting.task.problem_of(fitting.schedule(groups))
        assert not crowded_operators(problem)
        crowded = crowded_operators(problem, in_pages=True)
        assert fitting.fits(groups) is not bool(crowded)
        if crowded:
            needed = max(needed, *crowded.values())
            assert fitting.repaired(groups) == groups
            assert fitting.fits(groups)
    assert needed > 4096


def test_weights_that_may_stay_behind_need_no_room() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    chip = load_target("edge-npu", {"operand_access": "fastest"})
    for operator in graph.operators:
        least = least_bytes(graph, operator, chip)
        assert least <= least_bytes(graph, operator, SPM)
    task = task_of(graph, 2048, seconds=0.0, chip=chip)
    assert crowded_operators(task.problem_of(Schedule.whole(task.order)))
    problem = task.problem_of(cascade_schedule(task).schedule)
    assert not crowded_operators(problem)
    run_solver("greedy", problem)


def test_without_time_the_parts_fit_all_the_same() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = task_of(graph, 4096, seconds=0.0)
    found = cascade_schedule(task)
    assert found.value is None
    run_solver("greedy", task.problem_of(found.schedule))


def test_what_cannot_be_cut_until_it_fits_is_infeasible_with_its_bytes() -> None:
    graph = product(64, 768, 256)
    (operator,) = graph.operators
    least = least_bytes(graph, operator, SPM)
    assert least == 1 + 1 + 1 + 4  # of each operand and of the result one element; its sum
    assert not grids_that_fit(graph, operator, SPM, least - 1, 1e-6)
    with pytest.raises(InfeasibleError, match="its smallest part") as raised:
        cascade_schedule(task_of(graph, least - 1))
    details = raised.value.details
    assert (details["needed_bytes"], details["excess_bytes"]) == (least, 1)
    assert details["operator"] == operator.name
    assert details["remedies"] == [f"--fast-memory {least}"]  # int8 is planned already


def test_where_no_cut_that_is_looked_at_fits_the_error_has_the_bytes_of_the_smallest() -> None:
    graph = product(64, 768, 256)
    (operator,) = graph.operators
    least, found = least_bytes(graph, operator, SPM), least_grid_bytes(graph, operator, SPM)
    assert least < found - 1
    for room in (least, found - 1):
        assert not grids_that_fit(graph, operator, SPM, room, 1e-6)
        with pytest.raises(InfeasibleError, match="of the cuts that are looked at") as raised:
            cascade_schedule(task_of(graph, room))
        details = raised.value.details
        assert (details["needed_bytes"], details["excess_bytes"]) == (found, found - room)
    assert grids_that_fit(graph, operator, SPM, found, 1e-6)


@pytest.mark.parametrize(("room", "enough"), [(15, True), (6, False)])
def test_smaller_data_are_offered_where_a_part_of_them_would_fit(room: int, enough: bool) -> None:
    graph = product(64, 768, 256, dtype=None)
    with pytest.raises(InfeasibleError, match="plan smaller data") as raised:
        cascade_schedule(task_of(graph, room))
    assert "--dtype int8" in raised.value.details["remedies"]
    assert ("alone still takes" in raised.value.message) != enough


def readers_along_other_axes(channels: int, size: int) -> Graph:
    """A value that is read by a strided pool and, padded, by another one."""
    pads, half = np.array([0, 0, 1, 1, 0, 0, 1, 1], dtype=np.int64), (size + 1) // 2
    nodes = [
        node("Relu", "x", "a"),
        node("AveragePool", "a", "p", kernel_shape=[1, 1], strides=[2, 2]),
        node("Pad", "a pads", "b"),
        node("AveragePool", "b", "q", kernel_shape=[3, 3], strides=[2, 2]),
        node("Add", "p q", "y"),
    ]
    made: onnx.ModelProto = model(
        nodes,
        [info("x", [1, channels, size, size])],
        [info("y", [1, channels, half, half])],
        [numpy_helper.from_array(pads, "pads")],
    )
    return import_model(made, ImportOptions(dtype="int8", fuse=False))


def fitted_groups(graph: Graph, memory_bytes: int) -> FittedGroups:
    task = task_of(graph, memory_bytes)
    whole = task.problem_of(Schedule.whole(task.order))
    return FittedGroups(task, OrderFacts.of(graph, task.order, whole))


@pytest.mark.parametrize("memory_bytes", [360, 432, 1200])
def test_operators_around_a_large_value_are_cut_along_one_axis(memory_bytes: int) -> None:
    fitted = fitted_groups(readers_along_other_axes(16, 15), memory_bytes)
    problem = fitted.task.problem_of(fitted.schedule(fitted.singles()))
    assert not crowded_operators(problem)
    run_solver("greedy", problem)


def test_where_neighbours_axes_are_in_the_way_the_error_says_so() -> None:
    fitted = fitted_groups(readers_along_other_axes(10, 13), 145)
    with pytest.raises(InfeasibleError, match="made along other axes") as raised:
        fitted.singles()
    needed = raised.value.details["needed_bytes"]
    assert needed > 145
    larger = fitted_groups(readers_along_other_axes(10, 13), needed)
    assert not crowded_operators(larger.task.problem_of(larger.schedule(larger.singles())))


def test_the_operator_that_needs_the_most_is_named() -> None:
    nodes = [
        node("MatMul", "x v", "a"),
        node("MatMul", "a w", "b"),
    ]
    weights = [np.zeros((300, 20), dtype=np.float32), np.zeros((20, 5), dtype=np.float32)]
    made: onnx.ModelProto = model(
        nodes,
        [info("x", [4, 300])],
        [info("b", [4, 5])],
        [numpy_helper.from_array(w, name) for w, name in zip(weights, "vw", strict=True)],
    )
    graph = import_model(made, ImportOptions(dtype="int8"))
    least = [least_bytes(graph, operator, SPM) for operator in graph.operators]
    uncut = [replace(operator, reach=None) for operator in graph.operators]
    graph = replace(graph, operators=tuple(uncut))
    most = [least_bytes(graph, operator, SPM) for operator in graph.operators]
    assert most[0] > most[1] > max(least)
    with pytest.raises(InfeasibleError, match="no rule cuts it") as raised:
        cascade_schedule(task_of(graph, most[1] - 1))
    assert raised.value.details["operator"] == graph.operators[0].name
    assert raised.value.details["needed_bytes"] == most[0]


@pytest.mark.parametrize("seed", range(6))
def test_moves_to_estimated_groups_make_up_the_order(seed: int) -> None:
    fitted = fitted_groups(
        import_model(residual_network(size=32), ImportOptions(dtype="int8")), 4096
    )
    rng = np.random.default_rng(seed)
    estimates = estimated_groups(fitted.facts, lambda: False)
    assert estimates is not None
    groups = fitted.singles()
    for _ in range(12):
        moved = fitted.moved(groups, int(rng.integers(len(groups))), estimates, rng)
        assert moved is not None
        assert [g.first for g in moved] == [0, *(g.last for g in moved[:-1])]
        assert moved[-1].last == len(fitted.facts.order)
        if fitted.fits(moved):
            groups = moved
    run_solver("greedy", fitted.task.problem_of(fitted.schedule(groups)))


def test_where_whole_operators_fit_no_cut_is_chosen_that_does_not() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = task_of(graph, 48 << 10)
    assert not crowded_operators(task.problem_of(Schedule.whole(task.order)))
    found = cascade_schedule(task, tries=30)
    problem = task.problem_of(found.schedule)
    assert not crowded_operators(problem)
    run_solver("greedy", problem)


def test_in_long_graphs_gains_of_stretches_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = task_of(graph, 4096)
    start = cascade_schedule(task, tries=0)
    monkeypatch.setattr(search, "LONG_PARTS", 0)
    monkeypatch.setattr(search, "DIRECT_OPERATORS", 0)
    found = cascade_schedule(task, tries=60)
    assert start.value is not None
    assert found.value is not None
    assert found.gains > 0
    assert found.value < start.value
    facts = OrderFacts.of(graph, task.order, task.problem_of(Schedule.whole(task.order)))
    again = Judge(task, facts).value(found.cascades)
    assert again is not None
    assert found.value == pytest.approx(again.value)  # judged as a whole at the end
    assert not crowded_operators(task.problem_of(found.schedule))


def test_blocks_of_several_steps_say_nearly_what_every_step_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = import_model(residual_network(size=64), ImportOptions(dtype="int8"))
    fitting = fitted_groups(graph, 8192)
    groups = fitting.singles()
    every_step = Judge(fitting.task, fitting.facts).value(groups)
    monkeypatch.setattr(valued, "LONG_ACCESSES", 100)
    judge = Judge(fitting.task, fitting.facts)
    in_blocks = judge.value(groups)
    monkeypatch.setattr(valued, "LONG_ACCESSES", 5000)
    assert every_step is not None
    assert in_blocks is not None
    assert in_blocks.value != every_step.value
    assert in_blocks.value == pytest.approx(every_step.value, rel=0.15)
    finely = judge.value(groups, fine=True)
    assert finely is not None
    assert finely.value == every_step.value


@pytest.mark.parametrize("long_accesses", [100, 5000])
def test_what_moves_while_nothing_computes_is_lost(
    long_accesses: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    monkeypatch.setattr(valued, "LONG_ACCESSES", long_accesses)
    fitting = fitted_groups(graph, 4096)
    found = Judge(fitting.task, fitting.facts).value(fitting.singles())
    assert found is not None
    computing_s = sum(fitting.facts.compute_s)
    assert found.value > 1.2 * computing_s
    assert found.lost.sum() + computing_s == pytest.approx(found.value, rel=0.02)


def test_moves_begin_where_accesses_are_when_a_plan_has_as_many_as_it_may() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    fitting = fitted_groups(graph, 4096)
    judge = Judge(fitting.task, fitting.facts)
    found = judge.value(fitting.singles())
    assert found is not None
    chains = search._Chains(fitting.facts, [], fitting.task.target)
    local = search._LocalSearch(judge, found, found, set(), fitting, chains)
    count = len(found.cascades)
    alike = np.ones(count)
    begins = replace(found, lost=alike, room=alike, plan_accesses=1000.0 * (np.arange(count) == 2))
    shares = []
    for most in (10_000, 1000):
        fitting.most_accesses = most
        drawn = [local._waiting_group(begins) for _ in range(200)]
        shares.append(drawn.count(2) / len(drawn))
    assert shares[0] < 0.25 < shares[1]


def test_accesses_of_the_plan_are_estimated() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    fitting = fitted_groups(graph, 4096)
    groups = fitting.singles()
    found = Judge(fitting.task, fitting.facts).value(groups)
    assert found is not None
    known = accesses_of(fitting.task.problem_of(fitting.schedule(groups)))
    assert found.plan_accesses.sum() == pytest.approx(known, rel=0.1)


@pytest.mark.parametrize("memory_bytes", [4096, 6144])
def test_what_passes_a_stretch_leaves_room_for_what_must_be_there(memory_bytes: int) -> None:
    """The skip connection is as large as the memory: a stretch below it costs less than all."""
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    fitting = fitted_groups(graph, memory_bytes)
    groups = fitting.singles()
    judge = Judge(fitting.task, fitting.facts)
    everything = judge.value(groups)
    assert everything is not None
    for first in range(len(groups)):
        stretch = judge.value(groups[first : first + 2])
        assert stretch is not None
        assert stretch.value < 1.5 * everything.value  # what crosses its ends moves as well


@pytest.fixture
def lowered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The parts of each schedule that is lowered, on a clock that moves 1 s whenever one is."""
    parts: list[int] = []
    lower = SchedulingTask.problem_of

    def slow(task: SchedulingTask, schedule: Schedule) -> Problem:
        parts.append(len(schedule.parts))
        return lower(task, schedule)

    monkeypatch.setattr(SchedulingTask, "problem_of", slow)
    monkeypatch.setattr("time.monotonic", lambda: float(len(parts)))
    return parts


def test_time_that_is_too_short_for_a_plan_ends_the_first_cuts(lowered: list[int]) -> None:
    free = task_of(readers_along_other_axes(16, 15), 360, seconds=1e6)
    cascade_schedule(free, tries=0)
    assert len(lowered) > 3  # whole operators, cuts that do not fit, others
    lowered.clear()
    job = Budget(deadline=3.0)
    with pytest.raises(TimeLimitError, match=r"360 B.* parts and make the quickest plan") as raised:
        cascade_schedule(replace(free, budget=job, job=job))
    assert len(lowered) == 2  # after one look at cuts there is no time to look again and to plan
    assert raised.value.details["parts"] > lowered[0]


def test_without_a_limit_the_first_cut_has_some_seconds_and_its_plan_as_many_as_it_takes(
    lowered: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.process_time", lambda: float(len(lowered)))
    task = replace(task_of(readers_along_other_axes(16, 15), 360), budget=Budget())
    monkeypatch.setattr(search, "FIRST_CUT_S", 1e3)  # fewer than plans of 20 looks each would be
    found = search.schedule_until(task)
    assert len(found.schedule.parts) > len(task.order)
    assert not found.is_cut_short
    looks = len(lowered)
    assert looks > 3
    lowered.clear()
    monkeypatch.setattr(search, "FIRST_CUT_S", 3.0)
    with pytest.raises(TimeLimitError, match=r"360 B.* parts and make the quickest plan") as raised:
        search.schedule_until(task)
    assert len(lowered) <= 3
    assert raised.value.details["parts"] > lowered[0]


def test_cuts_that_fit_are_none_where_no_time_is_left_to_plan_them(lowered: list[int]) -> None:
    fitted = fitted_groups(readers_along_other_axes(16, 15), 1200)
    groups = fitted.singles()
    lowered.clear()
    assert fitted.repaired(groups, Budget(deadline=1.0 + PLAN_LOOKS + 0.1)) == groups
    lowered.clear()
    with pytest.raises(TimeLimitError, match="make the quickest plan"):
        fitted.repaired(groups, Budget(deadline=1.0 + PLAN_LOOKS - 0.1))
    assert len(lowered) == 1


@pytest.mark.usefixtures("lowered")
def test_the_first_cuts_that_fit_are_kept_where_all_time_is_for_their_plan() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = replace(task_of(graph, 4096, seconds=0.0), job=Budget(deadline=30.0))
    found = cascade_schedule(task)  # the time of the search is over, that of the job is not
    assert found.value is None
    assert found.tries == 0
    assert not crowded_operators(task.problem_of(found.schedule))


@pytest.mark.usefixtures("lowered")
def test_a_search_leaves_time_to_plan_its_parts() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    job = Budget(deadline=1000.0)
    given = replace(task_of(graph, 4096), budget=job, job=job)
    task = search._with_time_for(given, 1000, 0.0)
    assert task.budget.remaining_s() == 1000 - 1000 / search.PARTS_PER_S
    assert task.job == job
    crowded = search._with_time_for(given, 1000, 300.0)  # parts of many cells each
    assert crowded.budget.remaining_s() == 700


@pytest.mark.usefixtures("lowered")
def test_groups_whose_plan_takes_more_time_than_the_search_leaves_are_not_taken() -> None:
    graph = import_model(residual_network(size=32), ImportOptions(dtype="int8"))
    task = task_of(graph, 4096)
    facts = OrderFacts.of(graph, task.order, task.problem_of(Schedule.whole(task.order)))
    fitted = FittedGroups(task, facts)
    groups = fitted.singles()
    assert fitted.plan_s > 0
    assert fitted.fits(groups)
    for left, enough in ((0.5, False), (2.0, True)):
        job, searching = Budget(1000.0), Budget(1000.0 - left * fitted.plan_s)
        fitted.task = replace(task, budget=searching, job=job)
        assert fitted.fits(groups) is enough
